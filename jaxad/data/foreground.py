"""Masks of the object in each training picture, where synthetic anomalies may be.

They come from a folder, or are estimated without learned weights and written out for a person to
check and correct. DiffusionAD (Zhang et al., arXiv:2303.08730) takes its masks of objects from a
learned segmenter and ships them apart.
"""

import logging
import os
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from jaxad.data import files as listing
from jaxad.data import images, names, walk
from jaxad.data.outline import OUTLINE, outline
from jaxad.data.reading import Reading
from jaxad.data.segment import segmented
from jaxad.data.source import Item, Record, Region, Source, spread
from jaxad.data.view import WHOLE, View

log = logging.getLogger(__name__)

OFFICIAL = "DISthresh"  # in a category's folder, laid out as `train`: the authors' masks
WHITE = 128  # of 255: a mask without such a pixel shows no object
SMALLEST = 0.005  # share of a picture: what is estimated smaller is no object
SHOWN = 200  # pictures on the overview at most
THUMBNAIL = 96  # pixels, the side of one
COLUMNS = 20


class Masks:
    """Grey pictures, white where the object is: mask `i` belongs to picture `i` of another source.

    A `jaxad.data.source.Source`, for the stream `foreground`; fractions count.
    """

    has_masks = False
    has_regions = False

    def __init__(
        self,
        paths: Sequence[Path],
        records: Sequence[Record],
        checksum: int,
        views: Sequence[View],
        reading: Reading = images.PLAIN,
    ):
        """Files and, in their order, records and views of the pictures they belong to."""
        self.paths = tuple(paths)
        self.records = tuple(records)
        self._checksum = checksum
        self._views = tuple(views)
        self._reading = reading

    def __len__(self) -> int:
        return len(self.paths)

    def __repr__(self) -> str:
        # Of the masks' pixels: a run does not go on with others.
        return f"Masks({len(self)} masks, {self._checksum:08x})"

    def __getitem__(self, index: int) -> Item:
        """One mask, as a picture.

        Raises:
          ValueError: the file is damaged.
        """
        index = range(len(self))[index]
        image = images.read_image(self.paths[index], self._reading)
        nothing = np.zeros(image.shape[:2], np.uint8)
        return Item(image=image, mask=nothing, label=0, index=index, view=self._views[index])

    def regions(self, index: int) -> list[Region]:
        """Nothing: there are no defects."""
        return []


def load(folder: str | Path, pictures: Source, reading: Reading = images.PLAIN) -> Masks:
    """The masks of a folder, one for each of some pictures.

    A mask lies where its picture lies below `train`, or in the folder itself, and has its name,
    with or without "_mask" at the end: `good/000.png`, `ok/000.png`, `000_mask.png`.
    In a category's folder in the authors' layout, its `DISthresh` is taken.

    Args:
      folder: of the masks, or of the category.
      pictures: such as `Data.train`; each is read once.
      reading: how files become pictures; of it orientation and the limit of pixels matter here.

    Raises:
      FileNotFoundError: there is no such folder.
      ValueError: masks are missing, doubled, empty, of another size than their pictures, or JPEG,
        whose noise around the object would count; all are listed.
    """
    folder = Path(folder)
    folder = folder / OFFICIAL if (folder / OFFICIAL).is_dir() else folder
    found: dict[str, list[Path]] = {}
    for path in walk.list_images(folder, recursive=True):
        name = names.without_ending(listing.place_of(path, folder))
        found.setdefault(name, []).append(path)
    parents = sorted({name.rpartition("/")[0] for name in found})
    normal = [parent for parent in parents if names.is_normal(parent)]
    several = [_candidates(record, found, normal) for record in pictures.records]
    missing = [
        folder / record.name for record, paths in zip(pictures.records, several, strict=True)
        if not paths
    ]  # fmt: skip
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(several)} training pictures have no foreground mask; add them "
            f"(PNG, white where the object is), or do without masks:{listing.shown(missing)}"
        )
    doubled = [path for paths in several if len(paths) > 1 for path in paths]
    if doubled:
        raise ValueError(f"several foreground masks of one picture:{listing.shown(doubled)}")
    paths = [paths[0] for paths in several]
    if others := sum(map(len, found.values())) - len(paths):
        log.info("%d masks in %s are of no picture to learn from", others, folder)
    with ThreadPoolExecutor() as pool:
        look = lambda i: _checked(paths[i], pictures, i, reading)
        checked = list(pool.map(look, range(len(paths))))
    flaws = [one.flaw for one in checked if one.flaw]
    if flaws:
        lines = "".join(f"\n  {flaw}" for flaw in flaws)
        raise ValueError(f"{len(flaws)} of {len(paths)} foreground masks cannot be used:{lines}")
    checksum = zlib.crc32(np.array([one.checksum for one in checked], np.uint32).tobytes())
    return Masks(paths, pictures.records, checksum, [one.view for one in checked], reading)


