"""What a person sees of work that takes longer than they like to wait."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

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
    yield from tqdm(
        things, what, total, unit=unit, leave=False, delay=AFTER, disable=None, dynamic_ncols=True
    )
