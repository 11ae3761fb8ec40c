"""What a folder of pictures holds: a look at every file."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from scipy import ndimage

from jaxad import progress
from jaxad.data import images, names, shards, walk
from jaxad.data.files import place_of
from jaxad.data.reading import Reading
from jaxad.data.view import WHOLE

SMALL = 128  # pixels of a side, at which brightness and sharpness are looked at


class Look(NamedTuple):
    """One picture file.

    Attributes:
      path: of the file.
      folder: that it lies in, below what is looked at, with "/"; "." for that itself.
      size: height and width as a viewer shows it; (0, 0) if it cannot be read.
      depth: bits of its numbers.
      mode: Pillow's word for its colours: "RGB", "L", "I;16".
      checksum: of its pixels as they are read: equal for copies in other formats.
      brightness: mean of its grey values, 0 to 255.
      sharpness: variance of the Laplacian of its grey values.
      marked: share of its pixels that are not black.
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
    marked: float = 0.0
    small: UInt8[np.ndarray, "s s 3"] | None = None
    problem: str = ""

    @property
    def is_mask(self) -> bool:
        """Whether its name, or that of a folder that it lies in, says that it is one."""
        inside = any(names.seems_masks(part) for part in self.folder.split("/"))
        return inside or names.without_ending(self.path.stem) != self.path.stem


def looks(
    root: Path, reading: Reading = images.PLAIN, name: str = "", small: bool = True
) -> list[Look]:
    """Looks at every picture file below a folder, in threads.

    Args:
      root: the folder.
      reading: how files become pictures; `bits` is decided.
      name: of the root in `Look.folder`, where several are looked at.
      small: whether thumbnails are kept, 50 kB each.

    Raises:
      FileNotFoundError: there is no such folder.
      ValueError: there is no picture in it.
    """
    paths = shards.files(root) or walk.list_images(root, recursive=True)
    if not paths:
        raise ValueError(f"{root}: no pictures in it or in its folders")
    above = Path(name)
    with ThreadPoolExecutor() as pool:
        looking = pool.map(
            lambda path: look(
                path, (above / path.parent.relative_to(root)).as_posix(), reading, small
            ),
            paths,
        )
        return list(progress.shown(looking, "looking", len(paths), "file"))


def look(path: Path, folder: str, reading: Reading = images.PLAIN, keep: bool = True) -> Look:
    """Reads one picture file; one that cannot be read says why."""
    try:
        header = images.header(path, reading=reading)
        image = images.read_image(path, reading)
        mode = images.mode(path, reading)
    except (ValueError, OSError, MemoryError) as error:
        return Look(path, folder, problem=images.reason(path, error))
    small = WHOLE.square(image, SMALL)
    grey = small.astype(np.float64).mean(-1)
    checksum = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()
    return Look(
        path, folder, image.shape[:2], header.depth, mode, checksum, float(grey.mean()),
        float(ndimage.laplace(grey).var()), float(image.any(-1).mean()), small if keep else None,
    )  # fmt: skip


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


def masks(found: Sequence[Look]) -> tuple[list[Path], list[Path], list[Path]]:
    """Masks that belong to a picture, those that belong to none, and those that mark nothing.

    A mask belongs to a picture of its name, in a folder of the same name if there is one. Masks of
    normal pictures may mark nothing.
    """
    good = [one for one in found if not one.problem]
    folders: dict[str, set[str]] = {}
    for one in good:
        if not one.is_mask:
            folders.setdefault(place_of(one.path, one.path.parent), set()).add(one.path.parent.name)
    known = set().union(*folders.values())
    matched: list[Path] = []
    lonely: list[Path] = []
    for one in good:
        if one.is_mask:
            wanted = place_of(one.path, one.path.parent)
            meant = [wanted, *names.pictures_of(wanted)]
            there = set().union(*(folders.get(place, set()) for place in meant))
            inside = one.path.parent.name
            (matched if there and (inside in there or inside not in known) else lonely).append(
                one.path
            )
    empty = [
        one.path for one in good
        if one.is_mask and not one.marked and not names.is_normal(one.path.parent.name)
    ]  # fmt: skip
    return matched, lonely, empty
