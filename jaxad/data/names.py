"""What folders are called, and what they were perhaps meant to be called."""

import difflib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from jaxad.data import walk

NORMAL = ("good", "ok", "normal")  # what folders of normal pictures are called, in any case
PLACES = ("train", "test", "validation", "ground_truth")  # where a category has its folders
MASK_ENDINGS = (
    "mask", "masks", "label", "labels", "gt", "ground_truth", "groundtruth", "seg", "segmentation",
    "annotation",
)  # fmt: skip
_MASKS = {*(word.replace("_", "") for word in MASK_ENDINGS), "annotations", "defectmasks"}
_WORDS = r"masks?|gt|ground[_ -]?truth"
_OF_MASK = re.compile(  # as a word of its own, perhaps with a number, or glued to a number
    rf"(?<![^\W_])(?:{_WORDS}|labels?|seg|segmentation|anno|annotations?)\d*(?![^\W_])"
    r"|(?<=\d)masks?\d*$|^masks?(?=\d)", re.IGNORECASE,
)  # fmt: skip
_OF_MASKS = re.compile(rf"(?<![^\W_])(?:{_WORDS})(?![^\W_])", re.IGNORECASE)
_ANY_OF_MASK = re.compile("mask|label|gt|truth|seg|anno", re.IGNORECASE)  # one is in all of these
_MARKS = " _-.()[]"
_ALSO = {  # other words for what folders of data sets are called
    "train": ("training", "trainset"),
    "test": ("testing", "tests", "testset", "eval", "evaluation"),
    "validation": ("val", "valid", "validate"),
    "ground_truth": tuple(_MASKS),
}
_NORMAL_TOO = (
    "clean", "pass", "passed", "healthy", "intact", "flawless", "perfect", "golden", "negative",
    "negatives", "regular",
)  # fmt: skip
_ANOMALOUS = (
    "bad", "ng", "nok", "nio", "notok", "notgood", "abnormal", "fail", "failed", "reject",
    "rejected", "rejects", "broken", "damaged", "faulty", "positive",
)  # fmt: skip
_FLAW = ("defect", "anomal", "fault", "flaw", "damage")
_WITHOUT = ("no", "non", "not", "without")


def pictures_near(mask: Path, pictures: Iterable[str]) -> str:
    """Which pictures' names are nearest to the one that a mask asks for, in words.

    Args:
      mask: its file.
      pictures: their places without suffix, perhaps with folders.
    """
    called = {place.rpartition("/")[2] for place in pictures}
    near = difflib.get_close_matches(without_ending(mask.stem), sorted(called), 3, 0.6)
    return ", ".join(near) or "none"


def is_normal(name: str) -> bool:
    """Whether a folder of this name holds normal pictures."""
    return name.lower() in NORMAL


def seems_normal(name: str) -> bool:
    """Whether a folder of this name, which is none of `NORMAL`, means normal pictures perhaps."""
    word = _letters(name)
    without = (
        re.split(r"[\W_]", name.lower())[0] in _WITHOUT
        or word.startswith(tuple(no + flaw for no in _WITHOUT for flaw in _FLAW))
        or word.endswith(("free", "less"))
    )
    flaw = any(flaw in word for flaw in _FLAW)
    return word.startswith(NORMAL) or word in _NORMAL_TOO or (without and flaw)


def seems_anomalous(name: str) -> bool:
    """Whether a folder of this name means anomalous pictures."""
    word = _letters(name)
    return not seems_normal(name) and (word in _ANOMALOUS or word.startswith(_FLAW))


def seems_masks(name: str) -> bool:
    """Whether a folder of this name means masks."""
    return _letters(name) in _MASKS or _OF_MASKS.search(name) is not None


def pictures_of(place: str) -> list[str]:
    """Where the picture of a mask may lie, by the mask's own place; nowhere if that is of none.

    "a/000" of "a/000_mask", "a/mask_000", "a/000-GT", "a/000_mask_2", "a/000 (mask)".
    """
    folder, slash, stem = place.rpartition("/")
    if not _ANY_OF_MASK.search(stem):  # of nearly all pictures, and much faster
        return []
    several = [without_ending(stem)]
    for found in reversed([*_OF_MASK.finditer(stem)]):
        before, after = stem[: found.start()], stem[found.end() :]
        head, tail = before.rstrip(_MARKS), after.strip(_MARKS)
        if head and tail:
            several.append(f"{head}{after[:1]}{tail}")
        if not tail or tail.isdigit():
            if before[-1:] in _MARKS:  # those before it may be the picture's own
                several.append(before[:-1])
            several.append(head)
        if not head:
            several.append(tail)
    return [f"{folder}{slash}{one}" for one in several if one not in ("", stem)]


def meant(name: str, known: Sequence[str]) -> str | None:
    """The known name that another one is a word for."""
    word = _letters(name)
    return next((x for x in known if word == _letters(x) or word in _ALSO.get(x, ())), None)


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name that another one is perhaps meant to be, written wrongly too."""
    if same := meant(name, known):
        return same
    word = _letters(name)
    near = difflib.get_close_matches(word, [_letters(one) for one in known], 1, 0.85)
    return next((one for one in known if near and _letters(one) == near[0]), None)


def without_ending(stem: str) -> str:
    """The stem of a mask's file as that of its picture: "000" of "000_mask" and of "000-GT"."""
    for word in MASK_ENDINGS:
        for mark in "_-. ":
            if stem.lower().endswith(mark + word):
                return stem[: -len(word) - 1]
    return stem


def check_places(folder: Path, known: Sequence[str]) -> None:
    """Looks for folders with pictures that are not known, but nearly called like one that is.

    Raises:
      ValueError: there are such.
    """
    for sub in walk.subfolders(folder):
        known_name = None if sub.name in known else nearest(sub.name, known)
        if known_name is None or not walk.list_images(sub, recursive=True):
            continue
        there = folder / known_name
        if there.exists() and os.path.samefile(sub, there):  # where case makes no difference
            continue
        raise ValueError(
            f"{sub}: a folder of this name is not read; if it is meant as {known_name!r}, rename "
            "it, otherwise move it away"
        )


def check_no_loose(folder: Path, expected: str) -> None:
    """Raises ValueError where pictures lie in a folder itself that is to hold folders of them."""
    loose = walk.list_images(folder) if folder.is_dir() else []
    if loose:
        raise ValueError(
            f"pictures lie in {folder} itself, {len(loose)} of them, such as {loose[0].name}: put "
            f"them into {expected}"
        )


def _letters(name: str) -> str:
    return "".join(c for c in walk.plain(name).lower() if c.isalnum())
