"""What every request passes: who asks, what is counted and logged, errors in one form."""

import asyncio
import logging
import time
from collections.abc import Collection
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jaxad.serve import logs
from jaxad.serve.auth import Gate
from jaxad.serve.failures import Refused
from jaxad.serve.service import Service

log = logging.getLogger(__name__)

SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class Door:
    """Wraps the routes.

    Args:
      app: the routes.
      service: that they ask.
      gate: who is let in.
      paths: of the routes; a request for another one is counted as "other".
      open_paths: those that need no token.
    """

    def __init__(
        self,
        app: ASGIApp,
        service: Service,
        gate: Gate,
        paths: Collection[str],
        open_paths: Collection[str],
    ) -> None:
        self._app, self._service, self._gate = app, service, gate
        self._paths, self._open = frozenset(paths), frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began, status = time.perf_counter(), 0
        about: dict[str, Any] = {}
        scope["state"] = {**scope.get("state", {}), "about": about}

        async def answering(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SAFE.items():
                    headers.setdefault(name, value)
                status = message["status"]
            await send(message)

        path = scope["path"]
        try:
            try:
                self._gate.check(Headers(scope=scope), path in self._open)
                await self._app(scope, receive, answering)
            except Refused as refused:
                await self._refuse(refused, scope, receive, answering)
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception("a request failed: this is a fault of jaxad, please report it")
                if status:  # too late to say it
                    raise
                fault = Refused(500, "fault", "the service failed at this request; its log has why")
                await self._refuse(fault, scope, receive, answering)
        finally:
            self._told(scope, path, status, time.perf_counter() - began, about)

    async def _refuse(self, refused: Refused, scope: Scope, receive: Receive, send: Send) -> None:
        self._service.metrics.rejected.labels(refused.code).inc()
        scope["state"]["about"]["error"] = refused.code
        answer = JSONResponse(refused.as_dict(), refused.status, refused.headers)
        await answer(scope, receive, send)

    def _told(
        self, scope: Scope, path: str, status: int, seconds: float, about: dict[str, Any]
    ) -> None:
        label = path if path in self._paths else "other"
        self._service.metrics.requests.labels(label, str(status)).inc()
        self._service.metrics.whole.labels(label).observe(seconds)
        client = scope.get("client")
        where = "-" if client is None else f"{client[0]}:{client[1]}"
        logs.told(where, scope["method"], path, status, seconds, **about)
