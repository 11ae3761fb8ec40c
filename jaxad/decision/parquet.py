"""Rows of a prediction as a Parquet table, for pandas, Spark and the like."""

import datetime
import importlib
import itertools
import pathlib
from collections.abc import Iterable
from typing import Any

from jaxad import whole
from jaxad.progress import plain

FILE = "predictions.parquet"
TOGETHER = 50_000  # rows in memory


def write(path: pathlib.Path, rows: Iterable[dict[str, Any]]) -> pathlib.Path:
    """Writes rows to a Parquet file, whole or not at all; its memory does not grow with them.

    The columns are the fields of the rows, and null where a row has no such field. `modified` is a
    time in UTC; `regions` is a list of structs, whose `box` and `centroid` are lists. Bytes of a
    path that are no text are escaped.

    Args:
      path: of the file.
      rows: of `bulk.rows`, any number.

    Raises:
      ModuleNotFoundError: pyarrow is not installed; the message says how it is.
      OSError: the file cannot be written.
    """
    pyarrow, schema = _pyarrow(), _schema()
    parquet = importlib.import_module("pyarrow.parquet")
    left = iter(rows)
    with whole.written(path) as part, parquet.ParquetWriter(part, schema) as file:
        while several := list(itertools.islice(left, TOGETHER)):
            file.write_table(pyarrow.Table.from_pylist([_typed(row) for row in several], schema))
    return path


def _pyarrow() -> Any:
    try:
        return importlib.import_module("pyarrow")
    except ModuleNotFoundError as error:
        if error.name != "pyarrow":
            raise  # it is installed, but something that it needs is not
        text = "Parquet needs pyarrow: pip install 'jaxad[ray]'"
        raise ModuleNotFoundError(text, name="pyarrow") from None


def _schema() -> Any:
    pa = _pyarrow()
    region = pa.struct(
        {
            "box": pa.list_(pa.int32()),
            "area": pa.int64(),
            "peak": pa.float64(),
            "mean": pa.float64(),
            "centroid": pa.list_(pa.float64()),
        }
    )
    return pa.schema(
        {
            "path": pa.string(),
            "bytes": pa.int64(),
            "modified": pa.timestamp("us", "UTC"),
            "score": pa.float64(),
            "percentile": pa.float64(),
            "p_value": pa.float64(),
            "label": pa.string(),
            "width": pa.int32(),
            "height": pa.int32(),
            "regions": pa.list_(region),
            "seconds": pa.float64(),
            "error": pa.string(),
        }
    )


def _typed(row: dict[str, Any]) -> dict[str, Any]:
    """A row with a time in place of its text, and with texts that are text throughout."""
    texts = {name: plain(row[name]) for name in ("path", "error") if name in row}
    changed = row.get("modified")
    time = None if changed is None else datetime.datetime.fromisoformat(changed)
    return {**row, **texts, "modified": time}
