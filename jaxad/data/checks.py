"""Files looked at before anything is learned: which cannot be used, and why."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from jaxad import progress
from jaxad.data import images
from jaxad.data.files import File, counted, shown
from jaxad.data.images import Header
from jaxad.data.reading import OnBadImage, Reading
from jaxad.data.source import LeftOut, spread
from jaxad.detector import replace

log = logging.getLogger(__name__)

HEADERS = 20_000  # of so many files all headers are read; of more, those of an even sample
ADVICE = "draw masks on the upright pictures, or read both as they are stored: --orientation stored"


class Checked(NamedTuple):
    """What the look at some files found.

    Attributes:
      headers: of those that can be used, by path.
      bad: those that cannot, by path.
    """

    headers: dict[Path, Header]
    bad: dict[Path, LeftOut]


def checked(
    files: Sequence[File], on_bad_image: OnBadImage = "error", reading: Reading = images.PLAIN
) -> Checked:
    """Looks at pictures and their masks.

    Args:
      files: pictures with their masks.
      on_bad_image: "error" reads headers and accepts no bad file (damage in the middle of one shows
        when it is read); "skip" decodes every file and logs a list of the bad ones.
      reading: how they are read; with `check_files` every file is decoded.

    Raises:
      ValueError: bad files where none are accepted, or a mask of another size than its picture.
    """
    if on_bad_image not in ("error", "skip"):
        raise ValueError(f"on_bad_image={on_bad_image!r}: expected 'error' or 'skip'")
    decode = on_bad_image == "skip" or reading.check_files
    looked_at = files if decode else _sample(files)
    with ThreadPoolExecutor() as pool:
        looking = pool.map(lambda file: _look(file, reading, decode), looked_at)
        looks = list(progress.shown(looking, "checking", len(looked_at), "file"))
    found = dict(zip([file.path for file in looked_at], looks, strict=True))
    bad = {path: LeftOut(path, look.reason) for path, look in found.items() if look.reason}
    listed = "".join(f"\n  {one.reason}" for one in bad.values())
    if bad and on_bad_image == "error":
        raise ValueError(
            f"{len(bad)} of {len(files)} pictures cannot be used; replace them, or leave them out "
            f'with on_bad_image="skip" (--on-bad-image skip):{listed}'
        )
    if bad:
        log.warning("left out %d of %d pictures:%s", len(bad), len(files), listed)
    if turned := [path for path, look in found.items() if look.turned]:
        log.warning(
            "EXIF turns %s, but not the masks of these, which may be drawn on the pictures as "
            "they are stored; look at them, and %s:%s",
            counted(len(turned), "picture"), ADVICE, shown(turned),
        )  # fmt: skip
    return Checked({path: x.header for path, x in found.items() if x.header is not None}, bad)


def check_size(image: Path, size: tuple[int, ...], mask: Path, mask_size: tuple[int, ...]) -> None:
    """Raises ValueError, naming both files, if a mask has not the size of its picture."""
    if size != mask_size:
        raise ValueError(
            f"{mask} has {mask_size[1]} x {mask_size[0]} pixels, but its picture {image} has "
            f"{size[1]} x {size[0]}: a mask must have its picture's size"
        )


class _Look(NamedTuple):
    """What a look at one picture found.

    Attributes:
      header: of the picture; None if it cannot be used.
      reason: why it cannot.
      turned: whether EXIF turns the picture, but not its mask of the same size.
    """

    header: Header | None
    reason: str = ""
    turned: bool = False


def _sample(files: Sequence[File]) -> Sequence[File]:
    if len(files) <= HEADERS:
        return files
    log.info(
        "looked at %d of %d files, spread evenly; the rest when they are read, or all of them "
        "before with --check-files", HEADERS, len(files),
    )  # fmt: skip
    return [files[i] for i in spread(len(files), HEADERS)]


def _look(file: File, reading: Reading, decode: bool) -> _Look:
    """Raises ValueError if a mask has another size than its picture."""
    exif = reading.orientation == "exif"
    try:
        header = images.header(file.path, reading=reading)
        masks = [images.header(mask, mask=True, reading=reading) for mask in file.masks]
        narrowed = isinstance(reading.bits, int) and header.depth > reading.bits
        if decode or narrowed or not header.whole:
            bits = None if reading.bits == "auto" else reading.bits
            images.read_image(file.path, replace(reading, bits=bits))
        for path, mask in zip(file.masks, masks, strict=True):
            if decode or not mask.whole:
                images.read_mask(path, reading)
    except (ValueError, OSError) as error:
        reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        return _Look(None, reason)
    for path, mask in zip(file.masks, masks, strict=True):
        as_stored = exif and header.turn >= 5 and mask.turn == 1
        if as_stored and mask.size == header.size[::-1] != header.size:
            raise ValueError(
                f"{path} has {mask.size[1]} x {mask.size[0]} pixels, as its picture {file.path} "
                f"has before it is turned by its EXIF orientation {header.turn}: {ADVICE}"
            )
        check_size(file.path, header.size, path, mask.size)
    unseen = exif and (header.turn < 5 or len(set(header.size)) == 1)  # the sides do not tell
    return _Look(header, turned=unseen and any(mask.turn != header.turn for mask in masks))
