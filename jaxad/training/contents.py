"""The files that a run learned from: `pictures.json` in its folder, looked at when it goes on.

A file is the same if its size and its time of change are, or else if its size and its content are:
a copy of the pictures will do. Beside it lies `preprocessing.json`: how files became pictures.
"""

import contextlib
import json
import pathlib
import zlib
from collections.abc import Iterator, Mapping, Sequence

from jaxad.data import preprocessing
from jaxad.data.files import counted, shown
from jaxad.data.source import Data, Stamp, stamps
from jaxad.training.record import write_json

FILE = "pictures.json"

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
    before = _written(folder)
    replaced = [
        now.path
        for name, now in _stamps(several).items()
        if name in before and not _is_same(before[name], now)
    ]
    if replaced:
        raise ValueError(
            f"replaced by others of the same names since the run in {folder} began: "
            f"{counted(len(replaced), 'picture')}; give another folder to learn from these:"
            f"{shown(replaced)}"
        )


@contextlib.contextmanager
def kept(folder: pathlib.Path, several: Sequence[Data]) -> Iterator[None]:
    """Writes what is known of the files at the beginning, and what was read of them at the end.

    Raises:
      OSError: the folder cannot be written.
    """
    preprocessing.write(folder, {k: v for data in several for k, v in data.preprocessing.items()})
    before = _written(folder)
    _write(folder, several, before)
    try:
        yield
    finally:
        _write(folder, several, before)


def _write(folder: pathlib.Path, several: Sequence[Data], before: Stamps) -> None:
    rows = {}
    for name, now in _stamps(several).items():
        then = before.get(name)
        known = now.checksum is None and then is not None and then.size == now.size
        checksum = then.checksum if known and then is not None else now.checksum
        rows[name] = [now.size, now.modified, checksum]
    if rows:
        write_json(folder / FILE, rows)


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


def _is_same(then: Stamp, now: Stamp) -> bool:
    if then.size != now.size or then.modified == now.modified:
        return then.size == now.size
    content = zlib.crc32(now.path.read_bytes()) if now.checksum is None else now.checksum
    return then.checksum == content
