"""Every kind of file is read by the policy of `jaxad.data.images`, or refused with a reason.

What is expected comes from the numbers that were written, pixel by pixel; of formats that change
them, from what Pillow decodes.
"""

import struct
import zlib
from typing import NamedTuple

import numpy as np
import PIL
import pytest
import tifffile
from PIL import Image

from jaxad.data import images
from jaxad.data.reading import Reading

pytestmark = pytest.mark.filterwarnings("ignore:IM image format is deprecated")
as_pillow_13 = pytest.mark.skipif(
    int(PIL.__version__.split(".")[0]) < 13, reason="the tables are of what Pillow 13 reads"
)

Image.init()
HEIGHT, WIDTH = 6, 8
MODES = (
    "1", "L", "P", "PA", "LA", "La", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV",
    "I", "I;16", "I;16B", "I;16L", "F",
)  # fmt: skip
BRIGHT = Reading(mask_threshold=127)
ENDS_KNOWN = ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP")  # formats whose end is looked at

# Ways to save: Pillow's name of the format, and its options.
SAVED = {format: (format, {}) for format in sorted(Image.SAVE)} | {
    "WEBP lossless": ("WEBP", {"lossless": True}),
    "SGI of 16 bits": ("SGI", {"bpc": 2}),
    "TGA packed": ("TGA", {"compression": "tga_rle"}),
    "TIFF LZW": ("TIFF", {"compression": "tiff_lzw"}),
    "TIFF deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "TIFF packed": ("TIFF", {"compression": "packbits"}),
    "TIFF fax": ("TIFF", {"compression": "group4"}),
    "TIFF JPEG": ("TIFF", {"compression": "jpeg"}),
}
LOSSY = ("AVIF", "JPEG", "JPEG2000", "MPO", "WEBP", "TIFF JPEG")

ALL = " ".join(MODES)
NOISE = "may have noise around its edges; save masks as PNG"
NO_RANGE = "no known range; save 8 or 16 bits"
UNKNOWN = "not a picture, or of a kind that is not supported"
# Ways to save -> modes, why pictures are refused (None: they are read), and why masks are.
REFUSED = {
    "AVIF": [(ALL, None, NOISE)],
    "BLP": [("P", None, NOISE)],
    "DDS": [("L LA RGB RGBA", None, NOISE)],
    "EPS": [("L RGB CMYK", *2 * ["EPS files are not read as pictures"])],
    "ICNS": [(ALL, *2 * ["ICNS files are not read as pictures"])],
    "ICO": [(ALL, *2 * ["ICO files are not read as pictures"])],
    "IM": [(ALL, *2 * ["IM files are not read as pictures"])],
    "JPEG": [("1 L RGB RGBX CMYK YCbCr", None, NOISE)],
    "JPEG2000": [("L LA RGB RGBA CMYK YCbCr I;16 I;16B", None, NOISE)],
    "MPO": [("1 L RGB RGBX CMYK YCbCr", None, NOISE)],
    "PALM": [("1 P", UNKNOWN, UNKNOWN)],
    "PDF": [("1 L P LA RGB RGBA CMYK", UNKNOWN, UNKNOWN)],
    "PPM": [("F", NO_RANGE, NO_RANGE)],
    "SGI of 16 bits": [("L RGB RGBA", *2 * ["are not supported in SGI"])],
    "SPIDER": [(ALL, NO_RANGE, NOISE)],
    "TIFF": [("I", NO_RANGE, None), ("F", NO_RANGE, NO_RANGE)],
    "TIFF JPEG": [(ALL, None, NOISE)],
    "WEBP": [(ALL, None, NOISE)],
}
for way in ("TIFF LZW", "TIFF deflate", "TIFF packed"):
    REFUSED[way] = REFUSED["TIFF"]


