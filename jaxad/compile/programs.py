"""Functions become programs: one train step, one predict, with the backend's options."""

import functools
import logging
import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, PyTree

from jaxad import mesh
from jaxad.detector import Detector, State, pixels

log = logging.getLogger(__name__)

# XLA's CPU backend of jaxlib 0.10 sends unpadded convolutions to a library that is four times
# slower than its own path; an empty list of fusions switches that off. experiments/bench_compile.py
# shows whether it still helps.
CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": ""}

Batch = dict[str, PyTree]


def jit(function: Callable, donate: int | None = None, free: bool = False) -> Callable:
    """`jax.jit` with this backend's options, the same object for the same function and mesh.

    What it returns is not to be called within another transformation. Pass functions of modules,
    not closures: each new closure compiles anew. Where a mesh is in use, results lie on it as
    `mesh.shardings` says: but for large parameters, on every device in full.

    Args:
      function: of arrays.
      donate: which argument's memory the program may write its results to.
      free: results lie where the program leaves them, whatever the mesh's rules say.
    """
    return _jit(function, donate, free, mesh.current())


@functools.cache
def _jit(function: Callable, donate: int | None, free: bool, used: Mesh | None) -> Callable:
    options = compiler_options()
    if used is None or free:
        return jax.jit(function, donate_argnums=donate, compiler_options=options)
    one = lambda *arguments: mesh.constrained(function(*arguments), used)
    return jax.jit(one, donate_argnums=donate, compiler_options=options)


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
    return jax.tree.map(lambda x: pixels.unit(x) if x.dtype == jnp.uint8 else x, tree)


def init(detector: Detector) -> Callable[..., State]:
    """The compiled init: (cfg, pretrained, key) -> State."""
    return jit(detector.init)


def train_step(detector: Detector) -> Callable[..., tuple[State, dict[str, Array]]]:
    """One compiled train step: (cfg, pretrained, state, batch, key) -> (state, metrics).

    `state` is donated; otherwise as `step`.
    """
    return jit(_step_of(detector), donate=2)


@functools.cache
def _step_of(detector: Detector) -> Callable:
    return functools.partial(step, detector)


def predict(detector: Detector) -> Callable:
    """The compiled predict: (cfg, pretrained, state, uint8 images) -> Prediction.

    That of a detector that computes outside of JAX is called as it is.
    """
    return detector.predict if detector.outside else of_pictures(detector.predict)


def of_pictures(function: Callable) -> Callable:
    """`function`, whose last argument are images in [0, 1], compiled for uint8 ones; as `jit`.

    Where a mesh is in use, results of images that are split along "data" are split as they are.
    What it returns raises TypeError for images that are neither uint8 nor floats.
    """
    return jit(_of_uint8(function), free=True)


@functools.cache
def _of_uint8(function: Callable) -> Callable:
    return lambda *arguments: function(*arguments[:-1], pixels.unit(arguments[-1]))


def step(
    detector: Detector, cfg: Any, pretrained: PyTree, state: State, batch: Batch, key: Array
) -> tuple[State, dict[str, Array]]:
    """A detector's train step on a batch as it travels, to be compiled.

    Images arrive as uint8. The step's key is `key` folded with `state.step`, so a resumed run needs
    no stored key. Frozen features are computed here unless the batch brings them.

    Raises:
      ValueError: the batch lacks a stream, or the metrics lack "loss" or hold no scalars.
    """
    for stream in detector.streams(cfg):
        if stream.name not in batch:
            raise ValueError(
                f"{detector.name} wants the stream {stream.name!r}, but the batch has only "
                f"{', '.join(batch)}"
            )
    batch = dict(batch)
    if "features" in batch:  # kept in half precision
        batch["features"] = jax.tree.map(lambda x: x.astype(jnp.float32), batch["features"])
    else:
        batch["features"] = detector.embed(cfg, pretrained, batch["image"])
    key = jax.random.fold_in(key, state.step)
    moved, metrics = detector.train_step(cfg, pretrained, state, batch, key)
    if "loss" not in metrics:
        raise ValueError(
            f"{detector.name}.train_step returned the metrics {', '.join(metrics) or '{}'}: "
            "expected 'loss' among them"
        )
    if wrong := [name for name, value in metrics.items() if jnp.shape(value)]:
        raise ValueError(f"metrics of {detector.name} are no scalars: {', '.join(wrong)}")
    return moved, metrics


def step_memory(
    detector: Detector, cfg: Any, pretrained: PyTree, state: State, batch: Batch, key: Array
) -> Any:
    """What a train step needs beside its arguments, by the compiled program's own analysis."""
    one = functools.partial(step, detector, cfg)
    lowered = jax.jit(one, compiler_options=compiler_options()).lower(pretrained, state, batch, key)
    return lowered.compile().memory_analysis()


def enable_cache(folder: str | os.PathLike | None = None) -> None:
    """Keeps compiled programs on disk, for scripts.

    Args:
      folder: by default that of `JAX_COMPILATION_CACHE_DIR`, or else `~/.cache/jaxad`; the user's
        own, since it holds code that is run.
    """
    if folder is None and jax.config.values["jax_compilation_cache_dir"]:
        return
    path = pathlib.Path(folder or pathlib.Path.home() / ".cache" / "jaxad")
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        log.warning("compiled programs are not kept: %s cannot be made (%s)", path, error.strerror)
        return
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
