"""Functions over a set of pictures, of which one slice is in memory at a time."""

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxad import mesh, progress
from jaxad.compile.programs import jit, of_pictures
from jaxad.detector import Pictures

SLICE = 8  # pictures at a time, on each device


def over_set(function: Callable, arguments: tuple, pictures: Pictures) -> PyTree:
    """`function(*arguments, images)` over a set of uint8 pictures, in slices, put together.

    Args:
      function: of a module, not a closure; gets images in [0, 1], and what it returns has their
        axis in front.
      arguments: the others.
      pictures: one slice is in memory at a time, and the next one that is read meanwhile.
    """
    parts = list(slices(function, arguments, pictures))
    return jit(_joined)(parts) if mesh.current() is not None else _joined(parts)


def _joined(parts: list[PyTree]) -> PyTree:
    return jax.tree.map(lambda *x: jnp.concatenate(x), *parts)


def slices(
    function: Callable, arguments: tuple, pictures: Pictures, size: int = SLICE
) -> Iterator[PyTree]:
    """What `over_set` puts together, one slice after the other, in the order of the pictures.

    At most two shapes compile, full slices and the rest; where a mesh is in use two more, since
    what is left in the end does not divide by the devices.

    Args:
      function: as for `over_set`.
      arguments: as for `over_set`.
      pictures: as for `over_set`.
      size: of a slice, on each device.

    Raises:
      ValueError: there are no pictures.
    """
    if len(pictures) == 0:
        raise ValueError("there are no pictures to go over: expected one or more")
    compiled, arguments = of_pictures(function), mesh.placed(arguments)
    spans = _spans(len(pictures), size, mesh.parts())
    with ThreadPoolExecutor(1) as reader, progress.bar("measuring", len(pictures)) as bar:
        ahead = reader.submit(_read, pictures, *spans[0])
        for number, (span, split) in enumerate(spans, start=1):
            images = ahead.result()
            if number < len(spans):
                ahead = reader.submit(_read, pictures, *spans[number])
            yield compiled(*arguments, _put(images, split))
            bar.update(span.stop - span.start)


def _spans(count: int, size: int, parts: int) -> list[tuple[slice, bool]]:
    """The slices of a set, each with whether it is split over `parts` devices."""
    whole = count - count % parts
    split = [slice(at, min(at + size * parts, whole)) for at in range(0, whole, size * parts)]
    rest = [slice(at, min(at + size, count)) for at in range(whole, count, size)]
    return [(span, True) for span in split] + [(span, False) for span in rest]


def _put(images: Any, split: bool) -> Any:
    return mesh.batch(images, along=mesh.SETS) if split else mesh.placed(images)


def _read(pictures: Pictures, span: slice, split: bool) -> Any:
    """Of a slice that is split over hosts only this one's part."""
    if not split:
        return pictures[span]
    rows = mesh.rows(span.stop - span.start, mesh.SETS)
    if len(rows) == span.stop - span.start:
        return pictures[span]
    breaks = np.flatnonzero(np.diff(rows) > 1) + 1
    spans = [(part[0] + span.start, part[-1] + 1 + span.start) for part in np.split(rows, breaks)]
    return np.concatenate([pictures[start:stop] for start, stop in spans])


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
