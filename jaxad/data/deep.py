"""Pictures of more than 8 bits: their numbers in full, and brought to 8 bits by their range.

Pillow gives all 16 bits of grey pictures, but only the upper 8 of colours. The lower 8 come from
decoding once more with the order of the bytes swapped. PPM, which Pillow scales, is read here.
"""

import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from jaxad.data.formats import layout
from jaxad.data.orientation import TURNS, turn_of

Again = Callable[[], ImageFile]  # opens the same file once more
_BITS, _PHOTOMETRIC, _PLANAR, _EXTRA, _FORMAT = 258, 262, 284, 338, 339  # TIFF tags
_WHITE_IS_ZERO, _SEPARATE, _PREMULTIPLIED, _SIGNED = 0, 2, 1, 2  # their values
_NATIVE = "L" if sys.byteorder == "little" else "B"
_SWAPPED = {"B": "L", "L": "B", "N": "B" if _NATIVE == "L" else "L"}
_COLOURS = ("RGB", "RGBA", "RGBX")  # of these Pillow reads 16 bits in either order


def highest_possible(image: ImageFile) -> int:
    """The highest number that an opened, not yet decoded, file can hold; 255 of fewer bits."""
    if isinstance(image, TiffImageFile):
        return 2 ** max(8, *image.tag_v2.get(_BITS, (1,))) - 1
    decoder, raw, maxval = layout(image)
    if image.format == "PPM" and maxval:
        return max(255, maxval)
    if image.mode.startswith("I") or ";16" in raw or decoder == "SGI16":
        return 65535  # what has 9 to 15 bits, Pillow brings to 16
    return 255


def depth(image: ImageFile) -> int:
    """The bits of each number in an opened, not yet decoded, picture: 8 where it has fewer."""
    return highest_possible(image).bit_length()


def check(image: ImageFile, only_nonzero: bool) -> None:
    """Looks at what an opened picture's numbers are.

    Args:
      image: opened, not yet decoded.
      only_nonzero: whether all that matters is which of them are not 0.

    Raises:
      ValueError: they have no known range, or not all of their bits can be read.
    """
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    wide = image.mode == "I" and image.format not in ("PNG", "PPM")
    signed = image.mode == "L" and _SIGNED in tags.get(_FORMAT, ())  # 8 bits, taken for unsigned
    if image.mode == "F" or signed or (wide and not only_nonzero):
        raise ValueError(
            "floating point, signed or 32-bit pixels have no known range; save 8 or 16 bits"
        )
    if tags.get(_PLANAR) == _SEPARATE and image.mode in ("LA", "PA"):
        raise ValueError("transparency in a plane of its own is not supported for grey; save RGBA")
    if depth(image) == 8:
        return
    if image.mode.startswith("I"):
        if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
            raise ValueError("16-bit pixels of which 0 is white are not supported; save 0 as black")
        return
    kind = "LA" if layout(image)[1].startswith("LA") else image.mode  # PNG's LA opens as RGBA
    if _PREMULTIPLIED in tags.get(_EXTRA, ()):
        kind = f"premultiplied {kind}"
    if kind not in _COLOURS or image.format not in ("PNG", "PPM", "TIFF"):
        raise ValueError(
            f"16-bit pixels of the kind {kind} are not supported in {image.format}; save grey, RGB "
            "or RGBA as PNG or TIFF"
        )


def to_8_bits(image: ImageFile, again: Again, bits: int | str | None) -> Image.Image:
    """The picture in 8 bits, rounded.

    Args:
      image: opened, of more than 8 bits.
      again: opens its file once more.
      bits: that hold something, the lowest ones; None for all.

    Raises:
      ValueError: a number needs more bits.
    """
    if bits == "auto":
        raise ValueError("bits='auto' is decided for a data set, when it is loaded")
    whole = highest_possible(image)
    top = min(whole, 2 ** int(bits) - 1) if bits else whole
    found = numbers(image, again)
    colours = found[..., :3] if found.ndim == 3 else found
    if colours.min() < 0 or colours.max() > top:
        raise ValueError(
            f"it has numbers from {colours.min()} to {colours.max()}, but {top} is the highest of "
            f"bits={bits or whole.bit_length()}"
        )
    small = _scaled(colours, top)
    if found.ndim == 3 and found.shape[2] == 4:  # transparency has the whole range
        small = np.concatenate([small, _scaled(found[..., 3:], whole)], -1)
    return Image.fromarray(small)


