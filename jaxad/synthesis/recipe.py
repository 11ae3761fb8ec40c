"""A normal image damaged: another appearance pasted where Perlin noise is high.

Zhang et al., DiffusionAD (arXiv:2303.08730), after DRAEM (Zavrtanik et al., ICCV 2021,
arXiv:2108.07610). "Code" is HuiZhang0812/DiffusionAD.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxad.detector import Scalar
from jaxad.synthesis import perlin
from jaxad.synthesis.augmenters import augmented, rotated

STRIPS = 8  # along each axis, of an image that is shuffled
COARSE = 4  # pixels a side of the cells in which masks are tried

Picture = Float[Array, "H W 3"]
Field = Float[Array, "H W"]


class Damaged(NamedTuple):
    """An image, with what was done to it.

    Attributes:
      image: in [0, 1].
      mask: 1 where damaged, 0 where not; fractional where the foreground is.
      label: 1 where anything is damaged, else 0.
    """

    image: Float[Array, "*B H W 3"]
    mask: Float[Array, "*B H W"]
    label: Float[Array, "*B"]


def damage(
    key: Array,
    image: Picture,
    texture: Picture,
    foreground: Field,
    objects: bool,
    probability: Scalar = 0.5,
    opacity: tuple[Scalar, Scalar] = (0.2, 0.8),
    tries: int = 10,
) -> Damaged:
    """An image that is damaged, or not.

    Of a batch, `jax.vmap` with a key for each image.

    Args:
      key: of everything drawn.
      image: normal, in [0, 1].
      texture: any other picture, in [0, 1].
      foreground: from 0 to 1, where damage may be.
      objects: whether half of the damage is made of the image itself, in shuffled strips; of
        textures, all is made of other pictures.
      probability: of damage.
      opacity: range of the share of the image that shines through, beta.
      tries: how many masks are drawn for one that is not empty; if all are empty, the image stays
        as it is, with label 0.
    """
    on_key, mask_key, source_key, augment_key, strips_key, beta_key = jax.random.split(key, 6)
    mask = random_mask(mask_key, foreground, tries)
    mask = jnp.where(jax.random.bernoulli(on_key, probability), mask, 0.0)
    own = jax.random.bernoulli(source_key) if objects else False
    appearance = augmented(augment_key, jnp.where(own, image, texture))
    if objects:
        shuffled = strips(appearance, *strip_orders(strips_key))
        appearance = jnp.where(own, shuffled, appearance)
    low, high = opacity
    beta = low + (high - low) * jax.random.uniform(beta_key)
    damaged = pasted(image, appearance, mask, beta)
    return Damaged(damaged, mask, jnp.any(mask > 0).astype(jnp.float32))


def random_mask(key: Array, foreground: Field, tries: int) -> Field:
    """The foreground where rotated Perlin noise is above its threshold.

    Differs from the reference: it draws up to 50 times until a mask is not empty. Here `tries` are
    drawn at once and looked at in the middles of 4 x 4 pixels; the first with noise where those are
    whole foreground, or as much of it as any, is computed in full.
    """
    cells_key, *keys = jax.random.split(key, tries + 1)
    cells = perlin.random_cells(cells_key)

    def mask(key: Array, foreground: Field, start: float) -> Field:
        noise_key, angle_key = jax.random.split(key)
        height, width = foreground.shape
        noise = perlin.random_noise(noise_key, cells, (height, width), start)
        angle = jax.random.uniform(angle_key, minval=-90.0, maxval=90.0)
        return restricted(rotated(noise, angle), foreground)

    keys = jnp.stack(keys)
    middle = (COARSE - 1) / (2 * COARSE)
    small = jax.vmap(mask, (0, None, None))(keys, _means(foreground, COARSE), middle)
    return mask(keys[jnp.argmax(small.max((1, 2)))], foreground, 0.0)


def _means(x: Field, side: int) -> Float[Array, "h w"]:
    """The mean of each cell of `side` x `side` pixels, with 0 beyond the end."""
    x = jnp.pad(x, [(0, -length % side) for length in x.shape])
    return x.reshape(x.shape[0] // side, side, x.shape[1] // side, side).mean((1, 3))


def restricted(noise: Field, foreground: Field) -> Field:
    """The foreground, fractions kept, where noise is above the threshold."""
    return jnp.where(noise > perlin.THRESHOLD, foreground, 0.0)


def pasted(image: Picture, appearance: Picture, mask: Field, beta: Scalar) -> Picture:
    """`image` outside the mask; inside, `beta` of it and the rest of `appearance`."""
    mask = mask[..., None]
    return image * (1 - mask) + (1 - beta) * mask * appearance + beta * mask * image


def strip_orders(key: Array) -> tuple[Int[Array, "8"], Int[Array, "8"]]:
    """New orders of the strips of columns and of rows (code).

    Columns: the even ones shuffled, then the odd ones shuffled. Rows: shuffled, then what is at
    even places shuffled, then what is at odd places.
    """
    keys = jax.random.split(key, 5)
    shuffle = jax.random.permutation
    every = jnp.arange(STRIPS)
    columns = jnp.concatenate([shuffle(keys[0], every[::2]), shuffle(keys[1], every[1::2])])
    rows = shuffle(keys[2], every)
    rows = jnp.concatenate([shuffle(keys[3], rows[::2]), shuffle(keys[4], rows[1::2])])
    return columns, rows


def strips(image: Picture, columns: Int[Array, "8"], rows: Int[Array, "8"]) -> Picture:
    """The image cut into 8 strips of columns, put together in another order; then of rows.

    Sides are multiples of 8.
    """
    height, width, channels = image.shape
    image = image.reshape(height, STRIPS, width // STRIPS, channels)[:, columns]
    image = image.reshape(STRIPS, height // STRIPS, width, channels)[rows]
    return image.reshape(height, width, channels)
