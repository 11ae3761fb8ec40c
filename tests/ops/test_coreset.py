"""The greedy choice among a few candidates against the plain rule in float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from weights_b import inputs

from jaxad.ops import coreset

greedy = jax.jit(coreset.greedy, static_argnames=("size", "candidates"))
AUTHORS_WIDTH = 128


def plain(vectors, size, limits):
    """The rule as it is written down: indexes, distances of each, radius."""
    vectors, limits = np.float64(vectors), np.square(np.float64(limits))
    indexes, distances = [], []
    while len(indexes) < size and limits.max() > 0:
        farthest = limits.argmax()
        indexes.append(farthest)
        distances.append(limits[farthest])
        limits = np.minimum(limits, np.square(vectors - vectors[farthest]).sum(1))
    return np.array(indexes), np.sqrt(distances), np.sqrt(limits.max())


def clustered(n, width, seed=0):
    """Vectors of few kinds and many scales, far from the origin."""
    rng = np.random.default_rng(seed)
    kinds, scales = 2 + rng.normal(size=(6, width)), np.exp(rng.normal(size=(n, 1)))
    return kinds[rng.integers(0, 6, n)] + 0.2 * scales * rng.normal(size=(n, width))


def agree(found, expected, rtol):
    indexes, distances, radius = expected
    count, found = len(indexes), jax.tree.map(np.asarray, found)
    assert found.count == count
    np.testing.assert_array_equal(found.indexes[:count], indexes)
    np.testing.assert_allclose(found.distances[:count], distances, rtol=rtol)
    np.testing.assert_allclose(found.radius, radius, rtol=rtol)
    assert not found.indexes[count:].any()
    assert not found.distances[count:].any()


@pytest.mark.parametrize("candidates", [1, 7, 60, 1000])
def test_choices_are_those_of_the_plain_rule(candidates):
    vectors = jnp.asarray(clustered(300, 8), jnp.float32)
    first = coreset.from_row(11, 300)
    found = greedy(vectors, 50, first, candidates=candidates)
    assert found.indexes[0] == 11
    assert found.distances[0] == np.inf
    agree(found, plain(vectors, 50, first), 1e-4)


@pytest.mark.parametrize("candidates", [3, 40])
def test_choices_in_float64_are_those_of_the_plain_rule(candidates):
    with jax.enable_x64(True):
        vectors = jnp.asarray(clustered(400, 5, seed=1))
        first = coreset.from_row(0, 400)
        found = greedy(vectors, 200, first, candidates=candidates)
        assert found.distances.dtype == found.radius.dtype == jnp.float64
        agree(found, plain(vectors, 200, first), 1e-7)


@pytest.mark.slow
def test_choices_among_many_are_those_of_the_plain_rule():
    with jax.enable_x64(True):
        vectors = clustered(20_000, 48)
        first = coreset.from_row(5, len(vectors))
        agree(greedy(jnp.asarray(vectors), 500, first), plain(vectors, 500, first), 1e-9)


@pytest.mark.parametrize("candidates", [1, 5, 33, 500])
def test_of_vectors_at_the_same_distance_the_first_is_chosen(candidates):
    # Small whole numbers of mean 0: nothing is rounded, and most choices are among several.
    half = np.random.default_rng(0).integers(-2, 3, (64, 3))
    vectors = jnp.asarray(np.concatenate([half, -half]), jnp.float32)
    first = coreset.from_row(3, 128)
    expected = plain(vectors, 128, first)
    assert len(expected[0]) < 90  # the others are equal to one of these
    agree(greedy(vectors, 128, first, candidates=candidates), expected, 1e-6)


def test_corners_of_a_simplex_are_chosen_in_order():
    vectors = jnp.asarray(3 * np.eye(32), jnp.float32)
    found = greedy(vectors, 20, 9 * vectors.sum(1), candidates=6)
    np.testing.assert_array_equal(found.indexes, np.arange(20))
    np.testing.assert_allclose(found.distances[1:], np.sqrt(18), rtol=1e-6)


def test_it_stops_where_all_that_is_left_has_been_chosen_already():
    vectors = np.repeat(clustered(9, 152, seed=3), 5, 0)
    first = coreset.from_row(2, 45)
    for candidates in (2, 100):
        found = greedy(jnp.asarray(vectors, jnp.float32), 30, first, candidates=candidates)
        assert found.count == 9
        assert found.radius == 0
        np.testing.assert_array_equal(np.sort(found.indexes[:9] // 5), np.arange(9))


def test_one_vector_and_more_choices_than_vectors():
    found = greedy(jnp.ones((1, 3)), 4, coreset.from_row(0, 1))
    assert (found.count, found.radius) == (1, 0)
    vectors = jnp.asarray(clustered(12, 3), jnp.float32)
    found = greedy(vectors, 40, coreset.from_row(0, 12))
    assert found.count == 12
    np.testing.assert_array_equal(np.sort(found.indexes[:12]), np.arange(12))


@pytest.mark.parametrize("candidates", [4, 100])
def test_places_beyond_the_count_are_ignored_whatever_they_hold(candidates):
    vectors = jnp.asarray(clustered(90, 4), jnp.float32)
    padded = jnp.asarray(np.pad(vectors, ((0, 30), (0, 0)), constant_values=np.nan))
    first = jnp.asarray(np.pad(coreset.from_row(7, 90), (0, 30), constant_values=np.nan))
    found = greedy(padded, 100, first, 90, candidates=candidates)
    assert (found.count, found.radius) == (90, 0)
    one = greedy(vectors, 100, coreset.from_row(7, 90), candidates=candidates)
    np.testing.assert_array_equal(found.indexes, one.indexes)
    nothing = greedy(padded, 100, first, 0, candidates=candidates)
    assert (nothing.count, nothing.radius) == (0, 0)


def test_vmap_chooses_for_each_category():
    vectors = jnp.asarray(clustered(3 * 70, 4).reshape(3, 70, 4), jnp.float32)
    counts, starts = jnp.asarray([70, 13, 41]), jnp.asarray([0, 12, 40])

    def chosen(vectors, start, count):
        return coreset.greedy(vectors, 20, coreset.from_row(start, 70), count, candidates=8)

    together = jax.jit(jax.vmap(chosen))(vectors, starts, counts)
    for i, (start, count) in enumerate(zip(starts, counts, strict=True)):
        expected = plain(vectors[i, :count], 20, coreset.from_row(start, int(count)))
        agree(jax.tree.map(lambda x: np.asarray(x)[i], together), expected, 1e-4)  # noqa: B023


def test_vectors_of_half_precision_are_computed_with_in_float32():
    vectors = jnp.asarray(clustered(100, 6), jnp.float16)
    first = coreset.from_row(1, 100)
    found = greedy(vectors, 20, first, candidates=10)
    assert found.radius.dtype == jnp.float32
    agree(found, plain(vectors, 20, first), 1e-4)


def test_distances_never_grow_and_the_radius_goes_on_from_them():
    vectors = jnp.asarray(clustered(200, 6), jnp.float32)
    found = greedy(vectors, 30, coreset.from_row(1, 200), candidates=16)
    assert (np.diff(found.distances[1:]) <= 0).all()
    assert found.radius <= found.distances[-1]


def test_memory_does_not_grow_with_what_is_chosen():
    n, width, candidates = 4000, 16, 64
    asked = jax.ShapeDtypeStruct((n, width), jnp.float32), 1000, jax.ShapeDtypeStruct((n,), "f")
    used = greedy.lower(*asked, candidates=candidates).compile().memory_analysis()
    assert used.temp_size_in_bytes < 4 * n * (3 * width + 16) + 4 * 3 * candidates * n
    assert used.temp_size_in_bytes < 4 * n * 1000 / 10


def test_mean_distances_are_those_of_a_slow_loop():
    vectors = clustered(50, 7)
    rows = [4, 40, 4]
    expected = np.linalg.norm(vectors[:, None] - vectors[None, rows], axis=2).mean(1)
    found = coreset.mean_distances(jnp.asarray(vectors, jnp.float32), jnp.asarray(rows))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_projection_shrinks_all_distances_alike(key):
    vectors = jnp.asarray(clustered(40, 200), jnp.float32)
    found = coreset.projected(vectors, AUTHORS_WIDTH, key)
    assert found.shape == (40, AUTHORS_WIDTH)
    between = lambda x: np.linalg.norm(np.asarray(x)[:, None] - np.asarray(x)[None], axis=2)
    apart = ~np.eye(40, dtype=bool)
    ratio = between(found)[apart] / between(vectors)[apart]
    np.testing.assert_allclose(ratio, np.sqrt(AUTHORS_WIDTH / (3 * 200)), rtol=0.3)
    assert ratio.std() / ratio.mean() < 0.1


@pytest.fixture(scope="module")
def given(golden):
    """The golden, its settings, and its vectors."""
    golden = golden("patchcore_coreset")
    drawn = inputs(golden.info)
    return golden, golden.info["settings"], drawn["features"], drawn["projection"]


@pytest.mark.parametrize("candidates", [10, 2048])
def test_patchcore_coreset_from_a_start_row(given, candidates):
    golden, settings, features, _ = given
    choose = partial(greedy, jnp.asarray(features), candidates=candidates)
    found = choose(settings["size"], coreset.from_row(settings["start"], len(features)))
    np.testing.assert_array_equal(found.indexes, golden.arrays["greedy_index"])
    radii = np.append(found.distances[1:], found.radius)
    assert golden.error("greedy_radius", radii) < golden.tolerance("greedy_radius")


def test_patchcore_coreset_of_projected_vectors(given):
    golden, settings, features, projection = given
    first = coreset.from_row(settings["start"], len(features))
    found = greedy(jnp.asarray(features @ projection.T), settings["size"], first)
    np.testing.assert_array_equal(found.indexes, golden.arrays["projected_index"])


@pytest.mark.parametrize("candidates", [10, 2048])
def test_patchcore_coreset_from_starting_points(given, candidates):
    golden, settings, features, _ = given
    vectors = jnp.asarray(features)
    first = coreset.mean_distances(vectors, jnp.asarray(settings["starting_points"]))
    found = greedy(vectors, settings["size"], first, candidates=candidates)
    np.testing.assert_array_equal(found.indexes, golden.arrays["authors_approximate_index"])


def test_patchcore_coreset_from_the_norms_of_all_distances(given):
    golden, settings, features, _ = given
    wide = np.float64(features)
    norms = np.sqrt([np.square(wide - row).sum() for row in wide])  # of a row of distances
    found = greedy(jnp.asarray(features), settings["size"], jnp.asarray(norms, jnp.float32))
    np.testing.assert_array_equal(found.indexes, golden.arrays["authors_exact_index"])
