"""Losses of masks where predictions are exactly right or wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad.ops import losses

LOGITS = jnp.array([-200.0, -30.0, -16.5, 0.0, 16.5, 30.0, 200.0])


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 4.0])
@pytest.mark.parametrize("target", [0.0, 0.5, 1.0])
def test_the_focal_loss_has_a_finite_gradient_everywhere(gamma, target):
    loss = lambda x, gamma: losses.focal(
        jax.nn.sigmoid(x), jnp.full(x.shape, target), 0.5, gamma
    ).sum()
    value, gradient = jax.jit(jax.value_and_grad(loss))(LOGITS, gamma)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_the_focal_loss_with_gamma_0_is_the_cross_entropy():
    probability = jnp.array([0.0, 0.2, 0.9, 1.0])
    found = losses.focal(probability, jnp.zeros(4), 1.0, 0.0)
    np.testing.assert_allclose(found, [0, -np.log(0.8), -np.log(0.1), 100], rtol=1e-6)
