"""A random pool depends neither on order nor on slices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad.ops import pool as pools

PICTURES, CELLS, WIDTH, PLACES = 12, 6, 4, 20
merged = jax.jit(pools.merged)


@pytest.fixture(scope="module")
def stream():
    """Rows, priorities and tags by picture."""
    rows = np.random.default_rng(0).normal(size=(PICTURES, CELLS, WIDTH)).astype(np.float32)
    priorities = pools.priorities(jax.random.key(0), jnp.arange(PICTURES), CELLS)
    picture, cell = np.divmod(np.arange(PICTURES * CELLS), CELLS)
    tags = np.stack([picture, cell // 3, cell % 3], 1).reshape(PICTURES, CELLS, 3)
    return rows, np.asarray(priorities), tags


def flat(stream, pictures):
    """Those of some pictures, one after the other."""
    rows, priorities, tags = (x[list(pictures)] for x in stream)
    flattened = rows.reshape(-1, WIDTH), priorities.reshape(-1), tags.reshape(-1, 3)
    return [jnp.asarray(x) for x in flattened]


def pooled(stream, *slices, places=PLACES):
    pool = pools.empty(places, WIDTH, 3)
    for pictures in slices:
        pool = merged(pool, *flat(stream, pictures))
    return pool


def same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_the_rows_of_the_largest_priorities_are_kept_with_their_tags(stream):
    pool = pooled(stream, range(PICTURES))
    rows, priorities, tags = map(np.asarray, flat(stream, range(PICTURES)))
    kept = np.argsort(-priorities)[:PLACES]
    same(pool, pools.Pool(rows[kept], priorities[kept], tags[kept]))
    assert pools.count(pool) == PLACES
    picture, row, column = np.asarray(pool.tags).T
    np.testing.assert_array_equal(pool.rows, stream[0][picture, 3 * row + column])


def test_neither_order_nor_slices_matter(stream):
    whole = pooled(stream, range(PICTURES))
    same(pooled(stream, [5, 2], range(6, PICTURES), [0, 1, 3, 4]), whole)
    same(pooled(stream, *[[i, i - 1] for i in range(PICTURES - 1, 0, -2)]), whole)


def test_pools_of_parts_make_the_pool_of_the_whole(stream):
    whole = pooled(stream, range(PICTURES))
    one, other = pooled(stream, range(2)), pooled(stream, range(2, PICTURES))
    same(merged(one, *other), whole)
    same(merged(other, *one), whole)


def test_of_equal_priorities_those_of_smaller_tags_are_kept(stream):
    rows, priorities, tags = stream
    level = rows, np.floor(priorities * 2), tags  # two different ones
    whole = pooled(level, range(PICTURES))
    same(pooled(level, [5, 2], range(6, PICTURES), [0, 1, 3, 4]), whole)
    assert len(np.unique(whole.priorities)) == 1  # more rows than places have the larger one


def test_places_that_hold_no_row_come_last_and_are_empty(stream):
    pool = pooled(stream, [4, 7], places=30)
    assert pools.count(pool) == 2 * CELLS
    rows, priorities, tags = map(np.asarray, pool)
    assert np.isfinite(priorities[: 2 * CELLS]).all()
    assert (priorities[2 * CELLS :] == -np.inf).all()
    assert (rows[2 * CELLS :] == 0).all()
    assert (tags[2 * CELLS :] == pools.NOWHERE).all()
    assert pools.count(pools.empty(3, 2, 1)) == 0


def test_rows_of_the_lowest_priority_are_left_out_whatever_they_hold(stream):
    rows, priorities, tags = flat(stream, range(2))
    out = np.arange(2 * CELLS) % 3 == 0
    rows = jnp.asarray(np.where(out[:, None], np.nan, rows))
    priorities = jnp.asarray(np.where(out, -np.inf, priorities))
    pool = merged(pools.empty(PLACES, WIDTH, 3), rows, priorities, tags)
    assert pools.count(pool) == (~out).sum()
    assert np.isfinite(pool.rows).all()


def test_priorities_depend_on_the_number_of_a_picture_alone(stream):
    drawn = stream[1]
    some = pools.priorities(jax.random.key(0), jnp.asarray([5, 2]), CELLS)
    np.testing.assert_array_equal(some, drawn[[5, 2]])
    assert len(np.unique(drawn)) == drawn.size
    assert ((drawn >= 0) & (drawn < 1)).all()


def test_each_row_is_as_likely_to_be_kept(stream):
    rows, _, tags = flat(stream, range(PICTURES))

    def kept(key):
        drawn = pools.priorities(key, jnp.arange(PICTURES), CELLS).reshape(-1)
        pool = pools.merged(pools.empty(PLACES, WIDTH, 3), rows, drawn, tags)
        return jnp.zeros(len(rows)).at[pool.tags @ jnp.asarray([CELLS, 3, 1])].add(1)

    times = jax.jit(jax.vmap(kept))(jax.random.split(jax.random.key(1), 2000))
    expected = 2000 * PLACES / len(rows)
    assert np.abs(np.asarray(times).sum(0) - expected).max() < 5 * np.sqrt(expected)


def test_a_pool_of_half_precision_rounds_rows_once(stream):
    pool = pools.empty(PLACES, WIDTH, 3, jnp.float16)
    pool = merged(pool, *flat(stream, range(PICTURES)))
    assert pool.rows.dtype == jnp.float16
    whole = pooled(stream, range(PICTURES))
    np.testing.assert_array_equal(pool.rows, np.float16(whole.rows))


def test_vmap_keeps_a_pool_for_each_category(stream):
    parts = range(6), range(6, PICTURES)
    twice = lambda x, y: jnp.asarray(np.stack([x, y]))
    start = pools.empty(PLACES, WIDTH, 3)
    start = jax.tree.map(twice, start, start)
    both = jax.tree.map(twice, *(flat(stream, part) for part in parts))
    together = jax.jit(jax.vmap(pools.merged))(start, *both)
    for i, part in enumerate(parts):
        same(jax.tree.map(lambda x: np.asarray(x)[i], together), pooled(stream, part))  # noqa: B023
