"""An answer on its way: in pieces, and what it holds is held until it is on the way."""

import contextlib

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PIECE = 2**18  # bytes


class Piecewise(Response):
    """A response that is handed to the connection no faster than it is fetched.

    In one piece it would be buffered there as a whole, which counts as sent, and as idle from then
    on; and its memory would be given to others while it lies there.

    Args:
      whole: the response.
      held: closed once all but the last piece has been fetched, or nobody fetches any more.
    """

    def __init__(self, whole: Response, held: contextlib.AsyncExitStack) -> None:
        super().__init__(status_code=whole.status_code)
        self.body, self.raw_headers, self._held = whole.body, whole.raw_headers, held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        async with self._held:
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            ends = range(PIECE, len(self.body), PIECE)
            for end in ends:
                piece = bytes(self.body[end - PIECE : end])
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            last = bytes(self.body[len(ends) * PIECE :])
            await send({"type": "http.response.body", "body": last, "more_body": False})
