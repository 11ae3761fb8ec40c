"""Exact quantiles over a set of pictures, of which one slice is in memory at a time."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt32

from jaxad import mesh
from jaxad.compile.programs import jit
from jaxad.compile.sets import slices
from jaxad.detector import Pictures, Scalar
from jaxad.ops import quantile

HALF = 2**16  # values of half a pattern of bits
KEPT = 2**28  # bytes of values that are kept between the passes instead of being computed again


def quantiles(
    function: Callable, arguments: tuple, pictures: Pictures, levels: Sequence[Scalar]
) -> Float[Array, "k Q"]:
    """Quantiles of all that `function(*arguments, images)` gives over a set, as one array's.

    The same numbers as `ops.quantile` of the whole, which is never put together. Two passes count:
    the first one the upper halves of the numbers' patterns of bits, the second one the lower halves
    of those whose upper half a quantile has. Counts of devices are added.

    Args:
      function: of a module, not a closure; returns float32 `B k *P`, of which each of the k has
        quantiles of its own.
      arguments: before the images.
      pictures: uint8.
      levels: of the quantiles, in [0, 1].

    Raises:
      ValueError: there are no pictures.
    """
    parts = _Parts(function, arguments, pictures)
    upper = _added(jit(_upper)(part) for part in parts)  # k HALF
    places = [[_position(int(row.sum()), level) for level in levels] for row in upper]
    # The number at a quantile's place, and the one after it.
    ranks = [[(k, k + (fraction > 0)) for k, fraction in row] for row in places]
    halves = np.array(
        [[[_find(row, k) for k in pair] for pair in pairs]
         for row, pairs in zip(upper, ranks, strict=True)]
    )  # fmt: skip
    wanted = jnp.asarray(halves[..., 0].reshape(len(upper), -1), jnp.uint32)
    lower = _added(jit(_lower)(part, wanted) for part in parts).reshape(*halves.shape[:3], HALF)
    keys = halves[..., 0] * HALF
    # The wanted halves are in the order of kinds, quantiles, and ends.
    for place in np.ndindex(*keys.shape):
        keys[place] += _find(lower[place], int(halves[place][1]))[0]
    ends = quantile.from_keys(jnp.asarray(keys, jnp.uint32))
    fractions = jnp.asarray([[fraction for _, fraction in row] for row in places], jnp.float32)
    found = jit(quantile.between)(ends[..., 0], ends[..., 1], fractions)
    return jnp.where(parts.has_nan[:, None], jnp.nan, found)


class _Parts:
    """The values of a set, slice by slice, twice; kept in between if they are few."""

    def __init__(self, function: Callable, arguments: tuple, pictures: Pictures) -> None:
        self._function, self._arguments, self._pictures = function, arguments, pictures
        self._kept: list[Array] | None = None
        self.has_nan: Array = jnp.zeros((), bool)

    def __iter__(self) -> Iterator[Array]:
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[Array] | None = []
        size = 0
        for part in slices(self._function, self._arguments, self._pictures):
            self.has_nan = self.has_nan | jit(_nan)(part)
            yield part
            size += part.nbytes
            if kept is not None and size <= KEPT:
                kept.append(part)
            else:
                kept = None
        self._kept = kept


def _nan(part: Float[Array, "B k *P"]) -> Array:
    return jnp.isnan(part).any(tuple(i for i in range(part.ndim) if i != 1))


def _keys(part: Float[Array, "B k *P"]) -> UInt32[Array, "k N"]:
    return quantile.keys(jnp.moveaxis(part, 1, 0).reshape(part.shape[1], -1))


def _upper(part: Float[Array, "B k *P"]) -> Int[Array, "k 65536"]:
    """How many numbers have each upper half."""
    return jax.vmap(_counted)(_keys(part) >> 16)


def _counted(halves: UInt32[Array, "N"]) -> Int[Array, "65536"]:
    return jnp.zeros(HALF, jnp.int32).at[halves].add(1)


def _lower(part: Float[Array, "B k *P"], wanted: UInt32[Array, "k W"]) -> Int[Array, "k W 65536"]:
    """Of the numbers with each wanted upper half, how many have each lower half."""

    def one(keys: UInt32[Array, "N"], half: UInt32[Array, ""]) -> Int[Array, "65536"]:
        counts = (keys >> 16 == half).astype(jnp.int32)
        return jnp.zeros(HALF, jnp.int32).at[keys & (HALF - 1)].add(counts)

    return jax.vmap(jax.vmap(one, (None, 0)))(_keys(part), wanted)


def _added(counts: Iterable[Array]) -> Int[np.ndarray, "*shape"]:
    """In 64 bits: a set may have more numbers than 32 can count."""
    total: np.ndarray | int = 0
    for some in counts:
        total = total + np.asarray(mesh.fetched(some), np.int64)
    return np.asarray(total)


def _position(count: int, level: Scalar) -> tuple[int, float]:
    """(count - 1) level as whole part and fraction, as `quantile.position`, for any count."""
    bits = quantile.FRACTION_BITS
    product = (count - 1) * int(np.round(np.float64(np.float32(level)) * 2**bits))
    return product >> bits, (product & (2**bits - 1)) / 2**bits


def _find(counts: Int[np.ndarray, "65536"], rank: int) -> tuple[int, int]:
    """Which half the number of a rank has, and its rank among those that have it."""
    reached = np.cumsum(counts)
    half = int(np.searchsorted(reached, rank, "right"))
    return half, int(rank - reached[half] + counts[half])
