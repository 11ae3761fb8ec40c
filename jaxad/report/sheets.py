"""Many small pictures as a few large ones, which a page opens as they come into view."""

import io
import tempfile
import weakref
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray as NpArray
from PIL import Image

SHEET = 1024  # pixels, about the side of a sheet: a browser decodes it in some milliseconds
IN_MEMORY = 2**24  # bytes of small pictures that wait in memory; more wait in a temporary file
# Of WebP. A map is smooth: less would do, but its opacity should not step.
QUALITY = {"picture": 78, "map": 70}


class Layer(NamedTuple):
    """Sheets of one sort: "picture", "map" or "truth".

    Attributes:
      sheets: as WebP.
      at: place of each picture's cell in all sheets, in the order of the pictures; -1 without one.
    """

    sheets: list[bytes]
    at: list[int]


class Spool:
    """Small pictures that wait for their order, compressed, in memory or in a temporary file.

    Pictures come in the order in which they are scored, and are wanted in that of the page.

    Attributes:
      close: lets go of all pictures, as does whoever drops the spool.
    """

    def __init__(self) -> None:
        """Starts without pictures."""
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115, see `close`
        self.close = weakref.finalize(self, self._file.close)
        self._places: dict[tuple[str, int], tuple[int, int, tuple[int, ...]]] = {}

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, sort: str, index: int, pixels: UInt8[NpArray, "h w c"]) -> None:
        """Takes a small picture.

        Raises:
          OSError: the temporary file cannot be written.
        """
        content = zlib.compress(np.ascontiguousarray(pixels).tobytes(), 1)
        self._file.seek(0, io.SEEK_END)
        self._places[sort, index] = (self._file.tell(), len(content), pixels.shape)
        self._file.write(content)

    def get(self, sort: str, index: int) -> UInt8[NpArray, "h w c"]:
        """The small picture again."""
        start, length, shape = self._places[sort, index]
        self._file.seek(start)
        content = zlib.decompress(self._file.read(length))
        return np.frombuffer(content, np.uint8).reshape(shape)

    def __contains__(self, place: tuple[str, int]) -> bool:
        return place in self._places


def across(side: int) -> int:
    """How many cells of `side` pixels lie beside one another on a sheet, and below."""
    return max(1, SHEET // side)


def layer(spool: Spool, sort: str, order: Sequence[int], side: int) -> Layer:
    """The sheets of one sort, cells row by row in this order of the pictures.

    Args:
      spool: that has the small pictures, of `side` pixels at most.
      sort: of them.
      order: of pictures; those without a small picture of this sort take no cell.
      side: of a cell, in pixels.
    """
    per, wide = across(side) ** 2, across(side)
    there = [index for index in order if (sort, index) in spool]
    place = {index: i for i, index in enumerate(there)}
    sheets = []
    for start in range(0, len(there), per):
        some = there[start : start + per]
        rows = -(-len(some) // wide)
        mode = 3 if sort == "picture" else 4
        sheet = np.zeros((rows * side, min(wide, len(some)) * side, mode), np.uint8)
        for i, index in enumerate(some):
            pixels = spool.get(sort, index)
            top, left = i // wide * side, i % wide * side
            sheet[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        sheets.append(webp(sheet, QUALITY.get(sort)))
    return Layer(sheets, [place.get(index, -1) for index in range(max(order, default=-1) + 1)])


def webp(pixels: UInt8[NpArray, "h w c"], quality: int | None) -> bytes:
    """A picture as WebP, which all browsers read; exact without a quality."""
    file = io.BytesIO()
    how = {"lossless": True} if quality is None else {"quality": quality, "alpha_quality": quality}
    Image.fromarray(pixels).save(file, "WEBP", method=4, **how)
    return file.getvalue()
