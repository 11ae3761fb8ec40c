"""Nearest neighbours by tiled products against slow loops in float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from weights_b import inputs

from jaxad.ops import neighbours

bank_of = jax.jit(neighbours.bank, static_argnames="dtype")
nearest = jax.jit(neighbours.nearest, static_argnames=("room", "precision"))
nearest_rows = jax.jit(neighbours.nearest_rows, static_argnames=("room", "precision"))
k_nearest = jax.jit(neighbours.k_nearest, static_argnames=("k", "room", "precision"))
SHAPES = [  # queries, places, rows, width, room
    (1, 1, 1, 3, 4), (7, 13, 13, 3, 21), (4, 17, 9, 5, 20), (3, 50, 7, 1, 6), (30, 20, 20, 4, 1),
    (0, 6, 4, 2, 8), (9, 64, 64, 8, 2**22), (2, 100, 33, 3, 14),
]  # fmt: skip


def drawn(queries, places, width, seed=0):
    """Queries and rows that are far from the origin, as features after a rectifier are."""
    rng = np.random.default_rng(seed)
    return 2 + rng.normal(size=(queries, width)), 2 + rng.normal(size=(places, width))


def squared(queries, rows):
    """All squared distances, by differences."""
    return np.square(np.float64(queries)[:, None] - np.float64(rows)[None]).sum(2)


def of_32(*arrays):
    return [jnp.asarray(array, jnp.float32) for array in arrays]


@pytest.mark.parametrize("shape", SHAPES)
def test_distances_are_those_of_a_slow_search(shape):
    queries, places, count, width, room = shape
    queries, rows = of_32(*drawn(queries, places, width))
    all_distances = squared(queries, rows[:count])
    bank = bank_of(rows, count)
    found = nearest(bank, queries, room=room)
    np.testing.assert_allclose(found, all_distances.min(1), rtol=1e-4, atol=1e-5)
    assert found.dtype == jnp.float32
    k = min(3, places)
    distances, indexes = k_nearest(bank, queries, k=k, room=room)
    expected = np.argsort(all_distances, 1)[:, :k]
    there = min(k, count)
    np.testing.assert_array_equal(indexes[:, :there], expected[:, :there])
    sorted_distances = np.take_along_axis(all_distances, expected[:, :there], 1)
    np.testing.assert_allclose(distances[:, :there], sorted_distances, rtol=1e-4, atol=1e-5)
    assert (np.asarray(distances[:, there:]) == np.inf).all()


@pytest.mark.parametrize("room", [1, 40])
def test_places_beyond_the_count_are_ignored_whatever_they_hold(room):
    queries, rows = of_32(*drawn(6, 21, 4))
    bank = bank_of(rows.at[8:].set(jnp.nan), 8)
    assert np.isfinite(bank.rows).all()
    np.testing.assert_allclose(neighbours.rows_at(bank, jnp.asarray([8, 20]))[1], bank.centre)
    found = nearest(bank, queries, room=room)
    np.testing.assert_array_equal(found, nearest(bank_of(rows, 8), queries, room=room))
    np.testing.assert_allclose(found, squared(queries, rows[:8]).min(1), rtol=1e-5)
    assert (k_nearest(bank, queries, k=8, room=room)[1] < 8).all()


@pytest.mark.parametrize("room", [1, 40])
def test_an_empty_bank_is_infinitely_far(room):
    queries, rows = of_32(*drawn(6, 21, 4))
    bank = bank_of(rows * jnp.nan, 0)
    assert (nearest(bank, queries, room=room) == np.inf).all()
    distances, indexes = k_nearest(bank, queries, k=2, room=room)
    assert (distances == np.inf).all()
    assert (indexes == 0).all()


def test_a_bank_is_made_again_from_what_was_kept_of_it():
    _, rows = of_32(*drawn(0, 21, 4))
    bank = bank_of(rows, 8)
    again = neighbours.kept(bank.rows, bank.centre, bank.count)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), again, bank)


def test_a_bank_without_places_is_an_error():
    with pytest.raises(ValueError, match="at least one row"):
        neighbours.bank(jnp.zeros((0, 3)))


def test_neighbours_beyond_the_count_are_infinitely_far():
    queries, rows = of_32(*drawn(6, 21, 4))
    bank = bank_of(rows, 2)
    distances, indexes = k_nearest(bank, queries, k=30, room=40)
    assert np.isfinite(distances[:, :2]).all()
    assert (distances[:, 2:] == np.inf).all()
    assert (indexes[:, 2:] == 0).all()


def test_of_equal_rows_the_first_is_nearest():
    rows = jnp.asarray([[4.0, 0], [1, 0], [-4, 0], [1, 0], [-1, 0], [1, 0], [-2, 0]])
    bank = bank_of(rows)
    for room in (2, 4, 100):  # tiles of two, four and all rows
        distances, indexes = k_nearest(bank, jnp.asarray([[1.0, 0]]), k=4, room=room)
        np.testing.assert_array_equal(indexes, [[1, 3, 5, 4]])
        np.testing.assert_array_equal(distances, [[0, 0, 0, 4]])


def test_no_distance_is_negative_and_that_of_a_row_to_itself_is_rounding():
    _, rows = of_32(*drawn(0, 300, 64))
    bank = bank_of(rows)
    found = np.asarray(nearest(bank, rows))
    assert (found >= 0).all()
    assert (found <= 32 * np.finfo(np.float32).eps * bank.squares).all()


def test_the_mean_taken_off_first_keeps_digits():
    queries, rows = drawn(50, 80, 16)
    queries, rows = of_32(1000 + queries, 1000 + rows)
    expected = squared(queries, rows).min(1)
    found = nearest(bank_of(rows), queries)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    off = neighbours.Bank(rows, jnp.square(rows).sum(1), jnp.zeros(16), jnp.int32(80))
    assert np.abs(nearest(off, queries) / expected - 1).max() > 0.01


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_distances_in_a_bank_of_half_precision_are_exact_to_the_rows_it_keeps(dtype):
    queries, rows = of_32(*drawn(40, 90, 16))
    bank = bank_of(rows, dtype=dtype)
    assert bank.rows.dtype == dtype
    kept = np.float64(bank.rows) + np.float64(bank.centre)
    np.testing.assert_allclose(neighbours.rows_at(bank, jnp.arange(90)), kept, rtol=1e-6)
    np.testing.assert_allclose(kept, rows, atol=0.02)
    found = nearest(bank, queries, room=300)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, squared(queries, kept).min(1), rtol=1e-4)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_queries_of_half_precision_are_summed_in_float32(dtype):
    queries, rows = of_32(*drawn(40, 90, 600))
    bank, queries = bank_of(rows, dtype=dtype), queries.astype(dtype)
    found = nearest(bank, queries)
    assert found.dtype == jnp.float32
    centred = (np.float32(queries) - np.asarray(bank.centre)).astype(dtype)
    np.testing.assert_allclose(found, squared(centred, bank.rows).min(1), rtol=1e-5)
    np.testing.assert_allclose(found, squared(queries, rows).min(1), rtol=0.01)


def test_vmap_searches_a_bank_for_each_category():
    queries, rows = of_32(*drawn(3 * 7, 3 * 20, 5))
    queries, rows = queries.reshape(3, 7, 5), rows.reshape(3, 20, 5)
    counts = jnp.asarray([20, 3, 11])
    banks = jax.vmap(bank_of)(rows, counts)
    for room in (30, 2**22):
        found = jax.vmap(partial(neighbours.nearest, room=room))(banks, queries)
        several = jax.vmap(partial(neighbours.k_nearest, k=2, room=room))(banks, queries)
        for i, count in enumerate(counts):
            expected = np.sort(squared(queries[i], rows[i, :count]), 1)
            np.testing.assert_allclose(found[i], expected[:, 0], rtol=1e-4)
            np.testing.assert_allclose(several[0][i], expected[:, :2], rtol=1e-4)


def test_both_are_computed_in_float64_where_they_are_given_so():
    with jax.enable_x64(True):
        queries, rows = map(jnp.asarray, drawn(20, 50, 8))
        for room in (60, 2**22):
            found = nearest(bank_of(rows), queries, room=room)
            assert found.dtype == jnp.float64
            np.testing.assert_allclose(found, squared(queries, rows).min(1), rtol=1e-12)
            mixed = nearest(bank_of(rows), queries.astype(jnp.float32), room=room)
            np.testing.assert_allclose(mixed, found, rtol=1e-5)


def test_a_query_of_nan_has_no_distance_and_leaves_others_alone():
    queries, rows = of_32(*drawn(5, 20, 4))
    found = nearest(bank_of(rows), queries.at[2].set(jnp.nan))
    np.testing.assert_array_equal(np.isnan(found), np.arange(5) == 2)


def test_memory_is_bounded_by_a_tile():
    queries, places, width, room = 3000, 5000, 8, 2**15
    bank = jax.eval_shape(neighbours.bank, jax.ShapeDtypeStruct((places, width), jnp.float32))
    asked = bank, jax.ShapeDtypeStruct((queries, width), jnp.float32)
    used = nearest.lower(*asked, room=room).compile().memory_analysis()
    assert used.temp_size_in_bytes < 4 * (8 * room + 4 * queries * width)
    assert 4 * (8 * room + 4 * queries * width) < 4 * queries * places / 20


@pytest.fixture(scope="module")
def scored(golden):
    """The golden, its bank, and its queries as a list of vectors."""
    golden = golden("patchcore_score")
    drawn = inputs(golden.info)
    width = drawn["query"].shape[-1]
    return (
        golden,
        bank_of(jnp.asarray(drawn["bank"])),
        jnp.asarray(drawn["query"].reshape(-1, width)),
    )


def check(golden, name, found):
    found = np.asarray(found).reshape(golden.info["outputs"][name]["shape"])
    assert golden.error(name, found) < golden.tolerance(name)


@pytest.mark.parametrize("room", [2**12, 2**22])
def test_patchcore_score_distances_and_nearest_rows(scored, room):
    golden, bank, queries = scored
    check(golden, "distance", jnp.sqrt(nearest(bank, queries, room=room)))
    rows = nearest_rows(bank, queries, room=room)
    np.testing.assert_array_equal(rows, golden.arrays["nearest_index"].ravel())


def test_patchcore_score_means_of_the_k_smallest_squares(scored):
    golden, bank, queries = scored
    for k in (1, golden.info["settings"]["k"]):
        distances = k_nearest(bank, queries, k=k)[0].mean(1)
        check(golden, f"authors_k{k}_patch", distances)
        pictures = golden.info["settings"]["query"][0]
        check(golden, f"authors_k{k}_score", distances.reshape(pictures, -1).max(1))


def test_patchcore_score_weighed_by_the_neighbours_of_the_nearest_row(scored):
    golden, bank, queries = scored
    pictures = golden.info["settings"]["query"][0]
    distances = nearest(bank, queries).reshape(pictures, -1)
    worst = queries.reshape(pictures, -1, queries.shape[-1])[
        jnp.arange(pictures), distances.argmax(1)
    ]
    near = neighbours.rows_at(bank, nearest_rows(bank, worst))
    for b in golden.info["settings"]["neighbours"]:
        _, indexes = k_nearest(bank, near, k=b)
        rows = np.float64(neighbours.rows_at(bank, indexes))
        apart = np.linalg.norm(rows - np.float64(worst)[:, None], axis=2)
        share = np.exp(apart - apart.max(1, keepdims=True))
        weight = 1 - share[:, 0] / share.sum(1) if b > 1 else 1
        check(golden, f"score_b{b}", weight * np.sqrt(distances.max(1)))


@pytest.mark.parametrize("room", [neighbours.ROOM, 64])
def test_the_gradient_is_that_of_the_distance_to_the_nearest_row(room):
    rng = np.random.default_rng(5)
    rows, queries = rng.normal(size=(40, 6)), rng.normal(size=(7, 6))
    weights = rng.normal(size=7)
    bank = neighbours.bank(jnp.float32(rows), 37)
    weighed = lambda q: (neighbours.nearest(bank, q, room) * jnp.float32(weights)).sum()
    found = jax.jit(jax.grad(weighed))(jnp.float32(queries))
    squares = ((queries[:, None] - rows[None, :37]) ** 2).sum(-1)
    want = 2 * (queries - rows[squares.argmin(1)]) * weights[:, None]
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("room", [neighbours.ROOM, 64])
def test_the_gradients_of_several_rows_are_those_of_the_distances_to_them(room):
    rng = np.random.default_rng(6)
    rows, queries, weights = (rng.normal(size=size) for size in ((40, 6), (7, 6), (7, 3)))

    def weighed(bank, q):  # a bank that is an argument: its count is known while it runs
        return (neighbours.k_nearest(bank, q, 3, room)[0] * jnp.float32(weights)).sum()

    bank = neighbours.bank(jnp.float32(rows), 37)
    found = jax.jit(jax.grad(weighed, 1))(bank, jnp.float32(queries))
    apart = queries[:, None] - rows[None, :37]
    order = (apart**2).sum(-1).argsort(1)[:, :3, None]
    want = 2 * (np.take_along_axis(apart, order, 1) * weights[..., None]).sum(1)
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-4)
