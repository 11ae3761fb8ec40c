"""Descriptors of patches against slow loops."""

import jax.numpy as jnp
import numpy as np

from jaxad.nets import patch_features


def test_adaptive_average_takes_windows_that_may_overlap():
    x = np.random.default_rng(0).random((2, 11), np.float32)
    bins, n = 4, x.shape[-1]
    expected = [x[:, i * n // bins : -(-(i + 1) * n // bins)].mean(1) for i in range(bins)]
    pooled = patch_features.adaptive_average(jnp.asarray(x), bins)
    np.testing.assert_allclose(pooled, np.stack(expected, 1), rtol=1e-5)


def test_adaptive_average_can_also_widen():
    x = jnp.asarray([[1.0, 2.0, 3.0]])
    np.testing.assert_allclose(patch_features.adaptive_average(x, 6), [[1, 1, 2, 2, 3, 3]])


def test_a_neighbourhood_lists_channels_first_then_rows_then_columns():
    x = np.arange(2 * 3 * 4, dtype=np.float32).reshape(1, 3, 4, 2)
    found = np.asarray(patch_features.neighbourhood(jnp.asarray(x)))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    for row in range(3):
        for column in range(4):
            window = padded[0, row : row + 3, column : column + 3]
            np.testing.assert_array_equal(found[0, row, column], window.transpose(2, 0, 1).ravel())


def test_patchcore_descriptors_have_the_size_asked_for():
    shallow, deep = jnp.ones((1, 8, 8, 12)), jnp.ones((1, 4, 4, 24))
    assert patch_features.patchcore((shallow, deep), 10, 16).shape == (1, 8, 8, 10)


def test_local_average_divides_by_nine_at_the_border_too():
    shallow, deep = jnp.ones((1, 4, 4, 1)), jnp.ones((1, 2, 2, 1))
    found = patch_features.local_average((shallow, deep))
    assert found.shape == (1, 4, 4, 2)
    np.testing.assert_allclose(found[0, 0, 0, 0], 4 / 9, rtol=1e-6)
    np.testing.assert_allclose(found[0, 1, 1, 0], 1, rtol=1e-6)
