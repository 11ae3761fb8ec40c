"""Functions over a set of pictures, of which one slice is in memory at a time."""

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxad import progress
from jaxad.compile.programs import jit, of_pictures
from jaxad.detector import Pictures

SLICE = 8  # pictures at a time


def over_set(function: Callable, arguments: tuple, pictures: Pictures) -> PyTree:
    """`function(*arguments, images)` over a set of uint8 pictures, in slices, put together.

    Args:
      function: of a module, not a closure; gets images in [0, 1], and what it returns has their
        axis in front.
      arguments: the others.
      pictures: one slice is in memory at a time, and the next one that is read meanwhile.
    """
    return jax.tree.map(lambda *x: jnp.concatenate(x), *slices(function, arguments, pictures))


def slices(
    function: Callable, arguments: tuple, pictures: Pictures, size: int = SLICE
) -> Iterator[PyTree]:
    """What `over_set` puts together, one slice of `size` pictures after the other.

    At most two shapes compile: full slices and the rest.

    Raises:
      ValueError: there are no pictures.
    """
    if len(pictures) == 0:
        raise ValueError("there are no pictures to go over: expected one or more")
    compiled = of_pictures(function)
    spans = [slice(at, min(at + size, len(pictures))) for at in range(0, len(pictures), size)]
    with ThreadPoolExecutor(1) as reader, progress.bar("measuring", len(pictures)) as bar:
        ahead = reader.submit(pictures.__getitem__, spans[0])
        for following in [*spans[1:], None]:
            images = ahead.result()
            if following is not None:
                ahead = reader.submit(pictures.__getitem__, following)
            yield compiled(*arguments, images)
            bar.update(len(images))


def moments(
    function: Callable, arguments: tuple, pictures: Pictures
) -> tuple[Float[Array, "1 1 1 C"], Float[Array, "1 1 1 C"]]:
    """Mean and standard deviation per channel of `function(*arguments, images)` over a set.

    One pass in slices; means and squared deviations of slices are combined (Chan et al., 1979),
    since a difference of sums of squares would lose digits in float32. The deviation divides by
    the number of cells.

    Args:
      function: of a module, not a closure; returns features `B h w C`.
      arguments: before the images.
      pictures: uint8.
    """
    parts = (jit(_moments)(features) for features in slices(function, arguments, pictures))
    count, mean, squares = functools.reduce(jit(_combined), parts)
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
