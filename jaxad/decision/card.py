"""The decision card: what normal pictures score, and what follows for a new score.

It lies outside the compiled program, as `card.json` in the folder of a run, and is made of normal
pictures alone: another rate, a fixed threshold or the light of today change the card, never the
model.
"""

import json
import math
import pathlib
import zlib
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray as NpArray

from jaxad.data.files import counted
from jaxad.decision import conformal
from jaxad.decision.conformal import Interval
from jaxad.decision.scale import Scale
from jaxad.training.record import write_json

FILE = "card.json"
FORMAT = 1
TARGET = 0.01  # share of false alarms among normal pictures, unless another one is asked for

Label = Literal["normal", "anomalous"]


class Normals(NamedTuple):
    """What normal pictures of one category score.

    Attributes:
      scores: of the pictures, in ascending order.
      peaks: the highest value of each picture's map where it is looked at, in ascending order.
      origin: which pictures they are, in words: "held out of training".
      caveat: why p-values and rates are approximate, in words; empty where they are exact.
    """

    scores: Float[NpArray, "n"]
    peaks: Float[NpArray, "n"]
    origin: str
    caveat: str = ""


class Limits(NamedTuple):
    """Where alarms begin.

    Attributes:
      score: above which a picture is anomalous; None where there are no normals to tell.
      pixel: above which a pixel belongs to a region; None likewise.
      rate: share of normal pictures above `score` that is promised on average; None for a fixed
        threshold.
      interval: of the share that these normals imply in the long run.
    """

    score: float | None
    pixel: float | None
    rate: float | None
    interval: Interval


class Judgement(NamedTuple):
    """What a card says about one score.

    Attributes:
      score: as the detector gave it, without a scale.
      percentile: share of the card's normal pictures, from 0 to 100, at or below it.
      p_value: probability that a normal picture scores as high; see `conformal.p_values`.
      label: "anomalous" above the limit; None where there is no limit.
    """

    score: float
    percentile: float | None
    p_value: float | None
    label: Label | None


