"""What a training step of UniAD costs on cached features, against the arithmetic it needs.

    python experiments/bench_uniad.py [--batch-size 8 ...]

Full size by default, with the 272 channels that the first four stages of EfficientNet-B4 give. The
floor is that of `bench_efficientad`. Of the compiled program it tells whether there is a
convolution in it: with cached features the extractor must not be. Random weights and features;
nothing is read or written. Takes a few minutes on two cores.
"""

import functools
from collections.abc import Sequence

import jax
import numpy as np
from bench_efficientad import against_floor, interleaved, matrix_product

from jaxad import compile
from jaxad.cli import script
from jaxad.cli.options import asked
from jaxad.detector import State, check_settings
from jaxad.methods import uniad
from jaxad.nets.pdn import PDN

CHANNELS = 272
BASE = uniad.Config(extractor="pdn_small", weights=("pdn_small",))  # drawn: no file is read


def main(words: Sequence[str]) -> None:
    """Prints the table."""
    (cfg,) = asked(words, "python experiments/bench_uniad.py", __doc__, settings=BASE)
    check_settings(uniad.DETECTOR, cfg)
    device = jax.devices()[0]
    print(f"jax {jax.__version__} on {device.device_kind} ({device.platform}); {cfg}\n")
    rng = np.random.default_rng(0)
    shape = (cfg.batch_size, cfg.grid, cfg.grid, CHANNELS)
    images = rng.integers(0, 256, (cfg.batch_size, cfg.size, cfg.size, 3), np.uint8)
    batch = {"image": images, "index": np.arange(cfg.batch_size, dtype=np.int32)}
    cached = {**batch, "features": rng.standard_normal(shape).astype(np.float16)}
    key = jax.random.key(0)
    state = new_state(cfg, CHANNELS)
    step = compile.train_step(uniad.DETECTOR)

    def train() -> jax.Array:
        nonlocal state
        state, metrics = step(cfg, {}, state, cached, key)
        return metrics["loss"]

    seconds = interleaved({"product": matrix_product(), "train step": train})
    print(against_floor({"train step": train_flops(cfg, CHANNELS)}, seconds))

    extractor = PDN().init(jax.random.key(1), np.zeros((1, 64, 64, 3), np.float32))
    pretrained = {cfg.weights[0]: extractor}
    small = new_state(cfg, uniad.channels(cfg, pretrained))
    count = functools.partial(convolutions, cfg, pretrained)
    print(
        f"\nconvolutions in the compiled step: {count(state, cached, key)} with cached features, "
        f"{count(small, batch, key)} without (extractor {cfg.extractor})"
    )


def new_state(cfg: uniad.Config, channels: int) -> State:
    """A new transformer for features of so many channels."""
    drawn = jax.jit(functools.partial(uniad.new_transformer, cfg, channels))
    params = drawn(jax.random.key(0))
    return State(np.int32(0), params, (), uniad.optimizer(cfg).init(params))


def convolutions(
    cfg: uniad.Config, pretrained: dict, state: State, batch: dict, key: jax.Array
) -> int:
    """How many convolutions the compiled train step has."""
    step = compile.train_step(uniad.DETECTOR)
    program = step.lower(cfg, pretrained, state, batch, key).compile()
    return program.as_text().count(" convolution(")


def train_flops(cfg: uniad.Config, channels: int) -> float:
    """Operations of the matrix products of one step (section 3.2 and the authors' code).

    Backward costs twice forward, but no gradient is needed of the features. The queries of a
    decoder layer's first attention are the same for the whole batch.
    """
    once = cfg.grid**2
    tokens = cfg.batch_size * once
    ends = dense_flops(tokens, channels, cfg.hidden)
    return 2 * ends + 3 * (ends + layers_flops(cfg))


def layers_flops(cfg: uniad.Config) -> float:
    """Operations of one forward pass through encoder and decoder."""
    once = cfg.grid**2
    tokens = cfg.batch_size * once
    square = functools.partial(dense_flops, inputs=cfg.hidden, outputs=cfg.hidden)
    pairs = 2 * 2.0 * tokens * once * cfg.hidden  # queries with keys, weights with values
    attention = 4 * square(tokens) + pairs
    ffn = 2 * dense_flops(tokens, cfg.hidden, cfg.ffn)
    shared = cfg.decoder_layers if cfg.layer_wise_query else 1
    saved = shared * (square(tokens) - square(once))
    attentions = cfg.encoder_layers + 2 * cfg.decoder_layers
    return attentions * attention + (cfg.encoder_layers + cfg.decoder_layers) * ffn - saved


def dense_flops(rows: int, inputs: int, outputs: int) -> float:
    """Two operations for each product of a dense layer."""
    return 2.0 * rows * inputs * outputs


if __name__ == "__main__":
    script.run(main)
