"""Large pictures cut into overlapping squares, and the maps of these blended."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray as NpArray

from jaxad.data.view import View

OVERLAP = 0.25  # of a square's side, at least, that neighbours share


class Cut(NamedTuple):
    """A part of a picture, in its pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def inside(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return (
            slice(self.top, self.top + self.height),
            slice(self.left, self.left + self.width),
        )

    def view(self, whole: View) -> View:
        """How the part is seen, where `whole` is how the picture is."""
        return View(whole.fit, None if whole.region is None else whole.region[self.inside])

    def square(
        self, image: UInt8[NpArray, "H W 3"], view: View, size: int
    ) -> UInt8[NpArray, "{size} {size} 3"]:
        """What a detector sees of the part of a picture."""
        return self.view(view).square(image[self.inside], size)


def whole(shape: tuple[int, int]) -> Cut:
    """All of a picture."""
    return Cut(0, 0, *shape)


def boxes(shape: tuple[int, int], side: int) -> list[Cut]:
    """Squares of a side that cover a picture evenly, row by row; smaller ones where it is smaller.

    Neighbours share `OVERLAP` of a side at least, so that what lies on a border lies in the middle
    of no border of its neighbour.
    """
    rows, columns = (_starts(length, side) for length in shape)
    height, width = (min(side, length) for length in shape)
    return [Cut(top, left, height, width) for top in rows for left in columns]


def blended(
    shape: tuple[int, int],
    cuts: Sequence[Cut],
    maps: Float32[NpArray, "n h w"],
    view: View,
    level: float,
) -> Float32[NpArray, "H W"]:
    """The maps of parts as that of the picture: their mean, the less weight the closer to a border.

    Args:
      shape: of the picture.
      cuts: its parts, which cover it where it is looked at.
      maps: of each part, as the detector gave them.
      view: how the picture is seen.
      level: of the map where nothing is looked at.
    """
    total, weights = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for cut, map in zip(cuts, maps, strict=True):
        part = cut.view(view).placed(map, (cut.height, cut.width), level)
        weight = np.minimum.outer(_ramp(cut.height), _ramp(cut.width))
        total[cut.inside] += weight * part
        weights[cut.inside] += weight
    found = total / np.maximum(weights, 1)  # a weight is 1 at least, or the place is in no part
    return found if view.region is None else np.where(view.region, found, np.float32(level))


def _starts(length: int, side: int) -> list[int]:
    if length <= side:
        return [0]
    step = side - int(np.ceil(OVERLAP * side))
    count = 1 + -(-(length - side) // max(step, 1))
    return np.linspace(0, length - side, count).round().astype(int).tolist()


def _ramp(length: int) -> Float32[NpArray, "n"]:
    """1 at the ends, and one more for each pixel towards the middle, up to the overlap."""
    place = np.arange(length)
    most = max(1, int(OVERLAP * length))
    return np.minimum(np.minimum(place, place[::-1]) + 1, most).astype(np.float32)
