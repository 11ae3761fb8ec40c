"""All files below a folder: pictures, and the others."""

import functools
import os
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from jaxad import progress
from jaxad.data import formats
from jaxad.data.source import LeftOut

# What tells a folder that this library wrote, a run's or one of results: no pictures of a set.
OURS = frozenset(
    ("run.json", "evaluation.json", "sweep.csv", "predict.json", "comparison.json", "drift.json")
)
CLUTTER = (".DS_Store", "Thumbs.db", "desktop.ini")  # that systems leave in folders unasked


def list_images(
    folder: str | Path,
    recursive: bool = False,
    apart: Sequence[Path] = (),
    strict: bool = True,
) -> list[Path]:
    """Picture files in a folder, sorted; hidden files and other kinds of file are passed over.

    Links are followed; one that leads nowhere is listed as the file that it was meant to be.

    Args:
      folder: where to look.
      recursive: whether to look into the folders below too.
      apart: folders whose pictures do not count, however they are reached.
      strict: whether names that are no text, and links to no folder, are refused; otherwise the
        former are listed, and the latter are not.

    Raises:
      FileNotFoundError: there is no such folder.
      NotADirectoryError: it is a file.
      PermissionError: it, or a folder below, may not be read.
      ValueError: a link that leads nowhere was one to a folder, by its name; or a name is no text.
    """
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such folder")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: a file where a folder of pictures was expected")
    others = [os.path.realpath(other) for other in apart]
    pictures: list[str] = []
    for place, names, ours in progress.shown(
        _folders(folder, recursive, _raise), "listing", unit="folder"
    ):
        if ours or _is_hidden(place, folder):
            continue
        seen = [name for name in names if name[0] != "."]
        if strict and seen:
            _check_text(place)
        for name in seen if strict else ():
            if "." not in name[1:-1]:  # a link to a folder has no suffix, mostly
                _check_link(place / name)
            if not name.isascii():
                _check_text(place / name)
        found = [name for name in seen if formats.is_picture(name)]
        if found and not _leads_into(place, others):
            above = inside(place)
            pictures += [above + name for name in found]
    # In the order of paths, which is that of their parts; comparing texts is much faster.
    pictures.sort(key=lambda path: os.path.normcase(path).replace(os.sep, "\0"))
    return [Path(path) for path in pictures]


def has_images(folder: Path, apart: Sequence[Path] = ()) -> bool:
    """Whether `list_images` finds any picture in or below a folder; it stops at the first one.

    Raises:
      PermissionError: the folder, or one below, may not be read.
    """
    others = [os.path.realpath(other) for other in apart]
    for place, names, ours in _folders(folder, True, _raise):
        found = any(name[0] != "." and formats.is_picture(name) for name in names)
        if found and not (ours or _is_hidden(place, folder) or _leads_into(place, others)):
            return True
    return False


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, without hidden ones; none if it does not exist.

    A link to a folder that it lies in is passed over.

    Raises:
      ValueError: a link that leads nowhere was one to a folder, by its name.
    """
    inside = [sub for sub in folder.iterdir() if sub.name[0] != "."] if folder.is_dir() else []
    for sub in inside:
        _check_link(sub)
    return sorted(sub for sub in inside if sub.is_dir() and not _leads_back(sub))


def unused(folders: Iterable[Path], used: Collection[Path]) -> list[LeftOut]:
    """What lies below folders and is not used, but for what systems leave there.

    Args:
      folders: may lie in one another.
      used: files, by the same paths.
    """
    above = functools.cache(os.path.abspath)
    known = {os.path.join(above(place), name) for place, name in map(os.path.split, used)}
    left: dict[str, LeftOut] = {}

    def closed(error: OSError) -> None:
        name = os.path.abspath(error.filename)
        left.setdefault(name, LeftOut(Path(error.filename), f"cannot be read: {error.strerror}"))

    def others(folder: Path) -> Iterator[tuple[str, Path, bool]]:
        for place, names, ours in _folders(folder, True, closed) if folder.is_dir() else ():
            whole = inside(above(place))
            for name in names:
                if whole + name not in known and name not in CLUTTER:
                    yield whole + name, place / name, ours

    for folder in folders:
        for name, path, ours in others(folder):
            hidden = _is_hidden(path, folder)
            if ours:
                reason = "in the folder of a run or its results"
            elif formats.is_picture(path):
                reason = "hidden" if hidden else "in no folder that is read"
            elif hidden:
                continue
            elif _is_gone(path):
                reason = "a link that leads nowhere"
            else:
                reason = "no picture, by its name"
            left.setdefault(name, LeftOut(path, reason))
    return [left[name] for name in sorted(left)]


def is_ours(folder: Path) -> bool:
    """Whether this library wrote a folder, of a run or its results."""
    return any((folder / name).exists() for name in OURS)


def plain(name: str) -> str:
    """A name in one of the forms that Unicode has for it."""
    return unicodedata.normalize("NFC", name)


def _folders(
    folder: Path, recursive: bool, closed: Callable[[OSError], None]
) -> Iterator[tuple[Path, list[str], bool]]:
    """The folders in a folder, itself first, with the names of their files; whether they are ours.

    Links are followed, but not in a circle.

    `closed` hears of folders that may not be read.
    """
    ours: set[Path] = set()
    for place, folders, names in os.walk(folder, onerror=closed, followlinks=True):
        here = Path(place)
        if here.parent in ours or (here != folder and not OURS.isdisjoint(names)):
            ours.add(here)
        yield here, names, here in ours
        if not recursive:
            return
        folders[:] = [sub for sub in sorted(folders) if not _leads_back(here / sub)]


def _leads_back(path: Path) -> bool:
    """Whether a folder is a link to one that it lies in, by the way on which it was reached."""
    if not path.is_symlink():
        return False
    target = os.path.realpath(path)
    above = path.absolute().parents
    return any(Path(os.path.realpath(place)).is_relative_to(target) for place in above)


def _leads_into(place: Path, folders: Sequence[str]) -> bool:
    """Whether a place lies in one of some folders, by the way on which it was reached."""
    way = [Path(os.path.realpath(one)) for one in (place, *place.parents)] if folders else []
    return any(one.is_relative_to(folder) for one in way for folder in folders)


def _is_gone(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def inside(place: str | Path) -> str:
    """What the paths of the files in a folder begin with, as pathlib has them."""
    return str(Path(place) / "_")[:-1]


def _check_link(path: Path) -> None:
    if not path.suffix and _is_gone(path):
        raise ValueError(f"{path}: a link to {os.readlink(path)}, which is not there")


def _check_text(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError:  # as of archives from before Unicode
        raise ValueError(f"{str(path)!a}: its name is no UTF-8; rename it") from None


def _raise(error: OSError) -> None:
    raise error


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part[0] == "." for part in path.relative_to(folder).parts)
