"""Requests as they arrive: the pictures in a body, read within limits of size, number and time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import NamedTuple

from starlette.requests import Request

from jaxad.serve.failures import Refused
from jaxad.serve.limits import Limits
from jaxad.serve.rooms import Room

FORM = "multipart/form-data"
BYTES = "application/octet-stream"
TYPES = f"a picture's type (image/...) or {BYTES}"


class Upload(NamedTuple):
    """A picture of a request.

    Attributes:
      name: that the sender gave it: a label, which never becomes a path.
      content: the bytes of its file.
      type: that the sender says it is of, in small letters; empty for none.
    """

    name: str
    content: bytes
    type: str

    def check(self) -> None:
        """Raises Refused where the sender does not say that it is a picture."""
        if self.type not in ("", BYTES) and not self.type.startswith("image/"):
            raise Refused(
                415, "unsupported_type", f"the type is {self.type[:80]!r}: expected {TYPES}"
            )


class Body(NamedTuple):
    """All of a request.

    Attributes:
      content: its bytes.
      type: the header `Content-Type`.
      is_form: whether it holds several pictures.
    """

    content: bytes
    type: str
    is_form: bool


@contextlib.asynccontextmanager
async def received(request: Request, limits: Limits, room: Room) -> AsyncIterator[Body]:
    """A request's body; within it, its bytes are held in the room.

    Raises:
      Refused: it is of a type that is not read (415), too large (413), too slow (408), or others
        have taken the room (503).
      starlette.requests.ClientDisconnect: the sender has gone.
    """
    kind = request.headers.get("content-type", "")
    plain = kind.partition(";")[0].strip().lower()
    is_form = plain == FORM
    if not is_form:
        _check_type(plain)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "unsupported_type", "send the picture as it is, not Content-Encoding")
    _check_length(request.headers.get("content-length"), limits)
    taken, chunks = 0, []
    try:
        try:
            async with asyncio.timeout(limits.body_timeout):
                async for chunk in request.stream():
                    if taken + len(chunk) > limits.max_bytes:
                        raise _too_large(limits)
                    if not room.try_take(len(chunk)):
                        raise Refused(
                            503, "overloaded", "too much is arriving at the moment", retry=1
                        )
                    taken += len(chunk)
                    chunks.append(chunk)
        except TimeoutError:
            raise Refused(
                408,
                "too_slow",
                f"the request did not arrive within {limits.body_timeout:g} seconds "
                "(--body-timeout)",
            ) from None
        content = b"".join(chunks)
        chunks.clear()
        yield Body(content, kind, is_form)
    finally:
        room.give(taken)


def _check_type(plain: str) -> None:
    try:
        Upload("", b"", plain).check()
    except Refused as refused:
        refused.message += f" or, for several, {FORM}; with curl: -H 'Content-Type: {BYTES}'"
        raise


def _check_length(text: str | None, limits: Limits) -> None:
    """Raises Refused where the head says already that the body is too large."""
    if text is not None and text.isdecimal() and int(text) > limits.max_bytes:
        raise _too_large(limits)


def _too_large(limits: Limits) -> Refused:
    return Refused(
        413,
        "too_many_bytes",
        f"the request has more than {limits.max_bytes} bytes (--max-bytes)",
    )
