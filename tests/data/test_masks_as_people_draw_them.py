"""Masks in other channels, formats, places and shades than expected: used, refused or warned of."""

import logging
import shutil

import numpy as np
import pytest
from PIL import Image

from jaxad.data import folder, mvtec
from jaxad.data.reading import Reading


@pytest.fixture
def masks(cracked):
    return sorted((cracked / "ground_truth" / "crack").iterdir())


@pytest.fixture
def truth(masks):
    return [np.array(Image.open(path)) > 0 for path in masks]


def redrawn(masks, change, suffix=".png", **how):
    """Replaces the masks; `change` makes a picture of the pixels."""
    for path in masks:
        picture = change(np.array(Image.open(path)))
        path.unlink()
        picture.save(path.with_suffix(suffix), **how)


def found(data):
    return [item["mask"] > 0 for item in (data.test[i] for i in range(len(data.test)))
            if item["label"]]  # fmt: skip


def in_alpha(pixels):
    white = Image.new("L", pixels.shape[::-1], 255)
    return Image.merge("LA", (white, Image.fromarray(pixels)))


def in_palette(pixels):
    picture = Image.fromarray((pixels > 0).astype(np.uint8)).convert("P")
    picture.putpalette([200, 0, 0, 255, 255, 255])
    return picture


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (in_alpha, {}),
        (lambda pixels: in_alpha(pixels).convert("RGBA"), {}),
        (in_palette, {"transparency": 0}),
        (lambda pixels: Image.fromarray(pixels > 0), {}),
        (lambda pixels: Image.fromarray(pixels.astype(np.uint16) * 257), {}),
    ],
    ids=["LA", "RGBA", "transparent palette", "1 bit", "16 bit"],
)
def test_a_mask_in_any_channel_marks_the_defect_only(cracked, masks, truth, change, how):
    redrawn(masks, change, **how)
    np.testing.assert_array_equal(found(mvtec.load(cracked)), truth)


@pytest.mark.parametrize("suffix", [".gif", ".bmp", ".tif", ".webp", ".tga"])
def test_lossless_formats_of_masks_are_used(cracked, masks, truth, suffix):
    how = {"lossless": True} if suffix == ".webp" else {}
    redrawn(masks, Image.fromarray, suffix, **how)
    np.testing.assert_array_equal(found(mvtec.load(cracked)), truth)


@pytest.mark.parametrize("suffix", [".jpg", ".jfif", ".webp", ".avif", ".jp2"])
def test_lossy_formats_of_masks_are_refused_by_name(cracked, masks, suffix):
    redrawn(masks, Image.fromarray, suffix)
    with pytest.raises(ValueError, match=rf"000_mask\{suffix}.*noise around its edges.*PNG"):
        mvtec.load(cracked)


def test_a_mask_compressed_with_loss_in_a_tiff_is_refused(cracked, masks):
    redrawn(masks, Image.fromarray, ".tif", compression="jpeg")
    with pytest.raises(ValueError, match=r"000_mask\.tif.*noise around its edges"):
        mvtec.load(cracked)


def test_grey_levels_of_a_mask_are_warned_about_and_a_threshold_takes_the_brighter_part(
    cracked, masks, truth, caplog
):
    def blurred(pixels):
        small = Image.fromarray(pixels).resize((23, 23), Image.Resampling.BILINEAR)
        return small.resize((64, 64), Image.Resampling.BILINEAR)

    redrawn(masks, blurred)
    with caplog.at_level(logging.WARNING):
        fringed = found(mvtec.load(cracked))
    assert "3 of 3 masks have several grey levels" in caplog.text
    assert "--mask-threshold 127" in caplog.text
    assert "000_mask.png" in caplog.text
    assert all((mask & ~true).sum() > 40 for mask, true in zip(fringed, truth, strict=True))
    sharper = found(mvtec.load(cracked, reading=Reading(mask_threshold=127)))
    wrong = [(mask ^ true).mean() for mask, true in zip(sharper, truth, strict=True)]
    assert max(wrong) < 0.01


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda pixels: Image.fromarray(255 - pixels), "are they inverted"),
        (lambda pixels: Image.fromarray(np.full_like(pixels, 9)), "mark nearly the whole picture"),
        (lambda pixels: Image.fromarray(np.zeros_like(pixels)), "3 of 3 masks mark nothing"),
    ],
    ids=["inverted", "whole", "empty"],
)
def test_masks_that_look_wrong_are_warned_about_by_name(cracked, masks, caplog, change, said):
    redrawn(masks, change)
    with caplog.at_level(logging.WARNING):
        mvtec.load(cracked)
    assert said in caplog.text
    assert str(masks[0]) in caplog.text


