"""Folders of pictures of any names: one of normal pictures is enough."""

from pathlib import Path

from jaxad.data import files as listing
from jaxad.data import images
from jaxad.data.files import File, OnBadImage
from jaxad.data.image_folder import ImageFolder, open_data
from jaxad.data.source import Data, Record


def photographs(folder: str | Path, *, on_bad_image: OnBadImage = "error") -> ImageFolder:
    """All pictures of a folder and the folders in it, of anything, for a stream `aux`.

    Nothing is looked up by their names, so `a.jpg` may lie beside `a.png`.

    Raises:
      FileNotFoundError: there is no such folder.
      ValueError: no pictures, or bad files (see `files.bad_files`).
    """
    folder = Path(folder)
    category = listing.category_of(folder)
    files = [
        File(Record(path.relative_to(folder).with_suffix("").as_posix(), category, "good"), path)
        for path in images.list_images(folder, recursive=True)
    ]
    bad = listing.bad_files(files, on_bad_image)
    left_out = {file.path for file in bad}
    usable = [file for file in files if file.path not in left_out]
    if not usable:
        raise ValueError(f"{folder}: no pictures in it or in its folders")
    return ImageFolder(usable, bad)


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
) -> Data:
    """A data set from folders of any names.

    Args:
      train: normal pictures; some are held out.
      test_normal: other normal pictures, to test on.
      test_anomalous: anomalous pictures, or one folder of them for each type of defect; pictures
        of a folder in it that is called good, ok or normal are tested on as normal ones.
      masks: masks of `test_anomalous`, in the same folders and of the same names, with or without
        "_mask" at the end; lossless files, black where normal.
      category: what the pictures show; if not given, the name of the folder `train`.
      seed: decides which pictures are held out.
      heldout: fraction of `train` to hold out; one picture at least.
      on_bad_image: "error" names bad files; "skip" decodes every file now and leaves them out.

    Raises:
      FileNotFoundError: a folder does not exist.
      ValueError: a folder has no pictures, `train` has one only or is tested on, masks and
        pictures do not match, or files are bad.
    """
    category = category or listing.category_of(train)
    if test_normal and Path(test_normal).resolve() == Path(train).resolve():
        raise ValueError(f"{train}: the same folder for training and test")
    if masks and not test_anomalous:
        raise ValueError(f"masks={masks}: they belong to test_anomalous, which is not given")
    test = _pictures(Path(test_normal), category) if test_normal else []
    if test_anomalous:
        test += _anomalous(Path(test_anomalous), Path(masks) if masks else None, category)
    return open_data(
        _pictures(Path(train), category),
        test,
        seed=seed,
        heldout=heldout,
        on_bad_image=on_bad_image,
    )


def _pictures(folder: Path, category: str) -> list[File]:
    if not images.list_images(folder):
        inside = ", ".join(sub.name for sub in listing.subfolders(folder))
        hint = f"; it has the folders {inside}: give one of them" if inside else ""
        raise ValueError(f"{folder}: no pictures ({', '.join(images.SUFFIXES)}) in it{hint}")
    return listing.files_in(folder, category)


def _anomalous(folder: Path, masks: Path | None, category: str) -> list[File]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    if masks and not masks.is_dir():
        raise FileNotFoundError(f"{masks}: no such folder of masks")
    normal = listing.normal_files(folder, category)
    found = listing.files_in(folder, category, "anomalous")
    found = listing.with_masks(found, masks) if masks else found
    found += listing.anomalous_files(folder, masks, category)
    if not found:
        raise ValueError(f"{folder}: no pictures in it or in its folders")
    if masks and not any(file.masks for file in found):
        raise ValueError(f"{masks}: no masks; they go into the same folders as the pictures")
    return [*normal, *found]
