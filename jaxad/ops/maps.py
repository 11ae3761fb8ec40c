"""Anomaly maps: resized, blurred, pooled; distances between feature vectors."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

MOST_BLUR = 16.0  # deviation in cells that a sweep may reach


def sides(x: Float[Array, "B H W *C"]) -> tuple[int, int]:
    """Height and width of maps or images."""
    return x.shape[1], x.shape[2]


def resize(x: Float[Array, "B h w *C"], shape: tuple[int, int]) -> Float[Array, "B H W *C"]:
    """Bilinear, half-pixel centres, no antialiasing: torch's `align_corners=False`."""
    target = (x.shape[0], *shape, *x.shape[3:])
    return jax.image.resize(x, target, "bilinear", antialias=False)


def resize_aligned(x: Float[Array, "B h w *C"], shape: tuple[int, int]) -> Float[Array, "B H W *C"]:
    """Bilinear, corners on corners, no antialiasing: torch's `align_corners=True`.

    Position i of n samples i (m - 1) / (n - 1) of m.
    """
    rows, columns = (_between(old, new) for old, new in zip(sides(x), shape, strict=True))
    return _along(rows, columns, x)


def pooled_max(x: Float[Array, "B H W"], window: int) -> Float[Array, "B"]:
    """The largest mean over a window x window square inside each map."""
    rows, columns = (_means(side, window) for side in sides(x))
    return _along(rows, columns, x).max((1, 2))


def gaussian_blur(
    x: Float[Array, "B H W"],
    sigma: float | Float[Array, ""],
    border: Literal["reflect", "symmetric"] = "symmetric",
    truncate: float = 4.0,
) -> Float[Array, "B H W"]:
    """Maps smoothed by a Gaussian, as `scipy.ndimage.gaussian_filter` does.

    Args:
      x: maps.
      sigma: deviation in cells; 0 changes nothing. One that a sweep varies, traced, may be up to
        `MOST_BLUR`.
      border: what lies outside, in numpy's words: a mirror image without the edge ("reflect") or
        with it ("symmetric"; scipy says "reflect" for it).
      truncate: how many deviations the kernel reaches to each side.
    """
    rows, columns = (_blurred(side, sigma, border, truncate) for side in sides(x))
    return _along(rows, columns, x)


def cosine_distance(
    x: Float[Array, "*B C"], y: Float[Array, "..."], epsilon: float = 1e-12
) -> Float[Array, "*B"]:
    """1 - cos of the angle between vectors along the last axis, of arrays of one shape.

    Computed as half the squared distance of unit vectors, which keeps its digits where they are
    close. A vector of zeros is at distance 0 from another one, and 1/2 from anything else.
    Differs from the reference: by torch's `cosine_similarity` both are at distance 1.

    Raises:
      ValueError: shapes differ.
    """
    if x.shape != y.shape:
        raise ValueError(f"vectors of shapes {x.shape} and {y.shape} cannot be compared")
    return jnp.square(unit_vectors(x, epsilon) - unit_vectors(y, epsilon)).sum(-1) / 2


def unit_vectors(x: Float[Array, "*B C"], epsilon: float = 1e-12) -> Float[Array, "*B C"]:
    """Vectors along the last axis divided by their length, or by `epsilon` if that is larger."""
    squares = jnp.square(x).sum(-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(squares, epsilon**2))


def _along(
    rows: Float[Array | np.ndarray, "H h"],
    columns: Float[Array | np.ndarray, "W w"],
    x: Float[Array, "B h w *C"],
) -> Float[Array, "B H W *C"]:
    """Rows and columns of `x` multiplied by a matrix each, in full precision on any device."""
    highest = jax.lax.Precision.HIGHEST
    x = jnp.einsum("Hh,bh...->bH...", rows, x, precision=highest)
    return jnp.einsum("Ww,bHw...->bHW...", columns, x, precision=highest)


def _between(old: int, new: int) -> Float[np.ndarray, "n m"]:
    """Weights that interpolate `new` values from `old` ones."""
    at = np.linspace(0, old - 1, new)[:, None]
    return np.maximum(1 - np.abs(at - np.arange(old)[None]), 0).astype(np.float32)


def _means(side: int, window: int) -> Float[np.ndarray, "n m"]:
    """Weights that average each `window` of `side` values."""
    start, at = np.arange(side - window + 1)[:, None], np.arange(side)[None]
    return ((start <= at) & (at < start + window)).astype(np.float32) / np.float32(window)


def _blurred(
    side: int,
    sigma: float | Float[Array, ""],
    border: Literal["reflect", "symmetric"],
    truncate: float,
) -> Float[Array | np.ndarray, "n n"]:
    """Weights that smooth `side` values."""
    traced = isinstance(sigma, jax.Array)
    xp, most = (jnp, MOST_BLUR) if traced else (np, sigma)
    reach, farthest = xp.floor(truncate * sigma + 0.5), int(truncate * most + 0.5)

    def weight(distance: np.ndarray) -> Array | np.ndarray:
        inside = xp.exp(-0.5 * (distance / xp.maximum(sigma, 1e-6)) ** 2)
        return xp.where(abs(distance) <= reach, inside, 0.0)

    # Each value is seen where it is and wherever the mirrors on both sides show it.
    at, value = np.arange(side)[:, None, None], np.arange(side)[None, :, None]
    period = 2 * side if border == "symmetric" else max(2 * side - 2, 1)
    turns = np.arange(-(farthest // period + 1), farthest // period + 2)[None, None] * period
    mirrored = -1 - value if border == "symmetric" else -value
    direct, reflected = weight(value + turns - at), weight(mirrored + turns - at)
    if border == "reflect":  # the edges are their own mirror images
        own = (value == 0) | (value == side - 1)
        reflected = xp.where(own, 0.0, reflected)
    sums = (direct + reflected).sum(-1)
    return (sums / sums.sum(-1, keepdims=True)).astype(np.float32)


def bordered(x: Float[Array, "B h w"], width: int) -> Float[Array, "B H W"]:
    """`x` with `width` cells of zero on each side."""
    return jnp.pad(x, ((0, 0), (width, width), (width, width)))
