import numpy as np
import pytest

from jaxad.data import dagm, layouts

ROW = "{}\t{}\t{}.PNG\t0\t{}\n"


@pytest.fixture
def folder(tmp_path, picture, mask):
    """A class: 8 training pictures, of which 3 are defective, and 5 test pictures, of which 2."""
    root = tmp_path / "DAGM" / "Class3"
    for part, count, defective in (("Train", 8, (1, 4, 6)), ("Test", 5, (0, 3))):
        table = "1\n"
        for i in range(count):
            picture(root / part / f"{i:04}.PNG")
            bad = i in defective
            if bad:
                mask(root / part / "Label" / f"{i:04}_label.PNG")
            table += ROW.format(i, int(bad), f"{i:04}", f"{i:04}_label.PNG" if bad else 0)
        (root / part / "Label" / "Labels.txt").write_text("\ufeff" + table)
    return root


def test_it_learns_from_the_normal_pictures_of_train_and_says_what_it_leaves_out(folder, caplog):
    with caplog.at_level("INFO", "jaxad"):
        data = dagm.load(folder, heldout=0.2)
    names = [record.name for record in (*data.train.records, *data.heldout.records)]
    assert sorted(names) == [f"good/000{i}" for i in (0, 2, 3, 5, 7)]
    assert "3 defective pictures of Train are left out" in caplog.text


def test_ellipses_are_the_masks_of_the_test_pictures(folder):
    test = dagm.load(folder).test
    assert [record.name for record in test.records] == [
        "defect/0000", "good/0001", "good/0002", "defect/0003", "good/0004"
    ]  # fmt: skip
    assert {record.category for record in test.records} == {"Class3"}
    assert test.has_masks
    assert [int(test[i]["mask"].sum()) for i in range(5)] == [24, 0, 0, 24, 0]


def test_the_layout_is_recognised_and_classes_come_by_their_numbers(folder):
    assert layouts.load(folder).test.records[0].defect == "defect"
    for name in ("Class10", "Class2"):
        for part in ("Train", "Test/Label"):
            (folder.parent / name / part).mkdir(parents=True)
    assert dagm.categories(folder.parent) == ["Class2", "Class3", "Class10"]
    with pytest.raises(FileNotFoundError, match="classes Class2, Class3, Class10: give the folder"):
        dagm.load(folder.parent)


def test_defective_pictures_without_an_ellipse_and_ellipses_without_a_picture_are_listed(folder):
    label = folder / "Test" / "Label" / "0003_label.PNG"
    moved = label.with_name("0009_label.PNG")
    content = label.read_bytes()
    label.unlink()
    with pytest.raises(ValueError, match=r"Labels\.txt without an ellipse:\n.*0003\.PNG"):
        dagm.load(folder)
    label.write_bytes(content)
    moved.write_bytes(content)
    with pytest.raises(ValueError, match=r"ellipses without a picture.*:\n.*0009_label\.PNG"):
        dagm.load(folder)


def test_pictures_with_an_ellipse_that_the_table_calls_normal_are_listed(folder):
    labels = folder / "Test" / "Label"
    (labels / "0002_label.PNG").write_bytes((labels / "0003_label.PNG").read_bytes())
    with pytest.raises(ValueError, match=r"normal pictures by .*with an ellipse:\n.*0002\.PNG"):
        dagm.load(folder)


def test_a_class_without_tables_is_told_by_its_ellipses(folder):
    for part in ("Train", "Test"):
        (folder / part / "Label" / "Labels.txt").unlink()
    assert len(dagm.load(folder).train) == 4


def test_folders_that_are_no_class_are_explained(folder, picture):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        dagm.load(folder / "nowhere")
    with pytest.raises(FileNotFoundError, match="no Train and Test/Label in it"):
        dagm.load(folder / "Train")
    (folder / "Train" / "Label" / "Labels.txt").unlink()
    everywhere = np.ones((12, 16), np.uint8)
    for path in (folder / "Train").glob("*.PNG"):
        picture(folder / "Train" / "Label" / f"{path.stem}_label.PNG", pixels=everywhere)
    with pytest.raises(ValueError, match="Train: no normal pictures"):
        dagm.load(folder)
