"""Whether a bundle says what its run says, on pictures."""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray as NpArray

from jaxad import compile
from jaxad.data.source import Source, spread
from jaxad.decision.card import Card
from jaxad.detector import Detector, State
from jaxad.evaluation.category import category, group
from jaxad.evaluation.pixels import Pixels
from jaxad.evaluation.predictions import Predicted, predictions
from jaxad.export.opened import opened
from jaxad.training.restore import Finished

Model = tuple[Detector, Any, Any, State]
Given = tuple[Float32[NpArray, "B h w"], Float32[NpArray, "B"]]  # maps and scores
NOISE = 8  # pictures, where no others are at hand
METRICS = ("image_auroc", "pixel_auroc")


class Difference(NamedTuple):
    """How far one program's answers are from the run's own.

    Attributes:
      pictures: that both were asked about.
      map: the largest difference of maps, as a share of the range of the run's own.
      score: the largest difference of scores, as a share of the range of maps.
      labels: pictures that are called otherwise.
      metrics: {name: (of the run, of the bundle)}, where the pictures have both labels.
    """

    pictures: int
    map: float
    score: float
    labels: int
    metrics: dict[str, tuple[float, float]] = {}

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {**self._asdict(), "metrics": {k: list(v) for k, v in self.metrics.items()}}

    def __str__(self) -> str:
        said = (
            f"{self.pictures} pictures: maps within {self.map:.1e} of their range, scores within "
            f"{self.score:.1e}, {self.labels or 'no'} labels differ"
        )
        for name, (run, bundle) in self.metrics.items():
            said += f"; {name} {run:.4f}, of the bundle {bundle:.4f} ({bundle - run:+.4f})"
        return said


def against(run: Finished, part: pathlib.Path, card: Card, source: Source, most: int) -> Difference:
    """The answers of a bundle beside those of its run, on pictures of a source.

    Args:
      run: native.
      part: folder of the bundle.
      card: that labels.
      source: of pictures, with labels and perhaps masks.
      most: pictures that are looked at, spread evenly.

    Raises:
      ValueError: a picture cannot be read.
      FloatingPointError: a map or a score is not finite, as of a precision that does not suffice.
    """
    order = spread(len(source), most)
    models: tuple[Model, Model] = (run[:4], opened(part)[:4])
    tallies = [_Tally(source) for _ in models]
    first, second = (predictions(*model, source, order, batch_size=8) for model in models)
    summed = _Sum(card)
    with first as native, second as exported:
        for one, other in zip(native, exported, strict=True):
            summed.add(one.map, one.score, other.map, other.score, one.picture.record.category)
            for tally, predicted in zip(tallies, (one, other), strict=True):
                tally.add(predicted)
    before, after = (tally.metrics() for tally in tallies)
    both = {name: (before[name], after[name]) for name in METRICS if name in before}
    return summed.difference(both)


def on_noise(run: Finished, part: pathlib.Path, card: Card) -> Difference:
    """As `against`, on pictures of noise: where no others are at hand."""
    images = noise(run.cfg.size)
    native, other = (said(model, images) for model in (run[:4], opened(part)[:4]))
    return between(native, other, card)


def between(native: Given, other: Given, card: Card) -> Difference:
    """The difference of what two programs say of pictures of the card's first category."""
    summed = _Sum(card)
    for map, score, map_, score_ in zip(*native, *other, strict=True):
        summed.add(map, float(score), map_, float(score_), "")
    return summed.difference({})


def noise(size: int) -> UInt8[NpArray, "n size size 3"]:
    """Pictures of noise."""
    return np.random.default_rng(0).integers(0, 256, (NOISE, size, size, 3), np.uint8)


def squares(source: Source, most: int, model: Model) -> UInt8[NpArray, "n size size 3"]:
    """Pictures of a source as the detector sees them."""
    with predictions(*model, source, spread(len(source), most)) as several:
        return np.stack([one.picture.image for one in several])


def said(model: Model, images: UInt8[NpArray, "n size size 3"]) -> Given:
    """What a detector says of squares, a few at a time."""
    detector, *arguments = model
    predict = compile.predict(detector)
    parts = [predict(*arguments, images[i : i + NOISE]) for i in range(0, len(images), NOISE)]
    return (
        np.concatenate([np.asarray(part.map) for part in parts]),
        np.concatenate([np.asarray(part.score) for part in parts]),
    )


class _Sum:
    """Differences, picture by picture."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self.count = self.labels = 0
        self.map = self.score = 0.0
        self.low, self.high = np.inf, -np.inf

    def add(self, map: NpArray, score: float, map_: NpArray, score_: float, category: str) -> None:
        name = category if category in self.card.normals else next(iter(self.card.normals))
        self.count += 1
        self.map = max(self.map, float(np.abs(map - map_).max()))
        self.score = max(self.score, abs(score - score_))
        self.low, self.high = min(self.low, float(map.min())), max(self.high, float(map.max()))
        first, second = (self.card.judge(x, name).label for x in (score, score_))
        self.labels += first != second

    def difference(self, metrics: dict[str, tuple[float, float]]) -> Difference:
        width = (self.high - self.low) or 1.0
        return Difference(self.count, self.map / width, self.score / width, self.labels, metrics)


class _Tally:
    """What the metrics are made of, of all pictures as one category."""

    def __init__(self, source: Source) -> None:
        self.pixels = Pixels() if source.has_masks else None
        self.records: list[Any] = []
        self.scores: list[float] = []

    def add(self, one: Predicted) -> None:
        record, mask, view = one.picture.record, one.picture.item["mask"], one.picture.view
        self.records.append(record)
        self.scores.append(one.score)
        if self.pixels is not None:
            map = view.placed(one.map, mask.shape, float(one.map.min()))
            self.pixels.add(map, mask, [], group(record), view.counted(mask.shape))

    def metrics(self) -> Mapping[str, float]:
        labels = {record.label for record in self.records}
        if len(labels) < 2:
            return {}
        found = category(self.records, np.array(self.scores), self.pixels).metrics
        return {name: value for name, value in found.items() if value is not None}