def estimate(pictures: Source, folder: str | Path) -> Masks:
    """Masks that are estimated, written to a folder, and read from there.

    Those that are there already stay, so a corrected one counts. `overview.png` beside the folder
    `masks` shows the outlines, for a person to check.

    Args:
      pictures: such as `Data.train`.
      folder: gets `masks` and `overview.png`.

    Raises:
      ValueError: no object is found in some pictures, which are listed; nothing of them is written.
      OSError: the folder cannot be written.
    """
    folder = Path(folder)
    targets = [folder / "masks" / f"{record.name}.png" for record in pictures.records]
    with ThreadPoolExecutor() as pool:
        empty = list(pool.map(lambda i: _estimated(pictures, i, targets[i]), range(len(targets))))
    failed = [target for target, without in zip(targets, empty, strict=True) if without]
    if failed:
        raise ValueError(
            f"no object stands out from the background in {len(failed)} of {len(targets)} "
            f"pictures; draw their masks, or do without them:{listing.shown(failed)}"
        )
    masks = load(folder / "masks", pictures)
    overview(pictures, masks).save(folder / "overview.png")
    log.info(
        "foreground masks: %s; look at %s, and correct what is wrong",
        folder / "masks",
        folder / "overview.png",
    )
    return masks


def overview(pictures: Source, masks: Source) -> Image.Image:
    """Small pictures with the outlines of their masks; some of them where there are many."""
    places = spread(len(pictures), SHOWN)
    count = len(places)
    size = (THUMBNAIL, THUMBNAIL)
    rows = -(-count // COLUMNS)
    sheet = Image.new("RGB", (min(count, COLUMNS) * THUMBNAIL, rows * THUMBNAIL), "white")
    for n, place in enumerate(places):
        small = np.array(Image.fromarray(pictures[place]["image"]).resize(size))
        mask = Image.fromarray(masks[place]["image"]).convert("L").resize(size)
        line, around = outline(np.asarray(mask) >= WHITE)
        small[around] = 0
        small[line] = OUTLINE
        row, column = divmod(n, COLUMNS)
        sheet.paste(Image.fromarray(small), (column * THUMBNAIL, row * THUMBNAIL))
    return sheet


def _candidates(record: Record, found: dict[str, list[Path]], normal: list[str]) -> list[Path]:
    """The masks of a picture: of its whole name, in folders of normal ones, or of the last part.

    A record's first part is "good", whatever its folder is called.
    """
    stem = record.name.rpartition("/")[2]
    inside = [path for parent in normal for path in found.get(f"{parent}/{stem}", [])]
    return found.get(record.name) or inside or found.get(stem, [])


class _Checked(NamedTuple):
    """Why a mask cannot be used, the checksum of its pixels, and the view of its picture."""

    flaw: str
    checksum: int = 0
    view: View = WHOLE


def _checked(path: Path, pictures: Source, index: int, reading: Reading) -> _Checked:
    try:
        images.image_size(path, mask=True, reading=reading)
        mask = images.read_image(path, reading)
        picture = pictures[index]
        size = picture["image"].shape[:2]
        if mask.shape[:2] != size:
            turned = "; one of them is perhaps turned by EXIF: see --orientation"
            return _Checked(
                f"{path} has {mask.shape[1]} x {mask.shape[0]} pixels, its picture "
                f"{pictures.records[index].name} has {size[1]} x {size[0]}"
                f"{turned if mask.shape[1::-1] == size else ''}"
            )
    except (ValueError, OSError) as error:
        return _Checked(str(error))
    if mask.max() < WHITE:
        return _Checked(f"{path} is empty: no pixel has {WHITE} of 255 or more")
    return _Checked("", zlib.crc32(mask.tobytes()), picture.get("view", WHOLE))


def _estimated(pictures: Source, index: int, target: Path) -> bool:
    """Writes a picture's mask where there is none; whether no object is found."""
    if target.exists():
        return False
    mask = segmented(pictures[index]["image"])
    if mask.mean() < SMALLEST:
        return True
    os.makedirs(target.parent, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(target)
    return False
