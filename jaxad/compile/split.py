"""Members of a sweep split over the devices of a mesh: each device has its own, and steps them.

The split is manual (`jax.shard_map`): left to itself, XLA brings the grouped convolutions that
`jax.vmap` over weights makes together on every device. Within a member's part of the mesh, pictures
are split along "data" as those of a single run.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, PyTree

from jaxad import mesh
from jaxad.compile.programs import Batch, jit, step
from jaxad.detector import Detector, State
from jaxad.ops.stacked import stack, stack_on_host

OWN, ALL = P("member"), P()


def in_turns(
    detector: Detector,
    configs: Sequence[Any],
    pretrained: PyTree,
    states: State,
    batches: Sequence[Sequence[Batch]],
    keys: Sequence[Array],
) -> tuple[State, dict[str, Array]]:
    """As `compile.steps_of_many`: in each round, every device takes a step of its next member.

    The number of members divides by the mesh's axis "member".
    """
    configs, states, keys = _members(configs, states, keys)
    pretrained, metrics = mesh.placed(pretrained), []
    for several in batches:
        shared = _shared([several])
        batch = mesh.batch(several[0] if shared else stack_on_host(several), lead=_lead(shared))
        one = jit(_nth(detector, shared, _used()), donate=2, free=True)
        rounds = []
        for number in range(len(keys) // mesh.size("member")):
            states, found = one(configs, pretrained, states, batch, keys, jnp.int32(number))
            rounds.append(found)
        # A device's members lie one after the other.
        metrics.append(jax.tree.map(lambda *x: jnp.stack(x, 1).reshape(-1), *rounds))
    return states, jax.tree.map(lambda *x: jnp.stack(x), *metrics)


def together(
    detector: Detector,
    configs: Sequence[Any],
    pretrained: PyTree,
    states: State,
    batches: Sequence[Sequence[Batch]],
    keys: Sequence[Array],
) -> tuple[State, dict[str, Array]]:
    """As `compile.steps_of_many`: every device takes all steps of its members in one program."""
    shared = _shared(batches)
    batches = stack_on_host([one[0] if shared else stack_on_host(one) for one in batches])
    batches = mesh.batch(batches, lead=[None, *_lead(shared)])
    arguments = *_members(configs, states, keys), batches
    configs, states, keys, batches = arguments
    many = jit(_scan(detector, shared, _used()), donate=2, free=True)
    return many(configs, mesh.placed(pretrained), states, batches, keys)


@functools.cache
def scan_of_many(detector: Detector, shared: bool) -> Callable:
    """Many steps of many members, to be compiled.

    Args:
      detector: the method.
      shared: whether all members have the same batches, which then lack the members' axis.
    """
    axes = (0, None, 0, None if shared else 0, 0)
    many = jax.vmap(functools.partial(step, detector), axes)

    def scan(configs, pretrained, states, batches, keys):
        one = lambda states, batch: many(configs, pretrained, states, batch, keys)
        return jax.lax.scan(one, states, batches)

    return scan


@functools.cache
def _scan(detector: Detector, shared: bool, used: Mesh) -> Callable:
    scan = scan_of_many(detector, shared)
    batches = ALL if shared else P(None, "member")
    return _on_each(scan, (OWN, ALL, OWN, batches, OWN), P(None, "member"), used)


@functools.cache
def _nth(detector: Detector, shared: bool, used: Mesh) -> Callable:
    """A step of that member of each device's own which has a given number there."""

    def take(configs, pretrained, states, batch, keys, number):
        own = lambda tree: jax.tree.map(lambda x: x[number], tree)
        batch = batch if shared else own(batch)
        moved, found = step(detector, own(configs), pretrained, own(states), batch, own(keys))
        states = jax.tree.map(lambda x, new: x.at[number].set(new), states, moved)
        return states, jax.tree.map(lambda x: x[None], found)

    batch = ALL if shared else OWN
    return _on_each(take, (OWN, ALL, OWN, batch, OWN, ALL), OWN, used)


def _on_each(function: Callable, specs: tuple[P, ...], metrics: P, used: Mesh) -> Callable:
    """`function` of each device's own members; their metrics come together on all devices."""
    split = jax.shard_map(
        function, mesh=used, in_specs=specs, out_specs=(OWN, metrics), axis_names={"member"},
        check_vma=False,
    )  # fmt: skip

    def whole(*arguments: PyTree) -> tuple[State, dict[str, Array]]:
        states, found = split(*arguments)
        return states, jax.lax.with_sharding_constraint(found, NamedSharding(used, ALL))

    return whole


def _used() -> Mesh:
    used = mesh.current()
    assert used is not None
    return used


def _members(configs: Sequence[Any], states: State, keys: Sequence[Array]) -> tuple[Any, ...]:
    return mesh.placed((stack(configs), states, jnp.stack(list(keys))), member=True)


def _shared(batches: Sequence[Sequence[Batch]]) -> bool:
    return all(batch is several[0] for several in batches for batch in several)


def _lead(shared: bool) -> list[str | None]:
    return [] if shared else ["member"]
