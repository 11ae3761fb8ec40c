"""Rows posted to an address as they come, without ever holding up the line."""

import contextlib
import http.client
import json
import logging
import queue
import threading
import urllib.parse
import urllib.request
from typing import Any

log = logging.getLogger(__name__)

WAITING = 10_000  # rows that wait at most; of more the oldest are given up
TRIES, TIMEOUT = 3, 5.0  # of one row; seconds
ENDING = 10.0  # seconds that are waited for at the end


class _Straight(urllib.request.HTTPRedirectHandler):
    """Follows no redirection, which would turn a POST into a GET without the row."""

    def redirect_request(self, *words: Any) -> None:
        return None


OPENER = urllib.request.build_opener(_Straight)


class Webhook:
    """Posts each row as JSON, in a thread of its own; used in a `with`.

    What cannot be delivered after `TRIES` is given up, counted and logged: the rows on disk have
    it.

    Args:
      url: http or https.

    Raises:
      ValueError: it is none.

    Attributes:
      lost: rows that were given up.
    """

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        plain = url.isascii() and " " not in url
        if parts.scheme not in ("http", "https") or not _is_address(parts) or not plain:
            raise ValueError(f"webhook={url!r}: expected http://... or https://... in ASCII")
        self.lost = 0
        self._url = url
        self._rows: queue.Queue[dict[str, Any] | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._failing = False
        self._given_up = threading.Event()

    def __enter__(self) -> "Webhook":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(queue.Full):
            self._rows.put(None, timeout=ENDING)
        self._thread.join(ENDING)
        self._given_up.set()
        self._thread.join(TIMEOUT)  # it dies with the process if an answer never ends
        left = sum(row is not None for row in self._rows.queue)
        if lost := self.lost + left:
            rows = "1 row was" if lost == 1 else f"{lost} rows were"
            log.warning("%s not delivered to %s, but all are in the folder", rows, self._url)

    def add(self, row: dict[str, Any]) -> None:
        """Lets a row be posted."""
        while True:
            try:
                self._rows.put_nowait(row)
                return
            except queue.Full:
                with contextlib.suppress(queue.Empty):
                    self._rows.get_nowait()
                    self.lost += 1

    def _work(self) -> None:
        while (row := self._rows.get()) is not None:
            if self._given_up.is_set():
                self.lost += 1
                return
            self._post(row)

    def _post(self, row: dict[str, Any]) -> None:
        content = json.dumps(row).encode()
        request = urllib.request.Request(
            self._url, content, {"Content-Type": "application/json"}, method="POST"
        )
        reason = ""
        for attempt in range(TRIES):
            try:
                with OPENER.open(request, timeout=TIMEOUT):
                    self._failing = False
                    return
            except (OSError, ValueError, http.client.HTTPException) as error:
                reason = str(error)
                if attempt + 1 == TRIES or self._given_up.wait(0.2 * 2**attempt):
                    break
        self.lost += 1
        if not self._failing:  # once, not for each row
            log.warning("the webhook %s does not answer: %s", self._url, reason)
        self._failing = True


def _is_address(parts: urllib.parse.SplitResult) -> bool:
    try:
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        return False
