"""Training steps whose scaling is studied: settings, drawn weights and pictures, their programs."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, PyTree

from jaxad import compile, mesh
from jaxad.detector import Detector, State, replace
from jaxad.methods import (
    DETECTORS,
    autoencoder,
    daad,
    diffusionad,
    efficientad,
    feature_reconstruction,
    memae,
    mkd,
    reverse_distillation,
    stfpm,
    uniad,
    uninformed_students,
)
from jaxad.nets import efficientnet
from jaxad.nets.patch_network import PatchNetwork
from jaxad.nets.pdn import PDN

# Small enough to compile in seconds; every part of the methods is there.
_FEATURES = {"size": 64, "weights": ("small",), "extractor": "pdn_small"}
SMALL: dict[str, Any] = {
    "efficientad": efficientad.Config(
        size=64, channels=8, width=8, autoencoder_width=4, autoencoder_kernel=2, weights=("small",)
    ),
    "uniad": uniad.Config(
        **_FEATURES, layers=("pool2", "conv4"), grid=8, hidden=32, heads=2, ffn=32,
        encoder_layers=1, decoder_layers=1, mask_size=3, pool=8, jitter=2.0,
    ),
    "feature_reconstruction": feature_reconstruction.Config(
        **_FEATURES, layers=("pool2", "conv4"), grid=8, network="mlp", hidden=8, depth=1, heads=2,
        pool=8,
    ),
    "diffusionad": diffusionad.Config(
        size=32, width=8, multipliers=(1, 1), blocks=1, attention=(16,), heads=2, groups=4,
        segmentation_width=4, segmentation_multipliers=(1, 2), top=10, tries=1,
    ),
    "autoencoder": autoencoder.Config(size=32, widths=(8, 8, 8)),
    "memae": memae.Config(size=32, widths=(8, 8, 8), items=10),
    "daad": daad.Config(
        size=32, widths=(8, 8, 8), rates=(4, 0, 4), items=(10, 0, 10), key_channels=4,
        discriminator_widths=(8, 8),
    ),
    "uninformed_students": uninformed_students.Config(
        size=64, weights=("patches",), students=2, dense=False
    ),
    "stfpm": stfpm.Config(**_FEATURES),
    "reverse_distillation": reverse_distillation.Config(**_FEATURES, layers=("pool1", "pool2")),
    "mkd": mkd.Config(**_FEATURES, layers=("pool1", "pool2", "conv3"), narrow=8),
}  # fmt: skip

# As the recipes of the papers, experiments/{efficientad,uniad,diffusionad}.py, have them; batches
# are those of one device.
PAPER: dict[str, Any] = {
    "efficientad": efficientad.Config(weights=("pdn_small",), batch_size=1, steps=70_000),
    "uniad": uniad.Config(extractor="efficientnet_b4", weights=("efficientnet_b4",), batch_size=8),
    "diffusionad": diffusionad.Config(foreground="masks", batch_size=16),
}

NETWORKS: dict[str, nn.Module] = {  # whose drawn weights settings may name
    "small": PDN(channels=8, width=8),
    "patches": PatchNetwork(33, 8, 8),
    "pdn_small": PDN(),
    "efficientnet_b4": efficientnet.efficientnet("b4"),
}


class Step(NamedTuple):
    """A training step and what it is called with.

    Attributes:
      detector: the method.
      cfg: its settings, with the size of the whole batch.
      pretrained: drawn weights.
      state: before the step.
      batch: of pictures of noise.
      key: of the run's steps.
    """

    detector: Detector
    cfg: Any
    pretrained: PyTree
    state: State
    batch: dict[str, Any]
    key: Array


def drawn(name: str, cfg: Any) -> Step:
    """A step with arrays: weights, the state before the first step, and pictures are drawn.

    What a run measures over its pictures first is left at its beginning.
    """
    detector, key = DETECTORS[name], jax.random.key(0)
    pretrained = jax.jit(functools.partial(_weights, cfg))(jax.random.key(1))
    state = compile.init(detector)(cfg, pretrained, key)
    return Step(detector, cfg, pretrained, jax.device_get(state), pictures(detector, cfg), key)


def abstract(name: str, cfg: Any) -> Step:
    """A step with the shapes of its arrays, for programs that are compiled and never run."""
    detector, key = DETECTORS[name], jax.random.key(0)
    pretrained = jax.eval_shape(functools.partial(_weights, cfg), key)
    state = jax.eval_shape(functools.partial(detector.init, cfg), pretrained, key)
    batch = jax.eval_shape(functools.partial(_zeros, detector, cfg))
    return Step(detector, cfg, pretrained, state, batch, key)


def pictures(detector: Detector, cfg: Any) -> dict[str, np.ndarray]:
    """A batch of noise."""
    rng = np.random.default_rng(0)
    draw = lambda x: np.asarray(rng.integers(0, 256, x.shape), x.dtype)
    batch = jax.tree.map(draw, jax.eval_shape(functools.partial(_zeros, detector, cfg)))
    return batch | {"index": np.arange(cfg.batch_size, dtype=np.int32)}


def resized(step: Step, batch_size: int) -> Step:
    """The same step with another batch of noise; a batch of a size is always the same."""
    cfg = replace(step.cfg, batch_size=batch_size)
    return step._replace(cfg=cfg, batch=pictures(step.detector, cfg))


def arguments(step: Step) -> tuple[Any, ...]:
    """What the compiled step is called with, as it lies on the mesh in use.

    Of shapes, the same with their place. The arrays are copies: the state is given away.
    """
    _, cfg, pretrained, state, batch, key = step
    used = mesh.current()
    if any(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(state)):
        if used is not None:
            rows = jax.sharding.NamedSharding(used, jax.sharding.PartitionSpec("data"))
            pretrained, state = _lying((pretrained, state), mesh.shardings((pretrained, state)))
            batch = _lying(batch, jax.tree.map(lambda x: rows, batch))
        return cfg, pretrained, state, batch, mesh.placed(key)
    state = jax.tree.map(jnp.array, state)
    return cfg, *mesh.placed((pretrained, state)), mesh.batch(batch), mesh.placed(key)


def lowered(step: Step) -> jax.stages.Lowered:
    """The step as training has it, lowered for the mesh in use."""
    return compile.train_step(step.detector).lower(*arguments(step))


def wide(step: Step) -> Step:
    """The same in float64, to be taken within `jax.enable_x64(True)`."""
    several = jax.device_get((step.pretrained, step.state, step.batch))
    pretrained, state, batch = jax.tree.map(_wide, several)
    return step._replace(pretrained=pretrained, state=state, batch=batch)


def gradient(state: State) -> list[np.ndarray]:
    """What optimisers keep after one step, a multiple of the gradient; not that of its square."""
    return [x for x in jax.tree.leaves(state.opt) if (x < 0).any()]


def apart(one: PyTree, other: PyTree) -> float:
    """The norm of the difference of two trees, by the norm of the first one."""
    pairs = list(zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))
    norm = lambda several: np.sqrt(sum(float(np.sum(np.square(np.float64(x)))) for x in several))
    return float(norm([x - y for x, y in pairs]) / norm([x for x, _ in pairs]))


def _weights(cfg: Any, key: Array) -> PyTree:
    """Drawn trees for the weights that the settings name, with a deviation of features near 1."""
    image = jnp.zeros((1, 64, 64, 3))
    larger = lambda tree: jax.tree.map(lambda x: 2.0 * x, tree)
    return {name: larger(NETWORKS[name].init(key, image)) for name in cfg.weights}


def _zeros(detector: Detector, cfg: Any) -> dict[str, Array]:
    count, images = cfg.batch_size, jnp.zeros((cfg.batch_size, cfg.size, cfg.size, 3), jnp.uint8)
    streams = {stream.name: images for stream in detector.streams(cfg)}
    return {"image": images, "index": jnp.zeros(count, jnp.int32), **streams}


def _lying(tree: PyTree, places: PyTree) -> PyTree:
    shape = lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)
    return jax.tree.map(shape, tree, places)


def _wide(x: np.ndarray) -> np.ndarray:
    if x.dtype == np.uint8:
        return np.float64(x) / 255
    return x.astype(np.float64) if np.issubdtype(x.dtype, np.floating) else x
