import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxad.data import images, walk


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)


@pytest.fixture
def deep():
    return np.random.default_rng(0).integers(0, 65536, (12, 16, 3), dtype=np.uint16)


def scaled(pixels, top=65535):
    return np.round(pixels / top * 255)


def assert_within_one_level(image, expected):
    assert np.abs(image.astype(int) - expected).max() <= 1


# What each EXIF orientation does, by its definition: row 0 and column 0 of the stored picture are
# the named sides of the shown one.
ORIENTED = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: x.swapaxes(0, 1)[:, ::-1],
    7: lambda x: x.swapaxes(0, 1)[::-1, ::-1],
    8: lambda x: x.swapaxes(0, 1)[::-1],
}


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", ORIENTED)
def test_exif_orientation_is_applied(tmp_path, suffix, orientation):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :16] = 255  # stands on flat blocks, so that JPEG keeps it
    picture = Image.fromarray(pixels)
    exif = picture.getexif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned{suffix}"
    picture.save(path, exif=exif, **({"quality": 95} if suffix == ".jpg" else {"lossless": True}))
    expected = ORIENTED[orientation](pixels)
    image = images.read_image(path)
    assert image.shape == expected.shape
    assert np.array_equal(image > 127, expected > 127)
    assert images.image_size(path) == expected.shape[:2]


def test_grey_is_repeated(tmp_path, rgb):
    Image.fromarray(rgb[..., 0]).save(tmp_path / "a.png")
    image = images.read_image(tmp_path / "a.png")
    assert np.array_equal(image, np.repeat(rgb[..., :1], 3, -1))


def test_bilevel_is_black_and_white(tmp_path, rgb):
    Image.fromarray(rgb[..., 0] > 99).save(tmp_path / "a.png")
    assert np.array_equal(images.read_image(tmp_path / "a.png")[..., 1] == 255, rgb[..., 0] > 99)


def test_palette_is_looked_up(tmp_path, rgb):
    picture = Image.fromarray(rgb).quantize(16)
    picture.save(tmp_path / "a.png")
    table = np.array(picture.getpalette()).reshape(-1, 3)
    assert np.array_equal(images.read_image(tmp_path / "a.png"), table[np.asarray(picture)])


@pytest.mark.parametrize("channels", [2, 4])
def test_transparent_pixels_lie_over_black(tmp_path, rgb, channels):
    alpha = np.full((12, 16, 1), 255, np.uint8)
    alpha[:, 4:8], alpha[:, 8:] = 0, 128
    pixels = np.concatenate([rgb[..., : channels - 1], alpha], -1)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert_within_one_level(images.read_image(tmp_path / "a.png"), pixels[..., :-1] * (alpha / 255))


def test_transparent_palette_entry_lies_over_black(tmp_path):
    picture = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), mode=None).convert("P")
    picture.putpalette([200, 100, 50, 10, 20, 30])
    picture.save(tmp_path / "a.png", transparency=0)
    expected = [[[0, 0, 0], [10, 20, 30]], [[10, 20, 30], [0, 0, 0]]]
    assert images.read_image(tmp_path / "a.png").tolist() == expected


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path, deep, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(deep[..., 0]).save(path)
    image = images.read_image(path)
    assert np.array_equal(image[..., 0], scaled(deep[..., 0]))
    assert (image == image[..., :1]).all()


def test_16_bit_big_endian_tiff_is_scaled(tmp_path, deep):
    tifffile.imwrite(tmp_path / "a.tif", deep[..., 0], byteorder=">")
    assert np.array_equal(images.read_image(tmp_path / "a.tif")[..., 2], scaled(deep[..., 0]))


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_16_bit_colour_tiff_is_scaled(tmp_path, deep, planes, compression):
    pixels = np.moveaxis(deep, -1, 0).copy() if planes else deep
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels,
        photometric="rgb",
        planarconfig="separate" if planes else "contig",
        compression=compression,
    )
    assert_within_one_level(images.read_image(tmp_path / "a.tif"), scaled(deep))
    assert images.image_size(tmp_path / "a.tif") == (12, 16)


def test_planes_are_turned_by_their_orientation(tmp_path, deep):
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.moveaxis(deep, -1, 0).copy(),
        photometric="rgb",
        planarconfig="separate",
        extratags=[(274, "H", 1, 6, True)],
    )
    assert_within_one_level(images.read_image(tmp_path / "a.tif"), ORIENTED[6](scaled(deep)))
    assert images.image_size(tmp_path / "a.tif") == (16, 12)


