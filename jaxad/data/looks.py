"""A look at what pictures and masks hold: what is probably not as it was meant is warned about."""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxad.data import images
from jaxad.data.files import File, shown
from jaxad.data.images import Header
from jaxad.data.reading import Reading
from jaxad.data.source import spread
from jaxad.data.view import View
from jaxad.detector import replace

log = logging.getLogger(__name__)

PICTURES = 64  # training pictures that are decoded, spread evenly
PIXELS = 2**28  # ... of so many pixels at most
MASKS = 1000  # masks of anomalous pictures that are decoded, spread evenly
ALMOST_ALL = 0.999  # of a picture's numbers: a few hot pixels tell nothing of its range
UNUSED_BITS = 2  # so many are warned about: a quarter of the grey levels is left
LEVELS = 4  # grey levels beside black from which on a mask is not of two, nor of a few labels
CLASSES = 32  # numbers up to here may stand for types of defect
NEARLY_ALL, MOST = 0.95, 0.5  # shares of a picture


def settled(
    reading: Reading, files: Sequence[File], headers: Mapping[Path, Header], category: str
) -> Reading:
    """The reading with the number of bits decided, from normal training pictures alone.

    Args:
      reading: `bits` may be "auto".
      files: of training.
      headers: of those that were looked at.
      category: for the log.
    """
    known = [file.path for file in files if file.path in headers]
    deep = [path for path in known if headers[path].depth > 8]
    if reading.bits == "auto":
        bits = max(8, _highest(deep, reading).bit_length()) if deep else None
        log.info("%s: --bits auto is %s", category, f"{bits} bits" if bits else "8: none has more")
        return replace(reading, bits=bits)
    few = _few(deep, headers)
    if few and reading.bits is None:
        depth = max(headers[path].depth for path in few)
        high = _highest(few, reading, ALMOST_ALL)
        if high.bit_length() <= depth - UNUSED_BITS:
            bits = max(8, high.bit_length())
            log.warning(
                "%s: nearly all numbers in pictures of %d bits are up to %d of %d: %d of 256 grey "
                "levels are left. --bits %d uses their range, --bits auto that of all pictures",
                category, depth, high, 2**depth - 1, max(1, (high * 255) // (2**depth - 1)), bits,
            )  # fmt: skip
    return reading


def look_at_training(
    files: Sequence[File], headers: Mapping[Path, Header], reading: Reading
) -> None:
    """Warns about pictures of one colour, which a detector learns nothing from."""
    few = _few([file.path for file in files if file.path in headers], headers)

    def is_flat(path: Path) -> bool:
        image = images.read_image(path, reading)
        return bool((image == image[0, 0]).all())

    with ThreadPoolExecutor() as pool:
        flat = [path for path, one in zip(few, pool.map(is_flat, few), strict=True) if one]
    if flat:
        log.warning(
            "%d of %d training pictures that were looked at have one colour only:%s",
            len(flat), len(few), shown(flat),
        )  # fmt: skip


class _Mask(NamedTuple):
    """What a look at the masks of one picture found."""

    path: Path
    covers: float
    levels: int
    seen: bool


NONE = _Mask(Path(), 0.0, 0, True)


def look_at_masks(files: Sequence[File], reading: Reading, view: View) -> None:
    """Warns about masks that are probably not what they are taken for.

    Args:
      files: of the test set; those without masks are passed over.
      reading: how masks are read.
      view: where a detector looks.

    Raises:
      ValueError: masks of normal pictures mark something, or a mask cannot be read.
    """
    masked = [file for file in files if file.masks]
    # Those of normal pictures are not read again, so that none may hold anything.
    some = [file for file in masked if not file.record.label]
    anomalous = [file for file in masked if file.record.label]
    some += [anomalous[i] for i in spread(len(anomalous), MASKS)]
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda file: _looked_at(file, reading, view), some))
    pairs = list(zip(some, found, strict=True))
    marked = [look.path for file, look in pairs if look.covers and not file.record.label]
    if marked:
        raise ValueError(f"masks of normal pictures mark defects:{shown(marked)}")
    masks = [look for file, look in pairs if file.record.label]
    inverted = [look for look in masks if look.covers > MOST]
    grey = [look for look in masks if look.levels >= LEVELS]
    all_inverted = len(inverted) > len(masks) / 2
    lines = [
        (
            [look for look in masks if not look.covers],
            f"mark nothing: no pixel is brighter than {reading.mask_threshold}",
        ),
        (
            [look for look in masks if look.covers >= NEARLY_ALL],
            "mark nearly the whole picture",
        ),
        (
            [look for look in masks if look.covers and not look.seen],
            "mark only what is not looked at: outside of the region, or cut off",
        ),
        (
            inverted if all_inverted else [],
            "mark more than half of the picture: are they inverted? Defects are bright, the rest "
            "is black",
        ),
        (
            grey,
            f"have several grey levels beside black, up to {max(x.levels for x in [*grey, NONE])}, "
            f"of which those above {reading.mask_threshold} are taken for defective: "
            "--mask-threshold 127 takes the brighter half",
        ),
    ]
    for wrong, what in lines:
        if wrong:
            paths = shown([look.path for look in wrong])
            log.warning("%d of %d masks %s:%s", len(wrong), len(masks), what, paths)


def _looked_at(file: File, reading: Reading, view: View) -> _Mask:
    levels, whole = 0, None
    for path in file.masks:
        grey, white = images.grey_levels(path, reading)
        shades = np.unique(grey[grey != 0])
        if len(shades) and shades[-1] > CLASSES and not reading.mask_threshold:
            levels = max(levels, len(shades))
        mask = images.marked(grey, white, reading) > 0
        whole = mask if whole is None else whole | mask
    assert whole is not None
    counted = view.counted(whole.shape)
    seen = whole if counted is None else whole & counted
    return _Mask(file.masks[0], float(whole.mean()), levels, bool(seen.any()))


def _highest(paths: Sequence[Path], reading: Reading, share: float = 1.0) -> int:
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda path: images.highest(path, reading, share), paths)
        return max(high or 0 for high in found)


def _few(paths: Sequence[Path], headers: Mapping[Path, Header]) -> list[Path]:
    """Some of the pictures, spread evenly; fewer of large ones."""
    largest = max((np.prod(headers[path].size) for path in paths), default=1)
    count = int(np.clip(PIXELS // largest, 1, PICTURES))
    return [paths[i] for i in spread(len(paths), count)]
