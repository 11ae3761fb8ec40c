"""Pictures as a detector sees them, and their parts computed in full batches across pictures."""

import pathlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray as NpArray

from jaxad.decision.squares import Cut

Image = UInt8[NpArray, "H W 3"]
WAITING = 1024  # things that wait for a batch to be full, at most


class Seen(NamedTuple):
    """A picture that has been read, as a detector sees it.

    Attributes:
      shape: rows and columns of the picture.
      image: at its own size; None if it is not kept.
      cuts: the parts that are shown to the detector.
      squares: each part at the detector's size.
      source: the path that it was read from; None of an array.
      seconds: that this took.
      stamp: what its file was like, see `bulk.stamp`; empty of an array.
    """

    shape: tuple[int, int]
    image: Image | None
    cuts: list[Cut]
    squares: UInt8[NpArray, "n size size 3"]
    source: pathlib.Path | None = None
    seconds: float = 0.0
    stamp: dict[str, Any] = {}


class Raw(NamedTuple):
    """What a detector gave of a picture's parts: their maps and scores."""

    maps: Float32[NpArray, "n size size"]
    scores: Float32[NpArray, "n"]


def computed(
    items: Iterable[Any], run: Callable[[NpArray], Any], size: int
) -> Iterator[tuple[Any, Raw | None]]:
    """Each thing with what the detector gave of its squares; None for what is no picture.

    Batches are filled across pictures, the last one with copies, so that nothing compiles anew; one
    is computed while the next is gathered.

    Args:
      items: `Seen` pictures, and other things that keep their place among them.
      run: squares `B size size 3` -> their `Prediction`, perhaps still being computed.
      size: of a batch, B.
    """
    opened: deque[_Opened] = deque()
    gathered: list[tuple[_Opened, int]] = []
    started = None

    def launch() -> Any:
        squares = [one.thing.squares[place] for one, place in gathered]
        squares += squares[-1:] * (size - len(squares))
        owners = gathered.copy()
        gathered.clear()
        return owners, run(np.stack(squares))

    def finish() -> None:
        last = launch() if gathered else None
        _collect(started)
        _collect(last)

    def ready() -> Iterator[tuple[Any, Raw | None]]:
        while opened and not opened[0].missing:
            one = opened.popleft()
            yield one.thing, one.raw()

    for item in items:
        one = _Opened(item)
        opened.append(one)
        for place in range(one.missing):
            gathered.append((one, place))
            if len(gathered) == size:
                launched = launch()
                _collect(started)
                started = launched
        if len(opened) > WAITING:  # things that are no pictures, behind one that is
            finish()
            started = None
        yield from ready()
    finish()
    yield from ready()


class _Opened:
    """A picture whose parts are being predicted; or another thing, of which nothing is."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing
        self.missing = len(thing.squares) if isinstance(thing, Seen) else 0
        self.parts: list[tuple[Float32[NpArray, "size size"], float]] = []

    def add(self, map: Float32[NpArray, "size size"], score: float) -> None:
        self.parts.append((map, score))
        self.missing -= 1

    def raw(self) -> Raw | None:
        if not self.parts:
            return None
        maps, scores = zip(*self.parts, strict=True)
        return Raw(np.stack(maps), np.array(scores, np.float32))


def _collect(started: Any) -> None:
    """Waits for a batch, and gives each picture what is its own; parts are in their order."""
    if started is None:
        return
    owners, prediction = started
    maps = np.asarray(prediction.map, np.float32)
    scores = np.asarray(prediction.score, np.float32)
    for (one, _), map, score in zip(owners, maps, scores, strict=False):  # without the filling
        one.add(map, float(score))
