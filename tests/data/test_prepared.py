"""Labelled sets: which pictures are normal, from npz files and from prepared folders alike."""

import io
import pickle
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from jaxad.data import array_records, pipeline, prepared
from jaxad.data.labelled import ClassPictures, Part, labelled
from jaxad.data.pictures import image_set
from jaxad.data.source import Source

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def arrays(train=8, test=4, shape=(6, 5, 3), classes=CLASSES, seed=0):
    """So many pictures of each class, in an order of their own; a picture's corner is its class."""
    rng = np.random.default_rng(seed)
    found = {"classes": np.array(classes)}
    for part, count in (("train", train), ("test", test)):
        labels = rng.permutation(np.repeat(np.arange(len(classes), dtype=np.uint8), count))
        pictures = rng.integers(0, 256, (len(labels), *shape), np.uint8)
        pictures[:, 0, 0] = labels.reshape(-1, *[1] * (len(shape) - 2))
        found |= {f"x_{part}": pictures, f"y_{part}": labels}
    return found


def save(path, **changes):
    values = {name: value for name, value in (arrays() | changes).items() if value is not None}
    np.savez(path, **values)
    return path


@pytest.fixture
def source(tmp_path):
    return prepared.load(save(tmp_path / "tiny.npz"))


def corners(pictures):
    return [int(pictures[i]["image"][0, 0, 0]) for i in range(len(pictures))]


@pytest.mark.parametrize("name", prepared.UNIFIED_SPLITS)
def test_the_unified_protocol_pools_five_classes_against_as_many_of_the_others(source, name):
    normal = prepared.UNIFIED_SPLITS[name]
    assert name == "".join(map(str, normal))
    data = prepared.unified(source, normal)
    assert (len(data.train), len(data.heldout), len(data.test)) == (36, 4, 40)
    assert set(corners(data.train)) == set(normal)
    assert not set(data.train.indices) & set(data.heldout.indices)
    learned = np.sort([*data.train.indices, *data.heldout.indices])
    np.testing.assert_array_equal(learned, np.flatnonzero(np.isin(source.train.labels, normal)))
    labels = [record.label for record in data.test.records]
    assert labels == [int(corner not in normal) for corner in corners(data.test)]
    assert sum(labels) == 20
    assert {record.category for record in data.test.records} == {"tiny"}
    assert {r.defect for r in data.test.records if r.label} == {
        CLASSES[i] for i in range(10) if i not in normal
    }


def test_anomalous_pictures_are_drawn_by_seed_without_replacement(source):
    normal = ("one", 2)  # 8 normal test pictures, 32 others
    sets = [prepared.unified(source, normal, seed=seed) for seed in (0, 0, 1)]
    same, again, other = [[record.name for record in data.test.records] for data in sets]
    assert same == again != other
    assert len(set(same)) == 16
    for data in sets:
        assert sum(record.label for record in data.test.records) == 8
        assert set(np.flatnonzero(np.isin(source.test.labels, [1, 2]))) <= set(data.test.indices)
    assert list(sets[0].heldout.indices) != list(sets[2].heldout.indices)
    assert repr(sets[0].train) == repr(sets[1].train) != repr(sets[2].train)
    few = prepared.unified(source, range(9))  # 36 normal test pictures, 4 others
    assert sum(record.label for record in few.test.records) == 4


def test_one_class_is_tested_against_all_the_rest(source):
    data = prepared.one_class(source, "three", heldout=0.25)
    assert (len(data.train), len(data.heldout), len(data.test)) == (6, 2, 40)
    assert set(corners(data.train)) == set(corners(data.heldout)) == {3}
    assert [not record.label for record in data.test.records] == list(source.test.labels == 3)
    assert {record.category for record in data.test.records} == {"three"}
    assert len({record.name for record in data.test.records}) == 40
    numbered = prepared.one_class(source, 3, heldout=0.25)
    assert numbered.test.records == data.test.records
    other = prepared.one_class(source, 3, heldout=0.25, seed=1)
    assert list(other.heldout.indices) != list(data.heldout.indices)


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1), (6, 5, 3)])
def test_pictures_are_rgb_and_have_no_masks(tmp_path, shape):
    values = arrays(shape=shape)
    data = prepared.one_class(prepared.load(save(tmp_path / "tiny.npz", **values)), 0)
    assert isinstance(data.test, Source)
    assert not data.test.has_masks
    item = data.test[-1]
    expected = values["x_test"][-1].reshape(6, 5, -1)
    np.testing.assert_array_equal(item["image"], np.broadcast_to(expected, (6, 5, 3)))
    assert item["mask"].shape == (6, 5)
    assert not item["mask"].any()
    assert (item["index"], item["label"]) == (39, data.test.records[-1].label)
    batches = list(pipeline.test_batches(data.test, 8, 16))
    assert [len(indices) for indices, _ in batches] == [16, 16, 8]
    with pytest.raises(IndexError):
        data.test[40]
    with pytest.raises(ValueError, match="does not tell single defects apart"):
        data.test.regions(0)


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3)])
def test_a_prepared_folder_gives_what_the_file_gives(tmp_path, shape):
    source = prepared.load(save(tmp_path / "tiny.npz", **arrays(shape=shape)))
    folder = array_records.prepare(source, tmp_path / "data")
    assert folder == tmp_path / "data" / "tiny" / "1.0.0"
    assert [path.name for path in (tmp_path / "data").rglob("part-*")] == []
    for place in (folder, tmp_path / "data"):
        found = prepared.load(place)
        assert (found.name, found.classes) == (source.name, source.classes)
        one, two = (prepared.unified(x, (0, 1)) for x in (source, found))
        for part in ("train", "heldout", "test"):
            here, there = getattr(one, part), pickle.loads(pickle.dumps(getattr(two, part)))
            assert (here.records, repr(here)) == (there.records, repr(there))
            for i in range(len(here)):
                np.testing.assert_array_equal(here[i]["image"], there[i]["image"])
    with pytest.raises(FileExistsError, match=r"1\.0\.0 is there already"):
        array_records.prepare(source, tmp_path / "data")


