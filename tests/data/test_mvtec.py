import numpy as np
import pytest
from PIL import Image

from jaxad.data import mvtec


def names(source):
    return [record.name for record in source.records]


def test_layout_is_read(mvtec_folder):
    data = mvtec.load(mvtec_folder)
    assert (len(data.train), len(data.heldout), len(data.test)) == (11, 1, 5)
    assert names(data.test) == ["good/000", "good/001", "crack/000", "crack/001", "glue/000"]
    assert [record.defect for record in data.test.records] == ["good"] * 2 + ["crack"] * 2 + [
        "glue"
    ]
    assert {record.category for record in data.test.records + data.train.records} == {"bottle"}
    assert data.test.has_masks
    assert not data.test.has_regions
    for i in range(5):
        item = data.test[i]
        record = data.test.records[i]
        path = mvtec_folder / "test" / f"{record.name}.png"
        assert np.array_equal(item["image"], np.asarray(Image.open(path)))
        assert item["label"] == record.label == int(i >= 2)
        assert item["mask"].sum() == (4 * 6 if i >= 2 else 0)


def test_category_is_the_folder_even_if_it_is_here_or_a_link(mvtec_folder, monkeypatch):
    monkeypatch.chdir(mvtec_folder)
    assert mvtec.load(".").train.records[0].category == "bottle"
    (mvtec_folder.parent / "flask").symlink_to(mvtec_folder)
    assert mvtec.load("../flask").train.records[0].category == "flask"


def test_seed_decides_what_is_held_out_of_the_training_pictures(mvtec_folder):
    held = [names(mvtec.load(mvtec_folder, seed=seed).heldout) for seed in (0, 0, 1, 2, 3)]
    assert held[0] == held[1]
    assert len({tuple(name) for name in held}) > 1
    assert len(mvtec.load(mvtec_folder, heldout=0.5).heldout) == 6


def test_own_validation_pictures_are_held_out(mvtec_folder, picture):
    for i in range(3):
        picture(mvtec_folder / "validation" / "good" / f"{i}.png")
    data = mvtec.load(mvtec_folder, heldout=0.5)
    assert len(data.train) == 12
    assert names(data.heldout) == ["good/0", "good/1", "good/2"]
    assert np.array_equal(
        data.heldout[1]["image"],
        np.asarray(Image.open(mvtec_folder / "validation" / "good" / "1.png")),
    )


def test_mvtec_ad_2_layout_is_read(tmp_path, picture, mask):
    root = tmp_path / "can"
    for place in ("train/good", "validation/good", "test_public/good", "test_public/bad"):
        picture(root / place / "000_regular.png")
        picture(root / place / "001_overexposed.png")
    for name in ("000_regular", "001_overexposed"):
        mask(root / "test_public" / "ground_truth" / "bad" / f"{name}_mask.png")
    picture(root / "test_private" / "000_regular.png")
    data = mvtec.load(root)
    assert (len(data.train), len(data.heldout)) == (2, 2)
    assert names(data.test)[1:3] == ["good/001_overexposed", "bad/000_regular"]
    assert data.test.has_masks


def test_btad_layout_is_read(tmp_path, picture, mask):
    root = tmp_path / "01"
    for i in range(3):
        picture(root / "train" / "ok" / f"{i:04}.bmp")
        picture(root / "test" / "ok" / f"{i:04}.bmp")
        picture(root / "test" / "ko" / f"{i:04}.bmp")
        mask(root / "ground_truth" / "ko" / f"{i:04}.png")
    data = mvtec.load(root)
    assert [record.label for record in data.test.records] == [0, 0, 0, 1, 1, 1]
    assert names(data.test)[3:] == ["ko/0000", "ko/0001", "ko/0002"]
    assert data.test.has_masks


def test_without_ground_truth_there_are_no_masks(mvtec_folder):
    (mvtec_folder / "ground_truth").rename(mvtec_folder / "elsewhere")
    data = mvtec.load(mvtec_folder)
    assert not data.test.has_masks
    assert not data.test[4]["mask"].any()


