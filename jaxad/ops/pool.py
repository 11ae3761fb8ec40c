"""A random sample of fixed size from a stream of rows.

Each row has a random priority, and the rows of the largest ones are kept. Which these are depends
neither on the order in which rows come nor on how many come at once, and two samples make one.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

NOWHERE = -1  # the tags of a place that holds no row


class Pool(NamedTuple):
    """The rows kept so far, by falling priority, in a memory of `P` places."""

    rows: Float[Array, "P D"]  # 0 in a place that holds none
    priorities: Float[Array, "P"]  # -inf in a place that holds none
    tags: Int[Array, "P T"]  # where each row comes from


def empty(places: int, width: int, tags: int, dtype: Any = jnp.float32) -> Pool:
    """A pool without rows.

    Args:
      places: P, how many rows it will hold at most.
      width: D, numbers in a row.
      tags: T, numbers that say where a row comes from: three for picture, row and column.
      dtype: in which rows are kept.
    """
    nothing = jnp.full(places, -jnp.inf, jnp.float32)
    return Pool(
        jnp.zeros((places, width), dtype), nothing, jnp.full((places, tags), NOWHERE, jnp.int32)
    )


def priorities(key: Key[Array, ""], pictures: Int[Array, "B"], rows: int) -> Float[Array, "B rows"]:
    """Priorities in [0, 1) of the rows of pictures, which depend on a picture's number alone.

    Args:
      key: the same for all pictures.
      pictures: their numbers in the set.
      rows: how many there are in each picture.
    """
    drawn = lambda picture: jax.random.uniform(jax.random.fold_in(key, picture), (rows,))
    return jax.vmap(drawn)(pictures)


def merged(
    pool: Pool,
    rows: Float[Array, "N D"],
    priorities: Float[Array, "N"],
    tags: Int[Array, "N T"],
) -> Pool:
    """A pool with further rows, or those of another pool, as far as they have the priority for it.

    Args:
      pool: what was kept so far.
      rows: rounded to the pool's type.
      priorities: -inf for rows that are to be left out, whatever they hold; never NaN.
      tags: where rows come from. Of rows with the same priority the one of smaller tags is kept,
        compared in order: no two rows may agree in both.
    """
    rows = jnp.concatenate([pool.rows, rows.astype(pool.rows.dtype)])
    priorities = jnp.concatenate([pool.priorities, priorities.astype(jnp.float32)])
    tags = jnp.concatenate([pool.tags, tags.astype(jnp.int32)])
    kept = jnp.lexsort((*tags.T[::-1], -priorities))[: len(pool.rows)]
    there = priorities[kept] > -jnp.inf
    return Pool(
        jnp.where(there[:, None], rows[kept], 0),
        priorities[kept],
        jnp.where(there[:, None], tags[kept], NOWHERE),
    )


def count(pool: Pool) -> Int[Array, ""]:
    """How many rows a pool holds; they come first."""
    return (pool.priorities > -jnp.inf).sum(dtype=jnp.int32)
