r"""Distils a teacher of patches for Uninformed Students from a frozen ImageNet network.

    python experiments/distill_patch_teacher.py FOLDER,FOLDER,... RUN --patch 33 [...]

The folders hold photographs of anything. Interrupted, the same command continues. The result is a
weight set, RUN/weights; copy that folder into `checkpoints/` to use it.

The paper's recipe (Bergmann et al., CVPR 2020, arXiv:1911.02357, section 3.1), for ImageNet and a
whole ResNet-18 (`jaxad weights convert resnet18-f37072fd.pth resnet18 --kind resnet_layer4`), of
each size of patches:

    python experiments/distill_patch_teacher.py imagenet/train runs/patch_33 --patch 33

Few photographs, a small machine, and a ResNet-18 without its last stage:

    python experiments/distill_patch_teacher.py imagenet-sample-images,bsds500,dtd runs/patch_33 \
        --patch 33 --layer layer3 --decoder 256 --enlarged 64 --zoom 2,8 --steps 6000 --lr 5e-4 \
        --cosine true

2000 steps of the latter take 24 minutes on one core.
"""

import pathlib
import shlex
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jaxtyping import Array, Float, PyTree, UInt8
from PIL import Image

from jaxad import compile
from jaxad.cli import distil, script
from jaxad.cli.data import places
from jaxad.cli.options import asked, expected, leading
from jaxad.detector import Images, Scalar, State, config, scalar, static, values
from jaxad.methods import students
from jaxad.nets import extractors
from jaxad.nets.layers import torch_kernel
from jaxad.nets.patch_network import LAYERS, PatchNetwork
from jaxad.ops import colour
from jaxad.weights.store import load_pretrained, save_pretrained

BATCHES_FOR_MOMENTS = 64
HELD_OUT_PATCHES = 8  # of each picture that is held out
NOISE = 0.1  # deviation on a triplet's positive, section 4
BRIGHTNESS = 0.2  # it is brighter or darker by up to this part; the paper does not say how much
LEAST_DEVIATION = 1e-6  # of a channel that is always off


@config
class Config:
    """Section 3.1 and 4 of the paper, and what a small machine needs instead."""

    patch: int = static(33)  # p, its side: 17, 33 or 65
    channels: int = static(128, 1)  # d, of a descriptor
    width: int = static(128, 1)  # of the first layer
    steps: int = static(50_000, 1)
    batch_size: int = static(64, 2)  # correlations are over the batch
    weights: tuple[str, ...] = static(("resnet18",), count=1)  # of the extractor
    extractor: str = static("resnet18")  # what is distilled
    layer: str = static("layer4")  # whose mean over all cells is decoded from the descriptor
    decoder: int = static(512, 1)  # channels of that layer: layer4 512, layer3 256
    enlarged: int = static(224, 1)  # side of the patch as the extractor sees it
    zoom: tuple[int, int] = static((4, 16), 1)  # least and largest side of a picture, in patches
    grey: float = static(0.1, 0, 1)  # probability that a patch loses its colours
    knowledge: Scalar = 1.0  # weight of the loss of what is decoded
    metric: float = static(0.0, 0)  # weight of the loss of triplets; 0: there are none
    compactness: Scalar = 1.0  # weight of the loss of correlated channels
    margin: Scalar = 1.0  # of triplets
    lr: Scalar = scalar(2e-4, above=0)
    weight_decay: Scalar = 1e-5
    cosine: bool = static(False)  # warm-up, then down to zero; the paper has a constant rate


def check(cfg: Config) -> None:
    """Raises ValueError for settings that cannot work, and says what would."""
    extractors.select(cfg.extractor, (cfg.layer,))
    if cfg.patch not in LAYERS:
        raise ValueError(f"patch={cfg.patch}: expected {', '.join(map(str, LAYERS))}")
    if cfg.zoom[0] > cfg.zoom[1]:
        raise ValueError(f"zoom={cfg.zoom}: expected the smaller one first")


