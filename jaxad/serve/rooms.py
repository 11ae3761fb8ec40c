"""Bounds on what is held at a time: bytes, pixels, pictures."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator


class Room:
    """Room for so much at a time; who wants more waits in line. Used in one event loop.

    Args:
      size: of all that is held together.

    Attributes:
      size: as given.
      free: of it.
    """

    def __init__(self, size: int) -> None:
        self.size = self.free = size
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()

    def try_take(self, amount: int) -> bool:
        """Takes room if there is some and nobody waits for it; whether that was so."""
        if self._line or amount > self.free:
            return False
        self.free -= amount
        return True

    def give(self, amount: int) -> None:
        """Gives room back."""
        self.free += amount
        while self._line and self._line[0][0] <= self.free:
            wanted, turn = self._line.popleft()
            self.free -= wanted
            if not turn.done():  # or who waited is about to give it back
                turn.set_result(None)

    @contextlib.asynccontextmanager
    async def held(self, amount: int) -> AsyncIterator[None]:
        """Within it room is held; one who wants more than there is at all has all of it."""
        amount = min(amount, self.size)
        if not self.try_take(amount):
            await self._wait(amount)
        try:
            yield
        finally:
            self.give(amount)

    async def _wait(self, amount: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = amount, turn
        self._line.append(place)
        try:
            await turn
        except asyncio.CancelledError:
            if place in self._line:
                self._line.remove(place)
                self.give(0)  # who was behind it may fit
            else:  # the turn came at the same moment
                self.give(amount)
            raise
