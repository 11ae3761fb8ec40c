"""Maps and moments against numpy."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxad import maps


def shifted(offset, images):
    return images * 3 + offset


def test_moments_of_slices_are_the_moments_of_the_set():
    images = np.random.default_rng(0).integers(0, 256, (19, 5, 4, 3), np.uint8)
    mean, std = maps.moments(shifted, (1000.0,), images)
    features = images / 255.0 * 3 + 1000
    np.testing.assert_allclose(mean, features.mean((0, 1, 2), keepdims=True), rtol=1e-6)
    # The offset would leave a difference of sums of squares no digits.
    np.testing.assert_allclose(std, features.std((0, 1, 2), keepdims=True), rtol=1e-3)


def test_resize_keeps_half_pixel_centres():
    x = jnp.arange(4.0)[None, None]
    enlarged = maps.resize(x, (1, 8))[0, 0]
    np.testing.assert_allclose(enlarged, [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3], atol=1e-6)


def test_resize_does_not_antialias_where_it_shrinks():
    x = jnp.zeros((1, 8, 8)).at[:, ::4].set(1.0)
    assert np.unique(maps.resize(x, (2, 8))).tolist() == pytest.approx([0.0])


def test_a_border_is_zero_on_each_side():
    x = maps.bordered(jnp.ones((1, 2, 3)), 2)
    assert x.shape == (1, 6, 7)
    assert float(x.sum()) == 6
