"""The files that a run learned from: `pictures.json` in its folder, looked at when it goes on.

A file is the same if its size and its time of change are, or else if its size and its content are:
a copy of the pictures will do. Beside it lies `preprocessing.json`: how files became pictures.
"""

import contextlib
import hashlib
import json
import pathlib
import zlib
from collections.abc import Iterator, Mapping, Sequence

from jaxad.data import preprocessing
from jaxad.data.files import counted, shown
from jaxad.data.source import Data, Stamp, stamps
from jaxad.mesh import hosts
from jaxad.training.record import write_json

FILE = "pictures.json"
READ = 2**33  # bytes that are read at the end of a run to know them again: minutes from a disk

Stamps = dict[str, Stamp]  # by the name of a source, and that of its picture


def check(folder: pathlib.Path, several: Sequence[Data]) -> None:
    """Compares the files with those that a run in this folder learned from, if there is one.

    Args:
      folder: of the run.
      several: the data sets that it learns from; one, but for a sweep.

    Raises:
      ValueError: some are other ones by now, under the same names; or what is written there is
        damaged.
    """
    before, replaced, untold = _written(folder), [], []
    for name, now in _stamps(several).items():
        then = before.get(name)
        if then is None or (then.size, then.modified) == (now.size, now.modified):
            continue
        if then.size == now.size and then.checksum is None:
            untold.append(now.path)
        elif then.size != now.size or then.checksum != _summed(now):
            replaced.append(now.path)
    for what, paths in (
        ("replaced by others of the same names", replaced),
        ("changed or copied, and it had not noted yet what is in them,", untold),
    ):
        if paths:
            raise ValueError(
                f"{what} since the run in {folder} began: {counted(len(paths), 'picture')}; give "
                f"another folder to learn from these:{shown(paths)}"
            )


@contextlib.contextmanager
def kept(folder: pathlib.Path, several: Sequence[Data]) -> Iterator[None]:
    """Writes what is known of the files at the beginning, and what was read of them at the end.

    Of many hosts the first one does. Files that were not read, as where a run ends before its first
    epoch or other processes read, are read for it if they have no more than `READ` bytes together.

    Raises:
      OSError: the folder cannot be written.
    """
    if not hosts.primary():
        yield
        return
    preprocessing.write(folder, {k: v for data in several for k, v in data.preprocessing.items()})
    before = _written(folder)
    _write(folder, several, before)
    whole = False
    try:
        yield
        whole = True
    finally:
        _write(folder, several, before, whole)


def listing(several: Sequence[Data]) -> str:
    """A hash of the names and sizes of all files that the data sets learn from."""
    names = sorted((name, stamp.size) for name, stamp in _stamps(several).items())
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:16]


def same(folder: pathlib.Path, data: Data) -> bool:
    """Whether the training pictures are those that the run in a folder learned from.

    By the names, sizes and times or checksums of their files; pictures without files are told
    apart by the run's record alone.
    """
    before = _written(folder)
    now = {n: stamp for n, stamp in _stamps([data]).items() if n.startswith("train/")}
    for name, stamp in now.items():
        then = before.get(name)
        if then is None or then.size != stamp.size:
            return False
        if then.modified != stamp.modified and then.checksum != _summed(stamp):
            return False
    return True


def learned_from(folder: pathlib.Path, paths: Sequence[pathlib.Path]) -> list[pathlib.Path]:
    """Those of some files whose content the run in a folder learned from, whatever their names."""
    rows = {name.partition("/"): stamp for name, stamp in _written(folder).items()}
    known = {
        (stamp.size, stamp.checksum)
        for (place, _, _), stamp in rows.items()
        if place.endswith("train") and stamp.checksum is not None
    }
    sizes = {size for size, _ in known}
    found = []
    for path in paths:
        size = path.stat().st_size
        if size in sizes and (size, zlib.crc32(path.read_bytes())) in known:
            found.append(path)
    return found


def _write(
    folder: pathlib.Path, several: Sequence[Data], before: Stamps, whole: bool = False
) -> None:
    learned = _stamps([data._replace(streams={}) for data in several])
    rows, there = {}, _stamps(several)
    if whole:
        size = sum(x.size for name, x in there.items() if x.checksum is None and name in learned)
        whole = size <= READ
    for name, now in there.items():
        then = before.get(name)
        known = now.checksum is None and then is not None and then.size == now.size
        checksum = then.checksum if known and then is not None else now.checksum
        unread = whole and checksum is None and name in learned
        if unread and Stamp.of(now.path)[:3] == now[:3]:  # still the file that was opened
            checksum = _summed(now)
        rows[name] = [now.size, now.modified, checksum]
    if rows:
        write_json(folder / FILE, rows, indent=None)


def _written(folder: pathlib.Path) -> Stamps:
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        rows: Mapping[str, Sequence] = json.loads(path.read_text(encoding="utf-8"))
        return {name: Stamp(path, *row) for name, row in rows.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}); give another folder") from error


def _stamps(several: Sequence[Data]) -> Stamps:
    """Of all that the data sets learn from."""
    found: Stamps = {}
    for number, data in enumerate(several):
        sources = {"train": data.train, "heldout": data.heldout, **data.streams}
        for kind, source in sources.items():
            place = kind if len(several) == 1 else f"{number}: {kind}"
            found |= {f"{place}/{name}": stamp for name, stamp in stamps(source).items()}
    return found


def _summed(now: Stamp) -> int:
    return zlib.crc32(now.path.read_bytes()) if now.checksum is None else now.checksum