def test_without_test_folder_there_is_no_test_set(mvtec_folder):
    (mvtec_folder / "test").rename(mvtec_folder / "elsewhere")
    (mvtec_folder / "ground_truth").rename(mvtec_folder / "elsewhere" / "ground_truth")
    assert mvtec.load(mvtec_folder).test is None


def test_masks_of_normal_pictures_mark_nothing(mvtec_folder, mask):
    path = mvtec_folder / "ground_truth" / "good" / "000_mask.png"
    mask(path, value=0)
    data = mvtec.load(mvtec_folder)
    assert not data.test[0]["mask"].any()
    assert not data.passed_over
    mask(path)
    with pytest.raises(ValueError, match=r"normal pictures mark defects:\n.*good/000_mask\.png"):
        mvtec.load(mvtec_folder)


def test_missing_masks_are_listed(mvtec_folder):
    (mvtec_folder / "ground_truth" / "crack" / "001_mask.png").unlink()
    with pytest.raises(ValueError, match=r"1 of 3 anomalous(.|\n)*crack/001\.png"):
        mvtec.load(mvtec_folder)


def test_masks_without_picture_are_listed(mvtec_folder, mask):
    mask(mvtec_folder / "ground_truth" / "dent" / "000_mask.png")
    with pytest.raises(ValueError, match=r"without a picture(.|\n)*dent/000_mask\.png"):
        mvtec.load(mvtec_folder)


def test_a_mask_of_another_size_is_named(mvtec_folder, mask):
    mask(mvtec_folder / "ground_truth" / "glue" / "000_mask.png", height=24, width=32)
    with pytest.raises(ValueError, match=r"glue/000_mask\.png has 32 x 24 .*glue/000\.png"):
        mvtec.load(mvtec_folder)


def test_wrong_folders_are_explained(mvtec_folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        mvtec.load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="the categories bottle: give the folder of one"):
        mvtec.load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no normal pictures in .*crack/train/good"):
        mvtec.load(mvtec_folder / "test" / "crack")
    for path in (mvtec_folder / "train" / "good").iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no normal pictures in .*bottle/train/good"):
        mvtec.load(mvtec_folder)


def test_two_pictures_of_one_name_are_an_error(mvtec_folder, picture):
    picture(mvtec_folder / "test" / "OK" / "001.png")
    with pytest.raises(ValueError, match=r"one name(.|\n)*OK/001\.png(.|\n)*good/001\.png"):
        mvtec.load(mvtec_folder)


def test_an_empty_test_folder_is_an_error(tmp_path, picture):
    for i in range(2):
        picture(tmp_path / "x" / "train" / "good" / f"{i}.png")
    (tmp_path / "x" / "test").mkdir()
    with pytest.raises(ValueError, match=r"test: no pictures in folders such as .*test/good"):
        mvtec.load(tmp_path / "x")


def test_of_one_training_picture_none_is_held_out_but_others_may_be(tmp_path, picture):
    root = tmp_path / "x"
    picture(root / "train" / "good" / "0.png")
    data = mvtec.load(root)
    assert (len(data.train), len(data.heldout)) == (1, 0)
    picture(root / "validation" / "good" / "0.png")
    data = mvtec.load(root)
    assert (len(data.train), len(data.heldout)) == (1, 1)


def test_categories_are_the_folders_that_can_be_loaded(mvtec_folder, tmp_path, picture):
    picture(tmp_path / "cable" / "train" / "ok" / "0.png")
    picture(tmp_path / "notes" / "0.png")
    assert mvtec.categories(tmp_path) == ["bottle", "cable"]
    assert mvtec.categories(mvtec_folder) == []
    (tmp_path / "tray" / "train" / "good").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"no normal pictures in good, ok or normal:\n.*tray"):
        mvtec.categories(tmp_path)