def test_good_masks_are_not_warned_about(cracked, caplog):
    with caplog.at_level(logging.WARNING):
        mvtec.load(cracked)
    assert not caplog.messages


@pytest.mark.parametrize("ending", ["_mask.png", "_label.bmp", "_GT.tif", "-mask.gif"])
def test_masks_beside_all_pictures_are_used(cracked, masks, truth, ending):
    for i, path in enumerate(masks):
        Image.open(path).save(cracked / "test" / "crack" / f"{i:03}{ending}")
    shutil.rmtree(cracked / "ground_truth")
    data = mvtec.load(cracked)
    assert sum(record.label for record in data.test.records) == 3
    np.testing.assert_array_equal(found(data), truth)
    assert not data.passed_over


def test_masks_beside_some_pictures_are_refused(cracked, masks):
    masks[1].rename(cracked / "test" / "crack" / "001_mask.png")
    shutil.rmtree(cracked / "ground_truth")
    with pytest.raises(ValueError, match=r"called as masks of pictures(.|\n)*001_mask\.png"):
        mvtec.load(cracked)


def test_masks_beside_the_pictures_and_elsewhere_are_refused(cracked, masks):
    for i, path in enumerate(masks):
        shutil.copy(path, cracked / "test" / "crack" / f"{i:03}_mask.png")
    with pytest.raises(ValueError, match="and beside the pictures"):
        mvtec.load(cracked)


@pytest.mark.parametrize("place", ["test/crack/masks", "test/masks/crack", "test/crack/a/GT"])
def test_folders_of_masks_among_pictures_are_refused(cracked, place):
    shutil.move(cracked / "ground_truth" / "crack", cracked / place)
    with pytest.raises(ValueError, match=r"masks(.|\n)*ground_truth"):
        mvtec.load(cracked)


def test_masks_that_lie_loose_in_their_folder_are_refused(cracked, masks):
    for path in masks:
        path.rename(cracked / "ground_truth" / path.name)
    with pytest.raises(ValueError, match=r"ground_truth itself, 3 of them, such as 000_mask\.png"):
        mvtec.load(cracked)


def test_masks_beside_pictures_are_used_in_plain_folders_too(cracked, masks, truth):
    for i, path in enumerate(masks):
        path.rename(cracked / "test" / "crack" / f"{i:03}_mask.png")
    data = folder.load(cracked / "train" / "good", test_anomalous=cracked / "test" / "crack")
    assert len(data.test) == 3
    np.testing.assert_array_equal(found(data), truth)


def turned(path, orientation, pixels=None):
    """Saves a picture as a camera does that was held otherwise."""
    picture = Image.open(path) if pixels is None else Image.fromarray(pixels)
    exif = picture.getexif()
    exif[0x0112] = orientation
    picture.save(path, exif=exif)


def test_a_mask_drawn_on_the_stored_picture_is_told_apart_by_its_sides(cracked):
    wide = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    mask = np.zeros((48, 64), np.uint8)
    mask[4:18, 8:22] = 255
    path = cracked / "test" / "crack" / "000.png"
    turned(path, 6, wide)
    Image.fromarray(mask).save(cracked / "ground_truth" / "crack" / "000_mask.png")
    with pytest.raises(ValueError, match=r"EXIF orientation 6(.|\n)*--orientation stored"):
        mvtec.load(cracked)
    data = mvtec.load(cracked, reading=Reading(orientation="stored"))
    place = [record.name for record in data.test.records].index("crack/000")
    np.testing.assert_array_equal(data.test[place]["image"], wide)
    np.testing.assert_array_equal(data.test[place]["mask"], mask > 0)


