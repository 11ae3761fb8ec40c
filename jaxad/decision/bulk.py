"""Decisions about many files, as plain rows."""

import datetime
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from jaxad.data import images
from jaxad.data.pictures import THREADS
from jaxad.data.reading import OnBadImage
from jaxad.data.source import Stamp
from jaxad.decision.batches import Raw, Seen
from jaxad.decision.predictor import Finding, Predictor

Row = dict[str, Any]
Write = Callable[[pathlib.Path, Seen, Finding], None]


def rows(
    predictor: Predictor,
    paths: Iterable[pathlib.Path],
    on_bad_image: OnBadImage = "skip",
    write: Write | None = None,
) -> Iterator[Row]:
    """A row for each file, in order; reading, computing and writing overlap.

    Args:
      predictor: the model.
      paths: of the files; taken as they are needed, so there may be any number.
      on_bad_image: "skip" gives a row that says why a file cannot be used; "error" raises.
      write: called for each picture, with its image, before its row comes; in threads.

    Raises:
      FileNotFoundError: a file is gone, where that is an error.
      ValueError: a file cannot be used, where that is an error.
      FloatingPointError: a map or a score is not finite.
      OSError: of `write`.
    """

    def see(path: pathlib.Path) -> Seen | Row | Exception:
        made = stamp(path)
        try:
            return predictor.see(path, write is not None)._replace(stamp=made)
        except (ValueError, OSError, MemoryError) as error:
            if on_bad_image == "error":
                return error  # raised in its turn, when the pictures before have their rows
            reason = images.reason(path, error)
            return {"path": str(path), **made, "error": reason}

    def finish(seen: Seen, raw: Raw) -> Row:
        began = time.perf_counter()
        finding = predictor.finding(seen, raw)
        assert seen.source is not None
        if write is not None:
            write(seen.source, seen, finding)
        return row(seen, finding, seen.seconds + time.perf_counter() - began)

    with ThreadPoolExecutor(THREADS) as pool:
        for found in predictor.stream(paths, pool, see, finish):
            if isinstance(found, Exception):
                raise found
            yield found


def stamp(path: pathlib.Path) -> Row:
    """The size of a file, and when it was changed; of one that is gone neither."""
    try:
        found = Stamp.of(path)
    except OSError:
        return {"bytes": None, "modified": None}
    changed = datetime.datetime.fromtimestamp(found.modified / 1e9, datetime.UTC)
    return {"bytes": found.size, "modified": changed.isoformat(timespec="microseconds")}


def row(seen: Seen, finding: Finding, seconds: float) -> Row:
    """What is known of a picture, as plain JSON: paths, numbers, regions.

    Args:
      seen: the picture.
      finding: about it.
      seconds: that were spent on it, computing apart.
    """
    height, width = seen.shape
    return {
        "path": str(seen.source),
        **seen.stamp,
        **finding.judgement._asdict(),
        "width": width,
        "height": height,
        "regions": [
            {**one._asdict(), "box": list(one.box), "centroid": list(one.centroid)}
            for one in finding.regions
        ],
        "seconds": round(seconds, 6),
    }
