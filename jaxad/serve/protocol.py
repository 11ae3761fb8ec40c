"""uvicorn's protocol with a watch on each connection: nobody holds one by being slow.

uvicorn bounds how long a connection may be silent between requests, but neither how slowly a head
may arrive nor how slowly an answer may be fetched.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from jaxad.serve.failures import Refused
from jaxad.serve.limits import Limits


def watched(limits: Limits, rejected: Callable[[str], None]) -> type[H11Protocol]:
    """A protocol that keeps these limits.

    Args:
      limits: of times and connections.
      rejected: told why a connection was closed.
    """
    whole = limits.body_timeout + limits.timeout + limits.body_timeout  # arrive, answer, be fetched

    class Watched(H11Protocol):
        """A connection that has so long for a head, and so long for an answer."""

        _timer: asyncio.TimerHandle | None = None
        _request: Any = None  # the one that the timer is for
        _heard = False  # whether something has come that no request was made of yet

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                rejected("too_many_connections")
                self._say(
                    Refused(503, "overloaded", "too many connections (--connections)", retry=1)
                )
                return
            self._look()

        def connection_lost(self, exc: Exception | None) -> None:
            if self._timer is not None:
                self._timer.cancel()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            self._heard = True
            super().data_received(data)
            self._look()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._request = None
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._look()

        def _look(self) -> None:
            """Sets the timer anew where a request, or the wait for one, begins."""
            busy = self.cycle is not None and not self.cycle.response_complete
            request = self.cycle if busy else None
            if self._timer is not None and request is self._request:
                return
            if self._timer is not None:
                self._timer.cancel()
            self._request, self._heard = request, False
            idle = limits.head_timeout + (limits.keep_alive if self.cycle is not None else 0)
            seconds = whole if busy else idle
            self._timer = self.loop.call_later(seconds, self._late, busy)

        def _late(self, busy: bool) -> None:
            if busy or self.transport.is_closing():
                rejected("slow_reader")
                self.transport.abort()
                return
            if self.cycle is None and self._heard:
                rejected("slow_head")
                self._say(
                    Refused(
                        408, "too_slow", f"no request within {limits.head_timeout:g} seconds "
                        "(--head-timeout)",
                    )
                )  # fmt: skip
                return
            self.transport.abort()

        def _say(self, refused: Refused) -> None:
            """Answers without a request, and closes."""
            body = json.dumps(refused.as_dict()).encode()
            headers = {"Content-Type": "application/json", "Connection": "close"}
            headers |= refused.headers | {"Content-Length": str(len(body))}
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            head = f"HTTP/1.1 {refused.status} {refused.code}\r\n{lines}\r\n"
            self.transport.write(head.encode() + body)
            self.transport.close()
            self._timer = self.loop.call_later(limits.head_timeout, self.transport.abort)

    return Watched
