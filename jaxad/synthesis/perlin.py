"""Perlin noise as products of matrices, with cell counts that may be drawn.

Perlin, SIGGRAPH 2002; as in DRAEM (Zavrtanik et al., ICCV 2021, arXiv:2108.07610).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

THRESHOLD = 0.5  # a mask is where the noise is above
POWERS = 6  # cells along an axis are 2 ** U{0 .. POWERS - 1}

Field = Float[Array, "H W"]


def noise(
    turns: Float[Array, "rows columns"],
    cells: Int[Array, "2"],
    shape: tuple[int, int],
    start: float = 0.0,
) -> Field:
    """Noise between about -1 and 1.

    Within a cell the four corners' ramps are blended by fades that factor into one of the row and
    one of the column, so the whole is two products of matrices and needs no look-up for each pixel.

    Args:
      turns: direction of the ramp at each corner, in turns; the first component is along rows.
        At least one row and column more than `cells`; the rest is not read.
      cells: along rows and columns.
      shape: of the result.
      start: where in a pixel the noise is taken, from 0 to 1. At a cell's corner it is 0.
    """
    row_fade, row_ramp = _along(shape[0], cells[0], turns.shape[0], start)
    column_fade, column_ramp = _along(shape[1], cells[1], turns.shape[1], start)
    down, across = jnp.cos(2 * jnp.pi * turns), jnp.sin(2 * jnp.pi * turns)
    highest = jax.lax.Precision.HIGHEST
    left = jnp.concatenate([row_ramp, row_fade], 1)
    middle = jnp.concatenate(
        [
            jnp.matmul(down, column_fade.T, precision=highest),
            jnp.matmul(across, column_ramp.T, precision=highest),
        ]
    )
    return jnp.sqrt(2.0) * jnp.matmul(left, middle, precision=highest)


def random_noise(
    key: Array, cells: Int[Array, "2"], shape: tuple[int, int], start: float = 0.0
) -> Field:
    """`noise` with drawn directions; at most 2 ** (POWERS - 1) cells."""
    corners = 2 ** (POWERS - 1) + 1
    return noise(jax.random.uniform(key, (corners, corners)), cells, shape, start)


def random_cells(key: Array) -> Int[Array, "2"]:
    """A power of two for each axis, 1 to 2 ** (POWERS - 1)."""
    return 2 ** jax.random.randint(key, (2,), 0, POWERS)


def random_part(key: Array, shape: tuple[int, int]) -> Field:
    """About half of an image, in one or a few blobs: where noise of 2 x 2 cells is positive.

    Differs from the reference: for textures it restricts anomalies by masks of one category that
    it ships apart; what these are for is that anomalies come in a random part of the image.
    """
    return (random_noise(key, jnp.array([2, 2]), shape) > 0).astype(jnp.float32)


def _along(
    side: int, cells: Int[Array, ""], corners: int, start: float
) -> tuple[Float[Array, "side corners"], Float[Array, "side corners"]]:
    """How much each corner counts at each pixel, and that times the distance from it in cells."""
    distance = ((jnp.arange(side) + start) * (cells / side))[:, None] - jnp.arange(corners)[None]
    t = jnp.minimum(jnp.abs(distance), 1)
    fade = 1 - t**3 * (t * (t * 6 - 15) + 10)
    return fade, fade * distance
