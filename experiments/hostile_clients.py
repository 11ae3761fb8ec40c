"""Clients of the service that mean well, and clients that do not; for `bench_service.py`.

Each hostile one does what a broken or malicious sender does, and knows which answers are right.
"""

import asyncio
import contextlib
import json
import struct
import time
import zlib
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

CUT = 0  # in place of a status: the service closed the connection without one
PATIENCE = 120.0  # seconds for one answer


class Answer(NamedTuple):
    """What came back.

    Attributes:
      status: of HTTP, or `CUT`.
      body: as JSON; {} where there is none.
      retry: of `Retry-After`; 0 for none.
    """

    status: int
    body: dict[str, Any]
    retry: float = 0.0


class Connection:
    """A connection that sends and reads by hand."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._pipe: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def opened(self) -> bool:
        """Whether it has been used, and not been closed."""
        return self._pipe is not None

    async def send(self, content: bytes) -> None:
        """Sends; opens the connection first, if it is not open."""
        if self._pipe is None:
            self._pipe = await asyncio.open_connection("127.0.0.1", self._port)
        with contextlib.suppress(ConnectionError):  # the answer tells why
            self._pipe[1].write(content)
            await self._pipe[1].drain()

    async def answer(self) -> Answer:
        """The next answer."""
        assert self._pipe is not None
        try:
            async with asyncio.timeout(PATIENCE):
                head = (await self._pipe[0].readuntil(b"\r\n\r\n")).decode("latin-1")
                lines = head.lower().split("\r\n")
                fields = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
                body = await self._pipe[0].readexactly(int(fields.get("content-length", 0)))
        except (asyncio.IncompleteReadError, ConnectionError):
            await self.close()
            return Answer(CUT, {})
        if fields.get("connection") == "close":
            await self.close()
        is_json = fields.get("content-type", "").startswith("application/json")
        status = int(head.split(" ", 2)[1])
        return Answer(
            status, json.loads(body) if is_json else {}, float(fields.get("retry-after", 0))
        )

    async def close(self) -> None:
        """Closes it."""
        if self._pipe is not None:
            self._pipe[1].close()
            with contextlib.suppress(ConnectionError):
                await self._pipe[1].wait_closed()
            self._pipe = None


def request(body: bytes, kind: str = "image/png", length: int | None = None) -> bytes:
    """A request for a decision."""
    head = (
        "POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body


async def decided(connection: Connection, picture: bytes) -> tuple[Answer, int, float]:
    """A picture's answer, how often it was put off, and the seconds of the try that was taken."""
    waits, reused = 0, connection.opened
    while True:
        began = time.perf_counter()
        await connection.send(request(picture))
        found = await connection.answer()
        if found.status == CUT and reused:  # it was idle for too long: a new one
            reused = False
            continue
        seconds = time.perf_counter() - began
        if found.status != 503 or not found.retry:
            return found, waits, seconds
        waits += 1
        await asyncio.sleep(found.retry)


def huge(side: int = 60_000) -> bytes:
    """A PNG of a few bytes whose header promises billions of pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


async def _once(port: int, content: bytes) -> Answer:
    one = Connection(port)
    try:
        await one.send(content)
        return await one.answer()
    finally:
        await one.close()


async def truncated(port: int, picture: bytes) -> Answer:
    """A file whose end is missing."""
    return await _once(port, request(picture[: len(picture) // 2]))


async def enormous(port: int, picture: bytes) -> Answer:
    """A small file that would be gigabytes when decoded."""
    return await _once(port, request(huge()))


async def mistyped(port: int, picture: bytes) -> Answer:
    """A picture that is said to be a page."""
    return await _once(port, request(picture, "text/html"))


async def no_picture(port: int, picture: bytes) -> Answer:
    """Text that is said to be a picture."""
    return await _once(port, request(b"SELECT * FROM pictures;\n" * 100))


async def empty(port: int, picture: bytes) -> Answer:
    """Nothing at all."""
    return await _once(port, request(b""))


async def slow_body(port: int, picture: bytes) -> Answer:
    """A byte now and then, until the service has enough of it."""
    one = Connection(port)
    try:
        await one.send(request(b"", length=len(picture)))
        reading = asyncio.create_task(one.answer())
        for place in range(len(picture)):
            if reading.done():
                break
            await one.send(picture[place : place + 1])
            await asyncio.wait([reading], timeout=0.2)
        return await reading
    finally:
        await one.close()


async def slow_head(port: int, picture: bytes) -> Answer:
    """A head that never ends."""
    return await _once(port, b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")


async def hangs_up(port: int, picture: bytes) -> Answer:
    """Gone before the answer."""
    one = Connection(port)
    await one.send(request(picture))
    await one.close()
    return Answer(CUT, {})


async def too_long(port: int, picture: bytes) -> Answer:
    """A body that is said to be of a terabyte."""
    return await _once(port, request(picture, length=2**40))


async def broken_form(port: int, picture: bytes) -> Answer:
    """A form without an end."""
    form = b'--x\r\nContent-Disposition: form-data; name="a"; filename="../../etc/passwd"\r\n\r\n'
    return await _once(port, request(form + picture, "multipart/form-data; boundary=x"))


async def noise(port: int, picture: bytes) -> Answer:
    """Not even HTTP."""
    return await _once(port, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")


Hostile = Callable[[int, bytes], Awaitable[Answer]]
# Each with the answers that are right; 503 is always: there may be too much to do.
HOSTILE: dict[Hostile, tuple[int, ...]] = {
    truncated: (422,),
    enormous: (413,),
    mistyped: (415,),
    no_picture: (422,),
    empty: (422,),
    slow_body: (408,),
    slow_head: (408,),
    hangs_up: (CUT,),
    too_long: (413,),
    broken_form: (400,),
    noise: (400,),
}
