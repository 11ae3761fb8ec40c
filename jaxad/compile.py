"""The one place where functions are compiled, and where the backend decides how.

On a CPU, many steps are a host loop over one compiled step: a network inside a loop primitive runs
100 times slower there. On an accelerator they are one scan. Nobody else asks which backend it is.
"""

import functools
import logging
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from jaxad.detector import Detector, ImageSet, State

log = logging.getLogger(__name__)

# XLA's CPU backend of jaxlib 0.10 sends unpadded convolutions to a library that is four times
# slower than its own path; an empty list of fusions switches that off. experiments/bench_compile.py
# shows whether it still helps.
CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": ""}


@functools.cache
def jitted(function: Callable) -> Callable:
    """`function` compiled with this backend's options, the same object for the same function.

    Within another transformation it becomes part of what that compiles, options included. Pass
    functions of modules, not closures: each new closure compiles anew.
    """
    outermost, inner = jit(function), jax.jit(function)

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        traced = any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(arguments))
        return (inner if traced else outermost)(*arguments)

    return call


def jit(function: Callable, **keywords: Any) -> Callable:
    """`jax.jit` with this backend's options; not to be called within another transformation."""
    return jax.jit(function, compiler_options=compiler_options(), **keywords)


@functools.cache
def compiler_options() -> dict[str, str]:
    """The options that help on the default backend, less those that this jaxlib does not know."""
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda x: x, compiler_options=CPU_OPTIONS).lower(0.0).compile()
    except Exception as error:  # the type differs between versions of jaxlib
        if not any(text in str(error) for text in (*CPU_OPTIONS, "No such compile option")):
            raise
        return {}
    return CPU_OPTIONS


def unit(tree: PyTree) -> PyTree:
    """Images in uint8 as float32 in [0, 1]; all else as it is."""
    return jax.tree.map(lambda x: x.astype(jnp.float32) / 255 if x.dtype == jnp.uint8 else x, tree)


@functools.cache
def train_step(detector: Detector) -> Callable[..., tuple[State, dict[str, Array]]]:
    """One compiled train step: (cfg, pretrained, state, batch, key) -> (state, metrics).

    Images of the batch arrive as uint8. `state` is donated. The step's key is `key` folded with
    `state.step`, so a resumed run needs no stored key. Frozen features are computed here unless
    the batch brings them.
    """
    return jit(_step(detector), donate_argnums=2)


def steps(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    state: State,
    batches: Sequence[dict[str, np.ndarray]],
    key: Array,
) -> tuple[State, dict[str, Array]]:
    """As many train steps as there are batches; metrics stay on the device, stacked."""
    if jax.default_backend() == "cpu":
        metrics = []
        for batch in batches:
            state, values = train_step(detector)(cfg, pretrained, state, batch, key)
            metrics.append(values)
        return state, jax.tree.map(lambda *x: jnp.stack(x), *metrics)
    stacked = jax.tree.map(lambda *x: np.stack(x), *batches)
    return _scanned_steps(detector)(cfg, pretrained, state, stacked, key)


@functools.cache
def predict(detector: Detector) -> Callable:
    """The compiled predict: (cfg, pretrained, state, uint8 images) -> Prediction."""

    def apply(cfg, pretrained, state, images):
        return detector.predict(cfg, pretrained, state, unit(images))

    return jit(apply)


def sliced(function: Callable, arguments: tuple, images: ImageSet, size: int = 8):
    """Compiled `function(*arguments, slice)` over slices of a set of uint8 images, one at a time.

    `function` is one of a module, not a closure, and gets images in [0, 1]. At most two shapes
    compile: full slices and the rest.

    Yields:
      what `function` returns for each slice.
    """
    compiled = jitted(_on_unit_images(function))
    for start in range(0, len(images), size):
        yield compiled(*arguments, images[start : start + size])


def enable_cache(folder: str | os.PathLike | None = None) -> None:
    """Keeps compiled programs on disk, for scripts.

    Args:
      folder: `~/.cache/jaxad` by default; the user's own, since it holds code that is run.
    """
    path = pathlib.Path(folder or pathlib.Path.home() / ".cache" / "jaxad")
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        log.warning("compiled programs are not kept: %s cannot be made (%s)", path, error.strerror)
        return
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


def _step(detector: Detector) -> Callable:
    def step(cfg, pretrained, state, batch, key):
        batch = unit(batch)
        if "features" not in batch:
            batch["features"] = detector.embed(cfg, pretrained, batch["image"])
        key = jax.random.fold_in(key, state.step)
        return detector.train_step(cfg, pretrained, state, batch, key)

    return step


@functools.cache
def _scanned_steps(detector: Detector) -> Callable:
    step = _step(detector)

    def scan(cfg, pretrained, state, batches, key):
        return jax.lax.scan(lambda s, b: step(cfg, pretrained, s, b, key), state, batches)

    return jit(scan, donate_argnums=2)


@functools.cache
def _on_unit_images(function: Callable) -> Callable:
    return lambda *arguments: function(*arguments[:-1], unit(arguments[-1]))
