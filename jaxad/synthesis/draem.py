"""Synthetic anomalies of DRAEM: textures pasted anywhere, on images that may be turned.

Zavrtanik et al., ICCV 2021 (arXiv:2108.07610), section 3.2; "code" is VitjanZ/DRAEM.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxad.detector import Scalar
from jaxad.synthesis.augmenters import rotated
from jaxad.synthesis.recipe import Damaged, Picture, damage

OPACITY = (0.0, 0.8)  # range of beta (code; the paper has 0.1 to 1)
TURNED = 0.3  # probability that the image is turned (code)


def draem(
    key: Array, image: Picture, texture: Picture, probability: Scalar = 0.5
) -> tuple[Picture, Damaged]:
    """An image, perhaps turned by U(-90, 90) degrees, as it is and damaged, or not.

    One mask is drawn; if it is empty, the image stays as it is, with label 0. Of a batch,
    `jax.vmap` with a key for each image.

    Args:
      key: of everything drawn.
      image: normal, in [0, 1].
      texture: any other picture, in [0, 1].
      probability: of damage.

    Returns:
      what a network should reconstruct, and what it is given.
    """
    turn_key, angle_key, damage_key = jax.random.split(key, 3)
    angle = jax.random.uniform(angle_key, minval=-90.0, maxval=90.0)
    angle = jnp.where(jax.random.bernoulli(turn_key, TURNED), angle, 0.0)
    image = rotated(image, angle)
    everywhere = jnp.ones(image.shape[:2])
    return image, damage(
        damage_key, image, texture, everywhere, False, probability, OPACITY, tries=1
    )
