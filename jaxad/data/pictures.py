"""Pictures of a source at one size: read again each time, or kept in memory."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jaxad import progress
from jaxad.data.source import Source, spread
from jaxad.data.view import WHOLE

THREADS = min(16, os.cpu_count() or 1)


def resized(
    image: UInt8[np.ndarray, "H W 3"], size: int, zoom: int = 1
) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """The centre of a picture that is resized to a square of `zoom * size`; aspect ignored.

    See `View.square`, which also knows other ways.
    """
    return WHOLE.square(image, size, zoom)


class Resized:
    """What a detector sees of a source's pictures: `jaxad.detector.Pictures` by slices.

    By number it gives single pictures, for Grain. A picture is read whenever it is asked for or,
    with `keep`, the first time (by each of the threads that ask for it before it is there).
    """

    def __init__(self, source: Source, size: int, zoom: int = 1, keep: bool = False):
        """Of `source`, at `size`; for `zoom` see `resized`."""
        self._source, self._size, self._zoom = source, size, zoom
        self._kept: dict[int, np.ndarray] | None = {} if keep else None

    def __len__(self) -> int:
        return len(self._source)

    def __repr__(self) -> str:
        return f"Resized({self._source!r}, {self._size}, {self._zoom})"

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self._stacked(range(len(self))[index])
        found = self._kept.get(index) if self._kept is not None else None
        if found is None:
            item = self._source[index]
            view = item.get("view", WHOLE)
            found = view.square(item["image"], self._size, self._zoom)
            if self._kept is not None:
                self._kept[index] = found
        return found

    def _stacked(self, indices: Sequence[int]) -> UInt8[np.ndarray, "n S S 3"]:
        """Several pictures, read in threads."""
        found = np.empty((len(indices), self._size, self._size, 3), np.uint8)

        def read(place: int) -> None:
            found[place] = self[indices[place]]

        with ThreadPoolExecutor(THREADS) as pool:
            list(progress.shown(pool.map(read, range(len(indices))), "reading", len(indices)))
        return found


def image_set(
    source: Source, size: int, zoom: int = 1, limit: int | None = None
) -> UInt8[np.ndarray, "N {size} {size} 3"]:
    """The pictures of a source in memory, at one size.

    Args:
      source: read once, in threads.
      size: side in pixels.
      zoom: see `resized`.
      limit: take this many at most, spread evenly over the source.

    Raises:
      ValueError: there are none, or one cannot be read.
    """
    places = spread(len(source), len(source) if limit is None else limit)
    if not places:
        raise ValueError(f"no pictures to take from {source!r}")
    return Resized(source, size, zoom)._stacked(places)


def cost(source: Source, size: int) -> int:
    """Bytes of memory that the pictures of a source take at one size."""
    return len(source) * size**2 * 3