def levels(image: ImageFile, again: Again) -> Integer[np.ndarray, "H W"]:
    """The numbers of a mask of more than 8 bits: the largest over its colours, laid over black.

    Raises:
      ValueError: some are negative, or have all of 32 bits.
    """
    whole = highest_possible(image)
    found = numbers(image, again)
    if found.min() < 0:
        raise ValueError("a mask has numbers below 0, or above 2147483647; save 8 or 16 bits")
    if found.ndim == 2:
        return found
    grey = found[..., :3].max(-1)
    if found.shape[2] < 4:
        return grey
    return ((grey.astype(np.int64) * found[..., 3] + whole // 2) // whole).astype(np.int32)


def numbers(image: ImageFile, again: Again) -> Integer[np.ndarray, "..."]:
    """The numbers of a checked picture of more than 8 bits: H W, or H W and RGB or RGBA."""
    if image.format == "PPM":
        return _netpbm(image, again)
    if image.mode.startswith("I"):
        grey, key = np.asarray(image).astype(np.int32), image.info.get("transparency")
        return np.where(grey == key, 0, grey) if isinstance(key, int) else grey
    if isinstance(image, TiffImageFile) and image.tag_v2.get(_PLANAR) == _SEPARATE:
        found = _planes(image)
    else:
        kind, _, order = layout(image)[1].rpartition(";16")
        with again() as other:
            other.tile = [tile._replace(args=_with(tile.args, f"{kind};16{_SWAPPED[order]}"))
                          for tile in other.tile]  # fmt: skip
            low = np.array(other).astype(np.int32)
        found = 256 * np.array(image).astype(np.int32) + low
    key = image.info.get("transparency")
    if isinstance(key, tuple):  # the one colour that is transparent
        found[(found == np.array(key)).all(-1)] = 0
    return found if image.mode == "RGBA" else found[..., :3]


def _scaled(pixels: Integer[np.ndarray, "..."], top: int) -> UInt8[np.ndarray, "..."]:
    return ((pixels.astype(np.uint32) * 255 + top // 2) // top).astype(np.uint8)


def _with(args: Any, raw_mode: str) -> Any:
    return raw_mode if isinstance(args, str) else (raw_mode, *args[1:])


def _netpbm(image: ImageFile, again: Again) -> Integer[np.ndarray, "..."]:
    """What a PPM or PGM of two bytes a number, or of text, holds."""
    decoder, _, offset, _ = image.tile[0]
    colours = () if image.mode == "I" else (len(image.mode),)
    shape = (image.height, image.width, *colours)
    with again() as other:
        assert other.fp is not None
        other.fp.seek(offset)
        content = other.fp.read()
    if decoder == "ppm_plain":
        words = re.sub(rb"#[^\r\n]*", b"", content).split()
        found = np.array(words).astype(np.int32)[: np.prod(shape)]
    else:
        found = np.frombuffer(content, ">u2", int(np.prod(shape))).astype(np.int32)
    return found.reshape(shape)


def _planes(image: TiffImageFile) -> Integer[np.ndarray, "..."]:
    """Colours that lie one after the other, which Pillow takes for interleaved ones."""
    import tifffile

    assert image.fp is not None
    image.fp.seek(0)
    with tifffile.TiffFile(image.fp) as file:
        planes = np.moveaxis(file.pages.first.asarray(), 0, -1).astype(np.int32)
    return TURNS[turn_of(image)](planes)  # as Pillow would give them
