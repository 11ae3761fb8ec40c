"""Pictures and masks from files, by one policy.

Pictures become 8-bit RGB: EXIF orientation applied, grey repeated, palettes looked up, transparent
pixels laid over black, more bits scaled to 8 by their range and never clipped. Masks are laid over
black too, and count where they are brighter than a threshold. `Reading` says what can be changed.
"""

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from jaxad.data import deep, formats, orientation, shards
from jaxad.data.reading import Reading

PLAIN = Reading()


class TooManyPixels(ValueError):
    """A picture has more pixels than `Reading.max_pixels`."""


class Header(NamedTuple):
    """What a file's header says of its picture.

    Attributes:
      size: height and width of what `read_image` or `read_mask` will give.
      depth: bits of its numbers.
      turn: EXIF orientation, 1 to 8; 1 is upright.
      whole: whether the end of the file is as it should be, as far as that is known.
    """

    size: tuple[int, int]
    depth: int
    turn: int
    whole: bool


def read_image(
    path: str | Path, reading: Reading = PLAIN, content: bytes | None = None
) -> UInt8[np.ndarray, "H W 3"]:
    """A picture as 8-bit RGB, by the policy of this module.

    Args:
      path: of the file, on disk or in shards; for messages at least.
      reading: what is done otherwise than by default.
      content: of the file, where it has been read already.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is empty, damaged, no picture, several pictures, one pixel high or wide,
        larger than `reading` allows (`TooManyPixels`), or its numbers have no known range (floating
        point, 32 bits) or are higher than `reading.bits` allows.
    """
    with _open(path, reading, content=content) as (image, _, again):
        turn = orientation.turn_of(image)
        pixels = np.array(_over_black(image, again, reading.bits))
        return orientation.shown(pixels, image, turn, reading.orientation == "exif")


def read_mask(path: str | Path, reading: Reading = PLAIN) -> UInt8[np.ndarray, "H W"]:
    """A mask as 0 and 1: pixels brighter than `reading.mask_threshold`, by default all but black.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: as for `read_image`, but 32 bits will do where there is no threshold; or the
        file's format does not keep every pixel.
    """
    return marked(*grey_levels(path, reading), reading)


def marked(
    levels: Integer[np.ndarray, "H W"], white: int, reading: Reading = PLAIN
) -> UInt8[np.ndarray, "H W"]:
    """What `grey_levels` gave, as 0 and 1: whether it is brighter than `reading.mask_threshold`."""
    return (levels.astype(np.int64) * 255 > reading.mask_threshold * white).astype(np.uint8)


def grey_levels(
    path: str | Path, reading: Reading = PLAIN
) -> tuple[Integer[np.ndarray, "H W"], int]:
    """The pixel values of a mask, and the value of white; errors as `read_mask`.

    They are the largest over its colour channels, as the file holds them; 2 and 4 bits are brought
    to 8.
    """
    with _open(path, reading, mask=True) as (image, _, again):
        turn = orientation.turn_of(image)
        top = deep.highest_possible(image)
        if top > 255:
            levels = deep.levels(image, again)
        else:
            levels = np.array(_over_black(image, again)).max(-1)
            if image.mode == "1":
                top, levels = 1, levels // 255
        return orientation.shown(levels, image, turn, reading.orientation == "exif"), top


def header(path: str | Path, mask: bool = False, reading: Reading = PLAIN) -> Header:
    """What is known of a file without decoding it.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the header already shows that the file cannot be used.
    """
    with _open(path, reading, mask) as (image, file, _):
        turn = orientation.turn_of(image)
        size = orientation.shown_size(image, turn, reading.orientation == "exif")
        cut = formats.seems_cut(file, image)
        if cut:
            formats.check_end(file, image)
        return Header(size, deep.depth(image), turn, not cut)


def mode(path: str | Path, reading: Reading = PLAIN) -> str:
    """Pillow's word for the colours of a picture: "RGB", "L", "I;16"; errors as `header`."""
    with _open(path, reading) as (image, _, _):
        return image.mode