def test_a_mask_drawn_on_the_stored_square_picture_is_warned_about(cracked, caplog):
    turned(cracked / "test" / "crack" / "001.png", 3)
    with caplog.at_level(logging.WARNING):
        mvtec.load(cracked)
    assert "EXIF turns 1 picture, but not the masks" in caplog.text
    assert "crack/001.png" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        mvtec.load(cracked, reading=Reading(orientation="stored"))
    assert not caplog.messages


@pytest.mark.parametrize(
    "name", ["mask_{}", "{}mask", "{}_mask_0", "{}_mask1", "gt-{}", "{} (mask)"]
)
def test_names_of_masks_are_known_in_many_forms(cracked, masks, truth, name):
    for i, path in enumerate(masks):
        path.rename(cracked / "test" / "crack" / f"{name.format(f'{i:03}')}.png")
    np.testing.assert_array_equal(found(mvtec.load(cracked)), truth)


@pytest.mark.parametrize("name", ["{}mask", "{}_mask", "{} mask"])
def test_a_mask_is_not_that_of_a_picture_with_a_digit_less(cracked, masks, truth, name):
    for i, (path, number) in enumerate(zip(masks, (1, 12, 123), strict=True)):
        path.rename(path.with_name(f"{name.format(number)}.png"))
        picture = cracked / "test" / "crack" / f"{i:03}.png"
        picture.rename(picture.with_name(f"{number}.png"))
    data = mvtec.load(cracked)
    assert [len(file.masks) for file in data.test.files] == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(found(data), truth)


def test_masks_of_normal_pictures_are_looked_at_in_any_case(cracked, masks):
    (cracked / "test" / "good").rename(cracked / "test" / "Good")
    (cracked / "ground_truth" / "good").mkdir()
    shutil.copy(masks[0], cracked / "ground_truth" / "good" / "000_mask.png")
    with pytest.raises(ValueError, match="masks of normal pictures mark defects"):
        mvtec.load(cracked)


def test_masks_are_taken_from_the_one_place_that_has_some(cracked, masks, truth):
    shutil.move(cracked / "ground_truth", cracked / "test" / "ground_truth")
    (cracked / "ground_truth").mkdir()
    np.testing.assert_array_equal(found(mvtec.load(cracked)), truth)
    shutil.copytree(cracked / "test" / "ground_truth" / "crack", cracked / "ground_truth" / "crack")
    with pytest.raises(ValueError, match="masks in two places"):
        mvtec.load(cracked)


def test_masks_by_another_name_beside_every_picture_are_warned_about(cracked, masks, caplog):
    for i, path in enumerate(masks):
        path.rename(cracked / "test" / "crack" / f"{i:03}_binary.png")
    with caplog.at_level(logging.WARNING):
        mvtec.load(cracked)
    assert "goes on with '_binary'" in caplog.text


def test_a_type_of_defect_may_be_called_as_masks_are_if_its_masks_are_too(cracked):
    for place in ("test", "ground_truth"):
        (cracked / place / "crack").rename(cracked / place / "label")
    assert {record.defect for record in mvtec.load(cracked).test.records} == {"good", "label"}


def test_classes_in_masks_and_chosen_thresholds_are_not_warned_about(cracked, masks, caplog):
    for path in masks:
        pixels = np.array(Image.open(path))
        pixels[pixels > 0] = np.arange((pixels > 0).sum()) % 6 + 1
        Image.fromarray(pixels).save(path)
    with caplog.at_level(logging.WARNING):
        mvtec.load(cracked)
    assert not caplog.messages


def test_no_mask_of_a_normal_picture_goes_unseen_however_many_there_are(
    cracked, masks, monkeypatch
):
    monkeypatch.setattr("jaxad.data.looks.MASKS", 1)
    good = cracked / "ground_truth" / "good"
    good.mkdir()
    for i in range(3):
        Image.new("L", (64, 64), 255 * (i == 1)).save(good / f"{i:03}_mask.png")
    with pytest.raises(ValueError, match=r"normal pictures mark defects:\n.*good/001_mask\.png$"):
        mvtec.load(cracked)
