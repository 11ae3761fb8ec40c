"""The process: an address that is taken first, models that load meanwhile, an end without loss."""

import errno
import ipaddress
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from jaxad.serve.limits import Limits
from jaxad.serve.protocol import watched
from jaxad.serve.service import Service

log = logging.getLogger(__name__)

NOTICE = 1.0  # seconds at the end in which /readyz still answers, so that others notice
BACKLOG = 1024  # connections that wait to be taken


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
      ValueError: the address is in use, not this machine's, or not allowed.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise ValueError(f"--host {host}: no such address ({error})") from None
    # asyncio sends at once (TCP_NODELAY) on sockets that name their protocol alone; on others half
    # an answer waits 40 ms for the acknowledgement of the other half.
    found = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere it would let two services share a port
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(BACKLOG)
    except OSError as error:
        found.close()
        if error.errno == errno.EADDRINUSE:
            raise ValueError(
                f"--port {port}: another program listens at {host}:{port}; give another port"
            ) from None
        raise ValueError(f"--host {host} --port {port}: {error.strerror or error}") from None
    return found


def is_loopback(place: socket.socket) -> bool:
    """Whether only this machine reaches a socket."""
    return ipaddress.ip_address(place.getsockname()[0].partition("%")[0]).is_loopback


def address(place: socket.socket) -> str:
    """Where a browser finds a socket."""
    host, port = place.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server(uvicorn.Server):
    """Serves until a signal, then answers what it has taken.

    From the signal on `/readyz` says no and new pictures are refused; it ends when those in work
    are answered, or when their time of grace is over. A second signal ends it at once.

    Args:
      config: uvicorn's.
      service: that is ended.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._asked: float | None = None  # when the end was asked for

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Of a signal."""
        if self._asked is not None:
            self.should_exit = self.force_exit = True
        self._service.stopping, self._asked = True, time.monotonic()

    async def on_tick(self, counter: int) -> bool:
        """Whether the end has come; asked ten times a second."""
        over = await super().on_tick(counter)
        if over or self._asked is None:
            return over
        waited = time.monotonic() - self._asked
        done = waited > NOTICE and not self._service.active
        return done or waited > self._service.limits.grace


def run(place: socket.socket, service: Service, app: ASGIApp, load: Callable[[], None]) -> None:
    """Serves until SIGTERM or SIGINT.

    Args:
      place: a socket that listens.
      service: what answers.
      app: its application.
      load: adds the models to it; called in a thread, so that `/healthz` answers meanwhile.

    Raises:
      Exception: what `load` raised.
    """
    server = Server(configured(app, service), service)
    failed: list[Exception] = []

    def loading() -> None:
        try:
            load()
        except Exception as error:
            failed.append(error)
            server.should_exit = True

    thread = threading.Thread(target=loading, name="loading", daemon=True)
    thread.start()
    server.run([place])
    service.close()
    if failed:
        raise failed[0]
    if thread.is_alive():  # a compilation cannot be interrupted, and would fail at Python's end
        log.info("ended while models were loading")
        os._exit(0)
    if service.working:  # Python would wait for a picture that takes long
        log.info("ended while a picture was being read or drawn")
        os._exit(0)


def configured(app: ASGIApp, service: Service) -> uvicorn.Config:
    """Uvicorn's settings for a service."""
    limits: Limits = service.limits
    rejected = lambda reason: service.metrics.rejected.labels(reason).inc()
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=watched(limits, rejected),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=max(1, round(limits.keep_alive)),
        timeout_graceful_shutdown=max(1, min(5, round(limits.grace))),  # to send what is ready
    )
