"""Masks of the object: found beside their pictures, or estimated."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from jaxad.data import foreground, mvtec, segment
from jaxad.data.reading import Reading
from jaxad.data.rendering.damage import GROUND
from jaxad.data.workpieces import CATEGORIES, Workpieces, assembled


@pytest.fixture
def train(mvtec_folder):
    """Eleven training pictures of 12 x 16 pixels."""
    return mvtec.load(mvtec_folder).train


def soft(value=255):
    pixels = np.zeros((12, 16), np.uint8)
    pixels[3:9, 4:12] = value
    pixels[3:9, 3] = 90
    return pixels


def write_masks(folder, train, pattern, pixels=None):
    for record in train.records:
        path = folder / pattern.format(record.name, record.name.rpartition("/")[2])
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(soft() if pixels is None else pixels).save(path)


@pytest.mark.parametrize("pattern", ["{0}.png", "{0}_mask.png", "{1}.png", "DISthresh/{0}.png"])
def test_masks_are_found_by_the_names_of_their_pictures_and_keep_fractions(
    tmp_path, train, pattern
):
    write_masks(tmp_path / "masks", train, pattern)
    masks = foreground.load(tmp_path / "masks", train)
    assert masks.records == train.records
    np.testing.assert_array_equal(masks[4]["image"], np.repeat(soft()[..., None], 3, -1))


@pytest.mark.parametrize("called", ["ok", "Normal"])
def test_masks_lie_in_folders_called_as_those_of_normal_pictures(tmp_path, train, called):
    write_masks(tmp_path, train, f"{called}/{{1}}.png")
    assert len(foreground.load(tmp_path, train)) == len(train)


def test_masks_in_jpeg_are_refused(tmp_path, train):
    write_masks(tmp_path, train, "{0}.jpg")
    with pytest.raises(ValueError, match=r"11 of 11(.|\n)*save masks as PNG"):
        foreground.load(tmp_path, train)


def test_masks_of_pictures_that_are_held_out_are_not_taken(tmp_path, train):
    write_masks(tmp_path, train, "{0}.png")
    Image.fromarray(soft(0)).save(tmp_path / "good" / "other.png")
    assert len(foreground.load(tmp_path, train)) == len(train)


def test_pictures_without_a_mask_are_listed(tmp_path, train):
    write_masks(tmp_path, train, "{0}.png")
    names = [train.records[i].name for i in (2, 5)]
    for name in names:
        (tmp_path / f"{name}.png").unlink()
    with pytest.raises(ValueError, match="2 of 11 training pictures have no foreground") as error:
        foreground.load(tmp_path, train)
    assert all(name in str(error.value) for name in names)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        foreground.load(tmp_path / "nowhere", train)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.full((24, 32), 255, np.uint8), "has 32 x 24 pixels, its picture .* has 16 x 12"),
        (soft(0), "is empty: no pixel has 128 of 255"),
        (soft(1), "is empty"),  # 0 and 1, where 255 is meant
    ],
)
def test_masks_of_other_sizes_and_empty_ones_are_listed(tmp_path, train, pixels, message):
    write_masks(tmp_path, train, "{0}.png")
    name = train.records[3].name
    Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    with pytest.raises(
        ValueError, match=f"1 of 11 foreground masks cannot(.|\n)*{name}.*{message}"
    ):
        foreground.load(tmp_path, train)


def test_damaged_masks_and_two_of_one_picture_are_listed(tmp_path, train):
    write_masks(tmp_path, train, "{0}.png")
    first, second = (tmp_path / f"{train.records[i].name}.png" for i in (0, 1))
    first.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=f"{first}: not a picture"):
        foreground.load(tmp_path, train)
    first.unlink()
    second.with_name(f"{second.stem}_mask.png").write_bytes(second.read_bytes())
    second.rename(first)
    second.with_name(f"{second.stem}.png").write_bytes(first.read_bytes())
    with pytest.raises(ValueError, match=r"several foreground masks of one picture"):
        foreground.load(tmp_path, train)


def test_other_masks_are_another_set(tmp_path, train):
    write_masks(tmp_path, train, "{0}.png")
    before = repr(foreground.load(tmp_path, train))
    assert repr(foreground.load(tmp_path, train)) == before
    Image.fromarray(soft(200)).save(tmp_path / f"{train.records[0].name}.png")
    assert repr(foreground.load(tmp_path, train)) != before


def object_of(source, index):
    """The pixels of a rendered workpiece."""
    return assembled(*source._good(index)).height > GROUND


@pytest.mark.parametrize("category", CATEGORIES)
def test_estimated_masks_cover_the_workpiece(category):
    source = Workpieces(category, good=3, size=128)
    for index in range(3):
        found = segment.segmented(source[index]["image"])
        true = ndimage.binary_fill_holes(object_of(source, index))  # as the estimate has them
        assert (found & true).sum() / (found | true).sum() > 0.8


def test_a_picture_of_one_colour_has_no_object():
    assert not segment.segmented(np.full((40, 60, 3), 90, np.uint8)).any()


def test_an_object_that_touches_the_border_on_a_background_of_two_colours_is_found():
    rng = np.random.default_rng(0)
    picture = np.full((200, 300, 3), (60, 90, 60), float)
    picture[:, 150:] = (150, 150, 120)
    true = np.zeros((200, 300), bool)
    true[60:, 110:190] = True
    picture[true] = (200, 60, 50)
    picture[100:140, 130:170] = (60, 90, 60)  # a hole through which the background shows
    picture = np.uint8(np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255))
    found = segment.segmented(picture)
    assert (found & true).sum() / (found | true).sum() > 0.9


def test_otsus_threshold_is_the_one_that_leaves_the_least_variance_within():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(1, 0.3, 4000), rng.normal(3, 0.5, 900)]).reshape(70, 70)
    candidates = np.linspace(values.min(), values.max(), 257)[1:-1]
    within = [
        sum(part.size * part.var() for part in (values[values < c], values[values >= c]))
        for c in candidates
    ]
    assert abs(segment.otsu(values) - candidates[np.argmin(within)]) < 0.06


def test_estimated_masks_are_written_and_corrected_ones_stay(tmp_path, caplog):
    source = Workpieces("plate", good=3, size=64)
    with caplog.at_level("INFO", "jaxad"):
        masks = foreground.estimate(source, tmp_path)
    assert str(tmp_path / "overview.png") in caplog.text
    assert np.asarray(Image.open(tmp_path / "overview.png")).shape == (96, 3 * 96, 3)
    np.testing.assert_array_equal(
        masks[1]["image"][..., 0] > 0, segment.segmented(source[1]["image"])
    )
    corrected = np.zeros((64, 64), np.uint8)
    corrected[20:30, 20:30] = 255
    Image.fromarray(corrected).save(tmp_path / "masks" / "good" / "001.png")
    again = foreground.estimate(source, tmp_path)
    np.testing.assert_array_equal(again[1]["image"][..., 0], corrected)
    np.testing.assert_array_equal(again[2]["image"], masks[2]["image"])


def test_pictures_in_which_nothing_stands_out_are_listed(tmp_path, picture):
    grey = np.full((40, 40, 3), 9, np.uint8)
    for i in range(4):
        picture(tmp_path / "flat" / "train" / "good" / f"{i}.png", pixels=grey)
    train = mvtec.load(tmp_path / "flat").train
    with pytest.raises(ValueError, match=r"no object stands out .* 3 of 3 pictures") as error:
        foreground.estimate(train, tmp_path / "out")
    assert train.records[0].name in str(error.value)


def test_masks_are_turned_as_their_pictures_are(tmp_path, picture):
    folder = tmp_path / "part" / "train" / "good"
    for i in range(2):
        for place in (folder / f"{i}.png", tmp_path / "masks" / "good" / f"{i}.png"):
            picture(place, pixels=np.full((12, 16, 3), 200, np.uint8))
            image = Image.open(place)
            exif = image.getexif()
            exif[0x0112] = 6
            image.save(place, exif=exif)
    for chosen, size in (("exif", (16, 12, 3)), ("stored", (12, 16, 3))):
        reading = Reading(orientation=chosen)
        train = mvtec.load(tmp_path / "part", reading=reading).train
        assert foreground.load(tmp_path / "masks", train, reading)[0]["image"].shape == size
    with pytest.raises(ValueError, match="turned by EXIF"):
        foreground.load(tmp_path / "masks", train)
