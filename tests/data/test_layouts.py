"""A data folder is opened by what lies in it."""

import numpy as np
import pytest
from PIL import Image

from jaxad.data import layouts
from jaxad.data.loco import LocoFolder


def picture(path, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(path)


def test_mvtec_is_what_is_assumed(tmp_path):
    for i in range(3):
        picture(tmp_path / "bottle" / "train" / "good" / f"{i}.png")
    picture(tmp_path / "bottle" / "test" / "crack" / "0.png")
    data = layouts.load(tmp_path / "bottle")
    assert (len(data.train), len(data.heldout), len(data.test)) == (2, 1, 1)
    assert data.test.records[0].defect == "crack"


def test_logical_anomalies_mean_loco(tmp_path):
    folder = tmp_path / "juice"
    picture(folder / "train" / "good" / "0.png")
    picture(folder / "validation" / "good" / "0.png")
    picture(folder / "test" / "good" / "0.png")
    (folder / "test" / "logical_anomalies").mkdir()
    assert isinstance(layouts.load(folder).test, LocoFolder)


def test_a_table_of_splits_beside_the_folder_means_visa(tmp_path):
    rows = ["object,split,label,image,mask"]
    for i, (split, label) in enumerate(
        [("train", "normal"), ("train", "normal"), ("test", "normal")]
    ):
        name = f"candle/Data/Images/Normal/{i}.JPG"
        picture(tmp_path / name)
        rows.append(f"candle,{split},{label},{name},")
    (tmp_path / "split_csv").mkdir()
    (tmp_path / "split_csv" / "1cls.csv").write_text("\n".join(rows))
    data = layouts.load(tmp_path / "candle")
    assert (len(data.train), len(data.heldout), len(data.test)) == (1, 1, 1)


def test_visas_whole_folder_is_told_from_a_category(tmp_path):
    (tmp_path / "candle" / "Data").mkdir(parents=True)
    (tmp_path / "split_csv").mkdir()
    rows = ["object,split,label,image,mask", "candle,train,normal,candle/0.JPG,"]
    (tmp_path / "split_csv" / "1cls.csv").write_text("\n".join(rows))
    with pytest.raises(ValueError, match="holds the categories candle: give the folder of one"):
        layouts.load(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        layouts.load(tmp_path / "nowhere")


def test_folders_of_categories_are_found_in_every_layout(tmp_path):
    for name in ("cable", "bottle"):
        picture(tmp_path / "mvtec" / name / "train" / "good" / "0.png")
    for name in ("Class2", "Class10"):
        for part in ("Train", "Test/Label"):
            (tmp_path / "dagm" / name / part).mkdir(parents=True)
    table = tmp_path / "visa" / "split_csv" / "1cls.csv"
    table.parent.mkdir(parents=True)
    table.write_text("object,split,label,image,mask\npcb1,train,normal,a.JPG,\n")
    expected = {"mvtec": ["bottle", "cable"], "dagm": ["Class2", "Class10"], "visa": ["pcb1"]}
    for root, names in expected.items():
        assert layouts.categories(tmp_path / root) == [tmp_path / root / name for name in names]
    assert layouts.categories(tmp_path / "mvtec" / "cable") == []
