"""`jaxad inspect`: what it tells of a folder in order, and what it points at in others."""

import json
import os
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image, ImageFilter

from jaxad.cli import inspect
from jaxad.cli.main import main
from jaxad.data import inspection
from jaxad.data.view import WHOLE
from jaxad.report import contact


def noise(seed, shape=(40, 50)):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def category(root, seed=0):
    """A folder in order: 10 pictures to learn from, 2 good ones and 3 cracks to test on."""
    for i in range(10):
        save(root / "train" / "good" / f"{i:03d}.png", noise(seed + i))
    for i in range(2):
        save(root / "test" / "good" / f"{i:03d}.png", noise(seed + 50 + i))
    for i in range(3):
        save(root / "test" / "crack" / f"{i:03d}.png", noise(seed + 100 + i))
        mask = np.zeros((40, 50), np.uint8)
        mask[5:9, 5:9] = 255
        save(root / "ground_truth" / "crack" / f"{i:03d}_mask.png", mask)
    return root


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return category(tmp_path_factory.mktemp("made") / "plate")


@pytest.fixture
def plate(made, tmp_path):
    """A copy of it, which a test may spoil."""
    return pathlib.Path(shutil.copytree(made, tmp_path / "plate"))


def said(capsys, *words):
    """Exit status and what is printed."""
    status = main(["inspect", *map(str, words)])
    return status, capsys.readouterr().out


def told(capsys, *words):
    """Exit status and the JSON."""
    status, text = said(capsys, *words, "--json", "true")
    return status, json.loads(text)


def test_a_folder_in_order_is_told_and_there_is_nothing_to_look_at(made, capsys):
    status, text = said(capsys, made)
    assert status == 0
    assert text.splitlines() == [
        "18 picture files",
        "  ground_truth/crack: 3 files; 50 x 40; 8 bits; L",
        "  test/crack: 3 files; 50 x 40; 8 bits; RGB",
        "  test/good: 2 files; 50 x 40; 8 bits; RGB",
        "  train/good: 10 files; 50 x 40; 8 bits; RGB",
        "  3 of 3 masks with a picture of their name",
        "plate: 9 to learn from, 1 held out; to test on: 3 crack, 2 good (with masks)",
        "  smallest false-alarm rate that a card can promise: 0.5, or 0.091 where it is cross-fit; "
        "0.01 needs 99 normal pictures",
        "",
        "nothing to look at",
    ]


def test_the_same_is_told_as_json(made, capsys):
    status, about = told(capsys, made)
    assert status == 0
    assert about["concerns"] == about["passed_over"] == []
    assert about["masks"] == {"files": 3, "matched": 3}
    assert about["splits"] == {
        "plate": {"learn": 9, "held_out": 1, "test": {"crack": 3, "good": 2}, "masks": True}
    }
    files = {row["folder"]: row["files"] for row in about["folders"]}
    assert files == {"ground_truth/crack": 3, "test/crack": 3, "test/good": 2, "train/good": 10}
    assert about["folders"][-1] == {
        "folder": "train/good", "files": 10, "unreadable": 0, "sizes": {"50 x 40": 10},
        "bits": {"8": 10}, "modes": {"RGB": 10},
    }  # fmt: skip


def copied(root):
    """A picture to learn from among those to test on."""
    return [save(root / "test" / "good" / "9.bmp", noise(4)), root / "train/good/004.png"]


def copied_within(root):
    return [save(root / "train" / "good" / "9.bmp", noise(4)), root / "train/good/004.png"]