class Written(NamedTuple):
    """What a file holds: grey, RGB, or RGBA, and the number that is white and opaque."""

    numbers: np.ndarray
    white: int = 255

    def over_black(self, y, x):
        """The numbers of one pixel, not rounded."""
        colours = np.atleast_1d(self.numbers[y, x]).tolist()
        alpha = colours.pop() / self.white if len(colours) == 4 else 1
        return [colour * alpha for colour in colours]

    def picture(self, top=None):
        image = np.zeros((*self.numbers.shape[:2], 3), np.uint8)
        for y, x in np.ndindex(image.shape[:2]):  # grey is repeated
            image[y, x] = [int(c * 255 / (top or self.white) + 0.5) for c in self.over_black(y, x)]
        return image

    def labels(self):
        labels = np.zeros(self.numbers.shape[:2], np.int64)
        for y, x in np.ndindex(labels.shape):
            labels[y, x] = int(max(self.over_black(y, x)) + 0.5)
        return labels


NOTHING = Written(np.zeros((HEIGHT, WIDTH)))  # of what is refused


def interpreted(image):
    """What the numbers of one of Pillow's pictures mean."""
    values, mode = np.asarray(image), image.mode
    if mode == "1":
        return Written(values.astype(int), 1)
    if mode.startswith("I"):
        return Written(values.astype(int), 65535)
    if mode in ("L", "RGB", "RGBA"):
        return Written(values)
    if mode in ("LAB", "HSV"):  # which Pillow knows best
        return Written(np.asarray(image.convert("RGB")))
    palette = np.array(image.getpalette() or [0] * 768).reshape(-1, 3).tolist()

    def meaning(pixel):
        match mode, pixel:
            case "P", [index]:
                return palette[index]
            case "PA", [index, alpha]:
                return [*palette[index], alpha]
            case "LA", [grey, alpha]:
                return [grey, grey, grey, alpha]
            case "RGBX", [*rgb, _]:
                return rgb
            case "CMYK", [*cmy, black]:
                return [(255 - ink) * (255 - black) / 255 for ink in cmy]
            case "YCbCr", [y, cb, cr]:
                cb, cr = cb - 128, cr - 128
                rgb = [y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb]
                return [min(max(c, 0), 255) for c in rgb]

    pixels = values.reshape(HEIGHT * WIDTH, -1).tolist()
    return Written(np.array([meaning(pixel) for pixel in pixels]).reshape(HEIGHT, WIDTH, -1))


def drawn(mode, binary=False):
    """A picture of random numbers, with black, white, opaque and transparent ones among them."""
    rng = np.random.default_rng(zlib.crc32(mode.encode()))
    shape = (HEIGHT, WIDTH)
    if mode == "1":
        return Image.fromarray(rng.random(shape) < 0.5)
    if mode == "F":
        return Image.fromarray(rng.uniform(0, 255, shape).astype(np.float32))
    if mode.startswith("I"):
        grey = rng.integers(0, 65536, shape)
        grey[0, :4] = 0, 1, 255, 65535
        kind = {"I": "<i4", "I;16B": ">u2"}.get(mode, "<u2")
        return Image.frombytes(mode, (WIDTH, HEIGHT), grey.astype(kind).tobytes())
    bands = Image.getmodebands(mode)
    values = rng.integers(0, 256, (*shape, bands), dtype=np.uint8)
    values[0, 0], values[0, 1], values[0, 2] = 0, 255, 1
    if mode.endswith(("A", "a")):
        alpha = rng.choice([0, 255] if binary else [0, 64, 200, 255], shape)
        alpha[0, :3] = 255
        values[..., -1] = alpha
    if mode.endswith("a"):  # multiplied by it
        values = np.minimum(values, values[..., -1:])
    if mode.startswith("P"):
        values[..., 0] %= 16
    image = Image.frombytes(mode, (WIDTH, HEIGHT), values.tobytes())
    if mode.startswith("P"):
        image.putpalette(rng.integers(0, 256, 48).tolist())
    return image


