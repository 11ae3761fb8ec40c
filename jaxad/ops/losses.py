"""Losses of predicted masks."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jaxad.detector import Scalar


def focal(
    probability: Float[Array, "*shape"],
    target: Float[Array, "*shape"],
    alpha: Scalar,
    gamma: Scalar,
) -> Float[Array, "*shape"]:
    """Cross-entropy, weighed down where the prediction is already right, by element.

    alpha (1 - p_t)^gamma BCE with p_t = exp(-BCE). Logarithms are cut at -100, so a saturated
    sigmoid has gradient 0.

    Args:
      probability: in [0, 1].
      target: in [0, 1], may be fractional.
      alpha: factor of all.
      gamma: how much easy pixels lose; 0 is cross-entropy.

    Source: Lin et al., 2017 (arXiv:1708.02002), as torch's `binary_cross_entropy` computes it.
    """
    entropy = -(target * _log(probability) + (1 - target) * _log(1 - probability))
    wrong = -jnp.expm1(-entropy)
    # Powers below 1 have no gradient at 0, where a prediction is exactly right.
    there = wrong >= jnp.finfo(wrong.dtype).tiny
    weight = jnp.where(
        there, jnp.where(there, wrong, 1.0) ** gamma, jnp.where(gamma == 0, 1.0, 0.0)
    )
    return alpha * weight * entropy


def smooth_l1(
    prediction: Float[Array, "*shape"], target: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """Half the square of the difference where that is below 1, else the difference less 1/2."""
    return optax.losses.huber_loss(prediction, target, delta=1.0)


def _log(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    positive = x >= jnp.finfo(x.dtype).tiny
    return jnp.where(positive, jnp.log(jnp.where(positive, x, 1.0)), -100.0)
