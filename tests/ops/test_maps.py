"""Maps against numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from jaxad.ops import maps


def test_resize_keeps_half_pixel_centres():
    x = jnp.arange(4.0)[None, None]
    enlarged = maps.resize(x, (1, 8))[0, 0]
    np.testing.assert_allclose(enlarged, [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3], atol=1e-6)


def test_resize_does_not_antialias_where_it_shrinks():
    x = jnp.zeros((1, 8, 8)).at[:, ::4].set(1.0)
    assert np.unique(maps.resize(x, (2, 8))).tolist() == pytest.approx([0.0])


def loop_resize(x, shape):
    """Each output cell from its four neighbours, corners on corners."""
    h, w = x.shape
    out = np.zeros(shape)
    for i in range(shape[0]):
        for j in range(shape[1]):
            y = i * (h - 1) / (shape[0] - 1) if shape[0] > 1 else 0.0
            z = j * (w - 1) / (shape[1] - 1) if shape[1] > 1 else 0.0
            top, left = min(int(y), h - 2), min(int(z), w - 2)
            a, b = y - top, z - left
            out[i, j] = (1 - a) * ((1 - b) * x[top, left] + b * x[top, left + 1]) + a * (
                (1 - b) * x[top + 1, left] + b * x[top + 1, left + 1]
            )
    return out


@pytest.mark.parametrize("shape", [(5, 5), (13, 7), (3, 4), (1, 2)])
def test_aligned_resize_equals_a_slow_loop(shape):
    x = np.random.default_rng(0).normal(size=(2, 6, 5, 3)).astype(np.float32)
    resized = maps.resize_aligned(jnp.asarray(x), shape)
    assert resized.shape == (2, *shape, 3)
    np.testing.assert_allclose(resized[1, ..., 2], loop_resize(x[1, ..., 2], shape), atol=1e-6)


def test_aligned_resize_keeps_the_corners():
    x = jnp.arange(4.0).reshape(1, 2, 2)
    np.testing.assert_allclose(maps.resize_aligned(x, (9, 5))[0, ::8, ::4], x[0])


def test_pooled_max_is_the_largest_mean_of_a_square_inside_the_map():
    x = np.random.default_rng(0).normal(size=(2, 9, 8)).astype(np.float32)
    squares = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))
    expected = squares.mean((-1, -2)).max((1, 2))
    np.testing.assert_allclose(maps.pooled_max(jnp.asarray(x), 3), expected, rtol=1e-5)


@pytest.mark.parametrize(("border", "scipys"), [("symmetric", "reflect"), ("reflect", "mirror")])
@pytest.mark.parametrize("sigma", [0.5, 2.0, 4.0, 16.0])
def test_blurred_maps_are_scipys_be_sigma_a_number_or_traced(border, scipys, sigma):
    x = np.random.default_rng(0).random((2, 14, 23), np.float32)
    expected = [scipy.ndimage.gaussian_filter(y, sigma, mode=scipys, truncate=4) for y in x]
    found = maps.gaussian_blur(jnp.asarray(x), sigma, border)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    traced = jax.jit(maps.gaussian_blur, static_argnums=2)(jnp.asarray(x), sigma, border)
    np.testing.assert_allclose(traced, expected, rtol=1e-5)


@pytest.mark.parametrize("border", ["symmetric", "reflect"])
def test_a_blur_of_zero_changes_nothing(border):
    x = jnp.asarray(np.random.default_rng(0).random((1, 5, 7), np.float32))
    np.testing.assert_array_equal(maps.gaussian_blur(x, 0.0, border), x)
    np.testing.assert_array_equal(jax.jit(maps.gaussian_blur, static_argnums=2)(x, 0.0, border), x)


def test_vectors_of_other_shapes_are_not_compared():
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 1\) cannot be compared"):
        maps.cosine_distance(jnp.ones((2, 3)), jnp.ones((2, 1)))


def test_a_border_is_zero_on_each_side():
    x = maps.bordered(jnp.ones((1, 2, 3)), 2)
    assert x.shape == (1, 6, 7)
    assert float(x.sum()) == 6
