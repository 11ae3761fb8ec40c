"""How files become pictures, settled for a category, and kept with a run for later pictures.

`preprocessing.json` has an entry for each category, with the path of its region, if it has one,
which is kept beside it: `region/<category>.png`.
"""

import json
import logging
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image

from jaxad.data import images
from jaxad.data.files import shown
from jaxad.data.images import Header
from jaxad.data.reading import Reading
from jaxad.data.view import Preprocessing, View
from jaxad.detector import replace

log = logging.getLogger(__name__)

FILE, REGIONS = "preprocessing.json", "region"
WHITE = 127  # of 255: where to look is brighter


def view_of(reading: Reading, category: str, headers: Mapping[Path, Header]) -> View:
    """What a detector is to see of the pictures of a category.

    Args:
      reading: its `region` is a file, or a folder that has one of the category's name.
      category: whose pictures they are.
      headers: of the pictures, all of which must have the region's size.

    Raises:
      FileNotFoundError: there is no such region.
      ValueError: it cannot be read, shows nothing to look at, or has another size than a picture.
    """
    oblong = {header.size for header in headers.values() if len(set(header.size)) > 1}
    if oblong and reading.fit == "squeeze":
        height, width = max(oblong)
        log.info(
            "%s: oblong pictures, such as of %d x %d pixels, are squeezed into squares; --fit pad "
            "keeps their shape, --fit crop takes their middle", category, width, height,
        )  # fmt: skip
    path = region_of(reading, category)
    if path is None:
        return View(reading.fit)
    region = _region(path, reading)
    wrong = [picture for picture, header in headers.items() if header.size != region.shape]
    if wrong:
        raise ValueError(
            f"the region {path} has {region.shape[1]} x {region.shape[0]} pixels, but {len(wrong)} "
            f"of {len(headers)} pictures have others: they must be taken from one place, at one "
            f"size:{shown(wrong)}"
        )
    return View(reading.fit, region)


def of_later(folder: Path, category: str, max_pixels: int | None = None) -> Preprocessing:
    """How a run's later pictures are read and seen.

    Args:
      folder: of the run.
      category: whose pictures they are; see `as_before`.
      max_pixels: pictures of more are refused; None for the limit of the run.

    Raises:
      FileNotFoundError: the run's region is gone.
      ValueError: what the run has stored is damaged, or as for `as_before`.
    """
    found = as_before(images.PLAIN, stored(folder), category)
    if max_pixels is not None:
        found = replace(found, max_pixels=max_pixels)
    path = region_of(found, category)
    return Preprocessing(found, View(found.fit, None if path is None else _region(path, found)))


def region_of(reading: Reading, category: str) -> Path | None:
    """The file of a category's region; None if all of its pictures is looked at."""
    if reading.region is None:
        return None
    path = Path(reading.region)
    return path / f"{category}.png" if path.is_dir() else path


def described(several: Mapping[str, Preprocessing]) -> list[dict]:
    """What decides about pictures, as plain JSON, for each category; of a region its checksum."""
    found = []
    for _, one in sorted(several.items()):
        region = one.view.region
        checksum = None if region is None else f"{zlib.crc32(np.packbits(region).data):08x}"
        found.append(one.as_dict() | {"region": checksum})
    return found


def write(folder: Path, several: Mapping[str, Preprocessing]) -> None:
    """Writes `preprocessing.json`, and regions beside it; nothing where there is nothing to tell.

    Raises:
      OSError: the folder cannot be written.
    """
    if not several:
        return
    entries: dict[str, dict[str, Any]] = {}
    for name, one in several.items():
        entries[name] = one.as_dict() | {"region": None, "max_pixels": one.reading.max_pixels}
        if one.view.region is not None:
            place = Path(REGIONS, f"{name}.png")
            (folder / REGIONS).mkdir(exist_ok=True)
            Image.fromarray(one.view.region).save(folder / place)
            entries[name]["region"] = place.as_posix()
    text = json.dumps(entries, indent=1, ensure_ascii=False)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def stored(folder: Path) -> dict[str, dict[str, Any]]:
    """What `write` wrote into a run's folder, by category; nothing where there is no such file.

    Raises:
      ValueError: it is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        for entry in found.values():
            if entry["region"] is not None:
                entry["region"] = str(folder / entry["region"])
        return found
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from error


def as_before(reading: Reading, entries: Mapping[str, Mapping[str, Any]], category: str) -> Reading:
    """How a category's pictures are read by what a run decided.

    Args:
      reading: says what is not decided there.
      entries: of `stored`.
      category: one that the run did not have is read as all of the run's are.

    Raises:
      ValueError: the run's categories were read in different ways, and this is none of them.
    """
    if not entries:
        return reading
    kinds = list(entries.values())
    if category not in entries and any(kind != kinds[0] for kind in kinds):
        raise ValueError(
            f"the run has no category {category!r}, and its own ({', '.join(entries)}) are read in "
            "different ways: rename the folder to one of them"
        )
    return replace(reading, **entries.get(category, kinds[0]))


def _region(path: Path, reading: Reading) -> Bool[np.ndarray, "H W"]:
    """Where to look."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such region; it is a mask, white where to look")
    region = images.read_mask(path, replace(reading, mask_threshold=WHITE)) > 0
    if not region.any():
        raise ValueError(f"{path}: no pixel of the region is white, so there is nowhere to look")
    return region
