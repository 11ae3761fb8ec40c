"""Work in threads that is waited for to its end, so that what it holds is known."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
THREADS = min(16, os.cpu_count() or 1)


class Threads:
    """Some threads that decode pictures and draw maps.

    Args:
      count: how many.
    """

    def __init__(self, count: int = THREADS) -> None:
        self._pool = ThreadPoolExecutor(count, "pictures")
        self._begun: set[Future[Any]] = set()

    @property
    def working(self) -> int:
        """How many things are being done, or are about to be."""
        return sum(not one.done() for one in self._begun.copy())

    async def do(self, function: Callable[..., T], *arguments: Any) -> T:
        """What a function gives, in a thread.

        If who waits is cancelled, what has begun is waited for all the same: only then may the
        memory that it holds be given to others.
        """
        begun = self._pool.submit(function, *arguments)
        self._begun.add(begun)
        begun.add_done_callback(self._begun.discard)
        waiting = asyncio.wrap_future(begun)
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            if not begun.cancel():
                await asyncio.wait([waiting])
                if not waiting.cancelled():
                    waiting.exception()  # nobody asks for it any more
            raise

    def close(self) -> None:
        """Ends the threads, once what they do is done."""
        self._pool.shutdown(wait=False, cancel_futures=True)
