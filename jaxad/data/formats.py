"""Formats of picture files: which are read, which may hold masks, and whether a file is whole."""

import functools
import os
import struct

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

# What Pillow knows of, but does not decode itself, that are no photographs, or icons.
NO_PICTURES = (
    "BUFR", "CUR", "EPS", "FITS", "GRIB", "HDF5", "ICNS", "ICO", "IPTC", "MPEG", "PDF", "WMF",
)  # fmt: skip
# Formats that keep every pixel; TIFF and WebP do with some ways of compression.
LOSSLESS = (
    "PNG", "BMP", "DIB", "GIF", "IM", "MSP", "PCX", "PPM", "QOI", "SGI", "SUN", "TGA", "TIFF",
    "WEBP", "XBM", "XPM",
)  # fmt: skip
ONE_PICTURE = ("MPO", "PSD")  # beside the picture: what it was made of, or other views of it
LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp")
_SUBFILE, _REDUCED = 254, 1  # a TIFF's page that is a smaller version of another one
_OFFSETS, _COUNTS = (273, 324), (279, 325)  # of a TIFF's strips, and of its tiles


@functools.cache
def suffixes() -> frozenset[str]:
    """The suffixes of the files that are read, in small letters: of what Pillow decodes itself."""
    Image.init()
    return frozenset(
        suffix
        for suffix, kind in Image.registered_extensions().items()
        if kind in Image.OPEN and kind not in NO_PICTURES
    )


def is_picture(path: str | os.PathLike) -> bool:
    """Whether a file's name is that of a picture."""
    return os.path.splitext(path)[1].lower() in suffixes()


def check_kind(path: str | os.PathLike, image: Image.Image, mask: bool) -> None:
    """Looks at the format of an opened file.

    Raises:
      ValueError: it holds several pictures, or it is a mask and its format changes pixels.
    """
    count = pages(image)
    if count > 1:
        raise ValueError(f"it holds {count} pages or frames; save one picture a file")
    if mask and is_lossy(path, image):
        raise ValueError(f"a mask in {image.format} has noise around its edges; save masks as PNG")


def pages(image: Image.Image) -> int:
    """How many pictures a file holds; smaller versions of the first do not count."""
    count = 1 if image.format in ONE_PICTURE else getattr(image, "n_frames", 1)
    if count == 1 or not isinstance(image, TiffImageFile):
        return count
    whole = 1
    for page in range(1, count):
        image.seek(page)
        whole += not image.tag_v2.get(_SUBFILE, 0) & _REDUCED
    image.seek(0)
    return whole


def is_lossy(path: str | os.PathLike, image: Image.Image) -> bool:
    """Whether a file's format, or its way of compression, does not keep every pixel."""
    if image.format == "TIFF":
        return image.info.get("compression") in LOSSY_TIFF
    if image.format == "WEBP":
        return not _is_lossless_webp(path)
    return image.format not in LOSSLESS


def seems_cut(path: str | os.PathLike, image: Image.Image) -> bool:
    """Whether the end of a file is not what its format wants; True of formats not known here.

    A look at some bytes, which finds what a broken copy leaves; decoding finds the rest, and tells
    whether what is suspected here is true.
    """
    size = os.path.getsize(path)
    if isinstance(image, TiffImageFile):
        return _tiff_end(image) > size
    with open(path, "rb") as file:
        head = file.read(12)
        file.seek(max(size - 12, 0))
        tail = file.read()
    match image.format:
        case "PNG":
            return tail[4:8] != b"IEND"
        case "JPEG":
            return tail[-2:] != b"\xff\xd9"
        case "GIF":
            return tail[-1:] != b"\x3b"
        case "WEBP":
            return struct.unpack("<I", head[4:8])[0] + 8 > size
        case "BMP":
            return struct.unpack("<I", head[2:6])[0] > size
        case _:
            return True


def _tiff_end(image: TiffImageFile) -> int:
    """Where the last strip or tile of a page ends."""
    for offsets, counts in zip(_OFFSETS, _COUNTS, strict=True):
        places, sizes = image.tag_v2.get(offsets), image.tag_v2.get(counts)
        if places and sizes:
            return max(place + size for place, size in zip(places, sizes, strict=False))
    return 0


def _is_lossless_webp(path: str | os.PathLike) -> bool:
    """Whether the picture's chunk is the lossless kind."""
    with open(path, "rb") as file:
        file.seek(12)
        while len(header := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", header)
            if name in (b"VP8 ", b"VP8L"):
                return name == b"VP8L"
            file.seek(size + size % 2, os.SEEK_CUR)
    return False
