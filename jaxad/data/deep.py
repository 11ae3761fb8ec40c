"""Pictures of more than 8 bits: their numbers in full, and brought to 8 bits by their range.

Pillow gives all 16 bits of grey pictures, but only the upper 8 of colours. The lower 8 come from
decoding once more with the order of the bytes swapped.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from jaxad.data.orientation import TURNS, turn_of

Again = Callable[[], Image.Image]  # opens the same file once more
_BITS, _PLANAR = 258, 284  # TIFF tags
_SEPARATE = 2
_NATIVE = "L" if sys.byteorder == "little" else "B"
_SWAPPED = {"B": "L", "L": "B", "N": "B" if _NATIVE == "L" else "L"}
_BOTH_ORDERS = ("RGB", "RGBA", "RGBX")  # of these Pillow reads 16 bits in either order


def depth(image: Image.Image) -> int:
    """The bits of each number in an opened picture: 8 where it has fewer."""
    if isinstance(image, TiffImageFile):
        return max(8, *image.tag_v2.get(_BITS, (1,)))
    if image.mode.startswith("I") or ";16" in _raw_mode(image):
        return 16  # what has 9 to 15 bits, Pillow brings to 16
    return 8


def check_range(image: Image.Image, mask: bool) -> None:
    """Raises ValueError where the range of a picture's numbers is not known."""
    tiff = isinstance(image, TiffImageFile)
    if image.mode == "F" or (tiff and image.mode == "I" and not mask):
        raise ValueError(
            "floating point, signed or 32-bit pixels have no known range; save 8 or 16 bits"
        )


def to_8_bits(image: Image.Image, again: Again, bits: int | str | None) -> Image.Image:
    """The picture in 8 bits, rounded.

    Args:
      image: opened, of more than 8 bits.
      again: opens its file once more.
      bits: that hold something, the lowest ones; None for all.

    Raises:
      ValueError: a number needs more bits, or the picture is of a kind whose lower bits cannot be
        read.
    """
    if bits == "auto":
        raise ValueError("bits='auto' is decided for a data set, when it is loaded")
    found, kind = numbers(image, again), depth(image)
    top = 2 ** min(kind, int(bits or kind)) - 1
    colours = found[..., :3] if found.ndim == 3 else found
    if colours.min() < 0 or colours.max() > top:
        raise ValueError(
            f"it has numbers from {colours.min()} to {colours.max()}, but {top} is the highest of "
            f"bits={bits or kind}"
        )
    small = _scaled(colours, top)
    if found.ndim == 3 and found.shape[2] == 4:  # transparency has the whole range
        small = np.concatenate([small, _scaled(found[..., 3:], 2**kind - 1)], -1)
    return Image.fromarray(small)


def numbers(image: Image.Image, again: Again) -> Integer[np.ndarray, "..."]:
    """The numbers of a picture of more than 8 bits: H W, or H W C with red, green and blue first.

    Raises:
      ValueError: the picture is of a kind whose lower bits cannot be read.
    """
    if isinstance(image, TiffImageFile) and image.tag_v2.get(_PLANAR) == _SEPARATE:
        return _planes(image)
    if image.mode.startswith("I"):
        return opaque(np.asarray(image).astype(np.int32), image.info)
    raw = _raw_mode(image)
    kind, _, order = raw.rpartition(";16")
    if kind not in _BOTH_ORDERS or order not in _SWAPPED:
        raise ValueError(f"16-bit pixels of the kind {kind or image.mode} are not supported; "
                         "save grey, RGB or RGBA")  # fmt: skip
    with again() as other:
        other.tile = [tile._replace(args=_with(tile.args, f"{kind};16{_SWAPPED[order]}"))
                      for tile in other.tile]  # fmt: skip
        low = np.array(other).astype(np.int32)
    found = 256 * np.array(image).astype(np.int32) + low
    key = image.info.get("transparency")
    if isinstance(key, tuple):  # the one colour that is transparent
        found[(found == np.array(key)).all(-1)] = 0
    return found


def opaque(grey: Integer[np.ndarray, "H W"], info: dict) -> Integer[np.ndarray, "H W"]:
    """Grey numbers with the transparent one, where a file names one, replaced by black."""
    key = info.get("transparency")
    return np.where(grey == key, 0, grey) if isinstance(key, int) else grey


def _scaled(pixels: Integer[np.ndarray, "..."], top: int) -> UInt8[np.ndarray, "..."]:
    return ((pixels.astype(np.uint32) * 255 + top // 2) // top).astype(np.uint8)


def _raw_mode(image: Image.Image) -> str:
    """How the file lays out a pixel, in Pillow's words: "RGB;16B"."""
    args = image.tile[0].args if getattr(image, "tile", None) else ""
    return str(args[0] if isinstance(args, tuple) and args else args or "")


def _with(args: Any, raw_mode: str) -> Any:
    return raw_mode if isinstance(args, str) else (raw_mode, *args[1:])


def _planes(image: TiffImageFile) -> Integer[np.ndarray, "..."]:
    """Colours that lie one after the other, which Pillow takes for interleaved ones."""
    import tifffile

    assert image.fp is not None
    image.fp.seek(0)
    with tifffile.TiffFile(image.fp) as file:
        planes = np.moveaxis(file.pages.first.asarray(), 0, -1).astype(np.int32)
    return TURNS[turn_of(image)](planes)  # as Pillow would give them
