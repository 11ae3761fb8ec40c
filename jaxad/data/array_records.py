"""Labelled sets as TFDS keeps them: array_record files of encoded pictures, read at random.

Neither writing nor reading needs TensorFlow: TFDS asks for it only to encode pictures, to unpack
archives, and for other file formats. What others prepared with TFDS as array_record reads as well.
"""

import contextlib
import io
import itertools
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from jaxad.data import images
from jaxad.data.labelled import Labelled, Part, labelled, rgb
from jaxad.data.source import Stamp

INFO = "dataset_info.json"  # that TFDS writes last into a prepared folder
VERSION = "1.0.0"
SLICE = 1024  # records at a time


def prepare(source: Labelled, folder: str | Path) -> Path:
    """Writes a labelled set for `read`, the pictures as PNG, in their order.

    Args:
      source: from `archives` or `prepared.from_npz`; its name is of small letters, digits and "_".
      folder: to which NAME/1.0.0 is added; nothing is left there if writing fails.

    Returns:
      The folder that was added.

    Raises:
      FileExistsError: it is there already.
      ValueError: the set's name cannot be TFDS's.
      OSError: it cannot be written.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", source.name):
        raise ValueError(
            f"{source.name!r} cannot be a data set's name: expected small letters, digits and _, "
            "such as source._replace(name='cifar10')"
        )
    target = Path(folder) / source.name / VERSION
    if target.exists():
        raise FileExistsError(f"{target} is there already: remove it, or give another folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="part-") as part:
        builder = _builder(source, part)
        with contextlib.redirect_stdout(io.StringIO()):  # speaks of a download
            builder.download_and_prepare()
        Path(builder.data_dir).rename(target)
    return target


def read(folder: str | Path) -> Labelled:
    """A labelled set from a prepared folder; a picture is decoded when it is asked for.

    Args:
      folder: of the data set, or one above that has no other in it.

    Raises:
      FileNotFoundError: no prepared data set in it, or files of it are missing.
      ValueError: several data sets, or one that is damaged or has not what is needed: array_record
        files, train and test pictures, "image" and "label".
    """
    import tensorflow_datasets as tfds

    folder = _data_set(Path(folder))
    try:
        builder = _prepared(folder)
        features, splits = builder.info.features, builder.info.splits
        kind = builder.info.file_format.value
    except Exception as error:  # TFDS documents none of those it raises
        raise ValueError(f"{folder}: not readable by tensorflow_datasets: {error}") from error
    if kind != "array_record":
        raise ValueError(
            f"{folder}: {kind} files cannot be read at random; prepare the data set with "
            'file_format="array_record", or by array_records.prepare'
        )
    if not {"train", "test"} <= set(splits) or not {"image", "label"} <= set(features):
        raise ValueError(
            f"{folder}: splits {', '.join(splits) or 'none'} with {', '.join(features)}; expected "
            "the splits train and test with image and label"
        )
    files = [*splits["train"].filepaths, *splits["test"].filepaths]
    for file in files:
        if not Path(file).is_file():
            raise FileNotFoundError(f"{file} is missing: prepare the data set again")
    undecoded = {"image": tfds.decode.SkipDecoding()}
    try:
        train, test = (
            _part(builder.as_data_source(split, decoders=undecoded), folder)
            for split in ("train", "test")
        )
        stamps = {Path(file).name: Stamp.of(file) for file in files}
        return labelled(builder.name, features["label"].names, train, test, stamps)
    except Exception as error:
        raise ValueError(f"{folder} is damaged, prepare it again: {error}") from error


class _Encoded:
    """The pictures of a TFDS data source."""

    def __init__(self, source: Any, folder: Path) -> None:
        self._source, self._folder = source, folder

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "H W 3"]:
        name = f"{self._folder}: picture {index}"
        try:
            return images.read_image(name, content=self._source[index]["image"])
        except (OSError, ValueError) as error:
            raise ValueError(f"{error}; prepare the set again") from error


def _part(source: Any, folder: Path) -> tuple[_Encoded, np.ndarray]:
    """Pictures and labels, of which the labels are read now."""
    places = range(len(source))
    slices = (source.__getitems__(places[i : i + SLICE]) for i in places[::SLICE])
    labels = [record["label"] for record in itertools.chain.from_iterable(slices)]
    return _Encoded(source, folder), np.array(labels, np.int64)


def _data_set(folder: Path) -> Path:
    """The folder of the only data set in a folder."""
    if (folder / INFO).is_file():
        return folder
    below = sorted(path.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{INFO}"))
    if not below:
        raise FileNotFoundError(
            f"{folder}: no data set in it that is prepared to the end ({INFO} is missing)"
        )
    if len(below) > 1:
        raise ValueError(f"{folder}: give one of {', '.join(map(str, below))}")
    return below[0]


def _prepared(folder: Path) -> Any:
    """What TFDS reads a data set by; it declares little of what is there."""
    import tensorflow_datasets as tfds

    return tfds.builder_from_directory(folder)


def _builder(source: Labelled, folder: str) -> Any:
    """What TFDS writes a data set by."""
    import tensorflow_datasets as tfds

    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, _channels(source.train))),
            "label": tfds.features.ClassLabel(names=source.classes),
        }
    )

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = source.name
        code_path = None  # to find it, TFDS needs importlib_resources, which it does not require
        VERSION = tfds.core.Version(VERSION)

        def _info(self) -> Any:
            return tfds.core.DatasetInfo(
                builder=self,
                description=f"{source.name}, from its original files",
                features=features,
                disable_shuffling=True,  # a picture's place is the same as in the original
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {"train": _examples(source.train), "test": _examples(source.test)}

        def _generate_examples(self) -> None:
            """Wanted by the base class; `_split_generators` has done it."""

    return Builder(data_dir=folder, file_format="array_record")


def _examples(part: Part) -> Iterator[tuple[int, dict[str, Any]]]:
    for index, label in enumerate(part.labels):
        picture = part.pictures[index]
        grey = picture.ndim == 2 or picture.shape[2] == 1
        picture = picture.reshape(picture.shape[:2]) if grey else rgb(picture)
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG")  # an array would be encoded by TensorFlow
        file.seek(0)
        yield index, {"image": file, "label": int(label)}


def _channels(part: Part) -> int:
    picture = part.pictures[0]
    return 1 if picture.ndim == 2 else picture.shape[2]
