"""A folder with one of every fault, each of which is found, and nothing else."""

import unicodedata

import numpy as np
import pytest
from PIL import Image, ImageFilter

from jaxad.data import inspection
from jaxad.data.concerns import concerns


def noise(seed, shape=(40, 50)):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def fine(tmp_path):
    for i in range(10):
        save(tmp_path / "train" / "good" / f"{i:03d}.png", noise(i))
    for i in range(3):
        save(tmp_path / "test" / "crack" / f"{i:03d}.png", noise(100 + i))
        mask = np.zeros((40, 50), np.uint8)
        mask[5:9, 5:9] = 255
        save(tmp_path / "ground_truth" / "crack" / f"{i:03d}_mask.png", mask)
    return tmp_path


def kinds(root):
    return {one.kind: one for one in concerns(inspection.looks(root))}


def test_nothing_is_said_of_a_folder_in_order(fine):
    assert kinds(fine) == {}
    rows = {row["folder"]: row for row in inspection.table(inspection.looks(fine))}
    assert set(rows) == {"train/good", "test/crack", "ground_truth/crack"}
    assert rows["train/good"] == {
        "folder": "train/good", "files": 10, "unreadable": 0, "sizes": {"50 x 40": 10},
        "bits": {"8": 10}, "modes": {"RGB": 10},
    }  # fmt: skip


def test_copies_across_train_and_test_are_found_in_other_formats_too(fine):
    copy = save(fine / "test" / "good" / "other.bmp", noise(4))
    found = kinds(fine)
    assert set(found) == {"duplicate"}
    assert "1 picture of the same pixels lies in several parts" in found["duplicate"].text
    assert set(found["duplicate"].paths) == {copy, fine / "train" / "good" / "004.png"}


@pytest.mark.parametrize("name", ["mask_ä.png", "ä_mask_2.png", "ä-gt.png"])
def test_masks_are_matched_as_training_matches_them(fine, name):
    decomposed = lambda text: unicodedata.normalize("NFD", text)
    save(fine / "test" / "crack" / decomposed("ä.png"), noise(77))
    mask = save(fine / "ground_truth" / "crack" / decomposed(name), noise(78))
    matched, lonely, _ = inspection.masks(inspection.looks(fine))
    assert mask in matched
    assert not lonely


def test_copies_within_a_folder_are_found(fine):
    copy = save(fine / "train" / "good" / "again.png", noise(4))
    assert copy in kinds(fine)["duplicate"].paths
    assert "lies twice" in kinds(fine)["duplicate"].text


def test_dark_and_blurred_pictures_are_named(fine):
    dark = save(fine / "train" / "good" / "dark.png", noise(50) // 60)
    blurred = fine / "train" / "good" / "blurred.png"
    Image.fromarray(noise(51)).filter(ImageFilter.GaussianBlur(3)).save(blurred)
    found = kinds(fine)
    assert found["dark"].paths == (dark,)
    assert blurred in found["blurred"].paths
    assert not {fine / "train" / "good" / f"{i:03d}.png" for i in range(10)} & set(
        found["blurred"].paths
    )


def test_unreadable_files_and_mixed_pictures_are_named(fine):
    broken = fine / "train" / "good" / "broken.png"
    broken.write_bytes((fine / "train" / "good" / "000.png").read_bytes()[:200])
    save(fine / "train" / "good" / "small.png", noise(60, (20, 30)))
    save(fine / "train" / "good" / "grey.png", noise(61)[..., 0])
    looks = inspection.looks(fine)
    said = [str(one) for one in concerns(looks)]
    assert any(str(broken) in text for text in said)
    assert any("several sizes" in text and "1 of 30 x 20" in text for text in said)
    assert any("several modes" in text and "1 of L" in text for text in said)
    (row,) = [row for row in inspection.table(looks) if row["folder"] == "train/good"]
    assert (row["files"], row["unreadable"]) == (13, 1)


def test_a_mask_without_a_picture_is_named_with_what_is_nearest(fine):
    mask = fine / "ground_truth" / "crack" / "002_mask.png"
    mask.rename(mask.with_name("02_mask.png"))
    text = str(kinds(fine)["masks"])
    assert "02_mask.png (nearest: 002" in text


def test_a_folder_without_pictures_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no pictures in it"):
        inspection.looks(tmp_path)
