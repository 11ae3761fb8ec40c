"""Evaluation: a detector's predictions over a test set, and the metrics of each category.

F1-max picks its threshold on the test labels themselves: an oracle, to be compared with other
oracles, and no operating performance. Pixel metrics are at the size of the masks: each map is
resized once, from what `predict` gives to what the mask has.
"""

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grain
import jax
import numpy as np
from jaxtyping import Float32, PyTree, UInt8
from numpy import ndarray as NpArray

from jaxad import compile
from jaxad.data.pictures import THREADS
from jaxad.data.source import Item, Record, Region, Source, skipped
from jaxad.data.view import WHOLE, View
from jaxad.detector import Detector, Prediction, State
from jaxad.evaluation.category import category, group
from jaxad.evaluation.pixels import EXACT_PIXELS, Pixels
from jaxad.evaluation.results import Evaluation, Scored, mean

Map = Float32[NpArray, "H W"]


def evaluate(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    state: State,
    test: Source,
    *,
    exact_pixels: int = EXACT_PIXELS,
    batch_size: int | None = None,
    visit: Callable[[int, Item, Map, float], None] | None = None,
    level: float | None = None,
) -> Evaluation:
    """Predicts every picture of `test` and measures each category.

    Categories are taken one after the other, so that the pixels of only one are held, and their
    pictures in an order that is shuffled, the same way every time.

    Args:
      detector: the method.
      cfg: its settings.
      pretrained: {name: tree} for `cfg.weights`.
      state: trained and calibrated.
      test: pictures with labels, perhaps with masks and regions.
      exact_pixels: up to which the pixel metrics of a category are exact; beyond, memory stays
        constant and they come with a bound of their error. See `Pixels`.
      batch_size: pictures in one call of predict; `cfg.batch_size` by default.
      visit: called for each picture with index, item, map at the mask's size, and score.
      level: of maps where nothing is looked at (see `data.view.View`): that of normal pictures; by
        default the lowest value of the picture's own map.

    Raises:
      ValueError: there are no pictures, or one cannot be read.
      FloatingPointError: a map or a score is not finite.

    >>> import jax, jaxad
    >>> from jaxad.data import workpieces
    >>> from jaxad.methods import autoencoder
    >>> cfg = autoencoder.Config(size=64, batch_size=2, steps=2, widths=(4, 8))
    >>> data = workpieces.load("plate", size=64, train=4, heldout=2, test=(2, 1))
    >>> state = jaxad.fit(autoencoder.DETECTOR, cfg, {}, data, jax.random.key(0))
    >>> found = evaluate(autoencoder.DETECTOR, cfg, {}, state, data.test)
    >>> 0 <= found.mean["image_auroc"] <= 1, list(found.categories), len(found.pictures)
    (True, ['plate'], 12)
    """
    if len(test) == 0:
        raise ValueError(f"no pictures to evaluate on: {test!r} is empty")
    order = np.random.default_rng(0).permutation(len(test)).tolist()
    order.sort(key=lambda index: test.records[index].category)
    arguments = jax.device_put((pretrained, state._replace(opt=())))  # once, not for each batch
    predict = functools.partial(compile.predict(detector), cfg, *arguments)
    scores = np.zeros(len(test))
    categories = {}
    with contextlib.closing(_reader(test, order, cfg.size)) as pictures:
        predicted = _predictions(predict, pictures, batch_size or cfg.batch_size, level)
        for name, several in itertools.groupby(predicted, lambda x: x[0].record.category):
            pixels = Pixels(exact_pixels) if test.has_masks else None
            for picture, map, score in several:
                scores[picture.index] = score
                if pixels is not None:
                    mask = picture.item["mask"]
                    counted = _view(picture.item).counted(mask.shape)
                    pixels.add(map, mask, picture.regions, group(picture.record), counted)
                if visit is not None:
                    visit(picture.index, picture.item, map, score)
            members = [i for i, record in enumerate(test.records) if record.category == name]
            records = [test.records[i] for i in members]
            categories[name] = category(records, scores[members], pixels, test.has_regions)
    return Evaluation(
        mean([found.metrics for found in categories.values()]),
        categories,
        tuple(Scored(*pair) for pair in zip(test.records, scores.tolist(), strict=True)),
        skipped(test),
    )


@dataclasses.dataclass(frozen=True)
class _Picture:
    """A picture of the test set, and what predict gets of it."""

    index: int
    record: Record
    item: Item
    image: UInt8[NpArray, "size size 3"]
    regions: list[Region]


def _reader(test: Source, order: Sequence[int], size: int) -> Any:
    """Reads pictures ahead, in threads."""

    def read(index: int) -> _Picture:
        item = test[index]
        regions = test.regions(index) if test.has_regions and item["label"] else []
        image = _view(item).square(item["image"], size)
        return _Picture(index, test.records[index], item, image, regions)

    ahead = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=2 * THREADS)
    return iter(grain.MapDataset.source(order).map(read).to_iter_dataset(ahead))


def _predictions(
    predict: Callable[[NpArray], Prediction],
    pictures: Iterator[_Picture],
    batch_size: int,
    level: float | None,
) -> Iterator[tuple[_Picture, Map, float]]:
    """Pictures with map, at the mask's size, and score; one batch is predicted ahead."""
    waiting = None
    while batch := list(itertools.islice(pictures, batch_size)):
        # The last batch is filled up with its last picture, for nothing to compile anew.
        images = [picture.image for picture in batch]
        images += images[-1:] * (batch_size - len(batch))
        started = predict(np.stack(images))
        if waiting is not None:
            yield from _unpacked(*waiting, level)
        waiting = batch, started
    if waiting is not None:
        yield from _unpacked(*waiting, level)


def _unpacked(
    batch: list[_Picture], prediction: Prediction, level: float | None
) -> Iterator[tuple[_Picture, Map, float]]:
    maps = np.asarray(prediction.map, np.float32)
    scores = np.asarray(prediction.score, np.float32)
    for picture, map, score in zip(batch, maps, scores, strict=False):  # without the filling
        for name, values in (("map", map), ("score", score)):
            if not np.isfinite(values).all():
                raise FloatingPointError(
                    f"the {name} of picture {picture.record.name!r} (index {picture.index}) is not "
                    "finite: the weights hold NaN, or training diverged; take an earlier checkpoint"
                )
        normal = float(map.min()) if level is None else level
        shape = picture.item["mask"].shape
        yield picture, _view(picture.item).placed(map, shape, normal), float(score)


def _view(item: Item) -> View:
    return item.get("view", WHOLE)
