"""Gaussians against numpy and scikit-learn."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.covariance import LedoitWolf

from jaxad.ops import gaussian


def vectors(count=23, shape=(3, 2), channels=5):
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(*shape, channels, channels))
    return (rng.normal(size=(count, *shape, channels))[..., None, :] @ mixed)[..., 0, :] + 7


@pytest.mark.parametrize("cuts", [(), (1,), (4, 5, 20), (22,)])
def test_moments_of_parts_merge_to_those_of_the_whole_in_any_order(cuts):
    x = vectors()
    parts = [gaussian.moments(jnp.float32(part)) for part in np.split(x, cuts)]
    for some in (parts, parts[::-1]):
        found = functools.reduce(gaussian.merged, some)
        assert float(found.count) == len(x)
        np.testing.assert_allclose(found.mean, x.mean(0), rtol=1e-5)
        for place in np.ndindex(3, 2):
            want = np.cov(x[(slice(None), *place)].T)
            covariance = gaussian.regularised(found, 0.01)[place]
            np.testing.assert_allclose(covariance, want + 0.01 * np.eye(5), rtol=1e-4, atol=1e-4)


def test_moments_keep_their_digits_far_from_zero():
    x = np.random.default_rng(1).normal(size=(100, 1, 2)) + 3000
    parts = [gaussian.moments(jnp.float32(part)) for part in np.split(x, 10)]
    found = functools.reduce(gaussian.merged, parts)
    np.testing.assert_allclose(
        gaussian.regularised(found, 0.0)[0], np.cov(np.float32(x[:, 0]).T), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("count", [2, 9, 200])
def test_ledoit_wolf_is_that_of_scikit_learn(count):
    x = vectors(count, (), 12)
    want = LedoitWolf().fit(x)
    covariance, shrinkage = gaussian.ledoit_wolf(jnp.float32(x))
    assert float(shrinkage) == pytest.approx(want.shrinkage_, rel=1e-3, abs=1e-6)
    np.testing.assert_allclose(covariance, want.covariance_, rtol=1e-3, atol=1e-3)


def test_vectors_that_are_all_alike_have_no_covariance():
    covariance, shrinkage = gaussian.ledoit_wolf(jnp.ones((4, 3)))
    assert float(shrinkage) == 1
    np.testing.assert_array_equal(covariance, np.zeros((3, 3)))


def test_a_fixed_shrinkage_moves_towards_the_sphere():
    covariance = jnp.array([[3.0, 1.0], [1.0, 1.0]])
    np.testing.assert_allclose(gaussian.shrunk(covariance, 0.5), [[2.5, 0.5], [0.5, 1.5]])


def test_mahalanobis_is_the_quadratic_form_at_every_place():
    x = vectors()
    covariance = np.stack([np.cov(x[:, i, j].T) for i, j in np.ndindex(3, 2)]).reshape(3, 2, 5, 5)
    factor = np.linalg.cholesky(covariance)
    apart = x - x.mean(0)
    want = np.sqrt(np.einsum("bijc,ijcd,bijd->bij", apart, np.linalg.inv(covariance), apart))
    found = gaussian.mahalanobis(jnp.float32(apart), jnp.float32(factor))
    np.testing.assert_allclose(found, want, rtol=1e-3)


def test_one_factor_may_stand_for_all_places():
    x, factor = vectors(), np.linalg.cholesky(np.cov(vectors().reshape(-1, 5).T))
    want = np.linalg.norm(np.linalg.solve(factor, x[..., None])[..., 0], axis=-1)
    np.testing.assert_allclose(
        gaussian.mahalanobis(jnp.float32(x), jnp.float32(factor)), want, rtol=1e-4
    )
