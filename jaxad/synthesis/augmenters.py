"""Changes of colour and orientation that make another appearance of a picture.

The ten of DRAEM and DiffusionAD with the ranges that imgaug gives them; three act on a picture.
Pictures are in [0, 1]; in between values are whole numbers from 0 to 255, as in imgaug, so that
changes which look at one value of one channel become tables of 256 numbers.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxad.ops.colour import luma

CHOSEN = 3  # augmenters that act on a picture
COUNT = 10

Picture = Float[Array, "H W 3"]
Table = Float[Array, "256 3"]  # new value of each value, by channel
Counts = Float[Array, "256 3"]  # pixels of each value, by channel


def augmented(key: Array, picture: Picture) -> Picture:
    """A picture in [0, 1] with three distinct augmenters applied.

    Differs from the reference: those drawn act in a fixed order, so that each is computed once.
    """
    which_key, *keys = jax.random.split(key, COUNT + 1)
    on = chosen(which_key)
    x = 255 * picture
    changes = (brightness, sharpness, hue_and_saturation)
    for change, key, active in zip(changes, keys[:3], on[:3], strict=True):
        x = jnp.where(active, change(key, x), x)
    x = _by_tables(keys[3:9], on[3:9], jnp.round(x).astype(jnp.int32))
    angle = jax.random.uniform(keys[9], minval=-45.0, maxval=45.0)
    return rotated(x / 255, jnp.where(on[9], angle, 0.0))


def chosen(key: Array) -> Bool[Array, "10"]:
    """Which augmenters act: three, all alike likely."""
    return jax.random.permutation(key, COUNT) < CHOSEN


def brightness(key: Array, x: Picture) -> Picture:
    """Luma times U(0.8, 1.2) plus U(-30, 30); the colour differences stay.

    Differs from the reference: imgaug draws the colour space whose brightness is changed.
    """
    factor_key, shift_key = jax.random.split(key)
    factor = jax.random.uniform(factor_key, minval=0.8, maxval=1.2)
    shift = jax.random.uniform(shift_key, minval=-30.0, maxval=30.0)
    return jnp.clip(x + (factor - 1) * luma(x[None])[0] + shift, 0, 255)


def sharpness(key: Array, x: Picture) -> Picture:
    """Between smoothed (0), itself (1) and sharpened (2), as Pillow's `ImageEnhance`."""
    factor = jax.random.uniform(key, maxval=2.0)
    rows = x[:-2] + x[1:-1] + x[2:]
    around = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    smooth = x.at[1:-1, 1:-1].set((around + 4 * x[1:-1, 1:-1]) / 13)
    return jnp.clip(smooth + factor * (x - smooth), 0, 255)


