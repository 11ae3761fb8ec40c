"""The rows of a prediction run on disk: nothing lost, nothing twice, however it ends.

A folder holds `predictions.jsonl`, a row for each picture in the order in which they were done, and
`predict.json`, what the rows depend on. A row is written when all files that belong to its picture
are there, so after a crash the pictures without a row are the ones that are left to do.
"""

import csv
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from filelock import FileLock, Timeout

from jaxad import whole
from jaxad.training.record import write_json

ROWS, ABOUT, SUMMARY = "predictions.jsonl", "predict.json", "summary.csv"
COLUMNS = ("path", "score", "percentile", "p_value", "label", "regions", "largest_area", "error")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what spreadsheets run, where a cell begins with it


class Journal:
    """The rows of one prediction run; used in a `with`.

    Attributes:
      path: the folder.
      done: of each picture that has a row its path, and what its file was like, see `bulk.stamp`.
        Those that could not be used are not among them, and are tried again.
    """

    def __init__(self, folder: str | os.PathLike[str], about: dict[str, Any]) -> None:
        """Of a folder, new or one that was written to with the same `about`.

        Args:
          folder: made where it is missing.
          about: what the rows depend on, as plain JSON: model, card, options.
        """
        self.path = pathlib.Path(folder).expanduser().absolute()
        self.done: dict[str, dict[str, Any]] = {}
        self._last: dict[str, int] = {}  # the number of each picture's last row
        self._count = 0
        self._about = about

    def __enter__(self) -> "Journal":
        """Takes the folder for this process.

        Raises:
          BlockingIOError: another process writes to it.
          ValueError: it holds rows of another model, card or options; or it is damaged.
          OSError: it cannot be written.
        """
        whole.ready(self.path)
        self._lock = FileLock(self.path / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise BlockingIOError(
                f"another process predicts into {self.path}: wait for it, or give another folder"
            ) from None
        try:
            self._check()
            self._mend()
            write_json(self.path / ABOUT, self._about)
            self._rows = open(self.path / ROWS, "ab")
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._rows.close()
        finally:
            self._lock.release()

    def add(self, row: dict[str, Any]) -> None:
        """Appends a row, with the "path" of its picture; it is there if the process dies."""
        self._rows.write(json.dumps(row, allow_nan=False).encode() + b"\n")
        self._rows.flush()
        self._note(row)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The last row of each picture, in their order."""
        for number, row in enumerate(_rows(self.path / ROWS)):
            if self._last.get(row["path"]) == number:
                yield row

    def _note(self, row: dict[str, Any]) -> None:
        path = row["path"]
        self._last[path] = self._count
        self._count += 1
        if "error" in row:
            self.done.pop(path, None)
        else:
            self.done[path] = {name: row.get(name) for name in ("bytes", "modified")}

    def summarise(self) -> pathlib.Path:
        """Writes `summary.csv`, harmless in a spreadsheet whatever the files are called."""
        path = self.path / SUMMARY
        with (
            whole.written(path) as part,
            open(part, "w", newline="", encoding="utf-8", errors="backslashreplace") as file,
        ):
            table = csv.writer(file)
            table.writerow(COLUMNS)
            for row in self.rows():
                found = row.get("regions", [])
                areas = [region["area"] for region in found]
                given = {**row, "regions": len(found), "largest_area": max(areas, default=0)}
                table.writerow([cell(given.get(name)) for name in COLUMNS])
        return path

    def _check(self) -> None:
        file = self.path / ABOUT
        if not file.exists():
            if (self.path / ROWS).exists():
                raise ValueError(f"{self.path} has {ROWS}, but not {ABOUT}: give another folder")
            return
        try:
            there = json.loads(file.read_text(encoding="utf-8"))
            if not isinstance(there, dict):
                raise ValueError("it is no object")
        except ValueError as error:
            raise ValueError(f"{file} is damaged ({error}): give another folder") from error
        now = json.loads(json.dumps(self._about))
        names = sorted({*there, *now})
        other = [name for name in names if there.get(name) != now.get(name)]
        if other:
            said = "; ".join(f"{n} is {there.get(n)!r} there, {now.get(n)!r} now" for n in other)
            raise ValueError(f"{self.path} holds other predictions: {said}. Give another folder")

    def _mend(self) -> None:
        """Cuts off a row that a crash left unfinished, and takes note of the others."""
        file = self.path / ROWS
        if not file.exists():
            return
        with open(file, "rb+") as rows:
            end = 0
            for line in rows:
                if not line.endswith(b"\n"):
                    break
                end += len(line)
            rows.truncate(end)
        for row in _rows(file):
            self._note(row)


def _rows(file: pathlib.Path) -> Iterator[dict[str, Any]]:
    with open(file, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise ValueError(f"{file} is damaged in line {number}: {error}") from error


def cell(value: Any) -> Any:
    """A value as a spreadsheet shows it: a text that it would run as a formula begins with '."""
    if isinstance(value, str) and value.startswith(FORMULA):
        return "'" + value
    return "" if value is None else value
