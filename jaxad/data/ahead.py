"""A function of many things, computed in threads some way ahead, in their order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def ahead(
    function: Callable[[A], B], things: Iterable[A], pool: Executor, window: int
) -> Iterator[B]:
    """What `function` gives of each thing, in order; at most `window` are under way or waiting.

    Things are taken from their iterable in the thread that iterates. An error of the function is
    raised where its result would have come; what had not begun by then is dropped, and so it is
    where the iteration is closed.
    """
    waiting: deque[Future[B]] = deque()
    try:
        for thing in things:
            waiting.append(pool.submit(function, thing))
            if len(waiting) >= window:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