def hue_and_saturation(key: Array, x: Picture) -> Picture:
    """Hue turned by U(-50, 50) / 255 of the circle, and U(-50, 50) / 255 added to saturation."""
    hue_shift, saturation_shift = jax.random.uniform(key, (2,), minval=-50 / 255, maxval=50 / 255)
    high, low = x.max(-1), x.min(-1)
    span = high - low
    red, green, blue = jnp.moveaxis(x, -1, 0)
    safe = jnp.maximum(span, 1e-6)
    hue = jnp.where(
        high == red,
        (green - blue) / safe,
        jnp.where(high == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    saturation = jnp.clip(span / jnp.maximum(high, 1e-6) + saturation_shift, 0, 1)
    turn = hue + 6 * hue_shift
    channels = []
    for offset in (5, 3, 1):
        k = jnp.mod(turn + offset, 6)
        channels.append(high - high * saturation * jnp.clip(jnp.minimum(k, 4 - k), 0, 1))
    return jnp.stack(channels, -1)


def gamma_contrast(key: Array, table: Table) -> Table:
    """Each channel to a power of its own, U(0.5, 2)."""
    power = jax.random.uniform(key, (1, 3), minval=0.5, maxval=2.0)
    return jnp.round(255 * (table / 255) ** power)


def solarize(key: Array, table: Table) -> Table:
    """With probability 1/2, inverts the values from U{32 .. 128} up."""
    on_key, threshold_key = jax.random.split(key)
    threshold = jax.random.randint(threshold_key, (), 32, 129)
    changed = jnp.where(table >= threshold, 255 - table, table)
    return jnp.where(jax.random.bernoulli(on_key), changed, table)


def posterize(key: Array, table: Table) -> Table:
    """Keeps the U{1 .. 8} highest bits of each value."""
    step = 2.0 ** (8 - jax.random.randint(key, (), 1, 9))
    return jnp.floor(table / step) * step


def autocontrast(key: Array, table: Table, counts: Counts) -> Table:
    """Stretches each channel to 0 to 255, with U{0 .. 20} % of the pixels cut off at both ends."""
    cut = jnp.floor(counts.sum(0)[None] * jax.random.randint(key, (), 0, 21) / 100)
    low = jnp.argmax(jnp.cumsum(counts, 0) > cut, 0)[None]
    high = 255 - jnp.argmax(jnp.cumsum(counts[::-1], 0) > cut, 0)[None]
    stretched = jnp.floor((table - low) * 255 / jnp.maximum(high - low, 1))
    return jnp.where(high > low, jnp.clip(stretched, 0, 255), table)


def equalize(table: Table, counts: Counts) -> Table:
    """Spreads each channel's values so that all are about as frequent, as Pillow does it."""
    last = 255 - jnp.argmax(counts[::-1] > 0, 0)
    step = (counts.sum(0) - jnp.take_along_axis(counts, last[None], 0)[0]) // 255
    below = jnp.cumsum(counts, 0) - counts
    safe = jnp.maximum(step, 1)[None]
    spread = jnp.minimum((step[None] // 2 + below) // safe, 255)
    picked = jnp.take_along_axis(spread, table.astype(jnp.int32), 0)
    return jnp.where(step[None] > 0, picked, table)


def rotated(x: Float[Array, "H W *C"], degrees: Float[Array, ""]) -> Float[Array, "H W *C"]:
    """`x` turned about its centre; bilinear, 0 outside."""
    height, width = x.shape[:2]
    angle = jnp.deg2rad(degrees)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    down = jnp.arange(height)[:, None] - (height - 1) / 2
    across = jnp.arange(width)[None] - (width - 1) / 2
    y = cos * down - sin * across + (height - 1) / 2
    x_at = sin * down + cos * across + (width - 1) / 2
    # A frame of two zeros: whatever lies outside finds zeros at both neighbours.
    padded = jnp.pad(x, ((2, 2), (2, 2)) + ((0, 0),) * (x.ndim - 2))
    flat = padded.reshape(-1, *x.shape[2:])
    row = jnp.clip(jnp.floor(y).astype(jnp.int32) + 2, 0, height + 2)
    column = jnp.clip(jnp.floor(x_at).astype(jnp.int32) + 2, 0, width + 2)
    start = row * (width + 4) + column
    trailing = (..., *(None,) * (x.ndim - 2))
    fy, fx = (y - jnp.floor(y))[trailing], (x_at - jnp.floor(x_at))[trailing]
    top = (1 - fx) * flat[start] + fx * flat[start + 1]
    bottom = (1 - fx) * flat[start + width + 4] + fx * flat[start + width + 5]
    return (1 - fy) * top + fy * bottom


def histogram(x: Int[Array, "H W 3"]) -> Counts:
    """How many pixels have each value, by channel: products of one-hot high and low halves."""
    flat, digits = x.reshape(-1, 3), jnp.arange(16)
    high = (flat[..., None] // 16 == digits[None, None]).astype(jnp.float32)
    low = (flat[..., None] % 16 == digits[None, None]).astype(jnp.float32)
    return jnp.einsum("nch,ncl->hlc", high, low).reshape(256, 3)


def _by_tables(keys: list[Array], on: Bool[Array, "6"], x: Int[Array, "H W 3"]) -> Picture:
    """The augmenters that are tables, composed before any pixel is touched."""
    levels = jnp.arange(256.0)
    table = jnp.broadcast_to(levels[:, None], (256, 3))
    invert = lambda key, table: 255 - table
    changes = (gamma_contrast, solarize, posterize, invert)
    for change, key, active in zip(changes, keys[:4], on[:4], strict=True):
        table = jnp.where(active, change(key, table), table)
    # Differs from the reference: one pixel of four is counted.
    original = histogram(x[::2, ::2])

    def counts(table: Table) -> Counts:
        same = table[:, None] == levels[None, :, None]
        return jnp.where(same, original[:, None], 0.0).sum(0)

    table = jnp.where(on[4], autocontrast(keys[4], table, counts(table)), table)
    table = jnp.where(on[5], equalize(table, counts(table)), table)
    return jnp.stack([table[:, c][x[..., c]] for c in range(3)], -1)
