"""How a request says what it wants, and the forms that an answer may have."""

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from jaxad.serve.answers import Answer
from jaxad.serve.failures import Refused


def parameters(request: Request, known: Collection[str]) -> dict[str, str]:
    """What follows "?" in an address.

    Raises:
      Refused: something unknown, or something twice.
    """
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            said = f"expected {', '.join(known)}" if known else "there are none here"
            raise Refused(400, "bad_request", f"unknown parameter {name[:80]!r}: {said}")
        if name in found:
            raise Refused(400, "bad_request", f"the parameter {name} comes twice")
        found[name] = value
    return found


def wants_png(request: Request) -> bool:
    """Whether a picture is asked for, not JSON.

    Raises:
      Refused: neither would do.
    """
    kinds = [one.partition(";")[0].strip() for one in request.headers.get("accept", "").split(",")]
    for kind in kinds:  # in the order in which they are named
        if kind == "image/png":
            return True
        if kind in ("", "*/*", "application/*", "application/json"):
            return False
    raise Refused(406, "not_acceptable", "Accept: expected application/json or image/png")


def png(found: Answer) -> Response:
    """The overlay as a file; what is decided is in its headers."""
    names = {"label": "Label", "score": "Score", "percentile": "Percentile", "p_value": "P-Value"}
    headers = {
        f"X-Jaxad-{name}": str(found.row[key])
        for key, name in names.items() if found.row[key] is not None
    }  # fmt: skip
    headers["X-Jaxad-Regions"] = str(len(found.row["regions"]))
    return Response(found.png, headers=headers, media_type="image/png")


async def while_there(request: Request, answer: Coroutine[Any, Any, Response]) -> Response:
    """An answer, unless who asked goes before it is there.

    Raises:
      ClientDisconnect: they have gone; what they asked for is given up.
    """

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(answer), asyncio.ensure_future(gone())
    try:
        await asyncio.wait([working, leaving], return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.wait([working, leaving])
        if not working.cancelled():
            working.exception()  # nobody asks for it any more
