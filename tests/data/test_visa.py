import shutil

import numpy as np
import pytest

from jaxad.data import visa

HEADER = "object,split,label,image,mask\n"


@pytest.fixture
def root(tmp_path, picture, mask):
    """Two categories; the pictures of "candle" exist."""
    rows = ["capsules,train,normal,capsules/Data/Images/Normal/0.JPG,"]
    for i in range(6):
        name = f"candle/Data/Images/Normal/{i:04}.JPG"
        picture(tmp_path / name)
        rows.append(f"candle,{'train' if i < 4 else 'test'},normal,{name},")
    for i in range(2):
        name, truth = (
            f"candle/Data/Images/Anomaly/{i:03}.JPG",
            f"candle/Data/Masks/Anomaly/{i:03}.png",
        )
        picture(tmp_path / name)
        mask(tmp_path / truth, value=i + 1)  # classes of defect
        rows.append(f"candle,test,anomaly,{name},{truth}")
    (tmp_path / "split_csv").mkdir()
    (tmp_path / "split_csv" / "1cls.csv").write_text(HEADER + "\n".join(rows) + "\n")
    return tmp_path


def test_table_decides(root):
    data = visa.load(root / "candle", heldout=0.25)
    assert (len(data.train), len(data.heldout), len(data.test)) == (3, 1, 4)
    names = [record.name for record in data.test.records]
    assert names == ["good/0004", "good/0005", "anomaly/000", "anomaly/001"]
    assert [record.label for record in data.test.records] == [0, 0, 1, 1]
    assert {record.category for record in data.test.records} == {"candle"}
    assert data.test.has_masks
    for i in (2, 3):
        assert data.test[i]["mask"].sum() == 4 * 6
        assert set(np.unique(data.test[i]["mask"])) == {0, 1}


def test_categories_are_those_of_the_table(root):
    assert visa.categories(root) == ["candle", "capsules"]


def test_another_table_may_be_given(root):
    lines = (root / "split_csv" / "1cls.csv").read_text().splitlines(keepends=True)
    (root / "mine.csv").write_text("".join(lines[:-1]), encoding="utf-8-sig")
    data = visa.load(root / "candle", split=root / "mine.csv")
    assert len(data.test) == 3


def test_some_missing_masks_are_an_error_and_none_means_no_masks(root):
    masks = root / "candle" / "Data" / "Masks" / "Anomaly"
    (masks / "001.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"missing(.|\n)*Masks/Anomaly/001\.png"):
        visa.load(root / "candle")
    shutil.rmtree(masks)
    assert not visa.load(root / "candle").test.has_masks


def test_missing_pictures_are_listed(root):
    with pytest.raises(FileNotFoundError, match=r"1cls\.csv are missing(.|\n)*Normal/0\.JPG"):
        visa.load(root / "capsules")


def test_wrong_folders_and_tables_are_explained(root, tmp_path):
    with pytest.raises(ValueError, match="the categories candle, capsules: give the folder of one"):
        visa.load(root)
    with pytest.raises(ValueError, match="no category 'pcb1' but candle, capsules"):
        visa.load(root / "pcb1")
    with pytest.raises(FileNotFoundError, match=r"beside split_csv/1cls\.csv"):
        visa.load(root / "candle" / "Data")
    table = root / "split_csv" / "1cls.csv"
    table.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"1cls\.csv: expected the columns object, split"):
        visa.load(root / "candle")
    table.write_text(HEADER + "candle,train,anomaly,candle/Data/Images/Anomaly/000.JPG,\n")
    with pytest.raises(ValueError, match=r"trains on anomalous pictures; use 1cls\.csv"):
        visa.load(root / "candle")
