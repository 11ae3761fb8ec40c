"""Where arrays lie on the mesh in use: rules for what is learned, batches along "data"."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Int, PyTree

from jaxad.mesh import hosts
from jaxad.mesh.axes import current


class Rule(NamedTuple):
    """Arrays of so many bytes are split along an axis, if the mesh has it.

    Attributes:
      axis: of the mesh.
      least: bytes of one array.
    """

    axis: str
    least: int


# The first that fits holds; what none fits lies on every device in full. Along "model" is what the
# user asks for by naming that axis. Along "data" a parameter is put together anew in each step:
# worth it where copies would not fit. No network here, as it is published, has one of 64 MiB.
RULES = (Rule("model", 2**20), Rule("data", 2**26))
LEARNED = ("params", "opt")  # the fields of a state that rules hold for
SETS = ("member", "data")  # what pictures are split along where no members are trained


def shardings(tree: PyTree, mesh: Mesh | None = None) -> PyTree:
    """Where each array of a state, or of stacked ones, or of any other tree lies.

    Args:
      tree: arrays or their shapes. Rules hold below fields named `LEARNED`; all else lies on every
        device in full.
      mesh: by default the one in use.

    Raises:
      ValueError: no mesh is in use.
    """
    mesh = current() if mesh is None else mesh
    if mesh is None:
        raise ValueError("no mesh is in use: call it within mesh.use(...)")

    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    return jax.tree.unflatten(structure, [_where(path, x, RULES, mesh) for path, x in leaves])


def _where(path: Any, x: Any, rules: Sequence[Rule], mesh: Mesh) -> NamedSharding:
    learned = any(getattr(key, "name", None) in LEARNED for key in path)
    return NamedSharding(mesh, by_rules(x, rules, mesh.shape) if learned else P())


def by_rules(x: Any, rules: Sequence[Rule], shape: Mapping[str, int]) -> P:
    """The split of one array on a mesh of such a shape, by the first rule that fits.

    Its last axis that divides is split.
    """
    size = int(np.prod(x.shape)) * x.dtype.itemsize
    for axis, least in rules:
        parts = shape.get(axis, 1)
        if parts == 1 or size < least:
            continue
        for place in reversed(range(len(x.shape))):
            if x.shape[place] % parts == 0:
                return P(*[None] * place, axis)
    return P()


def constrained(tree: PyTree, mesh: Mesh | None) -> PyTree:
    """Within a program: results, told to lie where `shardings` says."""
    if mesh is None:
        return tree
    return jax.lax.with_sharding_constraint(tree, shardings(tree, mesh=mesh))


def placed(tree: PyTree, member: bool = False) -> PyTree:
    """A tree that lies where `shardings` says; as it is where no mesh is in use.

    Args:
      tree: arrays, the same on all hosts.
      member: whether the first axis is that of members of a sweep, which is split along "member".
    """
    mesh = current()
    if mesh is None:
        return tree
    own = NamedSharding(mesh, members(mesh))
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    put = [_put(x, own if member else _where(path, x, RULES, mesh)) for path, x in leaves]
    return jax.tree.unflatten(structure, put)


def put(tree: PyTree, member: bool = False) -> PyTree:
    """As `placed`; where no mesh is in use, on the device that computes."""
    return jax.device_put(tree) if current() is None else placed(tree, member)


def of_members(x: jax.ShapeDtypeStruct) -> Any:
    """Where many members' arrays of one kind lie, stacked, given one member's."""
    mesh = current()
    return x.sharding if mesh is None else NamedSharding(mesh, members(mesh))


def members(mesh: Mesh) -> P:
    """The split of a first axis of members."""
    return P("member") if "member" in mesh.shape else P()


def batch(
    tree: PyTree, lead: Sequence[str | None] = (), along: Sequence[str] = ("data",)
) -> PyTree:
    """Parts of a batch that each host has read, as arrays over all devices; see `rows`.

    Args:
      tree: arrays whose axis of pictures comes after those of `lead`.
      lead: the axes before it: what each is split along, if anything; every host has them whole.
      along: what the pictures are split along, of the axes that the mesh has.
    """
    mesh = current()
    if mesh is None:
        return tree
    first = [axis if axis in mesh.shape else None for axis in lead]
    where = NamedSharding(mesh, P(*first, _there(along, mesh)))
    return jax.tree.map(lambda x: _joined(x, where, len(lead), along), tree)


def spread(images: Any, mesh: Mesh | None) -> Any:
    """Images that every host has, split over all devices of a mesh; see `divisible`."""
    if mesh is None:
        return images
    where = NamedSharding(mesh, P(_there(SETS, mesh)))
    return jax.make_array_from_callback(images.shape, where, lambda place: images[place])


def divisible(count: int) -> int:
    """So many pictures, or a few more, that split evenly over all devices."""
    return -(-count // parts()) * parts()


def parts(along: Sequence[str] = SETS) -> int:
    """Over how many parts of the mesh in use pictures are split."""
    mesh = current()
    return 1 if mesh is None else int(np.prod([mesh.shape.get(axis, 1) for axis in along]))


def _there(along: Sequence[str], mesh: Mesh) -> tuple[str, ...]:
    return tuple(axis for axis in along if axis in mesh.shape)


def rows(batch_size: int, along: Sequence[str] = ("data",)) -> Int[np.ndarray, "n"]:
    """Which pictures of a batch this host has to read, in rising order; `along` as for `batch`."""
    mesh = current()
    if mesh is None or hosts.count() == 1:
        return np.arange(batch_size)
    where = NamedSharding(mesh, P(_there(along, mesh)))
    several = where.addressable_devices_indices_map((batch_size,)).values()
    spans = {(place or (slice(None),))[0].indices(batch_size)[:2] for place in several}
    return np.concatenate([np.arange(*span) for span in sorted(spans)])


def fetched(tree: PyTree) -> PyTree:
    """The whole of each array in this host's memory, also of those that lie on several hosts."""

    def one(x: Any) -> Any:
        if isinstance(x, jax.Array) and not (x.is_fully_addressable or x.is_fully_replicated):
            return multihost_utils.process_allgather(x, tiled=True)
        return jax.device_get(x)

    return jax.tree.map(one, tree)


def _put(x: Any, where: NamedSharding) -> Any:
    if isinstance(x, bool | int | float):  # of settings
        return x
    if isinstance(x, jax.Array) and x.sharding.is_equivalent_to(where, x.ndim):
        return x
    if hosts.count() == 1:
        return jax.device_put(x, where)
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
        return jax.jit(lambda x: x, out_shardings=where)(x)
    if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        kind = jax.random.key_impl(x)
        return jax.random.wrap_key_data(_put(jax.random.key_data(x), where), impl=kind)
    there = np.asarray(x)
    return jax.make_array_from_callback(there.shape, where, lambda place: there[place])


def _joined(x: Any, where: NamedSharding, axis: int, along: Sequence[str]) -> Any:
    if isinstance(x, jax.Array) and x.sharding.is_equivalent_to(where, x.ndim):
        return x
    there, blocks = np.asarray(x), parts(along)
    # Along the axis of pictures a host has its own rows, along all others everything.
    count = there.shape[axis] * blocks // len(rows(blocks, along))
    own = rows(count, along)

    def block(place: Any) -> np.ndarray:
        start, stop, _ = place[axis].indices(count)
        at = int(np.searchsorted(own, start))
        return there[(*place[:axis], slice(at, at + stop - start), *place[axis + 1 :])]

    shape = (*there.shape[:axis], count, *there.shape[axis + 1 :])
    return jax.make_array_from_callback(shape, where, block)
