"""Changes of colour, drawn per image.

torchvision's `adjust_*` functions are the reference.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

LUMA = (0.2989, 0.587, 0.114)  # torchvision's, of ITU-R 601


def jitter(images: Float[Array, "B H W 3"], key: Array) -> Float[Array, "B H W 3"]:
    """Brightness, contrast or saturation of each image times U(0.8, 1.2).

    Source: Batzner et al., WACV 2024 (arXiv:2303.14535), algorithm 1.
    """
    which_key, factor_key = jax.random.split(key)
    which = jax.random.randint(which_key, images.shape[:1], 0, 3)
    factor = jax.random.uniform(factor_key, images.shape[:1], minval=0.8, maxval=1.2)
    adjust = (adjust_brightness, adjust_contrast, adjust_saturation)
    one, other, third = (change(images, factor) for change in adjust)
    # Not by an index, which would bring the pictures of all devices together.
    which = which[:, None, None, None]
    return jnp.where(which == 0, one, jnp.where(which == 1, other, third))


def adjust_brightness(
    images: Float[Array, "B H W 3"], factor: Float[Array, "B"]
) -> Float[Array, "B H W 3"]:
    """Blends with black."""
    return blend(images, 0.0, factor)


def adjust_contrast(
    images: Float[Array, "B H W 3"], factor: Float[Array, "B"]
) -> Float[Array, "B H W 3"]:
    """Blends with the image's mean grey."""
    return blend(images, luma(images).mean((1, 2, 3), keepdims=True), factor)


def adjust_saturation(
    images: Float[Array, "B H W 3"], factor: Float[Array, "B"]
) -> Float[Array, "B H W 3"]:
    """Blends with the grey image."""
    return blend(images, luma(images), factor)


def grey(images: Float[Array, "B H W 3"], key: Array, p: float) -> Float[Array, "B H W 3"]:
    """Each image without its colours, with probability `p`."""
    chosen = jax.random.bernoulli(key, p, images.shape[:1])
    return jnp.where(chosen[:, None, None, None], luma(images), images)


def luma(images: Float[Array, "B H W 3"]) -> Float[Array, "B H W 1"]:
    """Brightness as the eye weighs colours."""
    return (images * jnp.array(LUMA)[None, None, None]).sum(-1, keepdims=True)


def blend(
    images: Float[Array, "B H W 3"], other: Float[Array, "..."] | float, factor: Float[Array, "B"]
) -> Float[Array, "B H W 3"]:
    """Factor * images + (1 - factor) * other, clipped to [0, 1]."""
    factor = factor[:, None, None, None]
    return jnp.clip(factor * images + (1 - factor) * other, 0, 1)
