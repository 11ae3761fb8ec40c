"""Squares of several requests computed together, by one thread, in the sizes that are compiled."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray as NpArray

from jaxad.decision.batches import Raw

log = logging.getLogger(__name__)

Compute = Callable[[NpArray], Any]  # squares `B size size 3` -> their `Prediction`


class Batch(NamedTuple):
    """What one call of a program was, for whoever counts.

    Attributes:
      model: whose program it was.
      squares: that were wanted.
      size: of the program: with the copies that filled it up.
      waits: seconds that each picture which began with it had waited.
      seconds: of the call, until its numbers were there.
      failed: whether it raised.
    """

    model: str
    squares: int
    size: int
    waits: Sequence[float]
    seconds: float
    failed: bool


class Batcher:
    """One thread that computes; models take turns, and so do the pictures of a model.

    Args:
      wait: seconds that a picture waits for others, if a batch is not full.
      told: called after each batch, in the thread.
    """

    def __init__(self, wait: float, told: Callable[[Batch], None]) -> None:
        self._wait, self._told = wait, told
        self._lines: dict[str, _Line] = {}
        self._turn: deque[str] = deque()
        self._change = threading.Condition()
        self._ended = False
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._work, name="computing", daemon=True)
        self._thread.start()

    def add(self, model: str, compute: Compute, sizes: Sequence[int]) -> None:
        """Lets a model be computed, whose program is compiled for these numbers of squares."""
        with self._change:
            self._lines[model] = _Line(compute, sorted(sizes))
            self._turn.append(model)

    def submit(self, model: str, squares: UInt8[NpArray, "n size size 3"]) -> "Future[Raw]":
        """What the model gives of a picture's squares, in time; may be cancelled.

        The future raises what the program raised.
        """
        one = _Waiting(squares)
        with self._change:
            if self._ended:
                raise RuntimeError("the service has ended")
            self._lines[model].add(one)
            self._change.notify()
        return one.future

    def depth(self, model: str) -> int:
        """Pictures of a model that wait to be computed, or of which a part does."""
        with self._change:
            return len(self._lines[model].pictures)

    def stuck(self, seconds: float) -> bool:
        """Whether the thread is dead, or has been at one batch for longer than this."""
        since = self._busy_since
        late = since is not None and time.monotonic() - since > seconds
        return late or not self._thread.is_alive()

    def close(self) -> None:
        """Ends the thread, once all that waits is computed."""
        with self._change:
            self._ended = True
            self._change.notify()

    def _work(self) -> None:
        while (taken := self._next()) is not None:
            self._compute(*taken)

    def _next(self) -> "tuple[str, _Line, list[tuple[_Waiting, int]]] | None":
        """The squares of the next batch, when it is due; None at the end."""
        with self._change:
            while True:
                now = time.monotonic()
                due_at = {name: self._due(self._lines[name]) for name in self._turn}
                for name in self._turn:
                    if due_at[name] <= now:
                        self._turn.remove(name)
                        self._turn.append(name)
                        if squares := self._lines[name].take():
                            return name, self._lines[name], squares
                        break  # all of them were cancelled
                else:
                    first = min(due_at.values(), default=np.inf)
                    if self._ended and first == np.inf:
                        return None
                    self._change.wait(None if first == np.inf else first - now)

    def _due(self, line: "_Line") -> float:
        """When a batch of a model is to begin, of `time.monotonic`; never if nothing waits."""
        if not line.pictures:
            return np.inf
        full = line.squares() >= line.sizes[-1] or self._ended
        return 0.0 if full else line.pictures[0].since + self._wait

    def _compute(self, model: str, line: "_Line", taken: "list[tuple[_Waiting, int]]") -> None:
        size = next(size for size in line.sizes if size >= len(taken))
        began = self._busy_since = time.monotonic()
        waits = [began - one.since for one, place in taken if place == 0]
        failed = False
        try:
            squares = [one.squares[place] for one, place in taken]
            squares += squares[-1:] * (size - len(squares))
            prediction = line.compute(np.stack(squares))
            maps = np.asarray(prediction.map, np.float32)
            scores = np.asarray(prediction.score, np.float32)
        except Exception as error:  # of these pictures alone: the service goes on
            log.exception("computing %d squares of %s failed", len(taken), model)
            failed = True
            for one in {id(one): one for one, _ in taken}.values():
                one.fail(error)
        else:
            for (one, _), map, score in zip(taken, maps, scores, strict=False):
                one.put(map, float(score))
        self._busy_since = None
        seconds = time.monotonic() - began
        self._told(Batch(model, len(taken), size, waits, seconds, failed))


class _Waiting:
    """A picture whose squares are to be computed."""

    def __init__(self, squares: NpArray) -> None:
        self.squares, self.since = squares, time.monotonic()
        self.future: Future[Raw] = Future()
        self.begun = 0  # squares that have gone into batches
        self._parts: list[tuple[NpArray, float]] = []

    def put(self, map: NpArray, score: float) -> None:
        """What has become of the next square: they are computed in their order."""
        self._parts.append((map, score))
        if len(self._parts) == len(self.squares) and self._alive():
            maps, scores = zip(*self._parts, strict=True)
            self.future.set_result(Raw(np.stack(maps), np.array(scores, np.float32)))

    def fail(self, error: Exception) -> None:
        if not self.future.done() and self._alive():
            self.future.set_exception(error)

    def _alive(self) -> bool:
        return self.future.set_running_or_notify_cancel()


class _Line:
    """The pictures of a model, in the order of their turns."""

    def __init__(self, compute: Compute, sizes: list[int]) -> None:
        self.compute, self.sizes = compute, sizes
        self.pictures: deque[_Waiting] = deque()

    def add(self, one: _Waiting) -> None:
        self.pictures.append(one)

    def squares(self) -> int:
        """How many wait, as far as it matters."""
        count = 0
        for one in self.pictures:
            count += len(one.squares) - one.begun
            if count >= self.sizes[-1]:
                break
        return count

    def take(self) -> list[tuple[_Waiting, int]]:
        """Squares for one batch; a picture with more than fit goes behind the others."""
        taken: list[tuple[_Waiting, int]] = []
        while self.pictures and len(taken) < self.sizes[-1]:
            one = self.pictures.popleft()
            if one.future.done():  # cancelled, or failed
                continue
            last = min(len(one.squares), one.begun + self.sizes[-1] - len(taken))
            taken += [(one, place) for place in range(one.begun, last)]
            one.begun = last
            if last < len(one.squares):
                self.pictures.append(one)
                break
        return taken
