"""From folders to lists of pictures with their masks: found, paired and split."""

import functools
import logging
import os
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxad.data import names, walk
from jaxad.data.source import Record
from jaxad.progress import printable

log = logging.getLogger(__name__)


class File(NamedTuple):
    """A picture on disk.

    Attributes:
      record: what is known of it.
      path: where it is.
      masks: its defects, together; empty where no mask is known.
    """

    record: Record
    path: Path
    masks: tuple[Path, ...] = ()

    @property
    def key(self) -> str:
        """The picture's place below the folder of its type of defect, without suffix."""
        return self.record.name.partition("/")[2]


def category_of(folder: str | Path) -> str:
    """The last part of a folder's name, also where it is given as ".", and of a link itself."""
    return os.path.basename(os.path.abspath(folder))


def files_in(
    folder: Path,
    category: str,
    defect: str = "good",
    kind: str = "",
    *,
    below: bool = True,
    apart: Sequence[Path] = (),
) -> list[File]:
    """The pictures of a folder, named "defect/place"; none if there is no such folder.

    Args:
      folder: of the pictures, and of their masks where each has one beside it: "000_mask.png".
      category: what they show.
      defect: their type of defect.
      kind: its kind.
      below: whether pictures in folders below count too.
      apart: folders whose pictures do not.

    Raises:
      ValueError: some pictures have a mask beside them and others have not, or masks lie in a
        folder below.
    """
    paths = walk.list_images(folder, below, apart) if folder.is_dir() else []
    if not paths:
        return []
    if wrong := sorted(sub for sub in _between(folder, paths) if names.seems_masks(sub.name)):
        raise ValueError(
            "folders of masks among pictures, by their names: put them into a folder of masks "
            f"that has the folders of the pictures, such as ground_truth/{folder.name}:"
            f"{shown(wrong)}"
        )
    pictures: dict[str, list[Path]] = {}
    before = len(walk.inside(folder))
    for path in paths:
        pictures.setdefault(_place(str(path)[before:]), []).append(path)
    called = {place: of for place in pictures if (of := _picture_of(place, pictures)) is not None}
    beside = {place: of for place, of in called.items() if of not in called}
    masks: dict[str, list[Path]] = {}
    for place, of in beside.items():
        masks.setdefault(of, []).extend(pictures[place])
    found = []
    for place, several in pictures.items():
        if place in beside:
            continue
        record = Record(f"{defect}/{place}", category, defect, kind)
        found += [File(record, path, tuple(masks.get(place, ()))) for path in several]
    if beside and not all(file.masks for file in found):
        raise ValueError(
            f"{folder} has {counted(len(beside), 'file')} called as masks of pictures beside them, "
            "but not every picture has one: add the others, or rename what is no mask:"
            f"{shown([pictures[place][0] for place in beside])}"
        )
    if ending := not beside and _in_pairs(pictures):
        log.warning(
            "%s: every picture has another one beside it whose name goes on with %r; if these are "
            "masks, let their names end with _mask", folder, ending,
        )  # fmt: skip
    return found


def normal_files(
    folder: Path, category: str, masks: Path | None = None, apart: Sequence[Path] = ()
) -> list[File]:
    """The pictures in the folders "good", "ok" or "normal" of a folder; there may be none.

    Raises:
      ValueError: pictures lie in a folder whose name seems to mean the same, or among the normal
        ones in a folder of another meaning.
    """
    found = []
    for sub in walk.subfolders(folder):
        if _is_normal(sub, apart):
            files = files_in(sub, category, apart=apart)
            if part := other_folder(files):
                raise ValueError(
                    f"{sub} holds a folder {part!r}, which is not of normal pictures by its name: "
                    "move it away"
                )
            theirs = walk.subfolders(masks) if masks else []
            theirs = [place for place in theirs if place.name.lower() == sub.name.lower()]
            found += with_masks(files, theirs) if theirs else files
    return found


def has_normal(folder: Path) -> bool:
    """Whether `normal_files` finds any pictures, without listing them all; errors as of it."""
    return any(_is_normal(sub) and walk.has_images(sub) for sub in walk.subfolders(folder))