def stored_mode(way, mode):
    """What Pillow makes of a mode that a format lacks, before it writes the pixels."""
    if way.startswith("WEBP"):
        return "RGBA" if mode.endswith(("A", "a")) else "RGB"
    if way == "GIF" and mode in ("1", "LA", "I", "I;16", "I;16B", "I;16L", "F"):
        return "L"
    if way in ("BMP", "DIB", "PPM") and mode == "RGBA":
        return "RGB"
    return mode


def why(way, mode):
    """Why pictures, masks, and masks by a threshold are refused."""
    for modes, picture, mask in REFUSED.get(way, ()):
        if mode in modes.split():
            return picture, mask, mask or picture
    return None, None, None


def grey(path, reading):
    return images.grey_levels(path, reading)[0]


def check(path, written, tolerance=0, refused=(None, None, None)):
    """Looks at a file in every way in which it can be read."""
    labels, white = written.labels(), written.white
    sure = np.abs(labels * 255 - 127 * white) > 255 * tolerance
    readings = [
        (images.read_image, images.PLAIN, refused[0], written.picture()),
        (grey, images.PLAIN, refused[1], labels),
        (images.read_mask, images.PLAIN, refused[1], labels > 0),
        (images.read_mask, BRIGHT, refused[2], labels * 255 > 127 * white),
    ]
    for read, reading, reason, expected in readings:
        if reason:
            with pytest.raises(ValueError) as error:  # noqa: PT011
                read(path, reading)
            assert str(path) in str(error.value)
            assert reason in str(error.value)
            continue
        found = read(path, reading)
        assert found.shape == expected.shape
        if reading is BRIGHT:
            found, expected = found[sure], expected[sure]
        assert np.abs(found.astype(int) - expected).max() <= tolerance
        header = images.header(path, read is not images.read_image, reading)
        assert header.size == written.numbers.shape[:2]
        with Image.open(path) as image:
            assert header.whole == (image.format in ENDS_KNOWN)
    content = path.read_bytes()
    cut = path.with_name(f"cut {path.name}")
    cut.write_bytes(content[: len(content) * 6 // 10])
    try:
        assert not images.header(cut).whole
    except ValueError as error:
        assert str(cut) in str(error)  # noqa: PT017


def without_alpha(mode):
    return mode[-1] not in "Aa" and mode not in ("CMYK", "YCbCr")


@as_pillow_13
@pytest.mark.parametrize("way", SAVED)
def test_what_pillow_writes_is_read_or_refused(tmp_path, way):
    format, options = SAVED[way]
    for mode in MODES:
        image = drawn(mode, binary=format == "GIF")
        path = tmp_path / f"{mode}.file"
        try:
            image.save(path, format=format, **options)
        except Exception:  # Pillow raises nearly anything where it cannot write
            continue
        refused = why(way, mode)
        if all(refused):
            expected = NOTHING
        elif way in LOSSY:
            with Image.open(path) as decoded:
                expected = interpreted(decoded)
        else:
            expected = interpreted(image.convert(stored_mode(way, mode)))
        check(path, expected, 0 if without_alpha(mode) else 1, refused)


@pytest.mark.parametrize(
    ("way", "modes"),
    {
        "BMP": "1 L P RGB RGBA",
        "GIF": "1 L P LA RGB RGBA I I;16",
        "JPEG": "L RGB CMYK",
        "PNG": "1 L P LA RGB RGBA I;16",
        "PPM": "1 L RGB I I;16",
        "TIFF": "1 L P PA LA RGB RGBA RGBX CMYK YCbCr LAB I I;16 I;16B F",
        "WEBP lossless": "L RGB RGBA",
    }.items(),
)
def test_nothing_common_is_passed_over(tmp_path, way, modes):
    format, options = SAVED[way]
    for mode in modes.split():
        drawn(mode).save(tmp_path / "file", format=format, **options)


def random(channels=(), white=255, seed=0):
    """Random numbers; of four channels the last is transparent or opaque in places."""
    numbers = np.random.default_rng(seed).integers(0, white + 1, (HEIGHT, WIDTH, *channels))
    numbers[0, 0], numbers[0, 1], numbers[0, 2] = 0, white, 1
    if channels == (4,):
        numbers[0, :3, 3] = white
        numbers[1, :, 3], numbers[2, :, 3] = 0, white
    return numbers


PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
          (0, 1, 1, 2))  # fmt: skip


def write_png(path, numbers, bits, interlaced=False, transparent=b"", palette=b""):
    """A PNG of any kind: what Pillow does not write."""
    height, width, channels = numbers.reshape(*numbers.shape[:2], -1).shape
    kind = 3 if palette else {1: 0, 2: 4, 3: 2, 4: 6}[channels]

    def chunk(name, content):
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    lines = b""
    for x, y, dx, dy in PASSES if interlaced else [(0, 0, 1, 1)]:
        for row in numbers[y::dy, x::dx].astype(">u2"):
            ones = np.unpackbits(row.reshape(-1, 1).view(np.uint8), axis=1)[:, 16 - bits :]
            lines += b"\0" + np.packbits(ones).tobytes() if row.size else b""
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">2I5B", width, height, bits, kind, 0, 0, interlaced))
        + (chunk(b"PLTE", palette) if palette else b"")
        + (chunk(b"tRNS", transparent) if transparent else b"")
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [(), (3,), (4,)])
def test_png_of_8_and_16_bits_is_read(tmp_path, channels, bits, interlaced):
    white = 2**bits - 1
    numbers = random(channels, white)
    write_png(tmp_path / "a.png", numbers, bits, interlaced)
    check(tmp_path / "a.png", Written(numbers, white), int(channels == (4,)))


