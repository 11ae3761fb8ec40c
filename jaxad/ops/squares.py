"""Pictures of any size as squares, within a compiled program: Pillow's bilinear resizing."""

from typing import Any, Literal

import jax.core
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8


def squares(
    images: UInt8[Array, "B H W 3"], size: int, fit: Literal["squeeze", "pad", "crop"] = "squeeze"
) -> UInt8[Array, "B size size 3"]:
    """What `jaxad.data.view.View.square` makes of pictures, to one level of 255.

    Bilinear, antialiased where it shrinks, columns before rows, each rounded to 8 bits, as Pillow's
    `Image.resize` does. Few pixels differ: weights are float32 here and have 22 binary places
    there. Of some tall pictures Pillow takes rows first, and then a quarter of them do. Height
    and width may be symbolic, see `jax.export.symbolic_shape`.

    Args:
      images: of any size.
      size: side of a square in pixels.
      fit: see `View`: "squeeze" makes the sides equal, "pad" keeps the shape on a black square,
        "crop" takes the square in the middle.
    """
    height, width = images.shape[1:3]
    for axis, length in ((2, width), (1, height)):
        side = length
        if fit != "squeeze":
            extreme = jax.core.max_dim if fit == "pad" else jax.core.min_dim
            side = extreme(height, width)
        x = jnp.moveaxis(images.astype(jnp.float32), axis, -1)
        x = jnp.matmul(x, _weights(length, side, size, fit == "pad"), precision="highest")
        x = jnp.clip(jnp.floor(x + 0.5), 0, 255).astype(jnp.uint8)
        images = jnp.moveaxis(x, -1, axis)
    return images


def _weights(length: Any, side: Any, size: int, padded: bool) -> Float[Array, "length size"]:
    """The share that each of `length` pixels has in each of `size`.

    Args:
      length: of the picture along this axis; a number or a symbolic dimension.
      side: of the square in its middle or around it; likewise.
      size: of the result.
      padded: whether what is beside the picture counts as black.
    """
    scale = jnp.asarray(side, jnp.float32) / size
    start = (length - side) // 2
    centres = start + (jnp.arange(size, dtype=jnp.float32) + 0.5) * scale

    def shares(places: Float[Array, "n"]) -> Float[Array, "n size"]:
        distances = jnp.abs(places[:, None] + 0.5 - centres[None])
        return jnp.maximum(1 - distances / jnp.maximum(scale, 1), 0)

    own = shares(jnp.arange(length, dtype=jnp.float32))
    counted = shares(start + jnp.arange(side, dtype=jnp.float32)) if padded else own
    return own / counted.sum(0, keepdims=True)
