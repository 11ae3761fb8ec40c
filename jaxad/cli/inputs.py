"""Which pictures a command is about: files, folders and patterns, as they were typed."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jaxad.data import walk
from jaxad.data.files import counted


class Inputs(NamedTuple):
    """Pictures to look at.

    Attributes:
      paths: of the files, sorted within each folder or pattern, none twice.
      root: the folder that all of them lie in, for names that stay the same wherever it lies.
      place: a folder that is watched, as it was typed; "." of others.
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
      places: each a file, a folder (with the folders in it) or a pattern such as "day/*.png".

    Raises:
      FileNotFoundError: there is no such file, or nothing matches a pattern.
      ValueError: there is no picture in a folder.
    """
    found: list[Path] = []
    roots: list[str] = []
    for place in places:
        path = Path(place)
        if path.is_dir():
            inside = walk.list_images(path, recursive=True)
            if not inside:
                raise ValueError(f"{path}: no pictures in it or in its folders")
            found += inside
            roots.append(os.path.abspath(path))
        elif path.exists() or path.is_symlink():
            found.append(path)
            roots.append(os.path.dirname(os.path.abspath(path)))
        else:
            matching = [Path(one) for one in sorted(glob.glob(place, recursive=True))]
            matching = [one for one in matching if one.is_file()]
            if not matching:
                raise FileNotFoundError(f"{place}: no such file or folder, and no file matches it")
            found += matching
            roots += [os.path.dirname(os.path.abspath(one)) for one in matching]
    once = list(dict.fromkeys(found))
    return Inputs(once, Path(os.path.commonpath(roots)))


def said(found: Inputs) -> str:
    """How many there are, in words."""
    return counted(len(found.paths), "picture")
