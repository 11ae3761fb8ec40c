"""Anomaly maps, and moments of features over a set of images."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxad import compile
from jaxad.detector import ImageSet


def resize(x: Float[Array, "B h w *C"], shape: tuple[int, int]) -> Float[Array, "B H W *C"]:
    """Bilinear, half-pixel centres, no antialiasing: torch's `align_corners=False`."""
    target = (x.shape[0], *shape, *x.shape[3:])
    return jax.image.resize(x, target, "bilinear", antialias=False)


def resize_aligned(x: Float[Array, "B h w *C"], shape: tuple[int, int]) -> Float[Array, "B H W *C"]:
    """Bilinear, corners on corners, no antialiasing: torch's `align_corners=True`.

    Position i of n samples i (m - 1) / (n - 1) of m.
    """
    rows, columns = (_between(old, new) for old, new in zip(x.shape[1:3], shape, strict=True))
    return _along(rows, columns, x)


def pooled_max(x: Float[Array, "B H W"], window: int) -> Float[Array, "B"]:
    """The largest mean over a window x window square inside each map."""
    return _along(*(_means(side, window) for side in x.shape[1:]), x).max((1, 2))


def gaussian_blur(
    x: Float[Array, "B H W"],
    sigma: float,
    border: Literal["reflect", "symmetric"] = "symmetric",
    truncate: float = 4.0,
) -> Float[Array, "B H W"]:
    """Maps smoothed by a Gaussian, as `scipy.ndimage.gaussian_filter` does.

    Args:
      x: maps.
      sigma: deviation in cells.
      border: what lies outside, in numpy's words: a mirror image without the edge ("reflect") or
        with it ("symmetric"; scipy says "reflect" for it).
      truncate: how many deviations the kernel reaches to each side.
    """
    return _along(*(_blurred(side, sigma, border, truncate) for side in x.shape[1:]), x)


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
    rows: Float[np.ndarray, "H h"], columns: Float[np.ndarray, "W w"], x: Float[Array, "B h w *C"]
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


def _blurred(side: int, sigma: float, border: str, truncate: float) -> Float[np.ndarray, "n n"]:
    """Weights that smooth `side` values."""
    reach = int(truncate * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    inside = np.pad(np.arange(side), reach, mode=border)  # which value each position mirrors
    result = np.zeros((side, side))
    for i in range(side):
        np.add.at(result[i], inside[i : i + len(weights)], weights / weights.sum())
    return result.astype(np.float32)


def bordered(x: Float[Array, "B h w"], width: int) -> Float[Array, "B H W"]:
    """`x` with `width` cells of zero on each side."""
    return jnp.pad(x, ((0, 0), (width, width), (width, width)))


def moments(
    function: Callable, arguments: tuple, images: ImageSet
) -> tuple[Float[Array, "1 1 1 C"], Float[Array, "1 1 1 C"]]:
    """Mean and standard deviation per channel of `function(*arguments, images)` over a set.

    One pass in slices; means and squared deviations of slices are combined (Chan et al., 1979),
    since a difference of sums of squares would lose digits in float32. The deviation divides by
    the number of cells.

    Args:
      function: of a module, not a closure; returns features `B h w C`.
    """
    whole = None
    for features in compile.sliced(function, arguments, images):
        part = compile.jitted(_moments)(features)
        whole = part if whole is None else compile.jitted(_combined)(whole, part)
    count, mean, squares = whole
    return mean, jnp.sqrt(squares / count)


def _moments(features: Float[Array, "B h w C"]) -> tuple[Array, Array, Array]:
    """Number of cells, mean and sum of squared deviations."""
    mean = features.mean((0, 1, 2), keepdims=True)
    squares = jnp.square(features - mean).sum((0, 1, 2), keepdims=True)
    return jnp.float32(features[..., 0].size), mean, squares


def _combined(one: tuple[Array, ...], other: tuple[Array, ...]) -> tuple[Array, Array, Array]:
    (n, mean, squares), (m, other_mean, other_squares) = one, other
    total, difference = n + m, other_mean - mean
    squares = squares + other_squares + jnp.square(difference) * (n * m / total)
    return total, mean + difference * (m / total), squares


def over_set(function: Callable, arguments: tuple, images: ImageSet) -> Array:
    """`function(*arguments, images)` over a set of uint8 images in slices, put together."""
    return jnp.concatenate(list(compile.sliced(function, arguments, images)))
