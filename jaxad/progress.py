"""What a person sees of work that takes longer than they like to wait."""

import contextlib
import logging
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")
AFTER = 2.0  # seconds without a word


def shown(
    things: Iterable[T], what: str, total: int | None = None, unit: str = "picture"
) -> Iterator[T]:
    """The things, with rate and remaining time on a terminal; nothing is written to a pipe.

    Args:
      things: what is gone through.
      what: is done, in a word.
      total: how many there are, where they have no length.
      unit: what one is called.
    """
    with bar(what, total, unit, things) as found:
        yield from found


def bar(
    what: str,
    total: int | None = None,
    unit: str = "picture",
    things: Iterable[Any] | None = None,
) -> Any:
    """As `shown`, for work that is not gone through one by one: a `with`, told by `update(count)`.

    Args:
      what: is done, in a word.
      total: how many there are.
      unit: what one is called.
      things: what is gone through, if it is iterated.
    """
    return tqdm(
        things, what, total, unit=unit, leave=False, delay=AFTER, disable=None, dynamic_ncols=True
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Within it this package logs warnings alone: what is told once is not told for each part."""
    logger = logging.getLogger("jaxad")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def printable(text: str, lines: bool = False) -> str:
    """A text for any terminal and page: what would control either, or is no text, is escaped.

    Args:
      text: perhaps with the names of files in it.
      lines: whether ends of lines stay.
    """
    kept = "\n" if lines else ""
    escaped = lambda c: c if c.isprintable() or c in kept else c.encode("unicode_escape").decode()
    return "".join(map(escaped, text))


def plain(text: str) -> str:
    """A text that can be written to a file; bytes of a file's name that are no text are escaped."""
    return text.encode(errors="backslashreplace").decode()
