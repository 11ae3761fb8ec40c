"""Pictures of a source, read ahead in threads, with what predict gives of them."""

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, NamedTuple

import grain
import numpy as np
from jaxtyping import Float32, PyTree, UInt8
from numpy import ndarray as NpArray

from jaxad import compile, mesh, progress
from jaxad.data.pictures import THREADS
from jaxad.data.source import Item, Record, Region, Source
from jaxad.data.view import WHOLE, View
from jaxad.detector import Detector, Prediction, State


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture of a source, and what predict gets of it.

    Attributes:
      index: its place in the source.
      record: what is known of it.
      item: the picture at its own size.
      image: the square that a detector sees.
      regions: its annotated defects, where the source tells them.
    """

    index: int
    record: Record
    item: Item
    image: UInt8[NpArray, "size size 3"]
    regions: list[Region]

    @property
    def view(self) -> View:
        """How the picture became the square."""
        return self.item.get("view", WHOLE)


class Predicted(NamedTuple):
    """A picture with its map, at the size that predict gives, and its score."""

    picture: Picture
    map: Float32[NpArray, "h w"]
    score: float


def predictions(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    state: State,
    source: Source,
    order: Sequence[int] | None = None,
    batch_size: int | None = None,
) -> contextlib.closing[Generator[Predicted]]:
    """Predicts pictures of a source, one batch ahead, within a `with`: what it gives is iterated.

    Args:
      detector: the method.
      cfg: its settings.
      pretrained: {name: tree} for `cfg.weights`.
      state: trained and calibrated.
      source: of the pictures.
      order: their places in the source; all, one after the other, by default.
      batch_size: pictures in one call of predict; `cfg.batch_size` by default. The last batch is
        filled up, so that nothing compiles anew; where a mesh is in use, all are until they
        divide by its devices.

    Raises:
      ValueError: a picture cannot be read.
      FloatingPointError: a map or a score is not finite; the picture is named.
    """
    arguments = mesh.put((pretrained, state._replace(opt=())))  # once, not for each batch
    predict = functools.partial(compile.predict(detector), cfg, *arguments)
    places = range(len(source)) if order is None else order
    reader = _reader(source, places, cfg.size)
    found = _predicted(predict, reader, mesh.divisible(batch_size or cfg.batch_size))
    return contextlib.closing(_shown(found, len(places)))


def _reader(source: Source, order: Sequence[int], size: int) -> Any:
    """Reads pictures ahead, in threads."""

    def read(index: int) -> Picture:
        item = source[index]
        regions = source.regions(index) if source.has_regions and item["label"] else []
        image = item.get("view", WHOLE).square(item["image"], size)
        return Picture(index, source.records[index], item, image, regions)

    ahead = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=2 * THREADS)
    return iter(grain.MapDataset.source(order).map(read).to_iter_dataset(ahead))


def _predicted(
    predict: Callable[[NpArray], Prediction], reader: Any, batch_size: int
) -> Generator[Predicted]:
    waiting = None
    with contextlib.closing(reader) as pictures:
        while batch := list(itertools.islice(pictures, batch_size)):
            images = [picture.image for picture in batch]
            images += images[-1:] * (batch_size - len(batch))
            started = predict(mesh.spread(np.stack(images), mesh.current()))
            if waiting is not None:
                yield from _unpacked(*waiting)
            waiting = batch, started
        if waiting is not None:
            yield from _unpacked(*waiting)


def _shown(found: Generator[Predicted], count: int) -> Generator[Predicted]:
    with contextlib.closing(found):
        yield from progress.shown(found, "predicting", count)


def _unpacked(batch: list[Picture], prediction: Prediction) -> Iterator[Predicted]:
    maps, scores = mesh.fetched((prediction.map, prediction.score))
    maps, scores = np.asarray(maps, np.float32), np.asarray(scores, np.float32)
    for picture, map, score in zip(batch, maps, scores, strict=False):  # without the filling
        for name, values in (("map", map), ("score", score)):
            if not np.isfinite(values).all():
                raise FloatingPointError(
                    f"the {name} of picture {picture.record.name!r} (index {picture.index}) is not "
                    "finite: the weights hold NaN, or training diverged; take an earlier checkpoint"
                )
        yield Predicted(picture, map, float(score))
