"""What a person should look at before they train on a folder of pictures."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxad.data import names
from jaxad.data.files import counted, place_of, shown
from jaxad.data.inspection import Look, masks
from jaxad.progress import printable

DARK = 8  # mean of 255 below which a picture is nearly black
BLURRED = 0.1  # of the median sharpness of the pictures in its folder, below which one is blurred
ENOUGH = 8  # pictures in a folder, for a median to mean something


class Concern(NamedTuple):
    """Something that a person should look at.

    Attributes:
      kind: in a word: "unreadable", "duplicate", "dark", "blurred", "mixed", "masks", "layout".
      text: what it is, in a sentence.
      paths: of the files.
    """

    kind: str
    text: str
    paths: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return f"{self.text}{shown(self.paths)}"


def concerns(found: Sequence[Look]) -> list[Concern]:
    """What a person should look at, most urgent first.

    Args:
      found: all pictures of a data set.
    """
    good = [one for one in found if not one.problem]
    pictures = [one for one in good if not one.is_mask]
    several = [
        Concern("unreadable", printable(one.problem), (one.path,)) for one in found if one.problem
    ]
    several += _duplicates(pictures)
    dark = tuple(one.path for one in pictures if one.brightness < DARK)
    if dark:
        several.append(Concern("dark", f"{_are(dark)} nearly black:", dark))
    several += _blurred([one for one in pictures if one.brightness >= DARK])
    several += _mixed(pictures)
    _, lonely, empty = masks(found)
    if lonely:
        known = [place_of(one.path, one.path.parent) for one in pictures]
        near = [f"{path} (nearest: {names.pictures_near(path, known)})" for path in lonely]
        text = "masks without a picture of their name:" + shown(near)
        several.append(Concern("masks", text, tuple(lonely)))
    if empty:
        text = f"{counted(len(empty), 'mask')} of anomalous pictures without a mark, all black:"
        several.append(Concern("masks", text, tuple(empty)))
    return several


def _duplicates(pictures: Sequence[Look]) -> list[Concern]:
    """Pictures of the same pixels; those to learn from and to test on at once come first."""
    same: dict[str, list[Look]] = {}
    for one in pictures:
        same.setdefault(one.checksum, []).append(one)
    groups = [tuple(group) for group in same.values() if len(group) > 1]
    parts = [{_part(one.folder) for one in group} for group in groups]
    found = []
    for across, where in ((True, "in several parts, such as train and test"), (False, "twice")):
        some = [g for g, names_ in zip(groups, parts, strict=True) if (len(names_) > 1) == across]
        if some:
            paths = tuple(one.path for group in some for one in group)
            lie = "lies" if len(some) == 1 else "lie"
            text = f"{counted(len(some), 'picture')} of the same pixels {lie} {where}:"
            found.append(Concern("duplicate", text, paths))
    return found


def _part(folder: str) -> str:
    """Which part of the data a folder belongs to: "train", "test"; or its first folder's name."""
    parts = folder.split("/")
    return next((known for x in parts if (known := names.meant(x, names.PLACES))), parts[0])


def _category(folder: str) -> str:
    """What lies above "train" or "test"; of other folders nothing."""
    parts = folder.split("/")
    places = [i for i, part in enumerate(parts) if names.meant(part, names.PLACES)]
    return "/".join(parts[: places[0]]) if places else ""


def _blurred(pictures: Sequence[Look]) -> list[Concern]:
    found: list[Path] = []
    for folder in sorted({one.folder for one in pictures}):
        inside = [one for one in pictures if one.folder == folder]
        if len(inside) < ENOUGH:
            continue
        median = float(np.median([one.sharpness for one in inside]))
        found += [one.path for one in inside if one.sharpness < BLURRED * median]
    text = f"{_are(found)} much less sharp than the others of their folder:"
    return [Concern("blurred", text, tuple(found))] if found else []


def _mixed(pictures: Sequence[Look]) -> list[Concern]:
    """Sizes, depths and modes that differ within a category."""
    categories: dict[str, list[Look]] = {}
    for one in pictures:
        categories.setdefault(_category(one.folder), []).append(one)
    found = []
    for name, inside in sorted(categories.items()):
        for what, values in (
            ("sizes", Counter(f"{one.size[1]} x {one.size[0]}" for one in inside)),
            ("bit depths", Counter(one.depth for one in inside)),
            ("modes", Counter(one.mode for one in inside)),
        ):
            if len(values) > 1:
                said = ", ".join(f"{count} of {value}" for value, count in values.most_common(5))
                more = f" and {len(values) - 5} more" if len(values) > 5 else ""
                of = f"{printable(name)}: " if name else ""
                text = f"{of}pictures are of several {what}: {said}{more}"
                found.append(Concern("mixed", text))
    return found


def _are(paths: Sequence[Path]) -> str:
    return f"{counted(len(paths), 'picture')} {'is' if len(paths) == 1 else 'are'}"