def views(
    picture: UInt8[np.ndarray, "H W 3"], rng: np.random.Generator, cfg: Config
) -> dict[str, UInt8[np.ndarray, "P P 3"]]:
    """A patch of a picture that is zoomed to a square and, for triplets, one a little beside it."""
    side = int(rng.integers(cfg.zoom[0] * cfg.patch, cfg.zoom[1] * cfg.patch, endpoint=True))
    furthest = side - cfg.patch
    corner = rng.integers(0, furthest, 2, endpoint=True)
    found = {"anchor": patch_of(picture, side, corner, cfg.patch)}
    if cfg.metric:
        reach = (cfg.patch - 1) // 4  # section 4
        beside = corner + rng.integers(-reach, reach, 2, endpoint=True)
        found["positive"] = patch_of(picture, side, np.clip(beside, 0, furthest), cfg.patch)
    return found


def patch_of(
    picture: UInt8[np.ndarray, "H W 3"], side: int, corner: np.ndarray, patch: int
) -> UInt8[np.ndarray, "P P 3"]:
    """The patch at (row, column) `corner` of the picture resized to `side` x `side`."""
    height, width = picture.shape[:2]
    top, bottom = (edge * height / side for edge in (corner[0], corner[0] + patch))
    left, right = (edge * width / side for edge in (corner[1], corner[1] + patch))
    image, box = Image.fromarray(picture), (left, top, right, bottom)
    return np.asarray(image.resize((patch, patch), Image.Resampling.BILINEAR, box))


def describe(cfg: Config, variables: PyTree, patches: Images) -> Float[Array, "B 1 1 D"]:
    """What the extractor says of patches: means of a layer over all cells."""
    shape = (len(patches), cfg.enlarged, cfg.enlarged, 3)
    enlarged = jax.image.resize(patches, shape, "bilinear")
    (found,) = extractors.features(cfg.extractor, (cfg.layer,), variables, enlarged)
    return found.mean((1, 2), keepdims=True)


def targets(cfg: Config, variables: PyTree, stats: tuple, patches: Images) -> Float[Array, "B D"]:
    """`describe` with mean 0 and deviation 1 per channel."""
    # Differs from the reference: theirs are not said to be normalised. The weight of knowledge
    # beside compactness would depend on the extractor.
    mean, std = stats
    found = (describe(cfg, variables, patches) - mean) / jnp.maximum(std, LEAST_DEVIATION)
    return found[:, 0, 0]


def networks(cfg: Config) -> tuple[PatchNetwork, nn.Dense]:
    """The teacher, a descriptor for each patch, and the decoder, which is thrown away."""
    network = PatchNetwork(cfg.patch, cfg.channels, cfg.width, dense=False)
    return network, nn.Dense(cfg.decoder, kernel_init=torch_kernel)


def descriptors(cfg: Config, params: PyTree, patches: Images) -> Float[Array, "B C"]:
    """One for each patch."""
    return networks(cfg)[0].apply({"params": params["network"]}, patches)[:, 0, 0]


def decoded(cfg: Config, params: PyTree, found: Float[Array, "B C"]) -> Float[Array, "B D"]:
    """What descriptors say about the targets."""
    return networks(cfg)[1].apply({"params": params["decoder"]}, found)


