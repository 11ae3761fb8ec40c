"""What distillation needs in several places: checks of settings, losses of a teacher of patches.

The losses are those with which a network of patches is trained to become a teacher: Bergmann et
al., CVPR 2020 (arXiv:1911.02357), section 3.1. Their best setting is knowledge plus compactness,
both with weight 1.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxad.detector import Scalar

Pyramid = tuple[Float[Array, "B _ _ _"], ...]  # maps of several layers, finest first
FEWEST_CELLS = 4  # on a side of the coarsest map
LEAST_VARIANCE = 1e-12  # of a channel; a constant one would have no correlation


def check_blur(cfg: Any) -> None:
    """Raises ValueError where the Gaussian on a map is as wide as the map."""
    if cfg.blur >= cfg.size:
        raise ValueError(f"blur={cfg.blur}: expected less than size={cfg.size}")


def knowledge(decoded: Float[Array, "B D"], target: Float[Array, "B D"]) -> Float[Array, ""]:
    """Mean squared distance between decoded descriptors and a large network's features.

    Args:
      decoded: descriptors after a linear layer with as many outputs as the features.
      target: pooled features of the same patches, enlarged to that network's input.
    """
    return jnp.square(decoded - target).sum(-1).mean()


def triplet(
    anchor: Float[Array, "B C"],
    positive: Float[Array, "B C"],
    negative: Float[Array, "B C"],
    margin: Scalar = 1.0,
) -> Float[Array, ""]:
    """How far positives are from staying closer than negatives by a margin.

    The negative is compared with the nearer of anchor and positive: in-triplet hard negatives with
    anchor swap.

    Args:
      anchor: descriptors of patches.
      positive: of the same patches, slightly shifted, with other brightness and noise.
      negative: of other patches.
      margin: in squared distance.
    """
    near = _squared_distance(anchor, positive)
    far = jnp.minimum(_squared_distance(anchor, negative), _squared_distance(positive, negative))
    return jnp.maximum(margin + near - far, 0).mean()


def compactness(descriptors: Float[Array, "B C"]) -> Float[Array, ""]:
    """Sum of the correlations of different channels over a batch.

    Raises:
      ValueError: there is one descriptor only, which has no correlations.
    """
    if len(descriptors) < 2:
        raise ValueError("one descriptor has no correlations: expected a batch of 2 or more")
    centred = descriptors - descriptors.mean(0, keepdims=True)
    variance = jnp.square(centred).mean(0, keepdims=True)
    scores = centred / jnp.sqrt(jnp.maximum(variance, LEAST_VARIANCE))
    # The sum over all pairs is a square; the diagonal is what each channel gives by itself.
    return (jnp.square(scores.sum(-1)) - jnp.square(scores).sum(-1)).mean()


def _squared_distance(x: Float[Array, "B C"], y: Float[Array, "B C"]) -> Float[Array, "B"]:
    return jnp.square(x - y).sum(-1)
