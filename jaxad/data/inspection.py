"""What a folder of pictures holds, and what a person should look at before they train on it."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from scipy import ndimage

from jaxad import progress
from jaxad.data import images, names, walk
from jaxad.data.files import place_of, shown
from jaxad.data.reading import Reading
from jaxad.data.view import WHOLE

SMALL = 128  # pixels of a side, at which brightness and sharpness are looked at
DARK = 8  # mean of 255 below which a picture is nearly black
BLURRED = 0.1  # of the median sharpness of the pictures in its folder, below which one is blurred
ENOUGH = 8  # pictures in a folder, for a median to mean something


class Look(NamedTuple):
    """One picture file.

    Attributes:
      path: of the file.
      folder: that it lies in, below the root, with "/"; "." for the root itself.
      size: height and width as a viewer shows it; (0, 0) if it cannot be read.
      depth: bits of its numbers.
      mode: Pillow's word for its colours: "RGB", "L", "I;16".
      checksum: of its pixels as they are read: equal for copies in other formats.
      brightness: mean of its grey values, 0 to 255.
      sharpness: variance of the Laplacian of its grey values.
      small: thumbnail, for a sheet.
      problem: why it cannot be read; empty if it can.
    """

    path: Path
    folder: str
    size: tuple[int, int] = (0, 0)
    depth: int = 0
    mode: str = ""
    checksum: str = ""
    brightness: float = 0.0
    sharpness: float = 0.0
    small: UInt8[np.ndarray, "s s 3"] | None = None
    problem: str = ""

    @property
    def is_mask(self) -> bool:
        """Whether its name, or that of a folder that it lies in, says that it is one."""
        inside = any(names.seems_masks(part) for part in self.folder.split("/"))
        return inside or names.without_ending(self.path.stem) != self.path.stem


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


def looks(root: Path, reading: Reading = images.PLAIN) -> list[Look]:
    """Looks at every picture file below a folder, in threads.

    Raises:
      FileNotFoundError: there is no such folder.
      ValueError: there is no picture in it.
    """
    paths = walk.list_images(root, recursive=True)
    if not paths:
        raise ValueError(f"{root}: no pictures in it or in its folders")
    with ThreadPoolExecutor() as pool:
        looking = pool.map(lambda path: look(path, root, reading), paths)
        return list(progress.shown(looking, "looking", len(paths), "file"))


def look(path: Path, root: Path, reading: Reading = images.PLAIN) -> Look:
    """Reads one picture file; one that cannot be read says why."""
    folder = path.parent.relative_to(root).as_posix()
    try:
        header = images.header(path, reading=reading)
        image = images.read_image(path, reading)
        with Image.open(path) as opened:
            mode = opened.mode
    except (ValueError, OSError) as error:
        reason = f"{path}: {error.strerror}" if isinstance(error, OSError) else str(error)
        return Look(path, folder, problem=reason)
    small = WHOLE.square(image, SMALL)
    grey = small.astype(np.float64).mean(-1)
    checksum = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()
    return Look(
        path, folder, image.shape[:2], header.depth, mode, checksum, float(grey.mean()),
        float(ndimage.laplace(grey).var()), small,
    )  # fmt: skip


def concerns(found: Sequence[Look]) -> list[Concern]:
    """What a person should look at, most urgent first.

    Args:
      found: all pictures of a data set.
    """
    bad = [one for one in found if one.problem]
    good = [one for one in found if not one.problem]
    pictures = [one for one in good if not one.is_mask]
    several = [Concern("unreadable", one.problem) for one in bad]
    several += _duplicates(pictures)
    dark = tuple(one.path for one in pictures if one.brightness < DARK)
    if dark:
        several.append(Concern("dark", f"{len(dark)} pictures are nearly black:", dark))
    several += _blurred(pictures)
    several += _mixed(pictures)
    several += _masks(good)
    return several


def table(found: Sequence[Look]) -> list[dict]:
    """What lies in each folder, as plain JSON: numbers of pictures by size, depth and mode."""
    rows = []
    for folder in sorted({one.folder for one in found}):
        inside = [one for one in found if one.folder == folder]
        read = [one for one in inside if not one.problem]
        count = lambda values: dict(Counter(values).most_common())
        rows.append(
            {
                "folder": folder,
                "files": len(inside),
                "unreadable": len(inside) - len(read),
                "sizes": count(f"{one.size[1]} x {one.size[0]}" for one in read),
                "bits": count(str(one.depth) for one in read),
                "modes": count(one.mode for one in read),
            }
        )
    return rows


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
            text = f"{len(some)} pictures of the same pixels lie {where}:"
            found.append(Concern("duplicate", text, paths))
    return found


def _part(folder: str) -> str:
    """Which part of the data a folder belongs to: "train", "test"; or its first folder's name."""
    parts = folder.split("/")
    return next((known for x in parts if (known := names.meant(x, names.PLACES))), parts[0])


def _blurred(pictures: Sequence[Look]) -> list[Concern]:
    found: list[Path] = []
    for folder in sorted({one.folder for one in pictures}):
        inside = [one for one in pictures if one.folder == folder]
        if len(inside) < ENOUGH:
            continue
        median = float(np.median([one.sharpness for one in inside]))
        found += [one.path for one in inside if one.sharpness < BLURRED * median]
    text = f"{len(found)} pictures are much less sharp than the others of their folder:"
    return [Concern("blurred", text, tuple(found))] if found else []


def _mixed(pictures: Sequence[Look]) -> list[Concern]:
    found = []
    for what, values in (
        ("sizes", Counter(f"{one.size[1]} x {one.size[0]}" for one in pictures)),
        ("bit depths", Counter(one.depth for one in pictures)),
        ("modes", Counter(one.mode for one in pictures)),
    ):
        if len(values) > 1:
            said = ", ".join(f"{count} of {value}" for value, count in values.most_common(5))
            more = f" and {len(values) - 5} more" if len(values) > 5 else ""
            found.append(Concern("mixed", f"pictures are of several {what}: {said}{more}"))
    return found


def _masks(found: Sequence[Look]) -> list[Concern]:
    """Masks without a picture, each with the names that are nearest to the one it asks for."""
    pictures = {place_of(one.path, one.path.parent) for one in found if not one.is_mask}
    lonely = []
    for one in found:
        if one.is_mask:
            wanted = names.without_ending(one.path.stem)
            if wanted not in pictures:
                lonely.append(f"{one.path} (nearest: {names.pictures_near(one.path, pictures)})")
    if not lonely:
        return []
    return [Concern("masks", "masks without a picture of their name:" + shown(lonely))]