def loss(
    params: PyTree, cfg: Config, target: Float[Array, "B D"], batch: dict[str, Images]
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Weighted sum of the three losses on one batch."""
    anchor = descriptors(cfg, params, batch["anchor"])
    terms = {
        "knowledge": students.knowledge(decoded(cfg, params, anchor), target),
        "compactness": students.compactness(anchor),
    }
    total = cfg.knowledge * terms["knowledge"] + cfg.compactness * terms["compactness"]
    if cfg.metric:
        positive = descriptors(cfg, params, batch["positive"])
        # Differs from the reference: negatives are the anchors of the batch's other pictures.
        negative = jnp.roll(anchor, 1, 0)
        terms["metric"] = students.triplet(anchor, positive, negative, cfg.margin)
        total += cfg.metric * terms["metric"]
    return total, terms


def augmented(cfg: Config, batch: dict[str, Images], key: Array) -> dict[str, Images]:
    """Some patches without colours, all of a triplet alike; positives as another photograph."""
    grey_key, bright_key, noise_key = jax.random.split(key, 3)
    found = {name: colour.grey(patches, grey_key, cfg.grey) for name, patches in batch.items()}
    if "positive" in found:
        patches = found["positive"]
        factor = jax.random.uniform(bright_key, patches.shape[:1], minval=-1, maxval=1)
        patches = colour.adjust_brightness(patches, 1 + BRIGHTNESS * factor)
        noise = NOISE * jax.random.normal(noise_key, patches.shape)
        found["positive"] = jnp.clip(patches + noise, 0, 1)
    return found


def step(cfg: Config, variables: PyTree, state: State, batch: dict) -> tuple[State, dict]:
    """One step of teacher and decoder."""
    batch = augmented(cfg, compile.unit(batch), jax.random.fold_in(jax.random.key(0), state.step))
    target = targets(cfg, variables, state.stats, batch["anchor"])
    gradient = jax.value_and_grad(loss, has_aux=True)
    (value, terms), grads = gradient(state.params, cfg, target, batch)
    updates, opt = distil.optimizer(cfg).update(grads, state.opt, state.params)
    params = optax.apply_updates(state.params, updates)
    return State(state.step + 1, params, state.stats, opt), {"loss": value, **terms}


def errors(
    cfg: Config, variables: PyTree, state: State, batch: dict
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Squared error of what is decoded, and of always answering the mean."""
    patches = compile.unit(batch)["anchor"]
    target = targets(cfg, variables, state.stats, patches)
    answer = decoded(cfg, state.params, descriptors(cfg, state.params, patches))
    return jnp.square(answer - target).mean(), jnp.square(target).mean()


def main(words: Sequence[str]) -> None:
    """Trains, measures, and writes the weights."""
    given, rest = leading(words)
    usage = "python experiments/distill_patch_teacher.py FOLDER,FOLDER,... RUN"
    (cfg,) = asked(rest, usage, __doc__, settings=Config())
    folders, workdir = expected(given, "FOLDER,FOLDER,...", "RUN")
    check(cfg)
    script.prepare()
    variables = load_pretrained(cfg.weights)[cfg.weights[0]]
    check_decoder(cfg, variables)
    found = distil.pictures(places(folders))
    print(f"{len(found.train)} pictures to learn from, {len(found.heldout)} held out; {cfg}")
    batches = partial(distil.batches, view=partial(views, cfg=cfg), size=cfg.batch_size)

    def new_state() -> State:
        sample = batches(found.train, seed=1)
        sample = np.concatenate([sample[i]["anchor"] for i in range(BATCHES_FOR_MOMENTS)])
        stats = compile.moments(describe, (cfg, variables), sample)
        params = new_parameters(cfg)
        return State(jnp.int32(0), params, stats, distil.optimizer(cfg).init(params))

    take = compile.jit(step, donate=2)
    measure = compile.jit(errors)
    test = batches(found.heldout, seed=2)
    test = [test[i] for i in range(-(-len(found.heldout) * HELD_OUT_PATCHES // cfg.batch_size))]
    state, error = distil.distil(
        cfg,
        workdir,
        {"method": "distill_patch_teacher", "settings": values(cfg), "pictures": found.record},
        new_state,
        partial(take, cfg, variables),
        batches(found.train, seed=3),
        lambda state: distil.relative_error(partial(measure, cfg, variables, state), test),
    )
    about = {
        "command": f"python experiments/distill_patch_teacher.py {shlex.join(words)}",
        "heldout_error": error,
        "settings": values(cfg),
    }
    folder = pathlib.Path(workdir) / "weights"
    save_pretrained(folder, {"params": state.params["network"]}, about)


def check_decoder(cfg: Config, variables: PyTree) -> None:
    """Raises ValueError unless the decoder is as wide as the extractor's layer."""
    patch = jax.ShapeDtypeStruct((1, cfg.patch, cfg.patch, 3), "float32")
    wide = jax.eval_shape(partial(describe, cfg), variables, patch).shape[-1]
    if cfg.decoder != wide:
        raise ValueError(
            f"decoder={cfg.decoder}: {cfg.layer} of {cfg.extractor} has {wide} channels: "
            f"say decoder={wide}"
        )


def new_parameters(cfg: Config) -> PyTree:
    """Of teacher and decoder."""
    keys = jax.random.split(jax.random.key(0))
    inputs = jnp.zeros((1, cfg.patch, cfg.patch, 3)), jnp.zeros((1, cfg.channels))
    parts = zip(("network", "decoder"), networks(cfg), keys, inputs, strict=True)
    return {name: module.init(key, x)["params"] for name, module, key, x in parts}


if __name__ == "__main__":
    script.run(main)
