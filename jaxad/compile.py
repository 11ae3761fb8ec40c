"""The one place where functions are compiled, and where the backend decides how.

On a CPU, many steps are a host loop over one compiled step: a network inside a loop primitive runs
100 times slower there. On an accelerator they are one scan. Many members of a sweep are, on a CPU,
calls of that one step, since `vmap` over the weights of convolutions makes grouped convolutions,
three times slower; on an accelerator they are a `vmap`. Nobody else asks which backend it is.
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
from jaxad.members import apart, nth, stack

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
    batches: Sequence[dict[str, PyTree]],
    key: Array,
) -> tuple[State, dict[str, Array]]:
    """As many train steps as there are batches; metrics stay on the device, stacked."""
    if jax.default_backend() == "cpu":
        metrics = []
        for batch in batches:
            state, values = train_step(detector)(cfg, pretrained, state, batch, key)
            metrics.append(values)
        return state, jax.tree.map(lambda *x: jnp.stack(x), *metrics)
    return _scanned_steps(detector)(cfg, pretrained, state, _on_host(batches), key)


def step_memory(
    detector: Detector, cfg: Any, pretrained: PyTree, state: State, batch: dict, key: Array
) -> Any:
    """What a train step needs beside its arguments, by the compiled program's own analysis."""
    step = jit(functools.partial(_step(detector), cfg))
    return step.lower(pretrained, state, batch, key).compile().memory_analysis()


def steps_of_many(
    detector: Detector,
    configs: Sequence[Any],
    pretrained: PyTree,
    states: State,
    batches: Sequence[Sequence[dict[str, PyTree]]],
    keys: Sequence[Array],
) -> tuple[State, dict[str, Array]]:
    """As `steps`, for many members at once. How they run changes the cost, never the meaning.

    Args:
      detector: the method of all.
      configs: of each member; static settings equal.
      pretrained: one for all.
      states: stacked; donated on an accelerator.
      batches: for each step, one batch for each member: the same object for those that share it.
      keys: of each member.

    Returns:
      the states, stacked, and the metrics by step and member.
    """
    if jax.default_backend() == "cpu":
        members = zip(configs, apart(states, len(configs)), keys, strict=True)
        done = [
            steps(detector, cfg, pretrained, state, [batch[i] for batch in batches], key)
            for i, (cfg, state, key) in enumerate(members)
        ]
        moved, metrics = zip(*done, strict=True)
        return stack(moved), jax.tree.map(lambda *x: jnp.stack(x, 1), *metrics)
    shared = all(batch is several[0] for several in batches for batch in several)
    batches = [several[0] if shared else _on_host(several) for several in batches]
    step = steps_by_vmap(detector, shared)
    return step(stack(configs), pretrained, states, _on_host(batches), jnp.stack(list(keys)))


@functools.cache
def steps_by_vmap(detector: Detector, shared: bool) -> Callable:
    """A compiled scan over vmapped train steps: what `steps_of_many` is on an accelerator.

    Args:
      detector: the method of all members.
      shared: whether all have the same batches, which then lack the axis of members.

    Returns:
      (stacked configs, pretrained, stacked states, batches by step, keys) -> (states, metrics).
    """
    step = jax.vmap(_step(detector), (0, None, 0, None if shared else 0, 0))

    def scan(configs, pretrained, states, batches, keys):
        return jax.lax.scan(lambda s, b: step(configs, pretrained, s, b, keys), states, batches)

    return jit(scan, donate_argnums=2)


def each(function: Callable, in_axes: int | Sequence[int | None] = 0) -> Callable:
    """`jax.vmap(function, in_axes)` within one program, executed as is fast on this backend.

    On a CPU the members are unrolled: of convolutions with a kernel for each member that is three
    times faster.

    Args:
      function: (*arguments) -> pytree of arrays.
      in_axes: as `jax.vmap`'s, for each argument 0 or None.
    """
    if jax.default_backend() != "cpu":
        return jax.vmap(function, in_axes)

    def unrolled(*arguments: PyTree) -> PyTree:
        axes = in_axes if isinstance(in_axes, Sequence) else [in_axes] * len(arguments)
        mapped = [x for x, axis in zip(arguments, axes, strict=True) if axis is not None]
        count = len(jax.tree.leaves(mapped)[0])
        rows = [
            [x if axis is None else nth(x, i) for x, axis in zip(arguments, axes, strict=True)]
            for i in range(count)
        ]
        return stack([function(*row) for row in rows])

    return unrolled


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


def _on_host(trees: Sequence[PyTree]) -> PyTree:
    return jax.tree.map(lambda *x: np.stack(x), *trees)


def _step(detector: Detector) -> Callable:
    def step(cfg, pretrained, state, batch, key):
        batch = unit(batch)
        if "features" in batch:  # kept in half precision
            batch["features"] = jax.tree.map(lambda x: x.astype(jnp.float32), batch["features"])
        else:
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
