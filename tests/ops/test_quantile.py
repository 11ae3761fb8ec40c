"""Quantiles by counting equal quantiles by sorting."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad.ops import quantile

LEVELS = np.array([0, 1e-3, 0.1, 1 / 3, 0.5, 0.9, 0.995, 0.999, 1], np.float32)
SETS = {
    "skewed": lambda rng, n: rng.random(n) ** 4,
    "signed": lambda rng, n: rng.normal(size=n),
    "ties": lambda rng, n: rng.integers(0, 4, n),
    "zeros": lambda rng, n: np.zeros(n),
    "both zeros": lambda rng, n: rng.choice([0.0, -0.0, 1.0], n),
    "wide": lambda rng, n: np.exp(rng.normal(0, 15, n)),
}
take = jax.jit(quantile.quantile)


def sorted_quantile(x, q):
    """numpy's default, in float64, of the same float32 numbers and levels."""
    return np.quantile(x.astype(np.float64), np.asarray(q, np.float64))


@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize("n", [1, 2, 3, 7, 1000])
def test_quantile_equals_numpy_to_the_last_bits(kind, n):
    x = SETS[kind](np.random.default_rng(n), n).astype(np.float32)
    ours, theirs = np.asarray(take(x, LEVELS)), sorted_quantile(x, LEVELS)
    # Interpolation rounds once at the size of its two neighbours.
    above = np.quantile(np.abs(x), LEVELS, method="higher") if kind != "signed" else np.abs(x).max()
    np.testing.assert_array_less(np.abs(ours - theirs), 3 * np.spacing(np.float32(above)) + 1e-45)


def test_the_rank_is_exact_among_a_million_elements():
    # A float32 product of rank and level would be off by a sixteenth of a rank here.
    x = np.arange(1_204_224, dtype=np.float32)
    for q in np.float32([0.999, 0.9, 0.123456, 0.995]):
        assert abs(float(take(x, q)) - sorted_quantile(x, q)) <= np.spacing(np.float32(1_204_224))


@pytest.mark.parametrize("kind", SETS)
def test_order_statistics_are_bit_equal_to_the_sort(kind):
    x = SETS[kind](np.random.default_rng(0), 501).astype(np.float32)
    ordered = np.sort(x)
    statistic = jax.jit(quantile.order_statistic)
    for k in (0, 1, 250, 499, 500):
        assert statistic(x, k) == ordered[k]


def test_any_shape_is_taken_as_one_set():
    x = np.random.default_rng(0).random((3, 4, 5), np.float32)
    assert take(x, 0.7) == take(x.reshape(-1), 0.7)


def test_vmap_gives_one_quantile_per_image_and_level():
    x = np.random.default_rng(0).random((4, 50), np.float32)
    levels = np.float32([0.5, 0.9, 0.1, 1.0])
    together = jax.vmap(quantile.quantile)(x, levels)
    np.testing.assert_array_equal(
        together, [take(row, q) for row, q in zip(x, levels, strict=True)]
    )


def test_several_levels_equal_one_at_a_time():
    x = np.random.default_rng(0).random(77, np.float32)
    np.testing.assert_array_equal(take(x, LEVELS), [take(x, q) for q in LEVELS])


def test_nan_in_gives_nan_out():
    assert np.isnan(take(np.float32([1, np.nan, 2]), 0.5))


def test_infinities_are_ordinary_elements():
    x = np.float32([1, 2, np.inf, np.inf])
    assert take(x, 1.0) == np.inf
    assert take(x, 0.9) == np.inf
    assert take(x, 0.0) == 1
    assert take(np.float32([-np.inf, 3]), 1.0) == 3
    assert take(np.float32([1, np.inf]), 0.0) == 1


@pytest.mark.parametrize("q", [-0.1, 1.1, np.nan])
def test_a_level_outside_zero_to_one_gives_nan(q):
    assert np.isnan(take(np.float32([1, 2, 3]), q))


def test_numbers_below_the_normal_range_may_count_as_zero():
    x = np.float32(np.random.default_rng(0).random(99) * 1e-40)
    assert abs(take(x, 0.5) - np.median(x)) <= np.finfo(np.float32).tiny


def test_an_empty_array_is_an_error():
    with pytest.raises(ValueError, match="empty"):
        quantile.quantile(jnp.zeros(0), 0.5)


def test_narrow_floats_are_exact_too():
    x = np.random.default_rng(0).random(99).astype(np.float16)
    assert take(jnp.asarray(x), 0.5) == np.sort(x)[49]


def test_no_gradient_flows_through_the_threshold():
    x = jnp.asarray(np.random.default_rng(0).random(20, np.float32))
    assert (jax.grad(lambda x: quantile.quantile(x, 0.9))(x) == 0).all()


def test_mined_mean_is_the_mean_at_or_above_the_quantile():
    x = np.random.default_rng(0).random((5, 40), np.float32)
    expected = x[x >= np.quantile(x, 0.9)].mean()
    np.testing.assert_allclose(quantile.mined_mean(jnp.asarray(x), 0.9), expected, rtol=1e-6)


def test_mined_mean_with_level_zero_is_the_mean():
    x = np.random.default_rng(0).random(40, np.float32)
    np.testing.assert_allclose(quantile.mined_mean(jnp.asarray(x), 0.0), x.mean(), rtol=1e-6)


def test_the_gradient_of_the_mined_mean_reaches_the_mined_elements_alone():
    x = jnp.asarray(np.random.default_rng(0).random(100, np.float32))
    gradient = jax.grad(quantile.mined_mean)(x, 0.9)
    hard = np.asarray(x) >= np.quantile(x, 0.9)
    np.testing.assert_allclose(gradient, hard / hard.sum(), rtol=1e-6)


def test_of_float64_it_is_numpys_in_every_digit(key):
    with jax.enable_x64(True):
        x = jax.random.normal(key, (5001,), jnp.float64)
        for q in (0.0, 0.25, 0.5, 0.999, 1.0):  # exact in float32, but for one
            expected = np.quantile(np.asarray(x), np.float64(np.float32(q)))
            np.testing.assert_allclose(quantile.quantile(x, q), expected, rtol=0, atol=1e-9)
        assert quantile.quantile(x, 0.5).dtype == jnp.float64
