"""Formats of picture files: which are read, which may hold masks, and whether a file is whole."""

import functools
import os
import struct
from io import BufferedIOBase

from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

# Not read: what Pillow knows of, but does not decode itself; what holds no photographs; icons; and
# IM, which Pillow will drop, and whose tables of greys it does not look up.
NO_PICTURES = (
    "BUFR", "CUR", "EPS", "FITS", "GRIB", "HDF5", "ICNS", "ICO", "IM", "IPTC", "MPEG", "PDF", "WMF",
)  # fmt: skip
# Formats that keep every pixel; TIFF and WebP do with some ways of compression.
LOSSLESS = (
    "PNG", "BMP", "DIB", "GIF", "MSP", "PCX", "PPM", "QOI", "SGI", "SUN", "TGA", "TIFF",
    "WEBP", "XBM", "XPM",
)  # fmt: skip
ONE_PICTURE = ("MPO", "PSD")  # beside the picture: what it was made of, or other views of it
LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp")
MOST_PAGES = 64  # of a TIFF; a picture and smaller versions of it, each of half the sides, are 30
SMALL_GREYS = {"L;2": 85, "L;4": 17}  # what Pillow multiplies them with
_SUBFILE, _REDUCED = 254, 1  # a TIFF's page that is a smaller version of another one
_OFFSETS, _COUNTS = (273, 324), (279, 325)  # of a TIFF's strips, and of its tiles


@functools.cache
def suffixes() -> frozenset[str]:
    """The suffixes of the files that are read, in small letters: of what Pillow decodes itself."""
    Image.init()
    return frozenset(
        suffix
        for suffix, kind in Image.registered_extensions().items()
        if (kind in Image.OPEN or kind == "MPO") and kind not in NO_PICTURES  # opened as JPEG
    )


def is_picture(path: str | os.PathLike) -> bool:
    """Whether a file's name is that of a picture."""
    return os.path.splitext(path)[1].lower() in suffixes()


def check_kind(file: BufferedIOBase, image: ImageFile, mask: bool) -> None:
    """Looks at the format of an opened file.

    Raises:
      ValueError: it is of a kind that is not read, or holds several pictures, or it is a mask and
        its format changes pixels.
    """
    if image.format in NO_PICTURES:
        raise ValueError(f"{image.format} files are not read as pictures; save PNG")
    count = pages(image)
    if count > 1:
        raise ValueError(f"it holds {count} pages or frames; save one picture a file")
    if mask and is_lossy(file, image):
        raise ValueError(
            f"a mask in {image.format} may have noise around its edges; save masks as PNG"
        )


def layout(image: ImageFile) -> tuple[str, str, int]:
    """Of an opened, not yet decoded file: how it is decoded, in Pillow's words.

    Returns:
      the decoder, how a pixel is laid out ("RGB;16B"), and the number after that, or 0.
    """
    if not image.tile:
        return "", "", 0
    decoder, _, _, args = image.tile[0]
    first, second, *_ = (*(args if isinstance(args, tuple) else (args,)), "", "")
    return decoder, str(first), second if isinstance(second, int) else 0


def mend_transparency(image: ImageFile) -> None:
    """Brings the grey that is transparent to 8 bits, as Pillow does the greys of 1, 2 and 4."""
    key = image.info.get("transparency")
    if isinstance(key, int):
        scaled = key * SMALL_GREYS.get(layout(image)[1], 1)
        image.info["transparency"] = 255 * bool(key) if image.mode == "1" else scaled


def pages(image: ImageFile) -> int:
    """How many pictures a file holds; smaller versions of the first do not count.

    Raises:
      ValueError: a TIFF has `MOST_PAGES` or more, which are not counted.
    """
    if image.format in ONE_PICTURE:
        return 1
    if not isinstance(image, TiffImageFile):
        return getattr(image, "n_frames", 1)
    whole = 1
    try:
        for page in range(1, MOST_PAGES):  # one by one: to count all takes time by their square
            image.seek(page)
            whole += not image.tag_v2.get(_SUBFILE, 0) & _REDUCED
    except EOFError:
        image.seek(0)
        return whole
    raise ValueError(f"it holds {MOST_PAGES} pages or more; save one picture a file")


def is_lossy(file: BufferedIOBase, image: ImageFile) -> bool:
    """Whether a file's format, or its way of compression, does not keep every pixel."""
    if image.format == "TIFF":
        return image.info.get("compression") in LOSSY_TIFF
    if image.format == "WEBP":
        return not _is_lossless_webp(file)
    return image.format not in LOSSLESS


def seems_cut(file: BufferedIOBase, image: ImageFile) -> bool:
    """Whether the end of a file is not what its format wants; True of formats not known here.

    A look at some bytes, which finds what a broken copy leaves; decoding finds the rest, and tells
    whether what is suspected here is true.
    """
    size = file.seek(0, os.SEEK_END)
    if isinstance(image, TiffImageFile):
        end = _tiff_end(image)
        return end is None or end > size
    file.seek(0)
    head = file.read(12)
    file.seek(max(size - 12, 0))
    tail = file.read()
    match image.format:
        case "PNG" if tail[4:8] == b"IEND":
            return False
        case "JPEG" if tail[-2:] == b"\xff\xd9":
            return False
        case "GIF":
            return tail[-1:] != b"\x3b"
        case "WEBP":
            return struct.unpack("<I", head[4:8])[0] + 8 > size
        case "BMP":
            return not 0 < struct.unpack("<I", head[2:6])[0] <= size  # some write 0
        case _:
            return True


def check_end(file: BufferedIOBase, image: ImageFile) -> None:
    """Looks for the end of a picture in the whole file, where it is not at the end of the file.

    A copy that was broken off may have its full size: Pillow takes zeros for black.

    Raises:
      ValueError: a PNG or a JPEG has no end.
    """
    if image.format not in ("PNG", "JPEG"):
        return
    file.seek(0)
    content = file.read()
    if not (_png_ends(content) if image.format == "PNG" else _jpeg_ends(content)):
        raise ValueError("its end is missing: the file was cut off or not copied to the end")


def _png_ends(content: bytes) -> bool:
    place = 8
    while place + 8 <= len(content):
        size, name = struct.unpack(">I4s", content[place : place + 8])
        if name == b"IEND":
            return True
        place += size + 12
    return False


def _jpeg_ends(content: bytes) -> bool:
    """Whether there is an end after the headers, which may hold a small picture with its own."""
    place = 2
    while place + 4 <= len(content) and content[place : place + 2] != b"\xff\xda":
        if content[place : place + 2] == b"\xff\xff":  # before a marker there may be more of them
            place += 1
        else:
            place += 2 + struct.unpack(">H", content[place + 2 : place + 4])[0]
    return content.find(b"\xff\xd9", place) >= 0


def _tiff_end(image: TiffImageFile) -> int | None:
    """Where the last strip or tile of a page ends; None where the file does not tell."""
    for offsets, counts in zip(_OFFSETS, _COUNTS, strict=True):
        places, sizes = image.tag_v2.get(offsets), image.tag_v2.get(counts)
        if places and sizes:
            return max(place + size for place, size in zip(places, sizes, strict=False))
    return None


def _is_lossless_webp(file: BufferedIOBase) -> bool:
    """Whether the picture's chunk is the lossless kind."""
    file.seek(12)
    while len(header := file.read(8)) == 8:
        name, size = struct.unpack("<4sI", header)
        if name in (b"VP8 ", b"VP8L"):
            return name == b"VP8L"
        file.seek(size + size % 2, os.SEEK_CUR)
    return False
