"""All files below a folder: pictures, and the others."""

import os
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from jaxad.data import formats
from jaxad.data.source import LeftOut

# What tells a folder that this library wrote, of a run, results or a sweep: no pictures of a set.
OURS = frozenset(("run.json", "evaluation.json", "sweep.csv"))
CLUTTER = (".DS_Store", "Thumbs.db", "desktop.ini")  # that systems leave in folders unasked


def list_images(folder: str | Path, recursive: bool = False) -> list[Path]:
    """Picture files in a folder, sorted; hidden files and other kinds of file are passed over.

    Links are followed; one that leads nowhere is listed as the file that it was meant to be.

    Raises:
      FileNotFoundError: there is no such folder.
      NotADirectoryError: it is a file.
    """
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such folder")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: a file where a folder of pictures was expected")
    found = [path for path, ours in _files(folder, recursive) if not ours]
    return sorted(p for p in found if formats.is_picture(p) and not _is_hidden(p, folder))


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, without hidden ones; none if it does not exist."""
    inside = folder.iterdir() if folder.is_dir() else ()
    return sorted(sub for sub in inside if sub.is_dir() and sub.name[0] != ".")


def unused(folders: Iterable[Path], used: Collection[Path]) -> list[LeftOut]:
    """What lies below folders and is not used, but for what systems leave there.

    Args:
      folders: may lie in one another.
      used: files, by the same paths.
    """
    known = {os.path.abspath(path) for path in used}
    left: dict[str, LeftOut] = {}
    for folder in folders:
        for path, ours in _files(folder, recursive=True) if folder.is_dir() else ():
            name = os.path.abspath(path)
            if name in known or path.name in CLUTTER:
                continue
            hidden = _is_hidden(path, folder)
            if ours:
                reason = "in the folder of a run or its results"
            elif formats.is_picture(path):
                reason = "hidden" if hidden else "in no folder that is read"
            elif hidden:
                continue
            else:
                reason = "no picture, by its name"
            left.setdefault(name, LeftOut(path, reason))
    return [left[name] for name in sorted(left)]


def plain(name: str) -> str:
    """A name in one of the forms that Unicode has for it."""
    return unicodedata.normalize("NFC", name)


def _files(folder: Path, recursive: bool) -> Iterator[tuple[Path, bool]]:
    """The files in a folder, links followed, but not in a circle; whether this library wrote them.

    What it wrote beside pictures is told by the name of a folder's file, see `OURS`.
    """
    ours: set[Path] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        here = Path(place)
        if here.parent in ours or (here != folder and not OURS.isdisjoint(names)):
            ours.add(here)
        for name in names:
            yield here / name, here in ours
        if not recursive:
            return
        folders[:] = [sub for sub in sorted(folders) if not _leads_up(here / sub)]


def _leads_up(path: Path) -> bool:
    """Whether a folder is a link to one that it lies in."""
    if not path.is_symlink():
        return False
    target = Path(os.path.realpath(path))
    return Path(os.path.realpath(path.parent)).is_relative_to(target)


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part[0] == "." for part in path.relative_to(folder).parts)
