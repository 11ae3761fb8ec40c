"""Pictures and masks from files, by one policy.

Pictures become 8-bit RGB: EXIF orientation applied, grey repeated, palettes looked up, transparent
pixels laid over black, 16 bits scaled to 8 by their range and never clipped.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Integer, UInt8
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile
from scipy import ndimage

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
OUTLINE = (0, 235, 235)  # colour of a mask's outline: none of a heat map's is near it
_BITS, _PLANAR = 258, 284  # TIFF tags


def list_images(folder: str | Path, recursive: bool = False) -> list[Path]:
    """Picture files in a folder, sorted; hidden files and other kinds of file are passed over.

    Raises:
      FileNotFoundError: there is no such folder.
      NotADirectoryError: it is a file.
    """
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such folder")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: a file where a folder of pictures was expected")
    paths = folder.rglob("*") if recursive else folder.iterdir()
    found = [path for path in paths if path.suffix.lower() in SUFFIXES and path.is_file()]
    hidden = {path for path in found if any(p[0] == "." for p in path.relative_to(folder).parts)}
    return sorted(set(found) - hidden)


def read_image(path: str | Path) -> UInt8[np.ndarray, "H W 3"]:
    """A picture as 8-bit RGB, by the policy of this module.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is empty, damaged, no picture, one pixel high or wide, or its numbers
        have no known range (floating point, 32 bits).
    """
    with _open(path) as image:
        bits = _bits(image)
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):
            image = Image.fromarray(_to_8_bits(np.asarray(image), bits))
        elif image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
        return np.array(image.convert("RGB"))


def read_mask(path: str | Path) -> UInt8[np.ndarray, "H W"]:
    """A mask as 0 and 1: every pixel that is not black counts, whatever its value.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: as for `read_image`, or the file is a JPEG, whose noise is not black.
    """
    return (read_labels(path) != 0).astype(np.uint8)


def read_labels(path: str | Path) -> Integer[np.ndarray, "H W"]:
    """The pixel values of a mask, the largest over its colour channels; errors as `read_mask`."""
    with _open(path, mask=True) as image:
        image = ImageOps.exif_transpose(image)
        if image.mode == "LA":
            image = image.getchannel("L")
        if image.mode == "1" or image.mode.startswith(("I", "L")):
            return np.array(image, dtype=np.int32)
        return np.array(image.convert("RGB")).max(-1)


def image_size(path: str | Path, mask: bool = False) -> tuple[int, int]:
    """Height and width of what `read_image` or `read_mask` will give, from the file's header.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the header already shows that the file cannot be used.
    """
    with _open(path, mask) as image:
        width, height = image.size
        # Pillow's PNG class would decode the picture to look for late EXIF; its TIFF class has
        # turned `size` already.
        orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
        turned = image.format != "TIFF" and orientation >= 5
        return (width, height) if turned else (height, width)


@contextlib.contextmanager
def _open(path: str | Path, mask: bool = False) -> Iterator[Image.Image]:
    """An opened picture, not yet decoded; errors, also those of decoding, name the file."""
    try:
        if os.path.getsize(path) == 0:
            raise ValueError("the file is empty")
        with Image.open(path) as image:
            tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
            if mask and image.format == "JPEG":
                raise ValueError("a mask in JPEG has noise around its edges; save masks as PNG")
            if image.mode == "F" or (tags and image.mode == "I" and not mask):
                raise ValueError(
                    "floating point, signed or 32-bit pixels have no known range; save 8 or 16 bits"
                )
            if min(image.size) < 2:
                raise ValueError(f"{image.size[0]} x {image.size[1]} pixels are not a picture")
            # Pillow takes the planes of 16-bit colours for interleaved pixels.
            planes = image.mode.startswith("RGB") and tags.get(_PLANAR) == 2 and _bits(image) == 16
            yield _read_planes(path) if planes else image
    except (FileNotFoundError, PermissionError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise ValueError(f"{path}: not a picture, or of a kind that is not supported") from None
    except Exception as error:  # a damaged file makes a decoder raise nearly anything
        raise ValueError(f"{path}: cannot be read as a picture: {error}") from error


def _read_planes(path: str | Path) -> Image.Image:
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        pixels = np.moveaxis(page.asarray(), 0, -1)
        image = Image.fromarray(_to_8_bits(pixels, 8 * pixels.itemsize))
        orientation = page.tags.valueof(ExifTags.Base.Orientation, default=1)
        image.getexif()[ExifTags.Base.Orientation] = int(orientation)
        return image


def _bits(image: Image.Image) -> int:
    # 12-bit TIFFs are unpacked as they are; what else has more than 8 bits is brought to 16.
    return max(image.tag_v2.get(_BITS, (16,))) if isinstance(image, TiffImageFile) else 16


def _to_8_bits(pixels: np.ndarray, bits: int) -> UInt8[np.ndarray, "..."]:
    top = 2**bits - 1
    return ((pixels.astype(np.uint32) * 255 + top // 2) // top).astype(np.uint8)


def outline(
    mask: UInt8[np.ndarray, "H W"] | Bool[np.ndarray, "H W"],
) -> tuple[Bool[np.ndarray, "H W"], Bool[np.ndarray, "H W"]]:
    """Where to draw a mask's outline: a line just outside the mask, and a darker one around it.

    One pixel wide up to a side of 400, more on larger pictures. Along the picture's border there is
    no line where the mask runs out of it.
    """
    width = max(1, round(max(mask.shape) / 400))
    square = np.ones((3, 3), bool)
    mask = np.asarray(mask, bool)
    line = np.asarray(ndimage.binary_dilation(mask, square, iterations=width), bool)
    around = np.asarray(ndimage.binary_dilation(line, square, iterations=width), bool)
    return line & ~mask, around & ~line
