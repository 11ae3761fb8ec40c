"""The service itself, apart from HTTP: what becomes of the pictures of a request."""

import asyncio
import contextlib
import json
import math
from collections.abc import Sequence
from typing import Any

from jaxad.serve import forms
from jaxad.serve.answers import Answer
from jaxad.serve.batching import Batch, Batcher
from jaxad.serve.bodies import Upload
from jaxad.serve.failures import Refused
from jaxad.serve.judging import Judging, Wanted
from jaxad.serve.limits import Limits
from jaxad.serve.metrics import Metrics
from jaxad.serve.models import Model
from jaxad.serve.rooms import Room
from jaxad.serve.threads import Threads

STUCK = 60.0  # seconds of one batch after which the service is not ready


class Service:
    """Models, and all that their requests share.

    Args:
      names: of the models that will be there.
      limits: how much is taken.

    Attributes:
      names: as given.
      limits: as given.
      metrics: what is counted.
      models: those that are loaded, by name.
      stopping: whether the service is being ended.
      active: requests for pictures that are being answered.
      bytes: room for bodies.
      queue: room for pictures that are not answered yet.
      judging: what becomes of a picture.
    """

    def __init__(self, names: Sequence[str], limits: Limits) -> None:
        self.names, self.limits, self.metrics = tuple(names), limits, Metrics()
        self.models: dict[str, Model] = {}
        self.stopping, self.active = False, 0
        self.metrics.active.set_function(lambda: self.active)
        self.metrics.ready.set_function(lambda: self.why_not() is None)
        self.bytes = Room(limits.held_bytes)
        self.queue = Room(limits.queue)
        self._threads, self._batcher = Threads(), Batcher(limits.wait / 1000, self._computed)
        self.judging = Judging(limits, self.metrics, self._batcher, self._threads)
        self._pace = 0.05  # seconds of a square, as lately

    def add(self, model: Model) -> None:
        """Lets a model be asked."""
        self._batcher.add(model.name, model.first.compute, model.sizes)
        self.metrics.watch(model.name, lambda: self._batcher.depth(model.name))
        self.models[model.name] = model

    def close(self) -> None:
        """Ends the threads."""
        self._batcher.close()
        self._threads.close()

    @property
    def working(self) -> bool:
        """Whether a thread still works at a picture."""
        return self._threads.working > 0

    def why_not(self) -> str | None:
        """Why the service is not ready, in words; None if it is."""
        if self.stopping:
            return "the service is being ended"
        if missing := [name for name in self.names if name not in self.models]:
            return f"still loading and compiling: {', '.join(missing)}"
        if self._batcher.stuck(STUCK):
            return f"a batch has not been done for {STUCK:g} seconds"
        return None

    def model(self, name: str | None) -> Model:
        """A model by its name; the only one, if none is named.

        Raises:
          Refused: there is none of the name, it is not loaded yet, or there are several.
        """
        if name is None and len(self.names) > 1:
            raise Refused(
                422,
                "unknown_model",
                f"which of the models ({', '.join(self.names)}): name one as model=NAME",
            )
        name = next(iter(self.names)) if name is None else name
        if name not in self.names:
            raise Refused(
                404, "unknown_model", f"{name[:80]!r} is none of the models: "
                f"{', '.join(self.names)}",
            )  # fmt: skip
        if name not in self.models:
            raise Refused(503, "loading", f"{name} is still being loaded and compiled", retry=5)
        return self.models[name]

    def check_open(self) -> None:
        """Raises Refused where no request is taken at the moment, before anything is read."""
        if self.stopping:
            raise Refused(503, "stopping", "the service is being ended", retry=5)
        if self.queue.free <= 0:
            raise self._full()

    async def form(self, content: bytes, kind: str) -> list[Upload]:
        """The files of a form; see `forms.uploads`."""
        return await self._threads.do(forms.uploads, content, kind, self.limits.max_pictures)

    def left(self) -> None:
        """Of a request, once it is answered."""
        self.active -= 1

    async def answered(
        self, uploads: Sequence[Upload], wanted: Wanted, held: contextlib.AsyncExitStack
    ) -> "list[Answer | Refused]":
        """What is said of each picture, in order; their time-out is `Limits.timeout`.

        Args:
          uploads: the pictures.
          wanted: what is asked for.
          held: gets what the answers hold, to be given back once they are sent.

        Raises:
          Refused: the queue is full, they ask for more than can be held, or time is over.
        """
        if not self.queue.try_take(len(uploads)):
            raise self._full()
        try:
            async with asyncio.timeout(self.limits.timeout):
                return await self.judging.judged(uploads, wanted, held)
        except TimeoutError:
            raise Refused(
                503,
                "timeout",
                f"no answer within {self.limits.timeout:g} seconds (--timeout): the service has "
                "too much to do",
                retry=self._patience(),
            ) from None
        finally:
            self.queue.give(len(uploads))

    async def written(self, body: Any) -> bytes:
        """An answer as JSON; in a thread, for maps are large."""
        return await self._threads.do(_json, body)

    def _computed(self, batch: Batch) -> None:
        self.metrics.computed(batch)
        if not batch.failed:
            self._pace += 0.1 * (batch.seconds / batch.squares - self._pace)

    def _full(self) -> Refused:
        return Refused(
            503,
            "overloaded",
            f"{self.limits.queue} pictures are waiting (--queue): try again later",
            retry=self._patience(),
        )

    def _patience(self) -> int:
        """Seconds after which what waits now will be done, roughly."""
        waiting = self.limits.queue - self.queue.free
        return min(60, max(1, math.ceil(waiting * self._pace)))


def _json(body: Any) -> bytes:
    return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