class Card(NamedTuple):
    """What a model's scores mean.

    Attributes:
      model: fingerprint of the model whose scores these are.
      normals: by category.
      scale: of the colours of all maps.
      level: of maps where nothing is looked at: the median over normal pictures.
      target_fpr: share of false alarms among normal pictures that is aimed at.
      threshold: a fixed one for scores, in place of the rate; None for none.
      pixel_threshold: a fixed one for maps; None for none.
      tiles: side in pixels of the squares that pictures were cut into; 0 for whole pictures.
      about: what a person wants to know: when and of what the card was made.
    """

    model: str
    normals: Mapping[str, Normals]
    scale: Scale
    level: float
    target_fpr: float = TARGET
    threshold: float | None = None
    pixel_threshold: float | None = None
    tiles: int = 0
    about: Mapping[str, Any] = {}

    def of(self, category: str | None = None) -> Normals:
        """The normals of a category; of a card with one category those, whatever is asked for.

        Raises:
          ValueError: the card has several categories, and none is named or another.
        """
        if len(self.normals) == 1:
            return next(iter(self.normals.values()))
        if category is None or category not in self.normals:
            what = "which of" if category is None else f"{category!r} is none of"
            raise ValueError(
                f"{what} the categories of the card ({', '.join(self.normals)}): name one of them "
                "(--category)"
            )
        return self.normals[category]

    def limits(self, category: str | None = None) -> Limits:
        """Where alarms begin: at the target, or at the smallest rate that the normals can promise.

        Raises:
          ValueError: as `of`.
        """
        score, pixel = self.thresholds(category)
        normals = self.of(category).scores
        count = len(normals)
        if self.threshold is not None:
            above = int((normals > self.threshold).sum())
            return Limits(score, pixel, None, conformal.rate_interval_of_fixed(count, above))
        if not count:
            return Limits(score, pixel, None, Interval(0.0, 1.0))
        rate = max(self.target_fpr, conformal.reachable(count))
        return Limits(score, pixel, rate, conformal.rate_interval(count, rate))

    def thresholds(self, category: str | None = None) -> tuple[float | None, float | None]:
        """Those of scores and of pixels in `limits`, without the interval, which takes long."""
        normals = self.of(category)
        count, score, pixel = len(normals.scores), self.threshold, self.pixel_threshold
        if count:
            rate = max(self.target_fpr, conformal.reachable(count))
            score = conformal.threshold(normals.scores, rate) if score is None else score
            pixel = conformal.threshold(normals.peaks, rate) if pixel is None else pixel
        return score, pixel

    def judge(self, score: float, category: str | None = None) -> Judgement:
        """What the card says about the score of a picture.

        Raises:
          ValueError: as `of`.
        """
        normals, limit = self.of(category).scores, self.thresholds(category)[0]
        label = None if limit is None else ("anomalous" if score > limit else "normal")
        if not len(normals):
            return Judgement(score, None, None, label)
        at = np.array([score])
        percentile = float(conformal.percentiles(normals, at)[0])
        return Judgement(score, percentile, float(conformal.p_values(normals, at)[0]), label)

    def with_target(self, rate: float, category: str | None = None) -> "Card":
        """The card at another rate of false alarms, without a fixed threshold.

        Args:
          rate: of all categories.
          category: whose normals have to promise it; None for all.

        Raises:
          ValueError: the rate is no share, or the normals cannot promise it.
        """
        for name in self._names(category):
            try:
                conformal.threshold(self.normals[name].scores, rate)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return self._replace(target_fpr=rate, threshold=None, pixel_threshold=None)

    def with_threshold(self, score: float, pixel: float | None = None) -> "Card":
        """The card with a fixed threshold of scores, and of maps if one is given.

        Raises:
          ValueError: a threshold is not finite.
        """
        for value in (score, pixel):
            if value is not None and not math.isfinite(value):
                raise ValueError(f"threshold={value}: expected a finite number")
        return self._replace(threshold=score, pixel_threshold=pixel)

    def said(self, category: str | None = None) -> str:
        """Where alarms begin, in words, for a category or for each."""
        return "; ".join(self._said(name) for name in self._names(category))

    def _names(self, category: str | None) -> list[str]:
        if category is None:
            return list(self.normals)
        self.of(category)
        return [category] if category in self.normals else list(self.normals)

    def _said(self, name: str) -> str:
        limits, normals = self.limits(name), self.normals[name]
        if limits.score is None:
            return f"{name}: no limit, for there are no normal pictures to make one of"
        low, high = (_percent(share) for share in limits.interval)
        rule = "fixed" if limits.rate is None else f"for {100 * limits.rate:.3g} % false alarms"
        about = "approximately " if normals.caveat else ""
        return (
            f"{name}: {limits.score:.6g}, {rule}; {counted(len(normals.scores), 'normal picture')} "
            f"({normals.origin}) imply {about}{low} to {high} % in the long run"
        )

    def warnings(self, category: str | None = None) -> list[str]:
        """What a person has to know before they trust the card, in sentences."""
        said = []
        for name in self._names(category):
            normals = self.normals[name]
            count = len(normals.scores)
            if not count:
                said.append(f"{name}: there are no normal pictures to decide by: no labels")
            elif self.threshold is None and count < conformal.needed(self.target_fpr):
                said.append(
                    f"{name}: {counted(count, 'normal picture')} ({normals.origin}) cannot promise "
                    f"a false-alarm rate of {self.target_fpr:g}, which needs "
                    f"{conformal.needed(self.target_fpr)}: the smallest rate, "
                    f"{conformal.reachable(count):.3g}, is taken"
                )
            if normals.caveat:
                said.append(f"{name}: p-values and rates are approximate: {normals.caveat}")
        return said

    def checksum(self) -> str:
        """What tells this card from another one; equal for cards that decide alike."""
        said = {name: value for name, value in self.as_dict().items() if name != "about"}
        for one in said["categories"].values():
            del one["limits"]  # which follow from the rest, to a digit that libraries differ in
        return f"{zlib.crc32(json.dumps(said).encode()):08x}"

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON; the limits are there for the reader, and are made anew from the rest."""
        categories = {}
        for name, normals in self.normals.items():
            limits = self.limits(name)
            categories[name] = {
                "normals": len(normals.scores),
                "origin": normals.origin,
                "caveat": normals.caveat,
                "limits": {**limits._asdict(), "interval": list(limits.interval)},
                "scores": normals.scores.tolist(),
                "peaks": normals.peaks.tolist(),
            }
        return {
            "format": FORMAT,
            "model": self.model,
            "target_fpr": self.target_fpr,
            "threshold": self.threshold,
            "pixel_threshold": self.pixel_threshold,
            "tiles": self.tiles,
            "scale": list(self.scale),
            "level": self.level,
            "about": dict(self.about),
            "categories": categories,
        }


def read(path: pathlib.Path) -> Card:
    """A card from its file.

    Raises:
      FileNotFoundError: there is none.
      ValueError: it is damaged, or of a later format.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no card")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise ValueError(f"format {found['format']!r}, this version of jaxad reads {FORMAT}")
        normals = {
            name: Normals(
                _ascending(one["scores"]), _ascending(one["peaks"]), one["origin"], one["caveat"]
            )
            for name, one in found["categories"].items()
        }
        if not normals:
            raise ValueError("it has no category")
        names = ("model", "target_fpr", "threshold", "pixel_threshold", "tiles", "level", "about")
        given: dict[str, Any] = {name: found[name] for name in names}
        given["scale"] = Scale(*found["scale"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no card, or damaged: {error!r}") from error
    return Card(normals=normals, **given)


def write(path: pathlib.Path, card: Card) -> None:
    """Writes a card's file, whole or not at all.

    Raises:
      OSError: it cannot be written.
    """
    write_json(path, card.as_dict())


def place(folder: pathlib.Path, tiles: int | None = None) -> pathlib.Path:
    """Where the card of a run lies, or its card for pictures that are cut into tiles."""
    return folder / (f"card_tiles_{tiles}.json" if tiles else FILE)


def of_run(folder: pathlib.Path, model: str, tiles: int | None = None) -> Card:
    """The card in the folder of a run or a bundle.

    Args:
      folder: of the run.
      model: its fingerprint, see `Finished.model`.
      tiles: see `Card`; None for whole pictures.

    Raises:
      FileNotFoundError: there is none.
      ValueError: it is damaged, or of another model than the run's.
    """
    path = place(folder, tiles)
    if not path.exists():
        what = f"card for tiles of {tiles} pixels" if tiles else "card"
        option = f" --tiles {tiles}" if tiles else ""
        raise FileNotFoundError(
            f"{path}: there is no {what}; make one with `jaxad calibrate {folder} NORMAL_PICTURES"
            f"{option}`"
        )
    card = read(path)
    check_model(card, model, str(path))
    return card


def check_model(card: Card, model: str, where: str = "the card") -> None:
    """Raises ValueError, which says where it lies, if a card was made of another model's scores."""
    if card.model != model:
        raise ValueError(
            f"{where} is the card of another model ({card.model}, not {model}), whose scores mean "
            "something else: make one with `jaxad calibrate RUN NORMAL_PICTURES`"
        )


def _percent(share: float) -> str:
    return f"{100 * share:.2g}" if share < 0.1 else f"{100 * share:.0f}"


def _ascending(values: list[float]) -> Float[NpArray, "n"]:
    found = np.asarray(values, np.float64)
    if found.ndim != 1 or not np.isfinite(found).all() or (np.diff(found) < 0).any():
        raise ValueError("scores are not in ascending order")
    return found