def other_folder(files: Iterable[File]) -> str | None:
    """A folder below one of normal pictures that by its name holds others; None if none does."""
    parts = sorted({part for file in files for part in file.key.split("/")[:-1]})
    others = (p for p in parts if names.seems_anomalous(p) or names.meant(p, names.PLACES))
    return next(others, None)


def anomalous_files(
    folder: Path, masks: Path | None, category: str, apart: Sequence[Path] = ()
) -> list[File]:
    """The pictures in the other folders, each a type of defect, with masks in folders alike.

    Args:
      folder: that holds the folders.
      masks: that holds those of the masks.
      category: what the pictures show.
      apart: folders whose pictures do not count.

    Raises:
      ValueError: a mask without a picture, or masks where pictures belong.
    """
    subs = [sub for sub in walk.subfolders(folder) if sub != masks and not walk.is_ours(sub)]
    marked = {sub.name for sub in walk.subfolders(masks)} if masks else set()
    wrong = [
        sub for sub in subs
        if names.seems_masks(sub.name) and sub.name not in marked
        and walk.list_images(sub, True, apart)
    ]  # fmt: skip
    if wrong:
        raise ValueError(
            f"masks by its name, where types of defect are expected: put them into a folder "
            f"ground_truth that has the same folders as the pictures:{shown(wrong)}"
        )
    pictures, marks = _by_name(subs), _by_name(walk.subfolders(masks) if masks else [])
    found = []
    for name in sorted(pictures.keys() | marks.keys()):
        several: list[File] = []
        for sub in pictures.get(name, []):
            files = files_in(sub, category, name, apart=apart)
            inside = _between(sub, [file.path for file in files])
            if normal := sorted(place for place in inside if names.is_normal(place.name)):
                raise ValueError(
                    "folders of normal pictures by their names, inside of one that counts as a "
                    f"type of defect: give each type a folder beside them:{shown(normal)}"
                )
            several += files
        found += with_masks(several, marks.get(name, []))
    return found


def check_names(files: Iterable[File]) -> None:
    """Raises ValueError if two pictures have one name."""
    seen: dict[str, Path] = {}
    for file in files:
        other = seen.setdefault(file.record.name, file.path)
        if other is not file.path and other != file.path:
            raise ValueError(
                f"two pictures of one name, rename or remove one:{shown([other, file.path])}"
            )


def check_apart(train: Iterable[File], test: Sequence[File]) -> None:
    """Raises ValueError if a file is both learned from and tested on."""
    above = functools.cache(os.path.realpath)

    def real(path: Path) -> str:
        place, name = os.path.split(path)
        return os.path.realpath(path) if os.path.islink(path) else os.path.join(above(place), name)

    learned = {real(file.path) for file in train} if test else set()
    both = [file.path for file in test if real(file.path) in learned]
    if both:
        raise ValueError(f"files to learn from and to test on at once:{shown(both)}")


def with_masks(files: Sequence[File], folders: Sequence[Path], *, below: bool = True) -> list[File]:
    """Pairs pictures of one folder with the masks of others, which may be absent.

    A mask lies where its picture lies and has its name, perhaps with an ending such as "_mask".

    Args:
      files: the pictures.
      folders: of the masks.
      below: whether masks in folders below count too.

    Raises:
      ValueError: a mask without a picture, or pictures that have masks beside them already.
    """
    masks: dict[str, list[Path]] = {file.key: [] for file in files}
    lonely: list[Path] = []
    for folder in folders:
        for path in walk.list_images(folder, recursive=below) if folder.exists() else []:
            place = place_of(path, folder)
            of = place if place in masks else _picture_of(place, masks)
            masks.get(of or place, lonely).append(path)
    if lonely:
        said = [f"{path} (nearest: {names.pictures_near(path, masks)})" for path in lonely]
        raise ValueError(f"masks without a picture of their name:{shown(said)}")
    if twice := [file.masks[0] for file in files if file.masks and any(masks.values())]:
        raise ValueError(f"there are masks in {folders[0]} and beside the pictures:{shown(twice)}")
    return [file._replace(masks=file.masks or tuple(masks[file.key])) for file in files]


