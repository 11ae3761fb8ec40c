import inspect
import logging
import pickle

import numpy as np
import pytest
from PIL import Image

from jaxad.data import checks, files, folder
from jaxad.data.reading import Reading


@pytest.fixture
def folders(tmp_path, picture):
    """Ten normal training pictures, two normal and three anomalous test pictures, no masks."""
    for i in range(10):
        picture(tmp_path / "train" / f"{i}.png")
    for i in range(2):
        picture(tmp_path / "fine" / f"{i}.png")
    for i in range(3):
        picture(tmp_path / "bad" / f"{i}.png")
    return tmp_path


def names(source):
    return [record.name for record in source.records]


def test_items_are_the_pictures(folders, mask):
    expected = [mask(folders / "masks" / f"{i}_mask.png") > 0 for i in range(3)]
    data = folder.load(
        folders / "train",
        test_normal=folders / "fine",
        test_anomalous=folders / "bad",
        masks=folders / "masks",
        category="plate",
    )
    assert names(data.test) == ["good/0", "good/1", "anomalous/0", "anomalous/1", "anomalous/2"]
    assert {record.category for record in data.test.records} == {"plate"}
    assert data.test.has_masks
    assert not data.test.has_regions
    for i, item in enumerate(data.test[i] for i in range(5)):
        path = folders / ("fine" if i < 2 else "bad") / f"{i if i < 2 else i - 2}.png"
        assert np.array_equal(item["image"], np.asarray(Image.open(path)))
        assert item["index"] == i
        assert item["label"] == int(i >= 2)
        assert np.array_equal(item["mask"], expected[i - 2] if i >= 2 else np.zeros((12, 16)))
    assert data.test[-1]["index"] == 4
    with pytest.raises(IndexError):
        data.test[5]
    with pytest.raises(ValueError, match="has_regions is False"):
        data.test.regions(2)


def test_one_folder_is_enough(folders):
    data = folder.load(folders / "train")
    assert data.test is None
    assert data.train.records[0].category == "train"
    assert len(data.train) == 9
    assert len(data.heldout) == 1


@pytest.mark.parametrize("heldout", [0.01, 0.1, 0.25, 0.9])
@pytest.mark.parametrize("seed", [0, 1])
def test_held_out_pictures_are_a_seeded_part_of_the_training_pictures(folders, heldout, seed):
    data = folder.load(folders / "train", heldout=heldout, seed=seed)
    again = folder.load(folders / "train", heldout=heldout, seed=seed)
    assert names(data.heldout) == names(again.heldout)
    assert len(data.heldout) == max(1, round(heldout * 10))
    assert sorted(names(data.train) + names(data.heldout)) == [f"good/{i}" for i in range(10)]


def test_seeds_hold_out_different_pictures(folders):
    held = {names(folder.load(folders / "train", seed=seed).heldout)[0] for seed in range(20)}
    assert len(held) > 5


def test_two_pictures_are_one_to_learn_from_and_one_to_hold_out(tmp_path, picture):
    for i in range(2):
        picture(tmp_path / "train" / f"{i}.png")
    data = folder.load(tmp_path / "train", heldout=0.3)
    assert (len(data.train), len(data.heldout)) == (1, 1)
    with pytest.raises(ValueError, match=r"one to learn from and one to hold out(.|\n)*0\.png"):
        folder.load(tmp_path / "train", heldout=0.9)


def test_of_one_picture_none_is_held_out(tmp_path, picture):
    picture(tmp_path / "train" / "0.png")
    data = folder.load(tmp_path / "train")
    assert (len(data.train), len(data.heldout)) == (1, 0)


@pytest.mark.parametrize("heldout", [0.0, 1.0, -0.1, 3.0])
def test_heldout_is_a_fraction(folders, heldout):
    with pytest.raises(ValueError, match=f"heldout={heldout}: expected a fraction"):
        folder.load(folders / "train", heldout=heldout)


def test_sources_are_picklable_and_show_alike_wherever_they_lie(folders, tmp_path):
    source = folder.load(folders / "train").train
    copy = pickle.loads(pickle.dumps(source))
    assert repr(copy) == repr(source)
    assert copy.records == source.records
    assert np.array_equal(copy[3]["image"], source[3]["image"])
    (folders / "train").rename(tmp_path / "elsewhere")
    moved = folder.load(tmp_path / "elsewhere", category="train").train
    assert repr(moved) == repr(source)
    assert repr(folder.load(tmp_path / "elsewhere", seed=1, category="train").train) != repr(source)


