"""CIFAR-10, MNIST and the like as anomaly detection data: some classes are normal, the others not.

    cifar10 = prepared.load("cifar10.npz")  # or a folder that `array_records.prepare` wrote
    data = prepared.unified(cifar10, prepared.UNIFIED_SPLITS["01234"])
    data = prepared.one_class(cifar10, "airplane")

The original archives are read by `archives`.
"""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int, Integer, UInt8

from jaxad.data import archives, array_records
from jaxad.data.labelled import ClassPictures, Labelled, Part, labelled
from jaxad.data.source import Data, Stamp

# CIFAR-10's normal classes: You et al., NeurIPS 2022 (arXiv:2206.03687), section 4.3.
UNIFIED_SPLITS = {
    "01234": (0, 1, 2, 3, 4),
    "56789": (5, 6, 7, 8, 9),
    "02468": (0, 2, 4, 6, 8),
    "13579": (1, 3, 5, 7, 9),
}

KEYS = ("x_train", "y_train", "x_test", "y_test", "classes")


def load(path: str | Path) -> Labelled:
    """A labelled set from an npz file (see `from_npz`) or a folder prepared as array_record.

    Raises:
      FileNotFoundError: there is nothing of this name, or no data set in the folder.
      ValueError: what is there is damaged or something else.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: no such file or folder; expected an npz file with {', '.join(KEYS)}, or a "
            f"folder that array_records.prepare wrote. Originals: CIFAR-10 {archives.CIFAR10_URL}, "
            f"MNIST {archives.MNIST_URL}"
        )
    return array_records.read(path) if path.is_dir() else from_npz(path)


def from_npz(path: str | Path) -> Labelled:
    """A labelled set from arrays in a file, whose stem becomes its name.

    `x_train` and `x_test` are uint8 of shape (N, H, W), (N, H, W, 1) or (N, H, W, 3); `y_train` and
    `y_test` whole numbers of shape (N,), places in `classes`, which holds strings.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is no npz file, or an array is missing, or not as described.
    """
    path = Path(path)
    try:
        if path.exists() and not zipfile.is_zipfile(path):
            raise ValueError("it is damaged or of another kind")
        with np.load(path, allow_pickle=False) as file:
            if missing := [key for key in KEYS if key not in file]:
                raise ValueError(f"it has no {', '.join(missing)} but {', '.join(file)}")
            arrays = {key: file[key] for key in KEYS}
        classes = arrays["classes"]
        if classes.dtype.kind != "U" or classes.ndim != 1:
            raise ValueError(f"classes: {_described(classes)}; expected a list of strings")
        train, test = (_arrays(arrays, part) for part in ("train", "test"))
        checksum = 0
        for key in KEYS[:4]:
            checksum = zlib.crc32(np.ascontiguousarray(arrays[key]).data, checksum)
        stamps = {path.name: Stamp.of(path, checksum)}
        return labelled(path.stem, classes.tolist(), train, test, stamps)
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path} is not an npz file with {', '.join(KEYS)}: {error}. An original archive is "
            "read by jaxad.data.archives and written for use by array_records.prepare"
        ) from error


def unified(
    source: Labelled,
    normal_classes: Sequence[int | str],
    *,
    seed: int = 0,
    heldout: float = 0.1,
    category: str | None = None,
) -> Data:
    """Several classes as one normal category; no picture says which class it is.

    Tested on all normal test pictures and as many, drawn without replacement, of the other classes
    together (all, if there are fewer). You et al., NeurIPS 2022, section 4.3, and their code.

    Args:
      source: from `load`.
      normal_classes: numbers or names, such as `UNIFIED_SPLITS["01234"]`.
      seed: decides which training pictures are held out and which anomalous ones are drawn.
      heldout: fraction of the normal training pictures to hold out; one at least.
      category: what to call them all; the set's name by default.

    Raises:
      ValueError: a class is not there or has no pictures, none or all are normal, or too few
        pictures are left to learn from.
    """
    normal = _numbers(source, normal_classes)
    rng = np.random.default_rng(seed)
    learn, hold = _held_out(_places(source, "train", normal), heldout, rng)
    good = _places(source, "test", normal)
    others = _places(source, "test", [c for c in range(len(source.classes)) if c not in normal])
    drawn = rng.permutation(others)[: len(good)]
    test = np.sort(np.concatenate([good, drawn]))
    category = category or source.name
    return _data(source, normal, category, learn, hold, test)


def one_class(
    source: Labelled, normal_class: int | str, *, seed: int = 0, heldout: float = 0.1
) -> Data:
    """One class, which is the category, against the rest; tested on the whole test set.

    Args:
      source: from `load`.
      normal_class: its number or name.
      seed: decides which training pictures are held out.
      heldout: fraction of the class's training pictures to hold out; one at least.

    Raises:
      ValueError: the class is not there or has no pictures, no others are in the test set, or too
        few pictures are left to learn from.
    """
    (number,) = normal = _numbers(source, [normal_class])
    learn, hold = _held_out(_places(source, "train", normal), heldout, np.random.default_rng(seed))
    good = _places(source, "test", normal)
    test = np.arange(len(source.test.labels))
    if len(good) == len(test):
        raise ValueError(f"{source.name}: all test pictures are of {source.classes[number]!r}")
    return _data(source, normal, source.classes[number], learn, hold, test)


def is_prepared(path: str | Path) -> bool:
    """Whether there is a prepared data set in a folder, or up to two folders below."""
    places = (f"{depth}{array_records.INFO}" for depth in ("", "*/", "*/*/"))
    return any(True for place in places for _ in Path(path).glob(place))


def pictures(path: str | Path) -> ClassPictures:
    """The training pictures of a labelled set, whatever their class, for a stream `aux`.

    Such as the Describable Textures or Imagenette; errors as `load`.
    """
    source = load(path)
    every = np.arange(len(source.train.labels))
    return ClassPictures(
        source.train, every, source.classes, range(len(source.classes)), source.name
    )


def _data(
    source: Labelled,
    normal: Sequence[int],
    category: str,
    learn: Int[np.ndarray, "l"],
    hold: Int[np.ndarray, "h"],
    test: Int[np.ndarray, "t"],
) -> Data:
    def pictures(part: Part, places: Int[np.ndarray, "n"]) -> ClassPictures:
        return ClassPictures(part, places, source.classes, normal, category)

    train = source.train
    return Data(pictures(train, learn), pictures(train, hold), pictures(source.test, test))


def _numbers(source: Labelled, classes: Sequence[int | str]) -> list[int]:
    """Classes as places in `source.classes`."""
    known = source.classes
    there = ", ".join(f"{i} {name}" for i, name in enumerate(known))
    numbers = []
    for one in classes:
        number = known.index(one) if one in known else one
        if not isinstance(number, int) or not 0 <= number < len(known):
            raise ValueError(f"{source.name} has no class {one!r}: expected one of {there}")
        numbers.append(number)
    if not 0 < len(set(numbers)) == len(numbers) < len(known):
        raise ValueError(
            f"normal classes {', '.join(map(str, classes)) or 'none'}: expected one or more, each "
            f"once, and not all of {there}"
        )
    return numbers


def _places(source: Labelled, name: str, classes: Sequence[int]) -> Int[np.ndarray, "n"]:
    """Where the pictures of some classes are in a part; each class has some."""
    labels = getattr(source, name).labels
    for number in classes:
        if number not in labels:
            raise ValueError(f"{source.name} has no {name} pictures of {source.classes[number]!r}")
    return np.flatnonzero(np.isin(labels, classes))


def _held_out(
    places: Int[np.ndarray, "n"], fraction: float, rng: np.random.Generator
) -> tuple[Int[np.ndarray, "l"], Int[np.ndarray, "h"]]:
    """Splits at random into what to learn from and what to hold out."""
    if not 0 < fraction < 1:
        raise ValueError(f"heldout={fraction}: expected a fraction between 0 and 1, such as 0.1")
    count = max(1, round(fraction * len(places)))
    if count >= len(places):
        raise ValueError(
            f"{len(places)} normal training picture(s), {count} to be held out: there must be one "
            f"to learn from and one to hold out; lower heldout={fraction}"
        )
    order = rng.permutation(places)
    return np.sort(order[count:]), np.sort(order[:count])


def _arrays(arrays: dict, part: str) -> tuple[UInt8[np.ndarray, "..."], Integer[np.ndarray, "..."]]:
    """Pictures and labels of a part, of which the pictures are checked."""
    pictures, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
    grey_or_rgb = pictures.ndim == 3 or (pictures.ndim == 4 and pictures.shape[3] in (1, 3))
    if pictures.dtype != np.uint8 or not grey_or_rgb or 0 in pictures.shape[1:]:
        raise ValueError(
            f"x_{part}: {_described(pictures)}; expected uint8 of shape (N, H, W), (N, H, W, 1) or "
            "(N, H, W, 3)"
        )
    if labels.dtype.kind not in "iu":
        raise ValueError(f"y_{part}: {_described(labels)}; expected whole numbers of shape (N,)")
    return pictures, labels


def _described(array: np.ndarray) -> str:
    return f"{array.dtype} of shape {array.shape}"
