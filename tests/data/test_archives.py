"""Published archives: read as they were written, never unpacked, never executed."""

import gzip
import io
import pickle
import struct
import tarfile

import numpy as np
import pytest

from jaxad.data import archives

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TRAIN = [f"data_batch_{i}" for i in range(1, 6)]


def text(value):
    """A string as Python 2 pickled it."""
    return b"T" + struct.pack("<i", len(value)) + value


def number(value):
    return b"J" + struct.pack("<i", value)


def array(rows):
    """An array as numpy pickled it on Python 2."""
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + text(b"b") + b"tR"
        b"(K\x01(" + number(rows.shape[0]) + number(rows.shape[1]) + b"t"
        b"cnumpy\ndtype\n(" + text(b"u1") + b"K\x00K\x01tR"
        b"(K\x03" + text(b"|") + b"NNN" + number(-1) + number(-1) + b"K\x00tb"
        b"\x89" + text(rows.tobytes()) + b"tb"
    )  # fmt: skip


def dictionary(**entries):
    pairs = b"".join(text(key.encode()) + value for key, value in entries.items())
    return b"\x80\x02}(" + pairs + b"u."


def listing(values):
    return b"](" + b"".join(values) + b"e"


def batch(pictures, labels):
    rows = pictures.transpose(0, 3, 1, 2).reshape(len(pictures), -1)
    return dictionary(
        batch_label=text(b"some batch"),
        data=array(rows),
        labels=listing([number(int(label)) for label in labels]),
    )


def members(rng):
    """The files of an archive with two pictures in each batch, and the pictures."""
    pictures = rng.integers(0, 256, (12, 32, 32, 3), np.uint8)
    labels = rng.integers(0, 10, 12)
    files = {
        name: batch(pictures[2 * i : 2 * i + 2], labels[2 * i : 2 * i + 2])
        for i, name in enumerate([*TRAIN, "test_batch"])
    }
    names = listing([text(name.encode()) for name in NAMES])
    return files | {"batches.meta": dictionary(label_names=names)}, pictures, labels


def write(path, files, extra=()):
    with tarfile.open(path, "w:gz") as archive:
        for member in extra:
            archive.addfile(member)
        for name, data in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def files(tmp_path):
    return members(np.random.default_rng(0))[0]


def test_pictures_are_those_that_python_2_pickled(tmp_path, caplog):
    files, pictures, labels = members(np.random.default_rng(0))
    assert pickle.loads(files["batches.meta"])["label_names"] == list(NAMES)
    found = archives.cifar10(write(tmp_path / "cifar.tar.gz", files))
    assert (found.name, found.classes) == ("cifar10", NAMES)
    np.testing.assert_array_equal(found.train.pictures, pictures[:10])
    np.testing.assert_array_equal(found.train.labels, labels[:10])
    np.testing.assert_array_equal(found.test.pictures, pictures[10:])
    np.testing.assert_array_equal(found.test.labels, labels[10:])
    assert "is not the published file" in caplog.text  # it has no 60 000 pictures


def test_arrays_are_those_that_numpy_pickles():
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for one in (values, np.asfortranarray(values)):
        data = pickle.dumps({b"data": one}, 3).replace(b"numpy._core", b"numpy.core")
        np.testing.assert_array_equal(archives._unpickled(data)[b"data"].array(), values)
    data = pickle.dumps({b"data": values.astype(float)}, 3).replace(b"numpy._core", b"numpy.core")
    with pytest.raises(ValueError, match="not of bytes"):
        archives._unpickled(data)[b"data"].array()


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_a_pickle_that_executes_code_is_refused(tmp_path, files):
    trace = tmp_path / "trace"
    for data in (pickle.dumps(Evil(str(trace)), 2), pickle.dumps({"a": Evil(str(trace))}, 4)):
        path = write(tmp_path / "evil.tar.gz", files | {"data_batch_3": data})
        with pytest.raises(ValueError, match=r"evil.tar.gz is damaged .*open, which is not allow"):
            archives.cifar10(path)
    assert not trace.exists()


