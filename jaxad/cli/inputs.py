"""Pictures that a command is about, and folders that it writes to, as they were typed."""

import functools
import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jaxad.cli.errors import Usage
from jaxad.cli.run_options import folder_of
from jaxad.data import walk
from jaxad.data.files import counted


class Inputs(NamedTuple):
    """Pictures to look at.

    Attributes:
      paths: of the files, absolute, sorted within each folder or pattern, none twice.
      root: the folder that all of them lie in, for names that stay the same wherever it lies.
      place: a folder that is watched; "." of others.
    """

    paths: list[Path]
    root: Path
    place: Path = Path()

    def name(self, path: Path) -> str:
        """A file's place below the root, with "/"."""
        return Path(os.path.abspath(path)).relative_to(self.root).as_posix()


def inputs(places: Sequence[str]) -> Inputs:
    """The pictures that some words mean.

    Args:
      places: each a file, a folder (with the folders in it) or a pattern such as "day/*.png". What
        this library wrote into folders is no picture, unless its folder or file is named.

    Raises:
      FileNotFoundError: there is no such file, or nothing matches a pattern.
      ValueError: there is no picture in a folder, or a word is empty.
    """
    found: list[str] = []
    roots: list[str] = []
    for place in places:
        if not place:
            raise Usage("an empty word where a picture, a folder or a pattern was expected")
        above, several = _meant(place)
        found += map(os.path.abspath, several)
        roots.append(os.path.abspath(above))
    once = [Path(path) for path in dict.fromkeys(found)]
    return Inputs(once, Path(os.path.commonpath(roots)))


def said(found: Inputs) -> str:
    """How many there are, in words."""
    return counted(len(found.paths), "picture")


def results(word: str, marker: str) -> Path:
    """The folder that a command writes its results to.

    Args:
      word: of the command.
      marker: the file that tells such results from a run and from those of other commands.

    Raises:
      Usage: it is the folder of a run, or of other results.
    """
    folder = folder_of(word)
    for other in sorted(walk.OURS - {marker}):
        if (folder / other).exists():
            raise Usage(f"--out {word}: it holds another thing's {other}; give another folder")
    return folder


def _meant(place: str) -> tuple[Path, list[Path]]:
    """The folder in which a word looks for files, and those files."""
    path = Path(place).expanduser()
    if path.is_dir():
        return path, _inside(path)
    if path.exists() or path.is_symlink():
        return path.parent, [path]
    above = Path(*_before_wildcards(path))
    ours = functools.cache(walk.is_ours)
    several: list[Path] = []
    for match in sorted(glob.glob(str(path), recursive=True)):
        one = Path(match)
        between = [x for x in one.parents if above in x.parents]
        if any(map(ours, between)):
            continue
        if one.is_file():
            several.append(one)
        elif one.is_dir() and "**" not in place and not ours(one):
            several += walk.list_images(one, recursive=True, strict=False)
    if not several:
        raise FileNotFoundError(f"{place}: no such file or folder, and no picture matches it")
    return above, several


def _before_wildcards(path: Path) -> list[str]:
    """The parts of a pattern up to the first that is one."""
    parts = path.parts[:-1]
    end = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return list(parts[:end])


def _inside(folder: Path) -> list[Path]:
    found = walk.list_images(folder, recursive=True, strict=False)
    if not found:
        raise ValueError(f"{folder}: no pictures in it or in its folders")
    return found
