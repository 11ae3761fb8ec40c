"""How many steps, and many members of a sweep, run: one way for CPUs, one for accelerators."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from jaxad import mesh
from jaxad.compile import split
from jaxad.compile.members import apart, together
from jaxad.compile.programs import Batch, jit, step, train_step
from jaxad.detector import Detector, State
from jaxad.ops.stacked import nth, stack, stack_on_host


class Executor(NamedTuple):
    """How many steps and many members run on a kind of backend: the cost differs, not the meaning.

    Attributes:
      steps: (detector, cfg, pretrained, state, batches, key) -> (state, metrics by step).
      steps_of_many: (detector, configs, pretrained, stacked states, batches by step and member,
        keys) -> (stacked states, metrics by step and member).
      each: (function, in_axes) -> `jax.vmap(function, in_axes)` within one program.
    """

    steps: Callable
    steps_of_many: Callable
    each: Callable


def executor() -> Executor:
    """That of the default backend."""
    return IN_TURNS if jax.default_backend() == "cpu" else TOGETHER


def steps(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    state: State,
    batches: Iterable[Batch],
    key: Array,
) -> tuple[State, dict[str, Array]]:
    """As many train steps as there are batches; metrics stay on the device, stacked."""
    return executor().steps(detector, cfg, pretrained, state, batches, key)


def steps_of_many(
    detector: Detector,
    configs: Sequence[Any],
    pretrained: PyTree,
    states: State,
    batches: Iterable[Sequence[Batch]],
    keys: Sequence[Array],
) -> tuple[State, dict[str, Array]]:
    """As `steps`, for many members at once.

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
    return executor().steps_of_many(detector, configs, pretrained, states, batches, keys)


def each(function: Callable, in_axes: int | Sequence[int | None] = 0) -> Callable:
    """`jax.vmap(function, in_axes)` within one program, executed as is fast on this backend.

    Args:
      function: (*arguments) -> pytree of arrays.
      in_axes: as `jax.vmap`'s, for each argument 0 or None.
    """
    return executor().each(function, in_axes)


def _steps_in_turns(detector, cfg, pretrained, state, batches, key):
    metrics = []
    pretrained, state, key = mesh.placed((pretrained, state, key))
    for batch in batches:
        state, found = train_step(detector)(cfg, pretrained, state, mesh.batch(batch), key)
        metrics.append(found)
    return state, jax.tree.map(lambda *x: jnp.stack(x), *metrics)


def _members_in_turns(detector, configs, pretrained, states, batches, keys):
    batches = list(batches)
    if mesh.size("member") > 1:
        return split.in_turns(detector, configs, pretrained, states, batches, keys)
    done = [
        _steps_in_turns(detector, cfg, pretrained, state, [several[i] for several in batches], key)
        for i, (cfg, state, key) in enumerate(
            zip(configs, apart(states, len(configs)), keys, strict=True)
        )
    ]
    moved, metrics = zip(*done, strict=True)
    return together(moved), jax.tree.map(lambda *x: jnp.stack(x, 1), *metrics)


def _unrolled(function: Callable, in_axes: int | Sequence[int | None]) -> Callable:
    def unrolled(*arguments: PyTree) -> PyTree:
        axes = in_axes if isinstance(in_axes, Sequence) else [in_axes] * len(arguments)
        mapped = [x for x, axis in zip(arguments, axes, strict=True) if axis is not None]
        rows = [
            [x if axis is None else nth(x, i) for x, axis in zip(arguments, axes, strict=True)]
            for i in range(len(jax.tree.leaves(mapped)[0]))
        ]
        return stack([function(*row) for row in rows])

    return unrolled


def _steps_scanned(detector, cfg, pretrained, state, batches, key):
    pretrained, state, key = mesh.placed((pretrained, state, key))
    batches = mesh.batch(stack_on_host(list(batches)), lead=[None])
    return jit(_scan(detector), donate=2)(cfg, pretrained, state, batches, key)


def _members_vmapped(detector, configs, pretrained, states, batches, keys):
    batches = list(batches)
    if mesh.size("member") > 1:
        return split.together(detector, configs, pretrained, states, batches, keys)
    shared = all(batch is several[0] for several in batches for batch in several)
    batches = [several[0] if shared else stack_on_host(several) for several in batches]
    batches = mesh.batch(stack_on_host(batches), lead=[None] if shared else [None, None])
    pretrained, states, keys = mesh.placed((pretrained, states, jnp.stack(list(keys))))
    arguments = stack(configs), pretrained, states, batches, keys
    return jit(split.scan_of_many(detector, shared), donate=2)(*arguments)


@functools.cache
def _scan(detector: Detector) -> Callable:
    def scan(cfg, pretrained, state, batches, key):
        one = lambda state, batch: step(detector, cfg, pretrained, state, batch, key)
        return jax.lax.scan(one, state, batches)

    return scan


# On a CPU a network inside a loop primitive runs 100 times slower than called from the host, and
# `vmap` over the weights of convolutions makes grouped ones, three times slower than one by one.
IN_TURNS = Executor(_steps_in_turns, _members_in_turns, _unrolled)
TOGETHER = Executor(_steps_scanned, _members_vmapped, jax.vmap)
