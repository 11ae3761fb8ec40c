"""Structural similarity against a slow loop over windows and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad.ops.ssim import ssim


def pictures(seed, *shape):
    return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


def loop_ssim(x, y, span):
    """One channel, window by window, in double precision."""
    at = np.arange(-5, 6)
    window = np.exp(-(at[:, None] ** 2 + at[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    padded = [np.pad(np.float64(z), 5, mode="symmetric") for z in (x, y)]
    out = np.zeros(x.shape)
    for i, j in np.ndindex(*x.shape):
        a, b = (z[i : i + 11, j : j + 11] for z in padded)
        p, q = (window * a).sum(), (window * b).sum()
        va, vb = (window * (a - p) ** 2).sum(), (window * (b - q) ** 2).sum()
        cov = (window * (a - p) * (b - q)).sum()
        out[i, j] = (2 * p * q + c1) * (2 * cov + c2) / ((p**2 + q**2 + c1) * (va + vb + c2))
    return out


@pytest.mark.parametrize("span", [1.0, 255.0])
def test_similarity_equals_a_slow_loop_over_windows(span):
    x, y = pictures(0, 2, 14, 9, 3) * span, pictures(1, 2, 14, 9, 3) * span
    found = ssim(jnp.asarray(x), jnp.asarray(y), span)
    expected = np.mean([loop_ssim(x[1, ..., c], y[1, ..., c], span) for c in range(3)], 0)
    np.testing.assert_allclose(found[1], expected, atol=2e-5)


def test_equal_images_have_similarity_1_with_a_gradient_of_0():
    x = jnp.asarray(pictures(0, 1, 12, 12, 3))
    np.testing.assert_allclose(ssim(x, x), 1, rtol=1e-6)
    gradient = jax.grad(lambda y: ssim(x, y).mean())(x)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


def test_constant_images_differ_in_luminance_alone():
    x, y = jnp.full((1, 12, 12, 1), 0.3), jnp.full((1, 12, 12, 1), 0.6)
    expected = (2 * 0.3 * 0.6 + 1e-4) / (0.3**2 + 0.6**2 + 1e-4)
    np.testing.assert_allclose(ssim(x, y), expected, rtol=1e-3)


def test_a_local_change_lowers_the_similarity_near_it_only():
    x = jnp.asarray(pictures(0, 1, 32, 32, 1))
    y = x.at[:, 16, 16].add(0.5)
    change = 1 - ssim(x, y)[0]
    assert float(change[16, 16]) > 0.01
    np.testing.assert_allclose(change[:, :11], 0, atol=1e-5)