def test_png_of_grey_and_transparency_in_16_bits_is_refused(tmp_path):
    write_png(tmp_path / "a.png", random((2,), 65535), 16)
    check(tmp_path / "a.png", NOTHING, refused=["16-bit pixels of the kind LA"] * 3)


@pytest.mark.parametrize("brightest", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_transparent_grey_of_a_png_is_black(tmp_path, bits, brightest):
    white = 2**bits - 1
    numbers = random(white=white)
    key = white if brightest else white // 2
    numbers[0, 3] = key
    write_png(tmp_path / "a.png", numbers, bits, transparent=struct.pack(">H", key))
    opaque = np.where(numbers == key, 0, numbers)
    if bits in (2, 4):  # brought to 8
        opaque, white = opaque * 255 // white, 255
    check(tmp_path / "a.png", Written(opaque, white))


@pytest.mark.parametrize("bits", [8, 16])
def test_the_transparent_colour_of_a_png_is_black(tmp_path, bits):
    numbers = random((3,), 2**bits - 1)
    numbers[5, 1:4] = numbers[5, 0]
    numbers[5, 1, 0] ^= 1  # another one, if only by the lowest bit
    write_png(tmp_path / "a.png", numbers, bits, transparent=struct.pack(">3H", *numbers[5, 0]))
    opaque = np.where((numbers == numbers[5, 0]).all(-1, keepdims=True), 0, numbers)
    check(tmp_path / "a.png", Written(opaque, 2**bits - 1))


@pytest.mark.parametrize("transparent", [b"", b"\0", b"\xff\0", b"\x40\xc0"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_the_palette_of_a_png_is_looked_up(tmp_path, bits, transparent):
    indices = random(white=2**bits - 1)
    table = np.random.default_rng(1).integers(0, 256, (2**bits, 4), dtype=np.uint8)
    table[:, 3] = 255
    table[: len(transparent), 3] = list(transparent)
    write_png(tmp_path / "a.png", indices, bits, False, transparent, table[:, :3].tobytes())
    check(tmp_path / "a.png", Written(table[indices]), 1)


@pytest.mark.parametrize("suffix", [".png", ".gif"])
@pytest.mark.parametrize("transparent", [3, bytes([255, 0, 255, 0])])
def test_transparent_entries_of_a_palette_are_black(tmp_path, suffix, transparent):
    if suffix == ".gif" and transparent != 3:
        pytest.skip("GIF has one")
    image = drawn("P")
    image.save(tmp_path / f"a{suffix}", transparency=transparent)
    numbers = interpreted(image).numbers
    clear = [3] if transparent == 3 else [1, 3]
    numbers[np.isin(np.asarray(image), clear)] = 0
    check(tmp_path / f"a{suffix}", Written(numbers))


def write_netpbm(path, numbers, white, plain=False):
    kind = (2 if plain else 5) + numbers.ndim - 2
    content = numbers.astype(">u2" if white > 255 else np.uint8).tobytes()
    if plain:
        rows = [" ".join(map(str, row.ravel())) for row in numbers]
        content = " # 1 2 3\n".join([*rows, ""]).encode()
    path.write_bytes(b"P%d\n# 4\n%d %d\n%d\n" % (kind, WIDTH, HEIGHT, white) + content)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize("white", [15, 255, 300, 1023, 4095, 65535])
def test_netpbm_is_scaled_by_its_maximum(tmp_path, white, channels, plain):
    numbers = random(channels, white)
    write_netpbm(tmp_path / "a.ppm", numbers, white, plain)
    if white < 255:  # brought to 8 bits
        numbers, white = numbers * 255 // white, 255
    check(tmp_path / "a.ppm", Written(numbers, white))


WAYS_OF_TIFF = {
    "plain": {},
    "big endian": {"byteorder": ">"},
    "zlib": {"compression": "zlib"},
    "zlib, differences": {"compression": "zlib", "predictor": True},
    "big endian, zlib": {"byteorder": ">", "compression": "zlib"},
    "strips": {"rowsperstrip": 2},
    "tiles": {"tile": (16, 16)},
    "tiles, zlib": {"tile": (16, 16), "compression": "zlib"},
    "large": {"bigtiff": True},
}
EXTRA = {"rgba": "unassalpha", "rgb and something": "unspecified", "premultiplied": "assocalpha"}
# Kind, bits, whether colours lie in planes, whether they are compressed, and what is said.
TIFF_REFUSED = {
    ("rgb and something", 8, True, False): UNKNOWN,
    ("premultiplied", 8, True, False): "unknown raw mode",
    ("premultiplied", 16, False, False): "16-bit pixels of the kind premultiplied RGBA",
    ("premultiplied", 16, False, True): "16-bit pixels of the kind premultiplied RGBA",
    ("premultiplied", 16, True, False): "16-bit pixels of the kind premultiplied RGBA",
    ("premultiplied", 16, True, True): "16-bit pixels of the kind premultiplied RGBA",
}


def write_tiff(path, numbers, kind, planes=False, **options):
    if kind != "grey":
        options |= {"photometric": "rgb", "planarconfig": "separate" if planes else "contig"}
    if kind in EXTRA:
        options["extrasamples"] = [EXTRA[kind]]
    tifffile.imwrite(path, np.moveaxis(numbers, -1, 0).copy() if planes else numbers, **options)


@as_pillow_13
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("way", WAYS_OF_TIFF)
def test_tiff_of_8_and_16_bits_is_read_or_refused(tmp_path, way, planes, bits):
    white = 2**bits - 1
    for kind in ["rgb", *EXTRA] if planes else ["grey", "rgb", *EXTRA]:
        numbers = random({"grey": (), "rgb": (3,)}.get(kind, (4,)), white)
        if kind == "premultiplied":
            numbers[..., :3] = np.minimum(numbers[..., :3], numbers[..., 3:])
        path = tmp_path / f"{kind}.tif"
        write_tiff(path, numbers.astype(f"u{bits // 8}"), kind, planes, **WAYS_OF_TIFF[way])
        reason = TIFF_REFUSED.get((kind, bits, planes, "compression" in WAYS_OF_TIFF[way]))
        meant = numbers if kind in ("grey", "rgba") else numbers[..., :3]
        check(path, Written(meant, white), int(numbers.shape[-1] == 4), [reason] * 3)


def test_tiff_larger_than_its_tiles_is_read(tmp_path):
    numbers = np.random.default_rng(0).integers(0, 65536, (20, 24, 3), dtype=np.uint16)
    for planes in (False, True):
        write_tiff(tmp_path / "a.tif", numbers, "rgb", planes, tile=(16, 16), compression="zlib")
        check(tmp_path / "a.tif", Written(numbers, 65535))


LA = {"photometric": "minisblack", "extrasamples": ["unassalpha"]}
INK = {"photometric": "separated"}
NO_16 = "16-bit pixels of the kind"
# Other kinds of TIFF: type of its numbers, channels, how it is written, what is said of pictures,
# of masks, and of masks by a threshold.
OTHER_TIFF = {
    "white is 0, 8 bits": ("u1", (), {"photometric": "miniswhite"}, None, None, None),
    "white is 0, 16 bits": ("u2", (), {"photometric": "miniswhite"}, *3 * ["of which 0 is white"]),
    "white is 0, 16 bits, big endian": (
        "u2", (), {"photometric": "miniswhite", "byteorder": ">"}, *3 * [UNKNOWN]),
    "transparency, 8 bits": ("u1", (2,), LA, None, None, None),
    "transparency, 16 bits": ("u2", (2,), LA, *3 * [UNKNOWN]),
    "premultiplied grey": (
        "u1", (2,), LA | {"extrasamples": ["assocalpha"]}, *3 * ["from La to L not supported"]),
    "ink, 8 bits": ("u1", (4,), INK, None, None, None),
    "ink, 16 bits": ("u2", (4,), INK, *3 * [f"{NO_16} CMYK"]),
    "signed, 8 bits": ("i1", (), {}, *3 * [NO_RANGE]),
    "signed, 16 bits": ("i2", (), {}, NO_RANGE, None, NO_RANGE),
    "signed, 32 bits": ("i4", (), {}, NO_RANGE, None, NO_RANGE),
    "32 bits": ("u4", (), {}, NO_RANGE, None, NO_RANGE),
    "32 bits, big endian": ("u4", (), {"byteorder": ">"}, *3 * [UNKNOWN]),
    "64 bits": ("u8", (), {}, *3 * [UNKNOWN]),
    "half": ("f2", (), {}, *3 * [UNKNOWN]),
    "float": ("f4", (), {}, *3 * [NO_RANGE]),
    "double": ("f8", (), {}, *3 * [UNKNOWN]),
    "float colours": ("f4", (3,), {"photometric": "rgb"}, *3 * [UNKNOWN]),
    "signed colours": ("i2", (3,), {"photometric": "rgb"}, *3 * [UNKNOWN]),
    "five channels": ("u1", (5,), {"photometric": "minisblack"}, *3 * [UNKNOWN]),
}  # fmt: skip


@as_pillow_13
@pytest.mark.parametrize("what", OTHER_TIFF)
def test_other_kinds_of_tiff_are_read_or_refused(tmp_path, what):
    type, channels, options, *refused = OTHER_TIFF[what]
    white = {"u2": 65535, "i1": 127}.get(type, 255)
    numbers = random(channels, white)
    planes = {"planarconfig": "contig"} if channels else {}
    tifffile.imwrite(tmp_path / "a.tif", numbers.astype(type), **options, **planes)
    if what.startswith("white"):
        numbers = white - numbers
    elif what.startswith("ink"):
        numbers = (255 - numbers[..., :3]) * (255 - numbers[..., 3:]) / 255
    elif channels == (2,):
        numbers = numbers[..., [0, 0, 0, 1]]
    written = NOTHING if all(refused) else Written(numbers, white)
    check(tmp_path / "a.tif", written, int(bool(channels)), refused)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("type", [np.uint8, np.uint16])
def test_planes_that_are_no_rgb_are_read_or_refused(tmp_path, type, compression):
    numbers, ways = random((4,), 255).astype(type), {"compression": compression}
    planes = np.moveaxis(numbers, -1, 0).copy()
    ways["planarconfig"] = "separate"
    tifffile.imwrite(tmp_path / "a.tif", planes, **INK, **ways)
    ink = Written((255 - numbers[..., :3]) * (255.0 - numbers[..., 3:]) / 255)
    deep = type == np.uint16
    check(tmp_path / "a.tif", ink, 1, [f"{NO_16} CMYK" if deep else None] * 3)
    tifffile.imwrite(tmp_path / "b.tif", planes[:2], **LA, **ways)
    reason = UNKNOWN if deep else "transparency in a plane of its own"
    check(tmp_path / "b.tif", NOTHING, refused=[reason] * 3)


@pytest.mark.parametrize(("type", "number"), [("i2", -7), ("i4", -7), ("u4", 2**32 - 7)])
def test_masks_with_numbers_below_0_are_refused(tmp_path, type, number):
    numbers = np.zeros((HEIGHT, WIDTH), type)
    numbers[2, 3] = number
    tifffile.imwrite(tmp_path / "a.tif", numbers)
    reason = "a mask has numbers below 0, or above 2147483647"
    check(tmp_path / "a.tif", NOTHING, refused=[NO_RANGE, reason, NO_RANGE])


def test_tiff_of_one_bit_says_which_one_is_white(tmp_path):
    numbers = random(white=1)
    tifffile.imwrite(tmp_path / "a.tif", numbers.astype(bool), photometric="minisblack")
    check(tmp_path / "a.tif", Written(numbers, 1))
    tifffile.imwrite(tmp_path / "b.tif", numbers.astype(bool))  # tifffile's default: 0
    check(tmp_path / "b.tif", Written(1 - numbers, 1))


def test_the_palette_of_a_tiff_is_looked_up(tmp_path):
    table = np.random.default_rng(0).integers(0, 256, (3, 256), dtype=np.uint16)
    indices = random().astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", indices, photometric="palette", colormap=table * 257)
    check(tmp_path / "a.tif", Written(np.moveaxis(table, 0, -1)[indices]))


@pytest.mark.parametrize("subpage", [False, True])
def test_smaller_versions_of_a_picture_in_a_tiff_do_not_count(tmp_path, subpage):
    numbers = random((3,), 65535).astype(np.uint16)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(numbers, photometric="rgb", subifds=int(subpage))
        file.write(numbers[::2, ::2], photometric="rgb", subfiletype=1)
    check(tmp_path / "a.tif", Written(numbers, 65535))


@pytest.mark.parametrize(("count", "said"), [
    (63, "it holds 63 pages or frames"), (64, "it holds 64 pages or more"),
    (20_000, "it holds 64 pages or more"),
])  # fmt: skip
def test_pages_of_a_tiff_are_not_counted_without_end(tmp_path, count, said):
    drawn("L").save(tmp_path / "a.tif")
    content = bytearray((tmp_path / "a.tif").read_bytes())
    (first,) = struct.unpack_from("<I", content, 4)
    size = 2 + 12 * struct.unpack_from("<H", content, first)[0] + 4
    page, place = content[first : first + size], first + size - 4  # of the next one's place
    for _ in range(count - 1):  # the same strips again, under a heading of their own
        struct.pack_into("<I", content, place, len(content))
        content += page
        place = len(content) - 4
    struct.pack_into("<I", content, place, 0)
    (tmp_path / "a.tif").write_bytes(content)
    check(tmp_path / "a.tif", NOTHING, refused=[said] * 3)


def test_bmp_that_does_not_tell_its_size_may_be_cut(tmp_path):
    drawn("RGB").save(tmp_path / "a.bmp")
    content = (tmp_path / "a.bmp").read_bytes()
    (tmp_path / "a.bmp").write_bytes(content[:2] + bytes(4) + content[6:])
    assert not images.header(tmp_path / "a.bmp").whole


@pytest.mark.parametrize("format", sorted(set(Image.SAVE_ALL) - {"PDF", "MPO"}))
def test_several_pictures_in_a_file_are_refused(tmp_path, format):
    frames = [drawn("RGB"), drawn("RGB").rotate(180)]
    frames[0].save(tmp_path / "a", format=format, save_all=True, append_images=frames[1:])
    check(tmp_path / "a", NOTHING, refused=["it holds 2 pages or frames"] * 3)


def test_views_beside_the_first_picture_of_a_photograph_are_passed_over(tmp_path):
    frames = [drawn("RGB"), drawn("RGB").rotate(180)]
    frames[0].save(tmp_path / "a", format="MPO", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "a") as image:
        expected = interpreted(image)
    check(tmp_path / "a", expected, refused=[None, NOISE, NOISE])


WAYS_OF_DEPTH = {
    "png": (".png", (), lambda path, x: write_png(path, x, 16)),
    "png colours": (".png", (3,), lambda path, x: write_png(path, x, 16)),
    "tiff": (".tif", (), lambda path, x: write_tiff(path, x, "grey")),
    "tiff colours": (".tif", (3,), lambda path, x: write_tiff(path, x, "rgb")),
    "tiff planes": (".tif", (3,), lambda path, x: write_tiff(path, x, "rgb", True)),
    "pgm": (".pgm", (), lambda path, x: write_netpbm(path, x, 65535)),
    "ppm": (".ppm", (3,), lambda path, x: write_netpbm(path, x, 65535)),
}


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("way", WAYS_OF_DEPTH)
def test_fewer_bits_than_the_file_has_are_scaled_by_their_own_range(tmp_path, way, bits):
    suffix, channels, write = WAYS_OF_DEPTH[way]
    path, reading, top = tmp_path / f"a{suffix}", Reading(bits=bits), 2**bits - 1
    numbers = random(channels, top)
    write(path, numbers.astype(np.uint16))
    expected = Written(numbers, 65535).picture(top)
    assert np.array_equal(images.read_image(path, reading), expected)
    assert np.array_equal(expected[..., 0].ravel()[:2], [0, 255])
    assert images.highest(path) == top
    numbers[3, 4] = top + 1
    write(path, numbers.astype(np.uint16))
    with pytest.raises(ValueError, match=rf"a\{suffix}.*{top + 1}.*{top} is the highest of bits"):
        images.read_image(path, reading)


EXIF_TURNS = 274
TURNED = {
    "png": (".png", lambda path, x, exif: Image.fromarray(x).save(path, exif=exif)),
    "jpeg": (".jpg", lambda path, x, exif: Image.fromarray(x).save(path, exif=exif, quality=95)),
    "tiff": (".tif", lambda path, x, exif: Image.fromarray(x).save(path, exif=exif)),
    "webp": (
        ".webp",
        lambda path, x, exif: Image.fromarray(x).save(path, exif=exif, lossless=True),
    ),
}
for way, planes in (("tiff of 16 bits", False), ("tiff of 16 bits in planes", True)):
    TURNED[way] = (
        ".tif",
        lambda path, x, exif, planes=planes: write_tiff(
            path, x * np.uint16(257), "rgb", planes,
            extratags=[(EXIF_TURNS, "H", 1, exif[EXIF_TURNS], True)],
        ),
    )  # fmt: skip


@pytest.mark.parametrize("way", TURNED)
def test_pictures_may_be_read_as_they_are_stored(tmp_path, way):
    suffix, write = TURNED[way]
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :16] = 255  # blocks that JPEG keeps
    reading = Reading(orientation="stored")
    for turn in range(1, 9):
        path, exif = tmp_path / f"{turn}{suffix}", Image.Exif()
        exif[EXIF_TURNS] = turn
        write(path, pixels, exif)
        image, header = images.read_image(path, reading), images.header(path, reading=reading)
        assert np.abs(image.astype(int) - pixels).max() <= (3 if suffix == ".jpg" else 0)
        assert header.size == (16, 32)
        assert header.turn == turn
        if suffix != ".jpg":
            assert np.array_equal(images.read_mask(path, reading), pixels[..., 0] > 0)