def test_nothing_is_unpacked_and_links_are_not_followed(tmp_path, files):
    inside = tmp_path / "inside"
    inside.mkdir()
    out = tarfile.TarInfo("../evil")
    absolute = tarfile.TarInfo(str(tmp_path / "evil"))
    path = write(inside / "a.tar.gz", files, [out, absolute])
    archives.cifar10(path)
    assert sorted(tmp_path.rglob("*")) == [inside, path]

    link = tarfile.TarInfo("cifar-10-batches-py/test_batch")
    link.type, link.linkname = tarfile.SYMTYPE, "data_batch_1"
    del files["test_batch"]
    with pytest.raises(ValueError, match="it has no test_batch"):
        archives.cifar10(write(inside / "b.tar.gz", files, [link]))


def test_a_damaged_archive_names_its_source_and_checksum(tmp_path, files, monkeypatch):
    whole = write(tmp_path / "whole.tar.gz", files).read_bytes()
    short = {**files, "test_batch": dictionary(data=array(np.zeros((2, 9), np.uint8)))}
    wrong = {**files, "test_batch": dictionary(data=number(1), labels=number(1))}
    bad = {
        "empty": b"",
        "text": b"<html>not found</html>",
        "cut": whole[: len(whole) // 2],
        "flipped": whole[:3000] + bytes([whole[3000] ^ 255]) + whole[3001:],
        "shape": write(tmp_path / "shape", short).read_bytes(),
        "type": write(tmp_path / "type", wrong).read_bytes(),
        "pickle": write(tmp_path / "pickle", files | {"batches.meta": b"\x80\x02}("}).read_bytes(),
        "list": write(tmp_path / "list", files | {"batches.meta": b"\x80\x02]."}).read_bytes(),
    }
    for name, data in bad.items():
        path = tmp_path / f"{name}.tar.gz"
        path.write_bytes(data)
        with pytest.raises(
            ValueError, match=rf"{name}.tar.gz is damaged .*kriz/cifar.html.*c58f30"
        ):
            archives.cifar10(path)
    with pytest.raises(FileNotFoundError, match=r"none: no such file; get it from .*kriz/cifar"):
        archives.cifar10(tmp_path / "none")
    monkeypatch.setattr(archives, "LIMIT", 1000)
    with pytest.raises(ValueError, match="more than 1000 bytes"):
        archives.cifar10(tmp_path / "whole.tar.gz")


def idx(values):
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)


@pytest.fixture
def digits(tmp_path):
    """A folder in MNIST's format, and its arrays."""
    rng = np.random.default_rng(1)
    arrays = {}
    for part, count in (("train", 7), ("t10k", 3)):
        arrays[f"{part}-images-idx3-ubyte.gz"] = rng.integers(0, 256, (count, 28, 28), np.uint8)
        arrays[f"{part}-labels-idx1-ubyte.gz"] = rng.integers(0, 10, count).astype(np.uint8)
    for name, values in arrays.items():
        (tmp_path / name).write_bytes(gzip.compress(idx(values) + values.tobytes()))
    return tmp_path, list(arrays.values())


def test_digits_are_those_of_the_files(digits):
    folder, arrays = digits
    found = archives.mnist(folder)
    assert (found.name, found.classes) == ("mnist", tuple("0123456789"))
    there = (*found.train[:2], *found.test[:2])
    for values, expected in zip(there, arrays, strict=True):
        np.testing.assert_array_equal(values, expected)


def test_a_damaged_file_of_digits_is_named(digits):
    folder, arrays = digits
    path = folder / "t10k-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    header = idx(arrays[2])
    bad = [whole[:-9], b"", gzip.compress(header), gzip.compress(b"\0\0\x0d\3"), header]
    for data in bad:
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"t10k-images.*gz is damaged .*mnist/; .*9fb629c41"):
            archives.mnist(folder)
    path.write_bytes((folder / "train-images-idx3-ubyte.gz").read_bytes())
    with pytest.raises(ValueError, match=r"test: 7 pictures and labels of shape \(3,\)"):
        archives.mnist(folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"t10k-images-idx3-ubyte.gz: no such file; get it"):
        archives.mnist(folder)
