"""Exact nearest neighbours of vectors in a bank of rows.

|q - m|^2 = |q|^2 + |m|^2 - 2 q m: a matrix product, of which only a tile is in memory at a time.
The rows' mean is taken off rows and queries first. No distance changes, and products of smaller
numbers round less: on features of a network the rounding is a third of what it was.

What is left of it: a squared distance is off by a few millionths of |q - mean|^2 in float32. A
query that is itself a row may so be found a thousandth of its length away from it.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

ROOM = 2**22  # numbers in a tile of the product, 16 MB in float32
USUAL = 1024  # queries, where a program is made for any number of them
EXACT = jax.lax.Precision.HIGHEST  # float32 products in float32 on every device


class Bank(NamedTuple):
    """Rows to search, of which only the first `count` are there; `bank` makes one."""

    rows: Float[Array, "M D"]  # less `centre`; 0 where no row is
    squares: Float[Array, "M"]  # of a row's length; +inf where no row is, so that it is never near
    centre: Float[Array, "D"]  # the rows' mean
    count: Int[Array, ""]


def bank(
    rows: Float[Array, "M D"], count: Int[Array, ""] | int | None = None, dtype: Any = None
) -> Bank:
    """A bank of the first `count` rows.

    Args:
      rows: what lies beyond `count` is ignored, even NaN.
      count: how many there are, 0 to M; None for all.
      dtype: in which rows are kept, less their mean; None for that of `rows`. In float16 or
        bfloat16 each is rounded, and distances are exact to what was kept.

    Raises:
      ValueError: there is no place for a single row.
    """
    if len(rows) == 0:
        raise ValueError("a bank needs a place for at least one row")
    count = jnp.asarray(len(rows) if count is None else count, jnp.int32)
    there = jnp.arange(len(rows)) < count
    wide = jnp.where(there[:, None], rows, 0).astype(jnp.promote_types(rows.dtype, jnp.float32))
    centre = wide.sum(0) / jnp.maximum(count, 1)
    centred = jnp.where(there[:, None], wide - centre[None], 0)
    return kept(centred.astype(dtype or rows.dtype), centre, count)


def kept(rows: Float[Array, "M D"], centre: Float[Array, "D"], count: Int[Array, ""]) -> Bank:
    """The bank that `bank` made, from what of it was kept: the squares are computed again."""
    there = jnp.arange(len(rows)) < count
    return Bank(rows, jnp.where(there, _squares(rows), jnp.inf), centre, count)


def rows_at(bank: Bank, indexes: Int[Array, "*Q"]) -> Float[Array, "*Q D"]:
    """Rows of a bank as they were given, but for rounding; the mean where no row is."""
    rows = bank.rows[indexes]
    return rows + jnp.broadcast_to(bank.centre, rows.shape)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def nearest(
    bank: Bank,
    queries: Float[Array, "Q D"],
    room: int = ROOM,
    precision: jax.lax.Precision = EXACT,
) -> Float[Array, "Q"]:
    """The squared distance of each query to the row nearest to it; +inf in an empty bank.

    Its gradient is that of the distance to this row, by the queries alone: 2 (q - m).

    Args:
      bank: of half precision or not.
      queries: any number of them. Those of half precision are multiplied with a bank of the same
        type in that type, all others in float32; sums are in float32.
      room: how many numbers of the product are held at once; never less than D for each query.
      precision: of float32 products. A lower one than the default changes nothing on a CPU. Where
        it means TF32, distances are off by 3e-4 of themselves, where it means bfloat16, by 3e-3.
    """
    queries, squares = _centred(bank, queries)
    size, used = _tiles(bank, queries.shape[0], room)

    def closer(i, least):
        start = jnp.minimum(i * size, len(bank.rows) - size)  # the last one overlaps
        return jnp.minimum(least, _offsets(bank, queries, start, size, precision).min(1))

    nothing = jnp.full(queries.shape[0], jnp.inf, _kind(bank, queries))
    return jnp.maximum(squares + jax.lax.fori_loop(0, used, closer, nothing), 0)


# Through the loop it would keep every tile of the product, and could not be taken backwards where
# the number of tiles is known only while it runs.
@nearest.defjvp
def _nearest_jvp(room, precision, primals, tangents):
    (bank, queries), (_, moved) = primals, tangents
    rows = nearest_rows(bank, jax.lax.stop_gradient(queries), room, precision)
    apart = queries - rows_at(bank, rows).astype(queries.dtype)
    squares = nearest(bank, queries, room, precision)
    return squares, (2 * (apart * moved).sum(1)).astype(squares.dtype)


def nearest_rows(
    bank: Bank,
    queries: Float[Array, "Q D"],
    room: int = ROOM,
    precision: jax.lax.Precision = EXACT,
) -> Int[Array, "Q"]:
    """Which row is nearest to each query: the first of several; 0 in an empty bank.

    For few queries: on a CPU it takes three times as long as their distances.
    """
    return k_nearest(bank, queries, 1, room, precision)[1][:, 0]


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4))
def k_nearest(
    bank: Bank,
    queries: Float[Array, "Q D"],
    k: int,
    room: int = ROOM,
    precision: jax.lax.Precision = EXACT,
) -> tuple[Float[Array, "Q k"], Int[Array, "Q k"]]:
    """Squared distances of each query to the `k` rows nearest to it, ascending, and which they are.

    Of rows at the same distance the first comes first. Where the bank has fewer than `k` rows, the
    distances that remain are +inf and their indexes 0. Arguments and gradients are those of
    `nearest`.
    """
    queries, squares = _centred(bank, queries)
    size, used = _tiles(bank, queries.shape[0], room)

    def closer(i, found):
        start = jnp.minimum(i * size, len(bank.rows) - size)
        index = (start + jnp.arange(size)).astype(jnp.int32)
        offsets = _offsets(bank, queries, start, size, precision)
        offsets = jnp.where(
            (index >= i * size)[None], offsets, jnp.inf
        )  # others have been looked at
        offsets = jnp.concatenate([found[0], offsets], 1)
        indexes = jnp.concatenate([found[1], jnp.broadcast_to(index, (queries.shape[0], size))], 1)
        negative, at = jax.lax.top_k(-offsets, k)  # stable: the first comes first
        return -negative, jnp.take_along_axis(indexes, at, 1)

    shape = (queries.shape[0], k)
    far = jnp.full(shape, jnp.inf, _kind(bank, queries))
    nothing = far, jnp.zeros(shape, jnp.int32)
    offsets, indexes = jax.lax.fori_loop(0, used, closer, nothing)
    return jnp.maximum(squares[:, None] + offsets, 0), indexes


@k_nearest.defjvp
def _k_nearest_jvp(k, room, precision, primals, tangents):
    (bank, queries), (_, moved) = primals, tangents
    squares, rows = k_nearest(bank, queries, k, room, precision)
    apart = queries[:, None] - rows_at(bank, rows).astype(queries.dtype)
    slopes = jnp.where(jnp.isfinite(squares), 2 * (apart * moved[:, None]).sum(2), 0)
    return (squares, rows), (slopes.astype(squares.dtype), np.zeros(rows.shape, jax.dtypes.float0))


def _squares(x: Float[Array, "N D"]) -> Float[Array, "N"]:
    """Squared lengths, in float32 at least."""
    return jnp.square(x.astype(jnp.promote_types(x.dtype, jnp.float32))).sum(1)


def _kind(bank: Bank, queries: Float[Array, "Q D"]) -> jnp.dtype:
    """In which numbers products are summed: float32, or float64 where either is."""
    return jnp.promote_types(queries.dtype, bank.squares.dtype)


def _centred(
    bank: Bank, queries: Float[Array, "Q D"]
) -> tuple[Float[Array, "Q D"], Float[Array, "Q"]]:
    """Queries less the bank's mean, and their squared lengths."""
    queries = (queries - bank.centre[None]).astype(queries.dtype)
    return queries, _squares(queries)


def _tiles(bank: Bank, queries: Any, room: int) -> tuple[int, Int[Array, ""] | int]:
    """How many rows are multiplied at once, and how often until all that are there have been.

    A tile has `room` numbers or, if that is more, as many as the queries themselves.
    """
    rows, width = bank.rows.shape
    if not isinstance(queries, int):  # symbolic, in an exported program
        queries = USUAL
    tiles = -(-rows // max(room // max(queries, 1), width))
    size = -(-rows // tiles)
    return size, 1 if tiles == 1 else -(-bank.count // size)


def _offsets(
    bank: Bank,
    queries: Float[Array, "Q D"],
    start: Int[Array, ""],
    size: int,
    precision: jax.lax.Precision,
) -> Float[Array, "Q T"]:
    """Squared distances to `size` rows less the queries' squares, which change no order."""
    rows = jax.lax.dynamic_slice_in_dim(bank.rows, start, size)
    squares = jax.lax.dynamic_slice_in_dim(bank.squares, start, size)
    kind = _kind(bank, queries)
    products = jnp.matmul(queries, rows.T, precision=precision, preferred_element_type=kind)
    return squares[None] - 2 * products
