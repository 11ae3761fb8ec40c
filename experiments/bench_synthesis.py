"""What synthetic anomalies cost, and what a prediction computes.

    python experiments/bench_synthesis.py [--size 256 --batch-size 16 ...]

1. Synthesis: images/s of the compiled function on a batch; a batch's share of the training step of
   these settings (the paper's by default), of which the operations that the program implies are
   divided by the rate of a float32 matrix product measured in the same run. A real step is slower.
2. Prediction at small settings (`diffusionad.SMALL`): on how many images the program that is
   compiled runs each network's first layer, for one image; and images/s of one step, of guided and
   of iterative restoration.

Random weights and pictures; nothing is read or written. Takes minutes on two cores.
"""

import functools
import re
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from bench_efficientad import PRODUCT, interleaved, matrix_product

from jaxad import compile
from jaxad.cli import script
from jaxad.cli.options import asked
from jaxad.detector import check_settings, replace
from jaxad.methods import diffusionad
from jaxad.training.checkpoint import abstract_state

RESTORATIONS = ("one_step", "guided", "iterative")
BATCH = 8  # of predictions


def main(words: Sequence[str]) -> None:
    """Prints both parts."""
    usage = "python experiments/bench_synthesis.py"
    (cfg,) = asked(words, usage, __doc__, settings=diffusionad.Config())
    check_settings(diffusionad.DETECTOR, cfg)
    device = jax.devices()[0]
    print(f"jax {jax.__version__} on {device.device_kind} ({device.platform}); {cfg}\n")
    bench_synthesis(cfg)
    bench_prediction()


def bench_synthesis(cfg: diffusionad.Config) -> None:
    """Images/s, and the share of a training step."""
    batch, key = random_batch(cfg), jax.random.key(0)
    seconds = interleaved(
        {
            "synthesis": lambda: compile.jit(diffusionad.synthetic)(cfg, batch, key).image,
            "product": matrix_product(),
        }
    )
    rate = 2 * np.prod(PRODUCT) / seconds["product"]
    flops = step_flops(cfg)
    floor = flops / rate
    print(
        f"synthesis: {cfg.batch_size / seconds['synthesis']:.0f} images/s at {cfg.size} px in "
        f"batches of {cfg.batch_size} ({1e3 * seconds['synthesis']:.0f} ms)\n"
        f"training step: {flops / 1e12:.1f} TFLOP, at least {floor:.1f} s at {rate / 1e9:.0f} "
        f"GFLOP/s; synthesis is at most {100 * seconds['synthesis'] / floor:.2f} % of it\n"
    )


def bench_prediction() -> None:
    """Calls of the networks, and images/s of each restoration."""
    print(f"{diffusionad.SMALL}")
    tasks = {}
    for name in RESTORATIONS:
        cfg = replace(diffusionad.SMALL, restoration=name)
        unet, segmentation = network_calls(cfg)
        print(f"{name}: for one image, U-Net on {unet}, segmentation network on {segmentation}")
        state = compile.init(diffusionad.DETECTOR)(cfg, {}, jax.random.key(0))._replace(opt=())
        images = np.zeros((BATCH, cfg.size, cfg.size, 3), np.uint8)
        predict = functools.partial(compile.predict(diffusionad.DETECTOR), cfg, {}, state, images)
        tasks[name] = lambda predict=predict: predict().score
    print(f"\n| restoration | images/s, batch {BATCH} |\n|---|---|")
    for name, seconds in interleaved(tasks).items():
        print(f"| {name} | {BATCH / seconds:.1f} |")


def network_calls(cfg: diffusionad.Config) -> tuple[int, int]:
    """Images that U-Net and segmentation network see for a prediction of one image."""
    detector = diffusionad.DETECTOR
    state = abstract_state(detector, cfg, {})._replace(opt=())
    image = jax.ShapeDtypeStruct((1, cfg.size, cfg.size, 3), jnp.float32)
    program = jax.jit(functools.partial(detector.predict, cfg, {})).lower(state, image).as_text()
    return first_layers(program)


def first_layers(program: str) -> tuple[int, int]:
    """Images that enter convolutions of 3 channels (the U-Net's first), and of 6.

    No other layer has as few channels, or just 6.
    """
    convolution = r"stablehlo\.convolution.*: \(tensor<(\d+)x\d+x\d+x(\d+)xf32>, tensor<3x3x"
    seen = {3: 0, 6: 0}
    for images, channels in re.findall(convolution, program):
        if int(channels) in seen:
            seen[int(channels)] += int(images)
    return seen[3], seen[6]


def random_batch(cfg: diffusionad.Config) -> dict[str, jax.Array]:
    """Pictures and textures of noise, as the compiled step has them."""
    shape = (cfg.batch_size, cfg.size, cfg.size, 3)
    images, textures = jax.random.uniform(jax.random.key(2), (2, *shape))
    return {"image": images, "aux": textures, "foreground": jnp.ones(shape)}


def step_flops(cfg: diffusionad.Config) -> float:
    """Operations of a training step, by XLA's count of what is lowered; nothing is compiled."""
    detector, key = diffusionad.DETECTOR, jax.random.key(1)
    state = abstract_state(detector, cfg, {})
    batch = jax.eval_shape(lambda: {**random_batch(cfg), "features": ()})
    step = jax.jit(functools.partial(detector.train_step, cfg, {}))
    return step.lower(state, batch, key).cost_analysis()["flops"]


if __name__ == "__main__":
    script.run(main)
