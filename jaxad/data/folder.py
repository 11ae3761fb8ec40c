"""Folders of pictures of any names: one of normal pictures is enough."""

from collections.abc import Sequence
from pathlib import Path

from jaxad.data import checks, images, looks, names, walk
from jaxad.data import files as listing
from jaxad.data.files import File
from jaxad.data.image_folder import ImageFolder, Listed, open_data
from jaxad.data.reading import OnBadImage, Reading
from jaxad.data.source import Data, Record
from jaxad.detector import replace

USES = {
    "train": "training", "test_normal": "test", "test_anomalous": "anomalous pictures",
    "masks": "masks",
}  # fmt: skip


def photographs(
    folder: str | Path,
    *,
    on_bad_image: OnBadImage = "error",
    reading: Reading = images.PLAIN,
) -> ImageFolder:
    """All pictures of a folder and the folders in it, of anything, for a stream `aux`.

    Nothing is looked up by their names, so `a.jpg` may lie beside `a.png`.

    Args:
      folder: of the pictures; links in it are followed.
      on_bad_image: see `checks.checked`.
      reading: how files become pictures; all of them are squeezed into a square.

    Raises:
      FileNotFoundError: there is no such folder.
      ValueError: no pictures, or bad files (see `checks.checked`).
    """
    folder = Path(folder)
    category = listing.category_of(folder)
    reading = replace(reading, bits="auto", fit="squeeze", region=None)  # of these pictures alone
    files = [
        File(Record(path.relative_to(folder).with_suffix("").as_posix(), category, "good"), path)
        for path in walk.list_images(folder, recursive=True)
    ]
    headers, bad = checks.checked(files, on_bad_image, reading)
    if any(header.depth > 8 for header in headers.values()):
        reading = looks.settled(reading, files, headers, category)
    else:
        reading = replace(reading, bits=None)
    usable = [file for file in files if file.path not in bad]
    if not usable:
        raise ValueError(f"{folder}: no pictures in it or in its folders")
    return ImageFolder(usable, list(bad.values()), reading)


def load(
    train: str | Path,
    *,
    test_normal: str | Path | None = None,
    test_anomalous: str | Path | None = None,
    masks: str | Path | None = None,
    category: str | None = None,
    seed: int = 0,
    heldout: float = 0.1,
    on_bad_image: OnBadImage = "error",
    reading: Reading = images.PLAIN,
) -> Data:
    """A data set from folders of any names, read with the folders in them.

    Args:
      train: normal pictures; some are held out.
      test_normal: other normal pictures, to test on.
      test_anomalous: anomalous pictures, or one folder of them for each type of defect; pictures
        of a folder in it that is called good, ok or normal are tested on as normal ones.
      masks: masks of `test_anomalous`, in the same folders and of the same names, with or without
        an ending such as "_mask"; lossless files, black where normal.
      category: what the pictures show; if not given, the name of the folder `train`.
      seed: decides which pictures are held out.
      heldout: fraction of `train` to hold out; one picture at least, none of a single one.
      on_bad_image: "error" names bad files; "skip" decodes every file now and leaves them out.
      reading: how files become pictures.

    Raises:
      FileNotFoundError: a folder does not exist.
      ValueError: a folder has no pictures, is given twice, or is one of normal pictures and holds
        folders that are not by their names; masks and pictures do not match, or files are bad.

    A folder may lie in another one: its pictures then count as what it is given for alone.
    """
    found = listed(
        train, test_normal=test_normal, test_anomalous=test_anomalous, masks=masks,
        category=category,
    )  # fmt: skip
    return open_data(found, seed=seed, heldout=heldout, on_bad_image=on_bad_image, reading=reading)


def listed(
    train: str | Path,
    *,
    test_normal: str | Path | None = None,
    test_anomalous: str | Path | None = None,
    masks: str | Path | None = None,
    category: str | None = None,
) -> Listed:
    """The files of a data set; arguments and errors as of `load`."""
    category = category or listing.category_of(train)
    seen: dict[Path, str] = {}
    for place, use in zip((train, test_normal, test_anomalous, masks), USES.values(), strict=True):
        if place and (other := seen.setdefault(Path(place).resolve(), use)) != use:
            raise ValueError(f"{place}: the same folder for {other} and {use}")
    if masks and not test_anomalous:
        raise ValueError(f"masks={masks}: they belong to test_anomalous, which is not given")
    given = [Path(place) for place in (train, test_normal, test_anomalous, masks) if place]
    test = _normal(Path(test_normal), category, given) if test_normal else []
    if test_anomalous:
        test += _anomalous(Path(test_anomalous), Path(masks) if masks else None, category, given)
    return Listed(category, _normal(Path(train), category, given), test, folders=given)


def _normal(folder: Path, category: str, given: Sequence[Path]) -> list[File]:
    """The pictures in and below a folder of normal ones, without other folders that are given."""
    others = _apart(folder, given)
    if not walk.list_images(folder, True, others):
        raise ValueError(f"{folder}: no pictures in it or in its folders")
    files = listing.files_in(folder, category, apart=others)
    inside = {file.key.rpartition("/")[0] for file in files}
    good = sorted(part for part in inside if any(map(names.is_normal, part.split("/"))))
    if good and len(good) < len(inside):
        raise ValueError(
            f"{folder} holds a folder {good[0]!r} and other pictures beside it: give the folder of "
            "normal pictures alone"
        )
    if part := listing.other_folder(files):
        raise ValueError(
            f"{folder} holds a folder {part!r}, which is not of normal pictures by its name: "
            "give the folder of normal pictures alone, or a category's folder as DATA"
        )
    return files


def _anomalous(
    folder: Path, masks: Path | None, category: str, given: Sequence[Path]
) -> list[File]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    if masks and not masks.is_dir():
        raise FileNotFoundError(f"{masks}: no such folder of masks")
    others = _apart(folder, given)
    normal = listing.normal_files(folder, category, masks, others)
    loose = listing.files_in(folder, category, "anomalous", below=False)
    loose = listing.with_masks(loose, [masks] if masks else [], below=False)
    found = loose + listing.anomalous_files(folder, masks, category, others)
    if not found:
        only = ", other than normal ones" if normal else ""
        raise ValueError(f"{folder}: no pictures in it or in its folders{only}")
    if masks and not any(file.masks for file in found):
        raise ValueError(f"{masks}: no masks; they go into the same folders as the pictures")
    return [*normal, *found]


def _apart(folder: Path, given: Sequence[Path]) -> list[Path]:
    """The folders that are given besides, without those that a folder lies in itself."""
    here = folder.resolve()
    return [other for other in given if not here.is_relative_to(other.resolve())]
