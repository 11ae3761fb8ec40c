"""What lies in a folder of pictures in shards: its format, and the index that is read first.

SHARDS/bottle/shards.json           its format, the shards and their sizes, what the layout told
SHARDS/bottle/listing.jsonl         a line for each picture: split, name, and its files
SHARDS/bottle/00000.array_record    a record for each file: a line of JSON about it, its bytes
"""

import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from jaxad.data.source import Saturation

INDEX, LISTING = "shards.json", "listing.jsonl"
FORMAT = 1  # of what is written; readers of an older one refuse it
AGAIN = "copy the folder again, or pack its pictures again"


class Entry(NamedTuple):
    """A file of the listing: where it lay, its bytes, time of change, and checksum."""

    path: str
    size: int
    modified: int
    checksum: int


class Row(NamedTuple):
    """A picture of the listing: "train", "validation" or "test", its record, and its files."""

    split: str
    name: str
    defect: str
    kind: str
    files: list[Entry]  # the picture's own, and those of its masks


class Shard(NamedTuple):
    """A file of records."""

    file: str
    records: int
    bytes: int


class Index(NamedTuple):
    """What `shards.json` says.

    Attributes:
      shards: in the order of the listing.
      saturations: by pixel value of the masks, where each mask is of one defect.
      checksum: of the listing.
    """

    shards: tuple[Shard, ...]
    saturations: dict[int, Saturation] | None
    checksum: int


def is_packed(folder: str | os.PathLike) -> bool:
    """Whether a folder is that of a category in shards."""
    return os.path.isfile(os.path.join(folder, INDEX))


def categories(root: str | Path) -> list[str]:
    """The names of the folders in a folder that are of a category in shards, sorted."""
    if not os.path.isdir(root):
        return []
    with os.scandir(root) as found:
        return sorted(sub.name for sub in found if sub.is_dir() and is_packed(sub))


def index(folder: Path) -> Index:
    """The index of a category in shards, whose files are all there.

    Raises:
      FileNotFoundError: a shard or the listing is missing.
      ValueError: the index is damaged or of a later format, or a file has not the size that it was
        written with.
    """
    path = folder / INDEX
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        form = int(found["format"])
        if form <= FORMAT:
            kinds = found["saturations"]
            listing = Shard(**found["listing"])
            read = Index(
                tuple(Shard(**one) for one in found["shards"]),
                kinds and {int(value): Saturation(*one) for value, one in kinds.items()},
                int(found["checksum"]),
            )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}): {AGAIN}") from error
    if form > FORMAT:
        raise ValueError(
            f"{path} is of format {form}, and this version of jaxad reads up to {FORMAT}: "
            "install a later one"
        )
    for one in (listing, *read.shards):
        file = folder / one.file
        if not file.is_file():
            raise FileNotFoundError(
                f"{file} is missing, with {one.records} records in {one.bytes} bytes: {AGAIN}"
            )
        if (size := file.stat().st_size) != one.bytes:
            raise ValueError(
                f"{file} has {size} bytes instead of {one.bytes}, with {one.records} records: "
                f"{AGAIN}"
            )
    return read


def rows(folder: Path, found: Index) -> Iterator[Row]:
    """The pictures of the listing.

    Raises:
      ValueError: the listing is damaged.
    """
    path, checksum = folder / LISTING, 0
    try:
        with open(path, "rb") as file:
            for line in file:
                checksum = zlib.crc32(line, checksum)
                split, name, defect, kind, files = json.loads(line)
                yield Row(split, name, defect, kind, [Entry(*one) for one in files])
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}): {AGAIN}") from error
    if checksum != found.checksum:
        raise ValueError(f"{path} is damaged: its checksum is not that of {INDEX}: {AGAIN}")
