"""How far image metrics would move with other test pictures: bootstrap intervals.

Pictures are drawn with replacement, normal ones among normal ones and those of each type of defect
among themselves, so that every draw has as many of each as the test set has (the stratified
percentile bootstrap; Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13). It
tells of the pictures, not of another seed or another training set. Pixel metrics have none: the
pixels of a picture do not come one by one, and whole pictures drawn anew would want all maps.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray as NpArray

from jaxad.evaluation.category import NORMAL, group
from jaxad.evaluation.results import Scored

RESAMPLES = 1000
LEVEL = 0.95
CHUNK = 100  # draws that are held at once

Bounds = dict[str, tuple[float, float]]  # of each metric the lower and the upper one
Draws = dict[str, Float[NpArray, "B"]]  # of each metric its value in every draw


class Parts(NamedTuple):
    """The intervals of one category, as the metrics of `Category` are parted.

    Attributes:
      metrics: of the category; the mean over its kinds of defects, where it has kinds.
      kinds: of each kind of defect against the normal pictures.
      defects: of each type of defect against the normal pictures.
    """

    metrics: Bounds
    kinds: dict[str, Bounds]
    defects: dict[str, Bounds]


class Intervals(NamedTuple):
    """Intervals that hold `level` of the draws; nothing is there where a metric is undefined.

    Attributes:
      level: the share of draws within an interval.
      resamples: number of draws.
      mean: of the mean over the categories that have both sorts of pictures.
      categories: by name.
    """

    level: float
    resamples: int
    mean: Bounds
    categories: dict[str, Parts]

    def as_dict(self) -> dict[str, object]:
        """As plain JSON."""
        categories = {name: parts._asdict() for name, parts in self.categories.items()}
        return {**self._asdict(), "categories": categories}


def intervals(
    pictures: Sequence[Scored], resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> Intervals:
    """Intervals of image AUROC, average precision and F1-max of all categories.

    Args:
      pictures: of an `Evaluation`.
      resamples: number of draws.
      level: share of the draws that an interval holds.
      seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    whole: list[Draws] = []
    categories = {}
    for name in dict.fromkeys(picture.record.category for picture in pictures):
        members = [picture for picture in pictures if picture.record.category == name]
        drawn = _category(members, resamples, rng)
        whole += [drawn.metrics] if drawn.metrics else []
        bounds = lambda several: {part: _bounds(one, level) for part, one in several.items()}
        categories[name] = Parts(
            _bounds(drawn.metrics, level), bounds(drawn.kinds), bounds(drawn.defects)
        )
    return Intervals(level, resamples, _bounds(_mean(whole), level), categories)


class _Drawn(NamedTuple):
    """As `Parts`, before bounds are taken."""

    metrics: Draws
    kinds: dict[str, Draws]
    defects: dict[str, Draws]


def _category(members: Sequence[Scored], resamples: int, rng: np.random.Generator) -> _Drawn:
    groups = [group(picture.record) for picture in members]
    scores = np.array([picture.score for picture in members])
    anomalous = sorted({one for one in groups if one != NORMAL})
    if not anomalous or NORMAL not in groups:
        return _Drawn({}, {}, {})
    parts = {("whole", ""): anomalous}
    for place, what in enumerate(("kinds", "defects")):
        for name in sorted({one[place] for one in anomalous}):
            parts[what, name] = [one for one in anomalous if one[place] == name]
    chunks: dict[tuple[str, str], list[Draws]] = {part: [] for part in parts}
    for counts in _draws(groups, resamples, rng):
        for part, several in parts.items():
            inside = np.array([one == NORMAL or one in several for one in groups])
            positive = np.array([one != NORMAL for one in groups])[inside]
            chunks[part].append(metrics(scores[inside], positive, counts[:, inside]))
    drawn = {
        part: {x: np.concatenate([one[x] for one in some]) for x in some[0]}
        for part, some in chunks.items()
    }
    of = lambda what: {name: one for (part, name), one in drawn.items() if part == what}
    has_kinds = all(kind for kind, _ in anomalous)
    kinds = of("kinds") if has_kinds else {}
    main = _mean(list(kinds.values())) if has_kinds else drawn["whole", ""]
    return _Drawn(main, kinds, of("defects"))


def _draws(
    groups: Sequence[tuple[str, str]], resamples: int, rng: np.random.Generator
) -> Iterator[Int[NpArray, "b N"]]:
    """How often each picture is in each draw, some draws at a time."""
    places = {
        one: np.array([i for i, other in enumerate(groups) if other == one]) for one in set(groups)
    }
    for start in range(0, resamples, CHUNK):
        counts = np.zeros((min(CHUNK, resamples - start), len(groups)), np.int64)
        for one in sorted(places):
            at = places[one]
            shares = np.full(len(at), 1 / len(at))
            counts[:, at] = rng.multinomial(len(at), shares, size=len(counts))
        yield counts


def metrics(scores: Float[NpArray, "N"], positive: NpArray, counts: Int[NpArray, "B N"]) -> Draws:
    """Image metrics of pictures that count so many times, as `Ranking` has them.

    Args:
      scores: of the pictures.
      positive: whether each is anomalous.
      counts: how often each counts, a row for each set of metrics; both sorts in every row.
    """
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    ties = lambda chosen: np.add.reduceat(counts[:, order] * chosen[order], first, axis=1)
    hits, alarms = ties(positive), ties(~positive)  # at each distinct score, falling
    found, reached = hits.cumsum(1), alarms.cumsum(1)
    total, negatives = found[:, -1:], reached[:, -1:]
    below = negatives - reached + alarms / 2
    precision = found / np.maximum(found + reached, 1)
    return {
        "image_auroc": (hits * below).sum(1) / (total * negatives)[:, 0],
        "image_average_precision": (hits * precision).sum(1) / total[:, 0],
        "image_f1_max": (2 * found / (found + reached + total)).max(1),
    }


def _mean(several: Sequence[Draws]) -> Draws:
    if not several:
        return {}
    return {name: np.mean([one[name] for one in several], axis=0) for name in several[0]}


def _bounds(draws: Mapping[str, Float[NpArray, "B"]], level: float) -> Bounds:
    edges = [(1 - level) / 2, (1 + level) / 2]
    found = {name: np.quantile(values, edges) for name, values in draws.items()}
    return {name: (float(low), float(high)) for name, (low, high) in found.items()}