def test_12_bit_tiff_is_scaled_by_12_bits(tmp_path):
    # Two pixels in three bytes, most significant bits first: 0xFFF, 0x800.
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((2, 3), np.uint8), metadata=None)
    with tifffile.TiffFile(path, mode="r+") as file:
        tags = file.pages[0].tags
        offset = file.pages[0].dataoffsets[0]
        tags["BitsPerSample"].overwrite(12)
        tags["ImageWidth"].overwrite(2)
    content = bytearray(path.read_bytes())
    content[offset : offset + 6] = bytes.fromhex("FFF800") * 2
    path.write_bytes(content)
    assert images.read_image(path)[..., 0].tolist() == [[255, 128], [255, 128]]


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((4, 5), 0.5, np.float32),
        np.full((4, 5), 7, np.uint32),
        np.full((4, 5), -7, np.int16),
    ],
    ids=["float", "32 bits", "signed"],
)
def test_pixels_without_known_range_are_refused(tmp_path, pixels):
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    for function in (images.read_image, images.image_size):
        with pytest.raises(ValueError, match=r"a\.tif.*no known range; save 8 or 16 bits"):
            function(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_truncated_file_is_named(tmp_path, rgb, suffix):
    path = tmp_path / f"bad{suffix}"
    Image.fromarray(np.tile(rgb, (8, 8, 1))).save(path)
    path.write_bytes(path.read_bytes()[:-1200])
    with pytest.raises(ValueError, match=rf"bad\{suffix}: cannot be read as a picture"):
        images.read_image(path)


@pytest.mark.parametrize("function", [images.read_image, images.read_mask, images.image_size])
def test_useless_files_are_named(tmp_path, function):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not a picture")
    Image.fromarray(np.zeros((1, 1, 3), np.uint8)).save(tmp_path / "dot.png")
    for name, reason in [
        ("empty.png", "empty"),
        ("text.png", "not a picture"),
        ("dot.png", "1 x 1"),
    ]:
        with pytest.raises(ValueError, match=f"{name}.*{reason}"):
            function(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"absent\.png"):
        function(tmp_path / "absent.png")


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGB", "RGBA", "LA", "I;16"])
def test_every_value_but_black_is_defective(tmp_path, mode):
    defective = np.arange(12).reshape(3, 4) % 3 > 0
    values = np.where(defective, np.arange(12).reshape(3, 4), 0).astype(np.uint8)
    if mode == "I;16":
        picture = Image.fromarray(values.astype(np.uint16))
    elif mode == "1":
        picture = Image.fromarray(defective)
    elif mode == "P":
        picture = Image.fromarray(np.where(defective, 0, 1).astype(np.uint8))
        picture.putpalette([9, 9, 9, 0, 0, 0])
    else:
        picture = Image.fromarray(values).convert(mode)  # opaque where there is an alpha channel
    picture.save(tmp_path / "a.png")
    mask = images.read_mask(tmp_path / "a.png")
    assert mask.dtype == np.uint8
    assert np.array_equal(mask, defective)


def test_jpeg_masks_are_refused(tmp_path, rgb):
    Image.fromarray(rgb).save(tmp_path / "a.jpg")
    for function in (images.read_mask, lambda path: images.image_size(path, mask=True)):
        with pytest.raises(ValueError, match=r"a\.jpg.*save masks as PNG"):
            function(tmp_path / "a.jpg")


def test_listing_is_sorted_and_has_pictures_only(tmp_path, picture):
    folder = tmp_path / "Ordner mit Ünï çode 画像"
    for name in ("b 2.png", "a.JPG", "ñ/деталь 1.bmp", ".hidden.png", ".cache/c.png"):
        picture(folder / name)
    (folder / "notes.txt").write_text("x")
    (folder / "folder.png").mkdir()
    assert [p.name for p in walk.list_images(folder)] == ["a.JPG", "b 2.png"]
    found = walk.list_images(folder, recursive=True)
    assert [p.relative_to(folder).as_posix() for p in found] == [
        "a.JPG",
        "b 2.png",
        "ñ/деталь 1.bmp",
    ]
    assert images.read_image(found[-1]).shape == (12, 16, 3)


def test_listing_says_what_is_wrong_with_the_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        walk.list_images(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file"):
        walk.list_images(tmp_path / "file")