def test_a_prepared_folder_feeds_training_after_a_copy_to_another_process(tmp_path, tiny):
    detector, cfg, _, _, _ = tiny("uniad")
    source = prepared.load(save(tmp_path / "tiny.npz"))
    data = prepared.one_class(prepared.load(array_records.prepare(source, tmp_path)), 0)
    data = data._replace(train=pickle.loads(pickle.dumps(data.train)))
    iterator = iter(pipeline.train_batches(detector, cfg, data, 0))
    assert next(iterator)["image"].shape == (cfg.batch_size, cfg.size, cfg.size, 3)
    iterator.close()


def test_neither_preparing_nor_reading_loads_tensorflow_or_registers_anything(tmp_path):
    path = save(tmp_path / "tiny.npz")
    program = f"""
import sys
from jaxad.data import array_records, prepared
assert "tensorflow_datasets" not in sys.modules
source = prepared.load({str(path)!r})
for part in "ab":
    prepared.load(array_records.prepare(source, {str(tmp_path)!r} + "/" + part))
import tensorflow_datasets as tfds
assert "tensorflow" not in sys.modules
assert "tiny" not in tfds.core.registered._DATASET_REGISTRY
"""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_a_folder_that_is_not_a_prepared_set_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"empty: no data set .*dataset_info.json is miss"):
        prepared.load(tmp_path / "empty")
    source = prepared.load(save(tmp_path / "tiny.npz"))
    with pytest.raises(ValueError, match="'Tiny-2' cannot be a data set's name"):
        array_records.prepare(source._replace(name="Tiny-2"), tmp_path / "data")
    folder = array_records.prepare(source, tmp_path / "data")
    array_records.prepare(source._replace(name="other"), tmp_path / "data")
    with pytest.raises(ValueError, match=r"data: give one of .*other/1\.0\.0, .*tiny/1\.0\.0"):
        prepared.load(tmp_path / "data")
    (file,) = folder.glob("tiny-test.array_record*")
    whole = file.read_bytes()
    for data in (b"", whole[: len(whole) // 2]):
        file.write_bytes(data)
        with pytest.raises(ValueError, match=r"1\.0\.0 is damaged, prepare it again"):
            prepared.load(folder)
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"tiny-test.* is missing: prepare"):
        prepared.load(folder)
    (folder / "dataset_info.json").write_text("{}")
    with pytest.raises(ValueError, match=r"1\.0\.0"):
        prepared.load(folder)


def test_nothing_is_left_where_preparing_fails(tmp_path):
    source = prepared.load(save(tmp_path / "tiny.npz"))

    class Unreadable:
        def __len__(self):
            return 10

        def __getitem__(self, index):
            if index < 5:
                return np.zeros((4, 4), np.uint8)
            raise OSError("disk gone")

    bad = source._replace(test=Part(Unreadable(), np.arange(10)))
    with pytest.raises(OSError, match="disk gone"):
        array_records.prepare(bad, tmp_path / "data")
    with pytest.raises(FileNotFoundError, match="no data set in it"):
        prepared.load(tmp_path / "data")
    assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "it has no y_test but classes, x_train, y_train, x_test"),
        ({"x_train": np.zeros((80, 6, 5, 3))}, r"x_train: float64 of shape \(80, 6, 5, 3\); exp"),
        ({"x_test": np.zeros((40, 3, 6, 5), np.uint8)}, r"x_test: uint8 of shape .*expected"),
        ({"x_test": np.zeros((40, 90), np.uint8)}, r"x_test: .*\(N, H, W\)"),
        ({"y_train": np.zeros(80)}, "y_train: float64"),
        ({"y_train": np.zeros((80, 1), int)}, r"train: 80 pictures and labels of shape \(80, 1\)"),
        ({"y_test": np.zeros(39, int)}, r"test: 40 pictures and labels of shape \(39,\)"),
        ({"y_test": np.full(40, 10)}, "test: labels from 10 to 10 for 10 classes: expected 0 to 9"),
        ({"x_test": np.zeros((0, 6, 5), np.uint8), "y_test": np.zeros(0, int)}, "test: 0 pictures"),
        ({"classes": np.arange(10)}, "classes: int64 of shape"),
        ({"classes": np.array(["good", *CLASSES[1:]])}, "none of them empty or 'good'"),
        ({"classes": np.array(["one", *CLASSES[1:]])}, "names that differ"),
    ],
)
def test_an_npz_file_of_another_kind_is_refused(tmp_path, changes, message):
    path = save(tmp_path / "bad.npz", **changes)
    with pytest.raises(ValueError, match=rf"bad.npz is not an npz file with x_train.*{message}"):
        prepared.load(path)


