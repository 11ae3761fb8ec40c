r"""Distils a patch description network (PDN) from a frozen ImageNet network.

    python experiments/distill_pdn.py BACKBONE FOLDER,FOLDER,... RUN [--steps 60000 ...]

BACKBONE is a torchvision state dict (.pth, .safetensors, .npz) of ResNet-18 or WideResNet-101-2, or
the name of an extractor whose weights are found, such as efficientnet_lite0; the folders hold
photographs of anything. Interrupted, it continues. The result is a weight set, RUN/weights; copy
that folder into `checkpoints/` to use it.

The paper's recipe (Batzner et al., WACV 2024, arXiv:2303.14535, algorithm 3), for ImageNet and
WideResNet-101-2:

    python experiments/distill_pdn.py wide_resnet101_2.pth imagenet/train runs/teacher

Few photographs and a small machine (the shipped `pdn_small` and `pdn_free`, see
checkpoints/README.md):

    python experiments/distill_pdn.py resnet18.npz imagenet-sample-images,bsds500,dtd \
        runs/teacher --size 128 --batch-size 4 --steps 4250 --lr 5e-4 --cosine true \
        --smallest-crop 0.35
    python experiments/distill_pdn.py efficientnet_lite0 photographs,rendered \
        runs/teacher --size 128 --batch-size 4 --steps 5000 --lr 5e-4 --cosine true \
        --smallest-crop 0.2
"""

import pathlib
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from PIL import Image

from jaxad import compile
from jaxad.cli import distil, script
from jaxad.cli.data import places
from jaxad.cli.options import asked, expected, leading
from jaxad.detector import Scalar, State, config, scalar, static, values
from jaxad.nets import convert, patch_features
from jaxad.nets.extractors import EXTRACTORS, network
from jaxad.nets.pdn import PDN
from jaxad.nets.resnet import resnet18, wide_resnet101_2
from jaxad.weights import files, store

# Differs from the reference: 1000 parts of pictures, theirs are 10,000 pictures or more. At a side
# of 128 they have a million cells, and fit into memory at once.
BATCHES_FOR_MOMENTS = 125  # of 8


@config
class Config:
    """Algorithm 3 of the paper, and what a small machine needs instead."""

    size: int = static(256, 1)  # side of the PDN's input; the backbone sees twice that
    medium: bool = static(False)  # PDN-M
    channels: int = static(384, 1)  # of a descriptor
    steps: int = static(60_000, 1)  # algorithm 3
    batch_size: int = static(16, 1)  # algorithm 3
    lr: Scalar = scalar(1e-4, above=0)  # algorithm 3
    weight_decay: Scalar = 1e-5  # algorithm 3
    cosine: bool = static(False)  # warm-up, then down to zero; algorithm 3 has a constant rate
    smallest_crop: float = static(1.0, most=1, above=0)  # of the short side; 1: whole pictures
    grey: float = static(0.1, 0, 1)  # probability that a picture loses its colours, algorithm 3
    layers: tuple[str, ...] = static(("stage3", "stage5"))  # of an extractor: strides 8 and 16


def views(picture: np.ndarray, rng: np.random.Generator, cfg: Config) -> dict[str, np.ndarray]:
    """One part of a picture at both sizes, decided once: for the PDN and, doubled, the backbone."""
    height, width = picture.shape[:2]
    image = Image.fromarray(picture)
    box = (0.0, 0.0, float(width), float(height))
    if cfg.smallest_crop < 1:
        # Differs from the reference: parts of random scale and mirrored, theirs are whole pictures;
        # 2000 photographs have to stand for 1.3 million.
        side = min(height, width) * np.exp(rng.uniform(np.log(cfg.smallest_crop), 0))
        top, left = rng.uniform(0, height - side), rng.uniform(0, width - side)
        box = (left, top, left + side, top + side)
    if rng.random() < cfg.grey:
        image = image.convert("L").convert("RGB")
    if cfg.smallest_crop < 1 and rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        box = (width - box[2], box[1], width - box[0], box[3])

    def resized(side: int) -> np.ndarray:
        return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=box))

    return {"backbone": resized(2 * cfg.size), "pdn": resized(cfg.size)}