def image_size(path: str | Path, mask: bool = False, reading: Reading = PLAIN) -> tuple[int, int]:
    """Height and width of what `read_image` or `read_mask` will give; errors as `header`."""
    return header(path, mask, reading).size


def pixels(path: str | Path, reading: Reading = PLAIN, content: bytes | None = None) -> int:
    """How many pixels a picture has, by its header; arguments and errors as of `read_image`."""
    with _open(path, reading, content=content) as (image, _, _):
        return image.width * image.height


def highest(path: str | Path, reading: Reading = PLAIN, share: float = 1.0) -> int | None:
    """The highest number in a picture of more than 8 bits, transparency apart; None of others.

    With a `share` below 1 the number that this share of all does not exceed. Errors as
    `read_image`.
    """
    with _open(path, reading) as (image, _, again):
        if deep.depth(image) <= 8:
            return None
        numbers = deep.numbers(image, again)
        colours = numbers if numbers.ndim == 2 else numbers[..., :3]
        return int(np.quantile(colours, share, method="lower"))


class _Opened(NamedTuple):
    """A picture, not yet decoded; its file; and what opens it once more."""

    image: ImageFile
    file: io.BufferedIOBase
    again: deep.Again


@contextlib.contextmanager
def _open(
    path: str | Path, reading: Reading, mask: bool = False, content: bytes | None = None
) -> Iterator[_Opened]:
    """An opened picture, not yet decoded; errors, also those of decoding, name the file."""
    limit = reading.max_pixels
    if Image.MAX_IMAGE_PIXELS is not None:  # or Pillow warns and refuses before this does
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, limit)
    if content is None:
        content = shards.content(path)
    again = lambda: Image.open(path if content is None else io.BytesIO(content))
    try:
        if (os.path.getsize(path) if content is None else len(content)) == 0:
            raise ValueError("the file is empty")
        with (
            open(path, "rb") if content is None else io.BytesIO(content) as file,
            Image.open(file) as image,
        ):
            width, height = image.size
            if width * height > limit:
                raise TooManyPixels(
                    f"{width} x {height} pixels are more than max_pixels={limit} (--max-pixels)"
                )
            if min(image.size) < 2:
                raise ValueError(f"{width} x {height} pixels are not a picture")
            formats.check_kind(file, image, mask)
            deep.check(image, only_nonzero=mask and not reading.mask_threshold)
            formats.mend_transparency(image)
            yield _Opened(image, file, again)
    except FileNotFoundError:
        if os.path.islink(path):
            raise ValueError(f"{path}: a link to {os.readlink(path)}, which is not there") from None
        raise
    except (PermissionError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooManyPixels(
            f"{path}: more than max_pixels={limit} (--max-pixels): {error}"
        ) from None
    except TooManyPixels as error:
        raise TooManyPixels(f"{path}: cannot be read as a picture: {error}") from None
    except UnidentifiedImageError:
        raise ValueError(f"{path}: not a picture, or of a kind that is not supported") from None
    except Exception as error:  # a damaged file makes a decoder raise nearly anything
        raise ValueError(f"{path}: cannot be read as a picture: {error}") from error


def _over_black(image: ImageFile, again: deep.Again, bits: int | str | None = None) -> Image.Image:
    """The picture as 8-bit RGB, laid over black."""
    small = deep.to_8_bits(image, again, bits) if deep.depth(image) > 8 else image
    if small.has_transparency_data:
        small = small.convert("RGBA")
        small = Image.alpha_composite(Image.new("RGBA", small.size, "black"), small)
    return small.convert("RGB")


def reason(path: Path, error: Exception) -> str:
    """Why a picture cannot be used, in words that begin with its file."""
    if isinstance(error, MemoryError):
        return f"{path}: more than this machine's memory holds"
    return f"{path}: {error.strerror}" if isinstance(error, OSError) else str(error)
