"""Squares that detectors see of pictures, and maps of them put back in place."""

import json
import logging

import numpy as np
import pytest
from PIL import Image

from jaxad.data import mvtec, preprocessing
from jaxad.data.pictures import Resized, image_set
from jaxad.data.reading import Reading
from jaxad.data.view import View

FITS = ("squeeze", "pad", "crop")


def spotted(height, width, top, left, side=8):
    """A grey picture with a white square."""
    image = np.full((height, width, 3), 90, np.uint8)
    image[top : top + side, left : left + side] = 255
    return image


@pytest.mark.parametrize("shape", [(64, 64), (64, 96), (96, 64)])
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [32, 64])
def test_a_map_of_the_square_lies_where_its_picture_is(fit, shape, size):
    height, width = shape
    image = spotted(height, width, height // 2 - 10, width // 2 + 4)
    view = View(fit)
    square = view.square(image, size)
    assert square.shape == (size, size, 3)
    map = view.placed(square[..., 0].astype(np.float32), shape, level=-1.0)
    assert map.shape == shape
    counted = view.counted(shape)
    seen = np.ones(shape, bool) if counted is None else counted
    assert (map[~seen] == -1).all()
    bright = map > 170
    truth = image[..., 0] == 255
    assert not (bright & ~seen).any()
    overlap = (bright & truth).sum() / (bright | truth).sum()
    assert overlap > (0.99 if size == height == width else 0.6)


@pytest.mark.parametrize("shape", [(64, 96), (96, 64), (63, 97)])
def test_padding_keeps_the_shape_and_lies_on_black(shape):
    image = np.full((*shape, 3), 200, np.uint8)
    square = View("pad").square(image, 96)
    bright = square[..., 0] > 100
    rows, columns = bright.any(1).sum(), bright.any(0).sum()
    assert abs(rows / columns - shape[0] / shape[1]) < 0.05
    assert square[0, 0, 0] == square[-1, -1, 0] == 0
    assert View("pad").counted(shape) is None


def test_cropping_shows_the_middle_and_counts_no_more():
    image = spotted(64, 128, 28, 0)
    view = View("crop")
    np.testing.assert_array_equal(view.square(image, 64), image[:, 32:96])
    counted = view.counted((64, 128))
    assert counted.sum() == 64 * 64
    assert counted[:, 32:96].all()


def test_outside_of_the_region_the_picture_is_black_and_the_map_normal():
    region = np.zeros((64, 64), bool)
    region[16:48, 16:48] = True
    view = View("squeeze", region)
    square = view.square(spotted(64, 64, 0, 0, 64), 64)
    np.testing.assert_array_equal(square[..., 0] == 255, region)
    map = view.placed(np.ones((64, 64), np.float32), (64, 64), level=0.25)
    np.testing.assert_array_equal(map == 1, region)
    assert (map[~region] == 0.25).all()
    np.testing.assert_array_equal(view.counted((64, 64)), region)
    np.testing.assert_array_equal(view.seen((64, 64), 64), region)
    np.testing.assert_array_equal(view.seen((64, 64), 32), region[::2, ::2])


def test_squeezing_is_as_it_was_before_there_was_a_choice():
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(View().square(image, 32), expected)
    whole = np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BILINEAR))
    part = View().square(image, 32, zoom=2).astype(int)
    assert np.abs(part - whole[16:48, 16:48]).max() <= 1


@pytest.fixture
def region(tmp_path):
    pixels = np.zeros((64, 64), np.uint8)
    pixels[8:56, 8:56] = 255
    Image.fromarray(pixels).save(tmp_path / "region.png")
    return tmp_path / "region.png"


def test_a_data_set_shows_what_was_chosen(cracked, region):
    reading = Reading(fit="crop", region=str(region))
    data = mvtec.load(cracked, reading=reading)
    for source in (data.train, data.heldout, data.test):
        for pictures in (image_set(source, 32), Resized(source, 32)[:]):
            assert not pictures[:, :3].any()
            assert pictures[:, 8:24, 8:24].all()
    assert data.preprocessing["part"].view.region.sum() == 48 * 48


def test_a_region_that_cannot_be_one_is_refused(cracked, region):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        mvtec.load(cracked, reading=Reading(region="nowhere.png"))
    Image.new("L", (64, 64)).save(region)
    with pytest.raises(ValueError, match=r"region\.png: no pixel of the region is white"):
        mvtec.load(cracked, reading=Reading(region=str(region)))
    Image.new("L", (60, 50), 255).save(region)
    with pytest.raises(ValueError, match=r"60 x 50 pixels, but 12 of 12 pictures have others"):
        mvtec.load(cracked, reading=Reading(region=str(region)))
    with pytest.raises(FileNotFoundError, match=r"part\.png"):
        mvtec.load(cracked, reading=Reading(region=str(cracked.parent)))


def test_each_category_has_its_region_in_a_folder(cracked, region):
    region.rename(cracked.parent / "part.png")
    data = mvtec.load(cracked, reading=Reading(region=str(cracked.parent)))
    assert data.preprocessing["part"].view.region.sum() == 48 * 48


def test_defects_outside_of_the_region_are_warned_about(cracked, region, caplog):
    Image.fromarray(np.eye(64, dtype=np.uint8) * 255).save(region)
    for i in range(3):
        mask = np.zeros((64, 64), np.uint8)
        mask[50:60, 2:12] = 255
        Image.fromarray(mask).save(cracked / "ground_truth" / "crack" / f"{i:03}_mask.png")
    with caplog.at_level(logging.WARNING):
        mvtec.load(cracked, reading=Reading(region=str(region)))
    assert "3 of 3 masks mark only what is not looked at" in caplog.text


def test_what_was_decided_is_written_and_reads_later_pictures(cracked, region, tmp_path):
    reading = Reading(
        bits="auto", fit="pad", mask_threshold=9, orientation="stored", region=str(region),
        max_pixels=9999,
    )  # fmt: skip
    data = mvtec.load(cracked, reading=reading)
    run = tmp_path / "run"
    run.mkdir()
    preprocessing.write(run, data.preprocessing)
    assert json.loads((run / preprocessing.FILE).read_text()) == {
        "part": {
            "bits": None, "orientation": "stored", "mask_threshold": 9, "fit": "pad",
            "region": "region/part.png", "max_pixels": 9999,
        }
    }  # fmt: skip
    region.unlink()
    later = preprocessing.as_before(Reading(check_files=True), preprocessing.stored(run), "other")
    assert later.max_pixels == 9999
    assert later.check_files
    again = mvtec.load(cracked, reading=later)
    for one, other in zip(data.preprocessing.values(), again.preprocessing.values(), strict=True):
        assert one.as_dict() == other.as_dict()
        np.testing.assert_array_equal(one.view.region, other.view.region)


def test_categories_that_were_read_in_different_ways_tell_nothing_of_others():
    entry = {"bits": 12, "orientation": "exif", "mask_threshold": 0, "fit": "pad", "region": None}
    entries = {"a": entry, "b": {**entry, "bits": 10}}
    assert preprocessing.as_before(Reading(), entries, "b").bits == 10
    with pytest.raises(ValueError, match=r"no category 'c'.*\(a, b\)"):
        preprocessing.as_before(Reading(), entries, "c")
    assert preprocessing.as_before(Reading(), {}, "c") == Reading()


def test_a_damaged_record_of_preprocessing_is_named(tmp_path):
    (tmp_path / preprocessing.FILE).write_text('{"a": 1}')
    with pytest.raises(ValueError, match=r"preprocessing\.json is damaged"):
        preprocessing.stored(tmp_path)