def test_a_missing_or_damaged_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing.npz: no such file .*kriz/cifar.html"):
        prepared.load(tmp_path / "nothing.npz")
    whole = save(tmp_path / "tiny.npz").read_bytes()
    np.savez_compressed(tmp_path / "small.npz", **arrays())
    small = (tmp_path / "small.npz").read_bytes()
    middle = len(small) // 2
    flipped = small[:middle] + bytes([small[middle] ^ 255]) + small[middle + 1 :]
    for data in (b"", b"<html>", pickle.dumps({}), whole[: len(whole) // 2], flipped):
        (tmp_path / "bad.npz").write_bytes(data)
        with pytest.raises(ValueError, match=r"bad.npz is not an npz file with x_train") as found:
            prepared.load(tmp_path / "bad.npz")
        assert "allow_pickle" not in str(found.value)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["ten"], "tiny has no class 'ten': expected one of 0 zero, 1 one"),
        ([10], "tiny has no class 10"),
        ([-1], "tiny has no class -1"),
        ([], "normal classes none: expected one or more"),
        ([1, "one"], "normal classes 1, one: expected one or more, each once"),
        (range(10), "not all of 0 zero"),
    ],
)
def test_classes_that_are_not_there_are_refused(source, classes, message):
    with pytest.raises(ValueError, match=message):
        prepared.unified(source, classes)


def test_a_class_without_pictures_is_refused():
    pictures = np.zeros((4, 2, 2), np.uint8)
    train, test = np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0])
    source = labelled("tiny", ("a", "b", "c"), (pictures, train), (pictures, test))
    with pytest.raises(ValueError, match="tiny has no train pictures of 'c'"):
        prepared.one_class(source, "c")
    with pytest.raises(ValueError, match=r"1 normal training picture\(s\), 1 to be held out"):
        prepared.one_class(source, "b")
    with pytest.raises(ValueError, match="tiny has no test pictures of 'b'"):
        prepared.unified(source._replace(train=Part(pictures, np.ones(4, int))), "b")
    with pytest.raises(ValueError, match="all test pictures are of 'a'"):
        prepared.one_class(source, "a")
    with pytest.raises(ValueError, match="tiny has no test pictures of 'b'"):
        prepared.unified(source, "a")
    with pytest.raises(ValueError, match=r"heldout=1\.0: expected a fraction"):
        prepared.one_class(source, "a", heldout=1.0)


@pytest.mark.data
@pytest.mark.parametrize(("name", "side"), [("cifar10_small", 32), ("mnist_small", 28)])
def test_real_sets_give_one_data_set_for_each_class(shared, name, side):
    source = prepared.load(shared / "data" / f"{name}.npz")
    for name in source.classes:
        data = prepared.one_class(source, name)
        assert len(data.test) == len(source.test.labels)
        assert image_set(data.heldout, side).shape[1:] == (side, side, 3)
    for split in prepared.UNIFIED_SPLITS.values():
        data = prepared.unified(source, split)
        assert len(data.test) == len(source.test.labels)  # half of the classes are normal


def test_pictures_of_other_names_are_another_source():
    part = Part(np.zeros((3, 2, 2), np.uint8), np.array([0, 1, 1]))
    one = ClassPictures(part, np.array([0, 1]), ("a", "b"), [0], "a")
    two = ClassPictures(part, np.array([0, 2]), ("a", "b"), [0], "a")
    assert repr(one) != repr(two)


def test_prepared_pictures_are_read_as_others_are(tmp_path):
    deep = np.random.default_rng(0).integers(0, 65536, (5, 6), dtype=np.uint16)
    content = io.BytesIO()
    Image.fromarray(deep).save(content, "PNG")
    pictures = array_records._Encoded([{"image": content.getvalue()}, {"image": b"x"}], tmp_path)
    np.testing.assert_array_equal(pictures[0][..., 0], np.round(deep / 65535 * 255))
    with pytest.raises(ValueError, match=r"picture 1: not a picture.*prepare the set again"):
        pictures[1]
