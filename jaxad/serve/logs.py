"""Lines about requests, and all other log lines, as plain text or as JSON."""

import datetime
import json
import logging
from typing import Any, Literal

from jaxad.progress import printable

Format = Literal["text", "json"]
log = logging.getLogger("jaxad.serve.requests")


def use(kind: Format) -> None:
    """Lets all log lines have a form; after `script.prepare`."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_Json() if kind == "json" else _Text())
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # not of each broken request


def told(client: str, method: str, path: str, status: int, seconds: float, **more: Any) -> None:
    """One line about a request that has been answered.

    Args:
      client: its address.
      method: of HTTP.
      path: that it asked for, without what follows "?"; cut, and made printable.
      status: of the answer; 0 where the client had gone.
      seconds: until the answer was sent.
      more: what else is known; nothing that is secret.
    """
    row = {
        "client": client, "method": printable(method[:16]), "path": printable(path[:200]),
        "status": status, "ms": round(1000 * seconds, 1), **more,
    }  # fmt: skip
    log.info("request", extra={"row": {k: v for k, v in row.items() if v is not None}})


class _Text(logging.Formatter):
    """`TIME LEVEL MESSAGE`, or a request's words; ends of lines stay in tracebacks alone."""

    def format(self, record: logging.LogRecord) -> str:
        row = getattr(record, "row", None)
        if row is None:
            said = printable(super().format(record), lines=True)
        else:
            row = dict(row)
            first = [str(row.pop(name)) for name in ("client", "method", "path", "status")]
            rest = [f"{name}={printable(str(value))}" for name, value in row.items()]
            said = " ".join([*first, *rest])
        return f"{_time(record)} {record.levelname.lower()} {said}"


class _Json(logging.Formatter):
    """An object a line."""

    def format(self, record: logging.LogRecord) -> str:
        row = {"time": _time(record), "level": record.levelname.lower()}
        row |= getattr(record, "row", None) or {"message": printable(record.getMessage(), True)}
        if record.exc_info:
            row["traceback"] = self.formatException(record.exc_info)
        return json.dumps(row)


def _time(record: logging.LogRecord) -> str:
    return datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(
        timespec="milliseconds"
    )
