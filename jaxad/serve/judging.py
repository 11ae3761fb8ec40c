"""What becomes of a picture: looked at, decoded, computed, decided; each step within its bounds."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from typing import NamedTuple

from jaxad.data import images
from jaxad.data.images import TooManyPixels
from jaxad.decision.batches import Raw, Seen
from jaxad.decision.predictor import Predictor
from jaxad.progress import printable
from jaxad.serve import answers
from jaxad.serve.answers import Answer, Include
from jaxad.serve.batching import Batcher
from jaxad.serve.bodies import Upload
from jaxad.serve.failures import Refused
from jaxad.serve.limits import Limits
from jaxad.serve.metrics import Metrics
from jaxad.serve.models import Model
from jaxad.serve.rooms import Room
from jaxad.serve.threads import Threads

log = logging.getLogger(__name__)

LABEL = "the picture"  # in place of a path, in messages


class Wanted(NamedTuple):
    """What a request asks for.

    Attributes:
      model: which one.
      predictor: of it, for the pictures' category.
      include: parts of an answer beside the row.
      as_png: whether the overlay is wanted as a file.
    """

    model: Model
    predictor: Predictor
    include: tuple[Include, ...] = ()
    as_png: bool = False

    @property
    def keeps(self) -> bool:
        """Whether the picture itself is needed until the end."""
        return self.as_png or "overlay" in self.include

    def bytes_of(self, pixels: int) -> int:
        """How much an answer about so many pixels holds at most."""
        parts = ("overlay",) if self.as_png else self.include
        return sum(answers.BYTES[part] for part in parts) * pixels


class Judging:
    """Pictures in, answers out.

    Args:
      limits: how much is held at a time.
      metrics: which count pictures.
      batcher: that computes.
      threads: that decode and draw.

    Attributes:
      pixels: room for decoded pictures.
      answers: room for the maps in answers, in bytes.
    """

    def __init__(
        self, limits: Limits, metrics: Metrics, batcher: Batcher, threads: Threads
    ) -> None:
        self.pixels, self.answers = Room(limits.held_pixels), Room(limits.answer_bytes)
        self._metrics, self._batcher, self._threads = metrics, batcher, threads

    async def judged(
        self, uploads: Sequence[Upload], wanted: Wanted, held: contextlib.AsyncExitStack
    ) -> "list[Answer | Refused]":
        """What is said of each picture, in order.

        Args:
          uploads: the pictures.
          wanted: what is asked for.
          held: gets the room of the answers, to be given back once they are sent.

        Raises:
          Refused: they ask for more than can be held.
        """
        sizes = [await self._size(one, wanted.predictor) for one in uploads]
        whole = sum(wanted.bytes_of(x) for x in sizes if isinstance(x, int))
        if whole > self.answers.size:
            raise Refused(
                413,
                "too_large_answer",
                "include asks for more than is held at a time: send fewer pictures at once, or "
                "smaller ones",
            )
        if whole:  # who asks for no maps does not wait for those who do
            await held.enter_async_context(self.answers.held(whole))
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._one(one.content, size, wanted))
                for one, size in zip(uploads, sizes, strict=True)
            ]
        return [task.result() for task in tasks]

    async def _size(self, upload: Upload, predictor: Predictor) -> int | Refused:
        """The pixels of a picture by its header, before it is decoded."""
        try:
            upload.check()
            reading = predictor.preprocessing.reading
            return await self._threads.do(images.pixels, LABEL, reading, upload.content)
        except Refused as refused:
            return refused
        except (ValueError, MemoryError) as error:
            return _unusable(error)

    async def _one(self, content: bytes, size: int | Refused, wanted: Wanted) -> Answer | Refused:
        """What is said of one picture."""
        if isinstance(size, Refused):
            self._metrics.pictures.labels(wanted.model.name, "refused").inc()
            return size
        try:
            async with self.pixels.held(size):
                seen = await self._threads.do(wanted.predictor.see, content, wanted.keeps)
                if wanted.keeps or wanted.predictor.tiles:  # its squares are more than it is
                    return await self._finished(seen, await self._raw(seen, wanted), wanted)
            raw = await self._raw(seen, wanted)
            async with self.pixels.held(size):
                return await self._finished(seen, raw, wanted)
        except (ValueError, MemoryError) as error:
            self._metrics.pictures.labels(wanted.model.name, "refused").inc()
            return _unusable(error)
        except Refused as refused:
            self._metrics.pictures.labels(wanted.model.name, "failed").inc()
            return refused

    async def _raw(self, seen: Seen, wanted: Wanted) -> Raw:
        try:
            return await asyncio.wrap_future(self._batcher.submit(wanted.model.name, seen.squares))
        except Exception as error:  # whatever a program raises; it has been logged
            raise Refused(500, "computing_failed", "the picture could not be computed") from error

    async def _finished(self, seen: Seen, raw: Raw, wanted: Wanted) -> Answer:
        try:
            found = await self._threads.do(_finish, wanted, seen, raw)
        except FloatingPointError as error:
            log.error("%s: %s", wanted.model.name, error)
            raise Refused(500, "not_finite", "the map or the score is not finite") from error
        outcome = found.row["label"] or "unlabelled"
        self._metrics.pictures.labels(wanted.model.name, outcome).inc()
        return found


def _finish(wanted: Wanted, seen: Seen, raw: Raw) -> Answer:
    began = time.perf_counter()
    predictor = wanted.predictor
    finding = predictor.finding(seen, raw)
    seconds = seen.seconds + time.perf_counter() - began
    scale = predictor.card.scale
    return answers.answer(seen, finding, scale, wanted.include, wanted.as_png, seconds)


def _unusable(error: Exception) -> Refused:
    """Why a picture cannot be used, in the words of `jaxad predict`, less the name of its file."""
    if isinstance(error, MemoryError):
        return Refused(413, "too_many_pixels", "more than this machine's memory holds")
    said = printable(str(error).removeprefix(f"{LABEL}: ").removeprefix(f"{LABEL} "))
    if isinstance(error, TooManyPixels):
        return Refused(413, "too_many_pixels", said)
    return Refused(422, "unusable_picture", said)
