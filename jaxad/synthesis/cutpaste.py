"""Anomalies cut out of the image itself and pasted elsewhere, as they are or as thin scars.

Li et al., CutPaste, CVPR 2021 (arXiv:2104.04015).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxad.detector import Scalar
from jaxad.ops import colour
from jaxad.synthesis.augmenters import rotated
from jaxad.synthesis.recipe import Damaged, Picture

# What is cut, from images of 256 pixels.
AREA = (0.02, 0.15)  # of the image
ASPECT = 3.3  # of height to width at most, and of width to height
SCAR_WIDTH = (2.0, 16.0)  # pixels
SCAR_LENGTH = (10.0, 25.0)
SCAR_ANGLE = 45.0  # degrees at most, either way
JITTER = 0.1  # by which brightness, contrast and saturation change at most
REFERENCE_SIDE = 256

Size = Float[Array, "2"]  # height and width of what is cut, in pixels


def cutpaste(key: Array, image: Picture, probability: Scalar = 1.0) -> Damaged:
    """An image with a rectangle of itself pasted at another place, its colours changed a little.

    Of a batch, `jax.vmap` with a key for each image.

    Args:
      key: of everything drawn.
      image: normal, in [0, 1].
      probability: of damage.
    """
    area_key, aspect_key, key = jax.random.split(key, 3)
    area = jax.random.uniform(area_key, minval=AREA[0], maxval=AREA[1])
    aspect = ASPECT ** jax.random.uniform(aspect_key, minval=-1.0)
    pixels = area * image.shape[0] * image.shape[1]
    size = jnp.sqrt(pixels * jnp.stack([aspect, 1 / aspect]))
    return _pasted(key, image, size, jnp.float32(0), probability)


def scar(key: Array, image: Picture, probability: Scalar = 1.0) -> Damaged:
    """An image with a thin, turned rectangle of itself pasted at another place.

    Args:
      key: of everything drawn.
      image: normal, in [0, 1].
      probability: of damage.
    """
    width_key, length_key, angle_key, key = jax.random.split(key, 4)
    width = jax.random.uniform(width_key, minval=SCAR_WIDTH[0], maxval=SCAR_WIDTH[1])
    length = jax.random.uniform(length_key, minval=SCAR_LENGTH[0], maxval=SCAR_LENGTH[1])
    size = jnp.stack([length, width]) * (min(image.shape[:2]) / REFERENCE_SIDE)
    angle = jax.random.uniform(angle_key, minval=-SCAR_ANGLE, maxval=SCAR_ANGLE)
    return _pasted(key, image, jnp.maximum(size, 1.0), angle, probability)


def jitter(key: Array, image: Picture) -> Picture:
    """Brightness, contrast and saturation times U(0.9, 1.1) each.

    Differs from the reference: in this order, and the hue stays.
    """
    factors = jax.random.uniform(key, (3, 1), minval=1 - JITTER, maxval=1 + JITTER)
    image = image[None]
    adjust = (colour.adjust_brightness, colour.adjust_contrast, colour.adjust_saturation)
    for change, factor in zip(adjust, factors, strict=True):
        image = change(image, factor)
    return image[0]


def _pasted(
    key: Array, image: Picture, size: Size, degrees: Float[Array, ""], probability: Scalar
) -> Damaged:
    """A rectangle of the image, turned, at another place: all of it in view at both places."""
    on_key, jitter_key, source_key, target_key = jax.random.split(key, 4)
    height, width = image.shape[:2]
    cos, sin = jnp.cos(jnp.deg2rad(degrees)), jnp.abs(jnp.sin(jnp.deg2rad(degrees)))
    turned = size * cos + size[::-1] * sin  # of the upright rectangle around it
    source, target = (
        _centre(key, image, extent) for key, extent in ((source_key, size), (target_key, turned))
    )
    middle = jnp.array([height // 2, width // 2])
    away = [jnp.abs(jnp.arange(side) - (side - 1) / 2) for side in (height, width)]
    inside = (away[0] <= size[0] / 2)[:, None] & (away[1] <= size[1] / 2)[None]
    both = jnp.concatenate(
        [
            jnp.roll(jitter(jitter_key, image), middle - source, (0, 1)),
            inside[..., None].astype(image.dtype),
        ],
        -1,
    )
    both = jnp.roll(rotated(both, degrees), target - middle, (0, 1))
    on = jax.random.bernoulli(on_key, probability)
    mask = jnp.where(on & (both[..., 3] > 0.5), 1.0, 0.0)
    damaged = jnp.where(mask[..., None] > 0, both[..., :3], image)
    return Damaged(damaged, mask, jnp.any(mask > 0).astype(jnp.float32))


def _centre(key: Array, image: Picture, extent: Size) -> Array:
    """A pixel around which a rectangle of this extent lies within the image."""
    sides = jnp.array(image.shape[:2])
    margin = jnp.ceil(extent / 2)
    room = jnp.maximum(sides - 2 * margin, 1)
    return jnp.int32(margin + jnp.floor(jax.random.uniform(key, (2,)) * room))
