"""From folders to lists of pictures with their masks: found, paired, checked and split."""

import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxad.data import images
from jaxad.data.source import OnBadImage, Record

NORMAL = ("good", "ok", "normal")  # what folders of normal pictures are called, in any case


class File(NamedTuple):
    """A picture on disk.

    Attributes:
      record: what is known of it.
      path: where it is.
      masks: its defects, together; empty for a normal picture and where no mask is known.
    """

    record: Record
    path: Path
    masks: tuple[Path, ...] = ()


class BadFile(NamedTuple):
    """A picture that was left out, and why."""

    path: Path
    reason: str


def category_of(folder: str | Path) -> str:
    """The last part of a folder's name, also where it is given as ".", and of a link itself."""
    return os.path.basename(os.path.abspath(folder))


def files_in(folder: Path, category: str, defect: str = "good", kind: str = "") -> list[File]:
    """The pictures of a folder, named "defect/stem"; none if there is no such folder."""
    paths = images.list_images(folder) if folder.is_dir() else []
    return [File(Record(f"{defect}/{path.stem}", category, defect, kind), path) for path in paths]


def normal_files(folder: Path, category: str) -> list[File]:
    """The pictures in the folders "good", "ok" or "normal" of a folder; there may be none."""
    found = [sub for sub in subfolders(folder) if sub.name.lower() in NORMAL]
    return [file for sub in found for file in files_in(sub, category)]


def anomalous_files(folder: Path, masks: Path | None, category: str) -> list[File]:
    """The pictures in the other folders, each a type of defect, with masks in folders alike.

    Raises:
      ValueError: a mask without a picture.
    """
    subs = subfolders(folder) + (subfolders(masks) if masks else [])
    names = {sub.name for sub in subs if sub.name.lower() not in (*NORMAL, "ground_truth")}
    found = []
    for name in sorted(names):
        files = files_in(folder / name, category, name)
        found += with_masks(files, masks / name) if masks else files
    return found


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, without hidden ones; none if it does not exist."""
    inside = folder.iterdir() if folder.is_dir() else ()
    return sorted(sub for sub in inside if sub.is_dir() and sub.name[0] != ".")


def check_names(files: Iterable[File]) -> None:
    """Raises ValueError if two pictures have one name."""
    seen: dict[str, Path] = {}
    for file in files:
        other = seen.setdefault(file.record.name, file.path)
        if other != file.path:
            raise ValueError(
                f"two pictures of one name, rename or remove one:{shown([other, file.path])}"
            )


def with_masks(files: Sequence[File], folder: Path) -> list[File]:
    """Pairs pictures of one folder with the masks of another, which may be absent.

    A mask's name is its picture's, with or without "_mask" at the end.

    Raises:
      ValueError: a mask without a picture.
    """
    masks: dict[str, list[Path]] = {file.path.stem: [] for file in files}
    lonely: list[Path] = []
    for path in images.list_images(folder) if folder.exists() else []:
        stem = path.stem if path.stem in masks else path.stem.removesuffix("_mask")
        masks.get(stem, lonely).append(path)
    if lonely:
        raise ValueError(f"masks without a picture of their name:{shown(lonely)}")
    return [file._replace(masks=tuple(masks[file.path.stem])) for file in files]


def check_masks(files: Iterable[File]) -> None:
    """Raises ValueError if some anomalous pictures have masks and others have not."""
    anomalous = [file for file in files if file.record.label]
    missing = [file.path for file in anomalous if not file.masks]
    if missing and len(missing) < len(anomalous):
        raise ValueError(
            f"{len(missing)} of {len(anomalous)} anomalous pictures have no mask; add them, or "
            f"remove all masks to do without pixel metrics:{shown(missing)}"
        )


def check_size(image: Path, size: tuple[int, ...], mask: Path, mask_size: tuple[int, ...]) -> None:
    """Raises ValueError, naming both files, if a mask has not the size of its picture."""
    if size != mask_size:
        raise ValueError(
            f"{mask} has {mask_size[1]} x {mask_size[0]} pixels, but its picture {image} has "
            f"{size[1]} x {size[0]}: a mask must have its picture's size"
        )


def bad_files(files: Sequence[File], on_bad_image: OnBadImage = "error") -> list[BadFile]:
    """Finds the pictures that cannot be used.

    Args:
      files: pictures with their masks.
      on_bad_image: "error" reads all headers and accepts no bad file (damage further on shows when
        a picture is read); "skip" decodes every file and logs a list of the bad ones.

    Raises:
      ValueError: bad files where none are accepted, or a mask of another size than its picture.
    """
    if on_bad_image not in ("error", "skip"):
        raise ValueError(f"on_bad_image={on_bad_image!r}: expected 'error' or 'skip'")
    decode = on_bad_image == "skip"
    with ThreadPoolExecutor() as pool:
        flaws = pool.map(lambda file: _flaw(file, decode), files)
        bad = [BadFile(file.path, flaw) for file, flaw in zip(files, flaws, strict=True) if flaw]
    listed = "".join(f"\n  {file.reason}" for file in bad)
    if bad and not decode:
        raise ValueError(
            f"{len(bad)} of {len(files)} pictures cannot be used; replace them, or leave them out "
            f'with on_bad_image="skip":{listed}'
        )
    if bad:
        message = "left out %d of %d pictures:%s"
        logging.getLogger(__name__).warning(message, len(bad), len(files), listed)
    return bad


def _flaw(file: File, decode: bool) -> str:
    """Why a picture cannot be used; empty if it can."""
    try:
        if decode:
            size = images.read_image(file.path).shape[:2]
            mask_sizes = [images.read_mask(mask).shape for mask in file.masks]
        else:
            size = images.image_size(file.path)
            mask_sizes = [images.image_size(mask, mask=True) for mask in file.masks]
    except ValueError as error:
        return str(error)
    for mask, mask_size in zip(file.masks, mask_sizes, strict=True):
        check_size(file.path, size, mask, mask_size)
    return ""


def held_out(files: Sequence[File], fraction: float, seed: int) -> tuple[list[File], list[File]]:
    """Splits normal pictures at random into those to learn from and those to hold out.

    Args:
      files: two or more.
      fraction: how much to hold out; one picture at least.
      seed: decides which.

    Raises:
      ValueError: the fraction is not between 0 and 1, or nothing is left to learn from.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"heldout={fraction}: expected a fraction between 0 and 1, such as 0.1")
    count = max(1, round(fraction * len(files)))
    if count >= len(files):
        raise ValueError(
            f"{len(files)} normal training picture(s), {count} to be held out: there must be one "
            f"to learn from and one to hold out; add pictures or lower heldout={fraction}:"
            f"{shown([file.path for file in files])}"
        )
    # Differs from the reference: nelson1425/EfficientAD learns from int(0.9 N) pictures, which
    # torch's generator draws; the number may differ by one, and the choice differs.
    chosen = set(np.random.default_rng(seed).permutation(len(files))[:count].tolist())
    learn = [file for i, file in enumerate(files) if i not in chosen]
    return learn, [files[i] for i in sorted(chosen)]


def shown(paths: Sequence[Path], limit: int = 20) -> str:
    """Paths for an error message, one to a line."""
    more = [f"and {len(paths) - limit} more"] if len(paths) > limit else []
    return "".join(f"\n  {line}" for line in [*map(str, paths[:limit]), *more])