def dark(root):
    return [save(root / "train" / "good" / "9.png", noise(9) // 60)]


def blurred(root):
    path = root / "train" / "good" / "9.png"
    Image.fromarray(noise(30)).filter(ImageFilter.GaussianBlur(3)).save(path)
    return [path]


def cut(root):
    path = root / "train" / "good" / "9.png"
    path.write_bytes((root / "train" / "good" / "000.png").read_bytes()[:200])
    return [path]


def resized(root):
    save(root / "train" / "good" / "9.png", noise(30, (20, 30)))
    return []


def deep(root):
    save(root / "train" / "good" / "9.png", noise(30)[..., 0].astype(np.uint16) * 257)
    return []


def mask_of_none(root):
    mask = root / "ground_truth" / "crack" / "002_mask.png"
    return [mask.rename(mask.with_name("02_mask.png"))]


def without_its_mask(root):
    (root / "ground_truth" / "crack" / "002_mask.png").unlink()
    return [root / "test" / "crack" / "002.png"]


def mask_of_another_size(root):
    return [save(root / "ground_truth/crack/001_mask.png", np.full((20, 20), 255, np.uint8))]


def good_among_cracks(root):
    save(root / "test" / "crack" / "good" / "000.png", noise(30))
    return [root / "test" / "crack" / "good"]


@pytest.mark.parametrize(
    ("spoil", "kinds", "phrase"),
    [
        (copied, ["duplicate"], "1 picture of the same pixels lies in several parts, such as"),
        (copied_within, ["duplicate"], "1 picture of the same pixels lies twice"),
        (dark, ["dark"], "1 picture is nearly black"),
        (blurred, ["blurred"], "much less sharp than the others of their folder"),
        (cut, ["unreadable"], "its end is missing: the file was cut off"),
        (resized, ["mixed"], "pictures are of several sizes: 15 of 50 x 40, 1 of 30 x 20"),
        (deep, ["mixed", "mixed"], "pictures are of several bit depths: 15 of 8, 1 of 16"),
        (mask_of_none, ["layout", "masks"], "02_mask.png (nearest: 002"),
        (without_its_mask, ["layout"], "refuse this: 1 of 3 anomalous pictures have no mask"),
        (mask_of_another_size, ["layout"], "20 x 20 pixels, but its picture"),
        (good_among_cracks, ["layout"], "refuse this: folders of normal pictures by their names"),
    ],
)  # fmt: skip
def test_what_is_to_be_looked_at_is_told_with_its_files(plate, capsys, spoil, kinds, phrase):
    paths = spoil(plate)
    status, text = said(capsys, plate)
    assert status == inspect.CONCERNS == 3
    assert phrase in text
    assert text.count("look at this: ") == len(kinds)
    assert text.count("training would refuse this: ") == kinds.count("layout")
    assert "nothing to look at" not in text
    assert all(str(path) in text for path in paths)
    status, about = told(capsys, plate)
    assert status == 3
    assert [one["kind"] for one in about["concerns"]] == kinds
    assert any(phrase in json.dumps(one) for one in about["concerns"])
    for one in about["concerns"]:
        assert set(one["paths"]) <= {str(path) for path in paths}


def test_files_that_cannot_be_read_are_counted_and_the_others_told(plate, capsys):
    cut(plate)
    _, text = said(capsys, plate)
    assert "  train/good: 11 files, 1 cannot be read; 50 x 40; 8 bits; RGB" in text
    assert "plate: 9 to learn from, 1 held out; to test on: 3 crack, 2 good (with masks)" in text
    _, about = told(capsys, plate)
    assert [(row["files"], row["unreadable"]) for row in about["folders"]][-1] == (11, 1)


def test_what_training_would_not_begin_with_has_no_numbers_of_use(plate, capsys):
    without_its_mask(plate)
    _, about = told(capsys, plate)
    assert about["splits"] == {}
    assert about["concerns"][0]["text"].startswith("training would refuse this: ")


def test_folders_without_masks_or_test_pictures_are_in_order_too(plate, capsys):
    shutil.rmtree(plate / "ground_truth")
    status, text = said(capsys, plate)
    assert (status, "to test on: 3 crack, 2 good (no masks)" in text) == (0, True)
    shutil.rmtree(plate / "test")
    status, text = said(capsys, plate)
    assert (status, "1 held out; no test pictures" in text) == (0, True)


def test_plain_folders_are_looked_at_by_their_options(made, capsys):
    words = ["--normal", made / "train" / "good", "--test", made / "test" / "crack"]
    masks = ["--masks", made / "ground_truth" / "crack"]
    status, about = told(capsys, *words, *masks)
    assert status == 0
    assert sum(row["files"] for row in about["folders"]) == 16
    assert about["splits"] == {
        "good": {"learn": 9, "held_out": 1, "test": {"anomalous": 3}, "masks": True}
    }


def test_a_folder_inside_of_another_one_is_looked_at_once(made, plate, capsys):
    shutil.copytree(made / "test" / "crack", plate / "train" / "good" / "crack")
    words = ["--normal", plate / "train/good", "--test", plate / "train/good/crack"]
    _, about = told(capsys, *words)
    assert sum(row["files"] for row in about["folders"]) == 13


def test_folders_of_several_categories_are_told_one_by_one(made, tmp_path, capsys):
    shutil.copytree(made, tmp_path / "two" / "plate")
    category(tmp_path / "two" / "ring", 1000)
    status, about = told(capsys, tmp_path / "two")
    assert (status, list(about["splits"])) == (0, ["plate", "ring"])
    assert {row["folder"]: row["files"] for row in about["folders"]}["ring/train/good"] == 10


def test_several_folders_are_told_one_by_one(made, tmp_path, capsys):
    category(tmp_path / "ring", 1000)
    status, about = told(capsys, f"{made},{tmp_path / 'ring'}")
    assert (status, list(about["splits"])) == (0, ["plate", "ring"])
    assert [row["files"] for row in about["folders"]] == 2 * [3, 3, 2, 10]


def test_a_sheet_shows_a_row_of_each_folder(made, tmp_path, capsys):
    assert said(capsys, made, "--sheet", tmp_path / "sheet.png")[0] == 0
    sheet = pixels(tmp_path / "sheet.png")
    side, gap = inspection.SMALL, contact.GAP
    folders = ["ground_truth/crack", "test/crack", "test/good", "train/good"]
    row = contact.TEXT + 2 * gap + side
    assert sheet.shape == (4 * row + gap, contact.COLUMNS * (side + gap) + gap, 3)
    for number, folder in enumerate(folders):
        files = sorted((made / folder).iterdir())
        top = number * row + gap + contact.TEXT + gap
        for column in range(contact.COLUMNS):
            left = gap + column * (side + gap)
            found = sheet[top : top + side, left : left + side]
            if column < len(files):
                picture = WHOLE.square(pixels(files[column]), side)
                np.testing.assert_array_equal(found, picture)
            else:
                assert (found == 255).all()


def test_a_sheet_and_json_go_together(made, tmp_path, capsys):
    status, about = told(capsys, made, "--sheet", tmp_path / "sheet.jpg")
    assert (status, about["concerns"]) == (0, [])
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.format == "JPEG"


def test_a_sheet_of_no_known_kind_is_refused_in_a_sentence(made, tmp_path, capsys):
    assert main(["inspect", str(made), "--sheet", str(tmp_path / "sheet")]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert "sheet.png" in error


def test_where_no_file_can_be_read_that_is_told_with_a_sheet_too(tmp_path, capsys):
    (tmp_path / "train" / "good").mkdir(parents=True)
    for i in range(3):
        (tmp_path / "train" / "good" / f"{i}.png").write_bytes(b"no picture")
    words = [tmp_path, "--sheet", tmp_path / "sheet.png"]
    status, text = said(capsys, *words)
    assert "train/good: 3 files, 3 cannot be read\n" in text
    assert not (tmp_path / "sheet.png").exists()
    assert status == 3


HOSTILE = ("<img onerror=x>.png", "two\nlines.png", "\x1b[31mred.png", "ü ö.png")


def test_names_of_files_control_no_terminal_and_are_exact_in_json(plate, capsys):
    paths = [save(plate / "test" / "good" / name, noise(4)) for name in HOSTILE]
    status, text = said(capsys, plate)
    assert status == 3
    assert {line.rpartition("/")[2] for line in text.splitlines() if "test/good/" in line} == {
        "<img onerror=x>.png", r"two\nlines.png", r"\x1b[31mred.png", "ü ö.png",
    }  # fmt: skip
    assert "\x1b" not in text
    _, about = told(capsys, plate)
    (copies,) = about["concerns"]
    assert {str(path) for path in paths} < set(copies["paths"])


def test_names_of_folders_control_no_terminal(plate, capsys):
    save(plate / "test" / "a\n\x1b[31mb" / "0.png", noise(500))
    _, text = said(capsys, plate)
    assert r"test/a\n\x1b[31mb: 1 file" in text
    assert "\x1b" not in text


def test_names_of_files_that_cannot_be_read_control_no_terminal(plate, capsys):
    cut(plate)[0].rename(plate / "train" / "good" / "\x1b[31m9.png")
    _, text = said(capsys, plate)
    assert r"\x1b[31m9.png: cannot be read" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("bits", "kinds"),
    [
        (None, ["dark"]),  # as training reads them too, unless it is told
        ("12", []),
        pytest.param(
            "auto", [],
        ),
    ],
)  # fmt: skip
def test_files_are_read_as_training_is_told_to(tmp_path, capsys, bits, kinds):
    for i in range(9):
        levels = np.random.default_rng(i).integers(0, 3500, (40, 50)).astype(np.uint16)
        save(tmp_path / "plate" / "train" / "good" / f"{i}.png", levels)
    words = [] if bits is None else ["--bits", bits]
    _, about = told(capsys, tmp_path / "plate", *words)
    assert [one["kind"] for one in about["concerns"]] == kinds


def test_masks_that_mark_nothing_are_to_be_looked_at(plate, capsys):
    empty = save(plate / "ground_truth/crack/000_mask.png", np.zeros((40, 50), np.uint8))
    status, text = said(capsys, plate)
    assert status == 3
    assert str(empty) in text


def test_files_that_training_passes_over_are_told(plate, capsys):
    loose = save(plate / "unsorted" / "1.png", noise(500))
    _, text = said(capsys, plate)
    assert f"passed over 1 file, in no folder that is read: {loose}" in text


def test_what_is_no_folder_of_pictures_is_refused_in_a_sentence(made, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    file = made / "train" / "good" / "000.png"
    for words, message in (
        ([tmp_path / "nowhere"], "nowhere: no such folder"),
        ([tmp_path / "empty"], "empty: no pictures in it or in its folders"),
        ([file], "000.png: a file where a folder of pictures was expected"),
        ([made, made], "expected one DATA, or --normal"),
        (["--test", made], "expected one DATA, or --normal"),
        ([made, "--sheet", tmp_path / "no" / "sheet.png"], "there is no such folder"),
    ):
        assert main(["inspect", *map(str, words)]) == 2, words
        error = capsys.readouterr().err
        assert error.splitlines()[-1].startswith("jaxad: ")
        assert message in error
        assert "Traceback" not in error


def test_a_name_that_is_no_text_is_refused(plate, capsys):
    save(plate / "test" / "good" / "9.png", noise(30)).rename(
        plate / "test" / "good" / os.fsdecode(b"\xff.png")
    )
    assert main(["inspect", str(plate)]) == 2
    assert "its name is no UTF-8" in capsys.readouterr().err