def test_folders_of_anomalous_pictures_are_types_of_defect(folders, picture, mask):
    for defect in ("dent", "tiefer Kratzer ß"):
        picture(folders / "defects" / defect / "0.png")
        mask(folders / "masks" / defect / "0.png")
    data = folder.load(
        folders / "train", test_anomalous=folders / "defects", masks=folders / "masks"
    )
    assert [record.defect for record in data.test.records] == ["dent", "tiefer Kratzer ß"]
    assert data.test.has_masks
    picture(folders / "defects" / "0.png")
    data = folder.load(folders / "train", test_anomalous=folders / "defects")
    assert names(data.test) == ["anomalous/0", "dent/0", "tiefer Kratzer ß/0"]
    picture(folders / "defects" / "good" / "0.png")
    data = folder.load(folders / "train", test_anomalous=folders / "defects")
    assert [record.label for record in data.test.records] == [0, 1, 1, 1]
    assert names(data.test)[0] == "good/0"


def test_several_masks_of_a_picture_are_united(folders, mask):
    a = mask(folders / "masks" / "0.png", box=(0, 2, 0, 2))
    b = mask(folders / "masks" / "0_mask.png", box=(5, 9, 5, 9), value=1)
    for i in (1, 2):
        mask(folders / "masks" / f"{i}.png")
    data = folder.load(folders / "train", test_anomalous=folders / "bad", masks=folders / "masks")
    assert np.array_equal(data.test[0]["mask"], (a > 0) | (b > 0))


def test_without_masks_there_are_none(folders):
    data = folder.load(folders / "train", test_anomalous=folders / "bad")
    assert not data.test.has_masks
    assert not data.test[0]["mask"].any()


def test_missing_and_lonely_masks_are_listed(folders, mask):
    load = {"test_anomalous": folders / "bad", "masks": folders / "masks"}
    mask(folders / "masks" / "1.png")
    with pytest.raises(ValueError, match=r"2 of 3 anomalous(.|\n)*bad/0\.png\n.*bad/2\.png"):
        folder.load(folders / "train", **load)
    mask(folders / "masks" / "7_mask.png")
    with pytest.raises(ValueError, match=r"without a picture(.|\n)*masks/7_mask\.png \(nearest: "):
        folder.load(folders / "train", **load)


def test_a_mask_of_another_size_is_named_with_its_picture(folders, mask):
    for i in range(3):
        mask(folders / "masks" / f"{i}.png", height=12 + i // 2)
    for on_bad_image in ("error", "skip"):
        with pytest.raises(
            ValueError, match=r"masks/2\.png has 16 x 13 .*bad/2\.png has 16 x 12: a mask must"
        ):
            folder.load(
                folders / "train",
                test_anomalous=folders / "bad",
                masks=folders / "masks",
                on_bad_image=on_bad_image,
            )


def test_a_mask_of_a_turned_picture_has_the_size_that_is_seen(folders, picture, mask):
    photo = Image.fromarray(picture(folders / "turned" / "x.png"))
    exif = photo.getexif()
    exif[0x0112] = 6
    photo.save(folders / "turned" / "x.png", exif=exif)
    mask(folders / "masks" / "x.png", height=16, width=12)
    data = folder.load(
        folders / "train", test_anomalous=folders / "turned", masks=folders / "masks"
    )
    assert data.test[0]["image"].shape == (16, 12, 3)
    assert data.test[0]["mask"].any()


def test_pictures_may_have_different_sizes(folders, picture):
    picture(folders / "bad" / "large.png", height=30, width=20)
    data = folder.load(folders / "train", test_anomalous=folders / "bad")
    assert data.test[0]["image"].shape != data.test[3]["image"].shape


def test_bad_headers_are_errors_that_name_all_files(folders):
    (folders / "train" / "a.png").touch()
    (folders / "bad" / "b.png").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=r'2 of 15 .*skip"(.|\n)*a\.png.*empty(.|\n)*b\.png'):
        folder.load(folders / "train", test_anomalous=folders / "bad")


def truncate(path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:6000])


def test_a_truncated_picture_is_named_when_the_folder_is_opened(folders):
    truncate(folders / "bad" / "1.png")
    with pytest.raises(ValueError, match=r'on_bad_image="skip"(.|\n)*bad/1\.png: cannot be read'):
        folder.load(folders / "train", test_anomalous=folders / "bad")


def damage(path):
    """Spoils the middle of a picture, not its ends."""
    truncate(path)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    content = bytearray(path.read_bytes())
    content[5000:5100] = bytes(100)
    path.write_bytes(content)


