"""Anomaly maps, and moments of features over a set of images."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxad import compile
from jaxad.detector import ImageSet


def resize(x: Float[Array, "B h w *C"], shape: tuple[int, int]) -> Float[Array, "B H W *C"]:
    """Bilinear, half-pixel centres, no antialiasing: torch's `align_corners=False`."""
    target = (x.shape[0], *shape, *x.shape[3:])
    return jax.image.resize(x, target, "bilinear", antialias=False)


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