def check_masks(files: Iterable[File]) -> None:
    """Raises ValueError if some anomalous pictures have masks and others have not."""
    anomalous = [file for file in files if file.record.label]
    missing = [file.path for file in anomalous if not file.masks]
    if missing and len(missing) < len(anomalous):
        raise ValueError(
            f"{len(missing)} of {len(anomalous)} anomalous pictures have no mask; add them, or "
            f"remove all masks to do without pixel metrics:{shown(missing)}"
        )


def held_out(files: Sequence[File], fraction: float, seed: int) -> tuple[list[File], list[File]]:
    """Splits normal pictures at random into those to learn from and those to hold out.

    Args:
      files: one or more; of a single one none is held out.
      fraction: how much to hold out; one picture at least.
      seed: decides which.

    Raises:
      ValueError: the fraction is not between 0 and 1, or nothing is left to learn from.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"heldout={fraction}: expected a fraction between 0 and 1, such as 0.1")
    count = max(1, round(fraction * len(files))) if len(files) > 1 else 0
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


def _is_normal(sub: Path, apart: Sequence[Path] = ()) -> bool:
    """Whether a folder is called as those of normal pictures are.

    Raises:
      ValueError: pictures lie in it, and its name only seems to mean the same.
    """
    if names.is_normal(sub.name):
        return True
    if names.seems_normal(sub.name) and walk.has_images(sub, apart):
        raise ValueError(
            f"{sub}: normal pictures by its name, but it would count as a type of defect or be "
            f"left out; call the folder {', '.join(names.NORMAL[:-1])} or {names.NORMAL[-1]}, "
            "or otherwise if it is of defects"
        )
    return False


def counted(count: int, what: str) -> str:
    """A number of things in words: "1 picture", "2 pictures"."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def shown(paths: Sequence[Path | str], limit: int = 20) -> str:
    """Paths for an error message, one to a line."""
    more = [f"and {len(paths) - limit} more"] if len(paths) > limit else []
    return "".join(f"\n  {line}" for line in [*(printable(str(x)) for x in paths[:limit]), *more])


def _in_pairs(pictures: Mapping[str, Sequence[Path]]) -> str:
    """How the second name of every pair goes on, where all names come in such pairs."""
    places = sorted(pictures)
    pairs = zip(places[::2], places[1::2], strict=False)
    endings = {two.removeprefix(one) if two.startswith(one) else "" for one, two in pairs}
    ending = endings.pop() if len(endings) == 1 and len(places) > 2 and not len(places) % 2 else ""
    return ending if any(c.isalpha() for c in ending) else ""


def _between(folder: Path, paths: Iterable[Path]) -> set[Path]:
    """The folders below a folder that lead to some paths in it."""
    places = [Path(place) for place in {os.path.dirname(path) for path in paths}]
    return {sub for place in places for sub in (place, *place.parents) if folder in sub.parents}


def place_of(path: Path, folder: Path) -> str:
    """Where a file lies below a folder, without suffix: what pictures and masks are paired by."""
    return _place(str(path.relative_to(folder)))


def _place(path: str) -> str:
    """The path of a picture below some folder, without suffix."""
    return walk.plain(os.path.splitext(path)[0].replace(os.sep, "/"))


def _picture_of(place: str, pictures: Container[str]) -> str | None:
    """The picture that a mask at a place belongs to by its name; None if it is called as none."""
    return next((of for of in names.pictures_of(place) if of in pictures), None)


def _by_name(folders: Iterable[Path]) -> dict[str, list[Path]]:
    """Folders by their names in one form of Unicode, without those of normal pictures."""
    found: dict[str, list[Path]] = {}
    for folder in folders:
        if not names.is_normal(folder.name):
            found.setdefault(walk.plain(folder.name), []).append(folder)
    return found
