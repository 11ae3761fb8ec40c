"""Many pictures in a few large files: array_record shards, read at random.

A file in shards goes by a path as if it lay in their folder, SHARDS/bottle/test/crack/000.png, so
that all that takes the path of a picture takes this one; see `content`.
"""

import bisect
import functools
import itertools
import json
import os
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from jaxad.data.shard_index import AGAIN, INDEX, LISTING, categories, index, is_packed, rows
from jaxad.data.source import Stamp


def files(folder: Path) -> list[Path]:
    """The paths of all files in shards in and below a folder, sorted; none of other folders."""
    inside = [folder] if is_packed(folder) else [folder / name for name in categories(folder)]
    several = ((sub, rows(sub, index(sub))) for sub in inside)
    return sorted(sub / x.path for sub, read in several for row in read for x in row.files)


def content(path: str | Path) -> bytes | None:
    """What is in a file that lies in shards; None of one on disk, or in no shards.

    Raises:
      ValueError: the record is not what was packed; the message names shard and file.
      OSError: the shard cannot be read.
    """
    found = _found(path)
    return None if found is None else found[0].read(found[1])


def stamp(path: str | Path) -> Stamp:
    """What tells a file, on disk or in shards, from another one of its name.

    Of a file in shards it has the time of change that the file had where it was packed.

    Raises:
      FileNotFoundError: there is no such file.
    """
    try:
        return Stamp.of(path)
    except (FileNotFoundError, NotADirectoryError):
        if (found := _found(path)) is None:
            raise
        return found[0].stamp(path if isinstance(path, Path) else Path(path), found[1])


class _Reader:
    """The files in the shards of one folder, by their paths in it."""

    def __init__(self, folder: Path) -> None:
        found = index(folder)
        entries = [entry for row in rows(folder, found) for entry in row.files]
        self._folder, self._shards = folder, found.shards
        self._ends = list(itertools.accumulate(shard.records for shard in found.shards))
        if len(entries) != sum(self._ends[-1:]):
            raise ValueError(f"{folder / INDEX} does not belong to {LISTING}: {AGAIN}")
        self.numbers = {entry.path: number for number, entry in enumerate(entries)}
        # A million tuples would be as many hundred megabytes.
        self._sizes = np.array([entry.size for entry in entries], np.int64)
        self._modified = np.array([entry.modified for entry in entries], np.int64)
        self._checksums = np.array([entry.checksum for entry in entries], np.uint32)
        self._opened: dict[int, Any] = {}
        self._lock = threading.Lock()

    def stamp(self, path: Path, number: int) -> Stamp:
        size, modified = int(self._sizes[number]), int(self._modified[number])
        return Stamp(path, size, modified, int(self._checksums[number]))

    def read(self, number: int) -> bytes:
        which = bisect.bisect_right(self._ends, number)
        shard = self._shards[which]
        place = number - (self._ends[which] - shard.records)
        try:
            (record,) = self._shard(which).read([place])
            about, _, whole = record.partition(b"\n")
            name = json.loads(about)["path"]
        except Exception as error:  # array_record documents none of those it raises
            why = str(error).partition("\n")[0]
        else:
            same = self.numbers.get(name) == number and len(whole) == self._sizes[number]
            if same and zlib.crc32(whole) == self._checksums[number]:
                return whole
            why = "its checksum is another one"
        name = next(name for name, other in self.numbers.items() if other == number)
        raise ValueError(
            f"{self._folder / shard.file}: record {place}, {name}, is not what was packed ({why}): "
            f"{AGAIN}"
        )

    def _shard(self, which: int) -> Any:
        """What reads a shard; it may be used by several threads."""
        with self._lock:
            if which not in self._opened:
                self._opened[which] = opened(self._folder / self._shards[which].file)
            return self._opened[which]


def opened(shard: Path) -> Any:
    """What reads the records of a file by their numbers."""
    from array_record.python.array_record_module import ArrayRecordReader

    # Nothing is read ahead: who asks for a picture asks for any other one next.
    return ArrayRecordReader(
        str(shard), options="readahead_buffer_size:0", file_reader_buffer_size=32768
    )


def _found(path: str | Path) -> tuple[_Reader, int] | None:
    """What reads a file in shards, and its number there; None of others."""
    if os.path.lexists(path):
        return None
    path = str(path if isinstance(path, Path) else Path(path))
    found = _root(os.path.dirname(path))
    if found is None:
        return None
    root, before = found
    about = os.stat(f"{root}{os.sep}{INDEX}")
    with _READING:
        reader = _reader(root, about.st_dev, about.st_ino, about.st_mtime_ns)
    number = reader.numbers.get(path[before:].replace(os.sep, "/"))
    return None if number is None else (reader, number)


def _root(place: str) -> tuple[str, int] | None:
    """The category in shards that a folder seems to lie in, and how long paths are before theirs.

    Args:
      place: the folder, which is none on disk.
    """
    known = _ROOTS.get(place)
    if known is not None and is_packed(known[0]):
        return known
    for folder in (Path(place), *Path(place).parents):
        if is_packed(folder):
            _ROOTS[place] = str(folder), len(str(folder / "_")) - 1
            return _ROOTS[place]
    return None


_READING = threading.Lock()  # the first thread that asks reads the listing, the others wait
_ROOTS: dict[str, tuple[str, int]] = {}  # by the place of a file: a million lie in few places


@functools.lru_cache(maxsize=32)
def _reader(folder: str, device: int, file: int, changed: int) -> _Reader:
    """Of the index in a folder, by what tells its file from others: read once in each process."""
    return _Reader(Path(folder).absolute())