def test_a_damaged_picture_is_named_when_it_is_read_or_before_if_all_are_decoded(folders):
    damage(folders / "bad" / "1.png")
    data = folder.load(folders / "train", test_anomalous=folders / "bad")
    with pytest.raises(ValueError, match=r'bad/1\.png: cannot be read.*on_bad_image="skip"'):
        data.test[1]
    with pytest.raises(ValueError, match=r"1 of 13 pictures(.|\n)*bad/1\.png"):
        folder.load(
            folders / "train", test_anomalous=folders / "bad", reading=Reading(check_files=True)
        )


def test_bad_pictures_and_masks_are_left_out_and_listed(folders, mask, caplog):
    for i in range(3):
        mask(folders / "masks" / f"{i}.png")
    truncate(folders / "train" / "3.png")
    truncate(folders / "bad" / "0.png")
    (folders / "masks" / "1.png").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        data = folder.load(
            folders / "train",
            test_anomalous=folders / "bad",
            masks=folders / "masks",
            on_bad_image="skip",
        )
    assert names(data.test) == ["anomalous/2"]
    assert len(data.train) + len(data.heldout) == 9
    assert [bad.path.name for bad in data.train.skipped] == ["3.png"]
    assert [bad.path.name for bad in data.test.skipped] == ["0.png", "1.png"]
    message = caplog.messages[0]
    assert "left out 3 of 13 pictures" in message
    for path in ("train/3.png", "bad/0.png", "masks/1.png"):
        assert path in message


def test_pictures_of_which_none_is_left_are_an_error(folders):
    for i in range(3):
        (folders / "bad" / f"{i}.png").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"no picture can be read of those beside.*bad"):
        folder.load(folders / "train", test_anomalous=folders / "bad", on_bad_image="skip")


def test_other_files_among_the_pictures_are_passed_over(folders):
    for name in ("Thumbs.db", ".DS_Store", "._0.png", "readme.txt"):
        (folders / "train" / name).write_bytes(b"x")
    data = folder.load(folders / "train")
    assert len(data.train) + len(data.heldout) == 10
    assert [(one.path.name, one.reason) for one in data.passed_over] == [
        ("._0.png", "hidden"),
        ("readme.txt", "no picture, by its name"),
    ]


def test_wrong_folders_are_named(folders, picture):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        folder.load(folders / "nowhere")
    with pytest.raises(ValueError, match="holds a folder 'bad', which is not of normal pictures"):
        folder.load(folders)
    (folders / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: no pictures"):
        folder.load(folders / "empty")
    with pytest.raises(ValueError, match="empty: no pictures"):
        folder.load(folders / "train", test_anomalous=folders / "empty")
    with pytest.raises(ValueError, match="empty: no masks"):
        folder.load(folders / "train", test_anomalous=folders / "bad", masks=folders / "empty")
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        folder.load(folders / "train", test_anomalous=folders / "nowhere")
    with pytest.raises(FileNotFoundError, match="no such folder of masks"):
        folder.load(folders / "train", test_anomalous=folders / "bad", masks=folders / "no")
    with pytest.raises(ValueError, match=r"masks=.*test_anomalous"):
        folder.load(folders / "train", masks=folders / "bad")
    with pytest.raises(ValueError, match="same folder for training and test"):
        folder.load(folders / "train", test_normal=folders / "fine" / ".." / "train")
    picture(folders / "train" / "0.jpg")
    with pytest.raises(ValueError, match=r"one name(.|\n)*0\.jpg(.|\n)*0\.png"):
        folder.load(folders / "train")


def test_unknown_choice_for_bad_images_is_an_error(folders):
    found = files.files_in(folders / "train", "x")
    with pytest.raises(ValueError, match="expected 'error' or 'skip'"):
        inspect.unwrap(checks.checked)(found, "ignore")


def test_photographs_may_share_a_name(tmp_path, picture):
    expected = [picture(tmp_path / name) for name in ("a.bmp", "a.png")]
    source = folder.photographs(tmp_path)
    assert names(source) == ["a", "a"]
    assert all(np.array_equal(source[i]["image"], expected[i]) for i in range(2))


def test_photographs_are_found_in_all_folders(folders, caplog):
    source = folder.photographs(folders)
    assert len(source) == 15
    assert names(source)[0] == "bad/0"
    assert {record.label for record in source.records} == {0}
    truncate(folders / "fine" / "0.png")
    assert len(folder.photographs(folders, on_bad_image="skip")) == 14
    assert "fine/0.png" in caplog.text
    (folders / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: no pictures"):
        folder.photographs(folders / "empty")