def load_backbone(given: str, cfg: Config) -> tuple[Callable, Any]:
    """The features of a backbone, as a function of its variables and images, and its variables."""
    embedding = partial(patch_features.patchcore, channels=cfg.channels)
    if given in EXTRACTORS:
        variables = store.load_pretrained(given)[given]
        return partial(features, network(given, variables), embedding, cfg.layers), variables
    arrays = files.read_state_dict(given)
    if "layer3.22.conv1.weight" in arrays:
        resnet = wide_resnet101_2()
    elif "layer3.1.conv1.weight" in arrays and "layer3.2.conv1.weight" not in arrays:
        # Differs from the reference: plain means of 3 x 3 cells, theirs (PatchCore's) pool over
        # channels too; ResNet-18's two stages have 384 together, as the PDN has.
        resnet, embedding = resnet18(), patch_features.local_average
    else:
        raise ValueError(f"{given} is neither ResNet-18 nor WideResNet-101-2")
    return partial(features, resnet, embedding, ("layer2", "layer3")), convert.resnet(arrays)


def features(
    module: nn.Module, embedding: Callable, layers: Sequence[str], variables: Any, x: jax.Array
) -> jax.Array:
    """The descriptors to imitate, on a grid of an eighth of the backbone's input."""
    found = module.apply(variables, x)
    return embedding([found[layer] for layer in layers])


def loss(params: Any, cfg: Config, targets: jax.Array, x: jax.Array) -> jax.Array:
    """Mean squared difference; the PDN pads while it is distilled."""
    pdn = PDN(cfg.medium, cfg.channels, padding=True)
    return jnp.mean((pdn.apply({"params": params}, x) - targets) ** 2)


def step(
    describe: Callable, cfg: Config, variables: Any, state: State, batch: dict
) -> tuple[State, dict]:
    """One step of the PDN towards the normalised descriptors."""
    batch = compile.unit(batch)
    targets = normalised(describe, variables, state.stats, batch["backbone"])
    value, grads = jax.value_and_grad(loss)(state.params, cfg, targets, batch["pdn"])
    updates, opt = distil.optimizer(cfg).update(grads, state.opt, state.params)
    params = optax.apply_updates(state.params, updates)
    return State(state.step + 1, params, state.stats, opt), {"loss": value}


def errors(
    describe: Callable, cfg: Config, variables: Any, state: State, batch: dict
) -> tuple[jax.Array, jax.Array]:
    """Squared error of the PDN, and of always answering the mean."""
    batch = compile.unit(batch)
    targets = normalised(describe, variables, state.stats, batch["backbone"])
    return loss(state.params, cfg, targets, batch["pdn"]), jnp.mean(targets**2)


def normalised(describe: Callable, variables: Any, stats: tuple, x: jax.Array) -> jax.Array:
    """Descriptors with mean 0 and deviation 1 per channel."""
    mean, std = stats
    return (describe(variables, x) - mean) / std


def main(words: Sequence[str]) -> None:
    """Trains, measures, and writes the weights."""
    given, rest = leading(words)
    usage = "python experiments/distill_pdn.py BACKBONE FOLDER,FOLDER,... RUN"
    (cfg,) = asked(rest, usage, __doc__, settings=Config())
    backbone, folders, workdir = expected(given, "BACKBONE", "FOLDER,FOLDER,...", "RUN")
    script.prepare()
    describe, variables = load_backbone(backbone, cfg)
    found = distil.pictures(places(folders))
    print(f"{len(found.train)} pictures to learn from, {len(found.heldout)} held out; {cfg}")
    view = partial(views, cfg=cfg)

    def new_state() -> State:
        sample = distil.batches(found.train, view, seed=1, size=8)
        sample = np.concatenate([sample[i]["backbone"] for i in range(BATCHES_FOR_MOMENTS)])
        stats = compile.moments(describe, (variables,), sample)
        params = PDN(cfg.medium, cfg.channels).init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
        opt = distil.optimizer(cfg).init(params["params"])
        return State(jnp.int32(0), params["params"], stats, opt)

    take = compile.jit(partial(step, describe, cfg), donate=1)
    measure = compile.jit(partial(errors, describe, cfg))
    test = distil.batches(found.heldout, view, seed=2, size=8)
    test = [test[i] for i in range(-(-len(found.heldout) // 8))]
    record = {"method": "distill_pdn", "settings": values(cfg)}
    state, error = distil.distil(
        cfg,
        workdir,
        {**record, "backbone": backbone, "pictures": found.record},
        new_state,
        partial(take, variables),
        distil.batches(found.train, view, seed=3, size=cfg.batch_size),
        lambda state: distil.relative_error(partial(measure, variables, state), test),
    )
    about = {
        "command": f"python experiments/distill_pdn.py {shlex.join(words)}",
        "heldout_error": error,
        "backbone": pathlib.Path(backbone).name,
        "settings": record["settings"],
    }
    folder = pathlib.Path(workdir) / "weights"
    store.save_pretrained(folder, {"params": state.params}, about)


if __name__ == "__main__":
    script.run(main)
