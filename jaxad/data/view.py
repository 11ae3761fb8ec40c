"""What a detector sees of a picture: a square of it, and where in it to look."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from numpy import ndarray as NpArray
from PIL import Image

from jaxad.data.reading import Fit, Reading

DECIDED = ("bits", "orientation", "mask_threshold", "fit")


class View(NamedTuple):
    """How pictures become squares, and maps of squares those of pictures.

    Attributes:
      fit: "squeeze" makes the sides equal, "pad" keeps the shape on a black square, "crop" takes
        the square in the middle.
      region: true where to look, at the size of the pictures; None: everywhere. Elsewhere a
        picture is black, its map is at the normal level, and its pixels do not count.
    """

    fit: Fit = "squeeze"
    region: Bool[NpArray, "H W"] | None = None

    def square(
        self, image: UInt8[NpArray, "H W 3"], size: int, zoom: int = 1
    ) -> UInt8[NpArray, "{size} {size} 3"]:
        """What a detector of `size` pixels sees; the centre of a square of `zoom * size`.

        Bilinear with antialiasing, as Pillow does it; what is cut off is not computed.
        """
        if self.region is not None:
            image = np.where(self.region[..., None], image, np.uint8(0))
        height, width = image.shape[:2]
        if self.fit == "pad":
            image = _padded(image)
        top, left, rows, columns = _frame(self.fit, height, width)
        top, left = max(top, 0), max(left, 0)
        whole = zoom * size
        low = (whole - size) / 2 // 1
        box = (
            left + low * columns / whole, top + low * rows / whole,
            left + (low + size) * columns / whole, top + (low + size) * rows / whole,
        )  # fmt: skip
        seen = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR, box)
        return np.asarray(seen)

    def placed(
        self, map: Float32[NpArray, "h w"], shape: tuple[int, int], level: float
    ) -> Float32[NpArray, "H W"]:
        """The map of a square as that of its picture, bilinear, antialiased where it shrinks.

        Args:
          map: of what `square` gave.
          shape: of the picture.
          level: of the map where nothing was looked at.
        """
        top, left, rows, columns = _frame(self.fit, *shape)
        inside = slice(max(top, 0), top + rows), slice(max(left, 0), left + columns)
        found = np.full(shape, level, np.float32)
        height, width = found[inside].shape
        if map.shape == (height, width):
            found[inside] = map
        else:  # black beside the picture is cut off
            down, right = map.shape[0] / rows, map.shape[1] / columns
            y, x = max(-top, 0), max(-left, 0)
            box = (x * right, y * down, (x + width) * right, (y + height) * down)
            resized = Image.fromarray(map).resize((width, height), Image.Resampling.BILINEAR, box)
            found[inside] = np.asarray(resized)
        return found if self.region is None else np.where(self.region, found, np.float32(level))

    def seen(self, shape: tuple[int, int], size: int) -> Bool[NpArray, "{size} {size}"]:
        """The pixels of `square` that show something of a picture, of that shape, to look at."""
        white = np.full((*shape, 3), 255, np.uint8)
        return self.square(white, size)[..., 0] > 127

    def counted(self, shape: tuple[int, int]) -> Bool[NpArray, "H W"] | None:
        """The pixels of a picture that were looked at; None where all were."""
        top, left, rows, columns = _frame(self.fit, *shape)
        if rows >= shape[0] and columns >= shape[1]:
            return self.region
        seen = np.zeros(shape, bool)
        seen[top : top + rows, left : left + columns] = True
        return seen if self.region is None else seen & self.region


class Preprocessing(NamedTuple):
    """How the files of a category became pictures.

    Attributes:
      reading: with nothing left to be decided.
      view: what a detector sees of them.
    """

    reading: Reading
    view: View

    def as_dict(self) -> dict[str, Any]:
        """What later pictures are to be read by too, as plain JSON, without the region."""
        return {name: getattr(self.reading, name) for name in DECIDED}


WHOLE = View()


def _frame(fit: Fit, height: int, width: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of the square, or what becomes one, in a picture's pixels."""
    if fit == "squeeze":
        return 0, 0, height, width
    side = max(height, width) if fit == "pad" else min(height, width)
    return (height - side) // 2, (width - side) // 2, side, side


def _padded(image: UInt8[NpArray, "H W 3"]) -> UInt8[NpArray, "S S 3"]:
    height, width = image.shape[:2]
    top, left, side, _ = _frame("pad", height, width)
    square = np.zeros((side, side, 3), np.uint8)
    square[-top : height - top, -left : width - left] = image
    return square
