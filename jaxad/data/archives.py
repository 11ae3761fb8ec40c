"""CIFAR-10 and MNIST as they are published, read in memory: nothing is unpacked or executed."""

import contextlib
import gzip
import hashlib
import io
import logging
import math
import pickle
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import UInt8

from jaxad.data.labelled import Labelled, labelled

log = logging.getLogger(__name__)

CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar.html"
MNIST_URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"

CIFAR10_MD5 = "c58f30108f718f92721af3b95e74349a"
MNIST_MD5 = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
LIMIT = 2**26  # bytes of an unpacked file; the largest published one has 47 million

_TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
_WANTED = (*_TRAIN, "test_batch", "batches.meta")


def cifar10(archive: str | Path) -> Labelled:
    """CIFAR-10 from its archive for Python, cifar-10-python.tar.gz.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is damaged or another archive.
    """
    with _original(Path(archive), CIFAR10_MD5, CIFAR10_URL) as path:
        files = {name: _unpickled(data) for name, data in _members(path).items()}
        try:
            classes = [name.decode() for name in files["batches.meta"][b"label_names"]]
            *train, test = [_batch(files[name]) for name in (*_TRAIN, "test_batch")]
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"its batches are not CIFAR-10's: {error!r}") from error
        pictures, labels = (np.concatenate(arrays) for arrays in zip(*train, strict=True))
        return labelled("cifar10", classes, (pictures, labels), test)


def mnist(folder: str | Path) -> Labelled:
    """MNIST from a folder with its four original files, train-images-idx3-ubyte.gz and so on.

    Raises:
      FileNotFoundError: one of them is not there.
      ValueError: one is damaged or another file.
    """
    arrays = []
    for name, md5 in MNIST_MD5.items():
        with _original(Path(folder) / name, md5, MNIST_URL) as path, gzip.open(path) as file:
            arrays.append(_idx(_content(file), 3 if "idx3" in name else 1))
    classes = [str(digit) for digit in range(10)]
    try:
        return labelled("mnist", classes, (arrays[0], arrays[1]), (arrays[2], arrays[3]))
    except ValueError as error:
        raise ValueError(f"{folder}: {error}; get the files again from {MNIST_URL}") from error


@contextlib.contextmanager
def _original(path: Path, md5: str, url: str) -> Iterator[Path]:
    """Reads a published file: says where it comes from if it is missing or damaged."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; get it from {url} (md5 {md5})")
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    try:
        yield path
    except (
        tarfile.TarError, gzip.BadGzipFile, zlib.error, pickle.UnpicklingError,
        EOFError, ValueError,
    ) as error:  # fmt: skip
        raise ValueError(
            f"{path} is damaged or not the published file ({error}): get it again from {url}; the "
            f"published md5 is {md5}, this file's is {found}"
        ) from error
    if found != md5:
        log.warning("%s can be read but is not the published file: md5 %s", path, found)


def _members(path: Path) -> dict[str, bytes]:
    """The wanted files of an archive, by their names without the folder's."""
    found = {}
    with gzip.open(path) as unzipped, tarfile.open(fileobj=unzipped, mode="r:") as archive:
        for member in archive:
            name = member.name.removeprefix("cifar-10-batches-py/")
            wanted = name in _WANTED and member.isfile()  # a link could point at anything
            if wanted and (file := archive.extractfile(member)):
                found[name] = _content(file)
        while unzipped.read(2**20):
            pass  # to the checksum at the end
    if missing := [name for name in _WANTED if name not in found]:
        raise ValueError(f"it has no {', '.join(missing)}")
    return found


def _content(file: io.BufferedIOBase | IO[bytes]) -> bytes:
    data = file.read(LIMIT + 1)
    if len(data) > LIMIT:
        raise ValueError(f"a file in it unpacks to more than {LIMIT} bytes")
    return data


def _batch(batch: dict[bytes, Any]) -> tuple[UInt8[np.ndarray, "N 32 32 3"], np.ndarray]:
    """Pictures and labels; a row of `data` holds the red values, then the green, then the blue."""
    rows = batch[b"data"].array()
    if rows.ndim != 2 or rows.shape[1] != 3072:
        raise ValueError(f"pictures of shape {rows.shape}, expected (N, 3072)")
    pictures = rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pictures), np.array(batch[b"labels"], np.int64)


def _idx(data: bytes, rank: int) -> UInt8[np.ndarray, "..."]:
    """An array of bytes in the IDX format: 0, 0, 8, rank, the sides as 32 bits each, the values."""
    header = 4 + 4 * rank
    if data[:4] != bytes([0, 0, 8, rank]) or len(data) < header:
        raise ValueError(f"not an IDX file of bytes with {rank} axes")
    shape = np.frombuffer(data, ">u4", rank, 4).tolist()
    if len(data) - header != math.prod(shape):
        raise ValueError(f"{len(data) - header} values for the shape {tuple(shape)}")
    return np.frombuffer(data, np.uint8, -1, header).reshape(shape)


def _unpickled(data: bytes) -> dict[bytes, Any]:
    """A dictionary of plain values and arrays; nothing that the pickle names is called."""
    try:
        found = _Unpickler(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # of any type, if the data are bad enough
        raise pickle.UnpicklingError(f"bad pickle: {error}") from error
    if not isinstance(found, dict):
        raise pickle.UnpicklingError("not a dictionary")
    return found


class _Dtype:
    """Stands in for numpy's."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None:
        """What is in there is byte order, of which one byte has none."""


class _Array:
    """Stands in for numpy's: holds what it would be made of."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> UInt8[np.ndarray, "..."]:
        """The array, if it is one of bytes."""
        shape, dtype, by_columns, data = self.state[-4:]
        if not isinstance(dtype, _Dtype) or dtype.code not in (b"u1", "u1"):
            raise ValueError("an array that is not of bytes")
        return np.frombuffer(data, np.uint8).reshape(shape, order="F" if by_columns else "C")


class _Unpickler(pickle.Unpickler):
    """Knows arrays only."""

    _KNOWN = {
        ("numpy.core.multiarray", "_reconstruct"): _Array,
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        """A stand-in; never an import."""
        if (module, name) not in self._KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not allowed")
        return self._KNOWN[module, name]
