"""Categories packed into shards, and their files listed from there: `shard_index` tells the format.

The bytes of pictures and masks are kept as they are, so that what is read from shards, and how, is
what would be read from the files, and what is decided by a seed is decided alike.
"""

import contextlib
import json
import os
import tempfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxad import progress
from jaxad.data import files as listing
from jaxad.data import shard_index, shards
from jaxad.data.files import File
from jaxad.data.image_folder import Listed
from jaxad.data.shard_index import Entry, Shard
from jaxad.data.source import Record

SPLITS = ("train", "validation", "test")
SHARD = 2**28  # bytes of records after which the next shard begins


class Packed(NamedTuple):
    """What was written of a category.

    Attributes:
      pictures: by split: "train", "validation", "test".
      masks: how many.
      bytes: of all shards.
      shards: how many.
    """

    pictures: dict[str, int]
    masks: int
    bytes: int
    shards: int


def listed(folder: str | Path) -> Listed:
    """The files of a category in shards, by paths that lead into these.

    Args:
      folder: of the category, whose name is its last part.

    Raises:
      FileNotFoundError: a shard is missing.
      ValueError: a shard is cut off, or the index is damaged or of a later format.
    """
    folder = Path(folder)
    found, category = shard_index.index(folder), listing.category_of(folder)
    splits: dict[str, list[File]] = {split: [] for split in SPLITS}
    for row in shard_index.rows(folder, found):
        picture, *masks = [folder / entry.path for entry in row.files]
        record = Record(row.name, category, row.defect, row.kind)
        splits[row.split].append(File(record, picture, tuple(masks)))
    return Listed(
        category, splits["train"], splits["test"], splits["validation"],
        saturations=found.saturations,
    )  # fmt: skip


def pack(
    several: Mapping[str, Listed],
    folder: str | Path,
    shard_size: int = SHARD,
    without: Collection[Path] = (),
) -> dict[str, Packed]:
    """Writes categories into shards, each into a folder of its name.

    Args:
      several: the files of the categories, by name.
      folder: that is made; it appears once all is written, and nothing is left of a failure.
      shard_size: bytes of records after which the next shard begins.
      without: pictures that are left out.

    Returns:
      What was written of each category.

    Raises:
      FileExistsError: the folder is there already.
      OSError: a picture cannot be read, or the folder cannot be written.
    """
    folder = Path(folder)
    check_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    found, left_out = {}, set(without)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.part-") as part:
        whole = Path(part) / "whole"  # the folder around it may be read by nobody else
        for name, one in several.items():
            (whole / name).mkdir(parents=True)
            found[name] = _written(name, one, whole / name, folder, shard_size, left_out)
        whole.rename(folder)
    return found


def check_free(folder: Path) -> None:
    """Raises FileExistsError if there is something already where shards are to be written."""
    if os.path.lexists(folder):
        raise FileExistsError(f"{folder} is there already: remove it, or give another folder")


def _written(
    name: str, found: Listed, place: Path, folder: Path, shard_size: int, without: Collection[Path]
) -> Packed:
    """Writes a category to a place that is to become a part of a folder."""
    splits = {
        split: [f for f in getattr(found, split) if f.path not in without] for split in SPLITS
    }
    everything = [(split, file) for split, several in splits.items() for file in several]
    base = _above([path for _, file in everything for path in (file.path, *file.masks)])
    writer, lines = _Writer(place, folder, shard_size), []
    for split, file in progress.shown(everything, f"packing {name}", len(everything)):
        about = [split, file.record.name, file.record.defect, file.record.kind]
        entries = [writer.add(path, base, about) for path in (file.path, *file.masks)]
        lines.append(json.dumps([*about, entries], ensure_ascii=False).encode())
    writer.close()
    text = b"".join(line + b"\n" for line in lines)
    index = {
        "format": shard_index.FORMAT,
        "pictures": {split: len(several) for split, several in splits.items()},
        "saturations": found.saturations and {k: [*x] for k, x in found.saturations.items()},
        "listing": Shard(shard_index.LISTING, len(lines), len(text))._asdict(),
        "checksum": zlib.crc32(text),
        "shards": [shard._asdict() for shard in writer.shards],
    }
    with _told(folder):
        (place / shard_index.LISTING).write_bytes(text)
        (place / shard_index.INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    return Packed(
        index["pictures"],
        sum(len(file.masks) for _, file in everything),
        sum(shard.bytes for shard in writer.shards),
        len(writer.shards),
    )


class _Writer:
    """Writes files into shards, one after the other.

    Attributes:
      shards: that are written to the end.
    """

    def __init__(self, place: Path, folder: Path, size: int) -> None:
        self.shards: list[Shard] = []
        self._place, self._folder, self._size = place, folder, size
        self._writer: Any = None
        self._records = self._bytes = 0

    def add(self, path: Path, base: Path, about: Sequence[str]) -> Entry:
        """Writes a file and what is known of its picture; a new shard begins where one is full."""
        content = path.read_bytes()
        place = path.absolute().relative_to(base).as_posix()
        entry = Entry(place, len(content), path.stat().st_mtime_ns, zlib.crc32(content))
        split, name, defect, kind = about
        known = {"path": place, "split": split, "name": name, "defect": defect, "kind": kind}
        record = json.dumps(known, ensure_ascii=False).encode() + b"\n" + content
        if self._bytes and self._bytes + len(record) > self._size:
            self.close()
        with _told(self._folder):
            if self._writer is None:
                self._writer = _writer(self._place / self._name())
            self._writer.write(record)
        self._records, self._bytes = self._records + 1, self._bytes + len(record)
        return entry

    def close(self) -> None:
        """Ends a shard, if one was begun."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        file = self._place / self._name()
        with _told(self._folder):
            writer.close()
            there = shards.opened(file).num_records()
            if there != self._records:
                raise OSError(f"{there} of {self._records} records were kept")
        self.shards.append(Shard(file.name, self._records, file.stat().st_size))
        self._records = self._bytes = 0

    def _name(self) -> str:
        return f"{len(self.shards):05d}.array_record"


def _writer(path: Path) -> Any:
    from array_record.python.array_record_module import ArrayRecordWriter

    # One record is read at a time, and pictures are compressed already.
    return ArrayRecordWriter(str(path), "group_size:1,uncompressed")


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Within it something is written that is to become a part of a folder.

    Raises:
      OSError: it cannot be, whatever array_record raises then; the message names the folder.
    """
    try:
        yield
    except Exception as error:
        why = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise OSError(
            f"cannot write the shards of {folder} ({why}): nothing of them is left; free some "
            "space, or give another folder"
        ) from error


def _above(paths: Sequence[Path]) -> Path:
    """The folder that all of some files lie in."""
    return Path(os.path.commonpath({path.parent.absolute() for path in paths}))
