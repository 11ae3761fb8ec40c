"""How many negatives score above each positive: all that the metrics over thresholds need.

A threshold that falls from one positive's score to the next lets only negatives in. So the distinct
scores of the positives, and the number of negatives above each, hold every curve in full.
"""

from typing import NamedTuple

import numpy as np
import scipy.special
from jaxtyping import Bool, Float, Integer, Real
from numpy import ndarray as NpArray

CURVE_POINTS = 1000  # a curve with more corners is drawn by this many points


class Bounded(NamedTuple):
    """A number that is known up to an error.

    Attributes:
      value: NaN where undefined.
      error: how far the exact value lies from it at most; 0 where it is exact.
    """

    value: float
    error: float = 0.0


UNDEFINED = Bounded(float("nan"))


class Ranking(NamedTuple):
    """Positives by falling score, each with the negatives that a threshold there lets in.

    Where `binned`, scores of one bin count as equal, and metrics carry the error of that.

    Attributes:
      threshold: distinct scores of positives, falling; the lower ends of bins where `binned`.
      gain: what the positives of this score are worth: their number, or their share of a region.
      above: negatives that score more.
      reached: negatives that score at least as much.
      negatives: number of negatives.
      total: what all positives together are worth: their number, or the number of regions.
    """

    threshold: Float[NpArray, "T"]
    gain: Float[NpArray, "T"]
    above: Real[NpArray, "T"]
    reached: Real[NpArray, "T"]
    negatives: int
    total: float
    binned: bool = False

    def area(self, limit: float = 1.0) -> Bounded:
        """Area under the found share over the false positive rate up to `limit`, over `limit`.

        The curve is linear within ties and is interpolated at the limit. With `limit` 1 this is
        AUROC: ties count half. Undefined without positives or without negatives.
        """
        if not 0 < limit <= 1:
            raise ValueError(f"limit is {limit}: expected a false positive rate above 0, at most 1")
        if not self.negatives or not self.total:
            return UNDEFINED
        # The area is the mean over positives of how far below the limit the rate is when they are
        # found: `early` when found before their ties, `late` after them, `credit` for the line.
        early = np.maximum(limit - self.above / self.negatives, 0)
        late = np.maximum(limit - self.reached / self.negatives, 0)
        width = (self.reached - self.above) / self.negatives
        inside = np.divide(early, width, out=np.ones_like(early), where=width > early)
        credit = inside * (early + late) / 2
        scale = limit * self.total
        error = max(self.gain @ (early - credit), self.gain @ (credit - late)) / scale
        return Bounded(min(float(self.gain @ credit / scale), 1.0), self._error(float(error)))

    def average_precision(self) -> Bounded:
        """Sum of (step in recall) x precision over thresholds, without interpolation.

        For gains that are counts. Undefined without positives; 1 without negatives.
        """
        if not self.total:
            return UNDEFINED
        found = np.cumsum(self.gain)
        before = found - self.gain
        value = self.gain @ (found / (found + self.reached)) / self.total
        if not self.binned:
            return Bounded(float(value))
        # Highest where a bin's positives tie above its negatives; lowest where they come one by one
        # below them: the sum of (before + i) / (before + i + reached) over i = 1 .. gain.
        high = self.gain @ (found / (found + self.above)) / self.total
        start = before + self.reached + 1
        harmonic = scipy.special.digamma(start + self.gain) - scipy.special.digamma(start)
        low = np.sum(self.gain - self.reached * harmonic) / self.total
        return Bounded(float(value), self._error(float(max(high - value, value - low))))

    def f1_max(self) -> tuple[Bounded, float]:
        """The highest F1 of any threshold, and the highest threshold (score >= t) that reaches it.

        For gains that are counts. Undefined without positives; 1 without negatives.
        """
        if not self.total:
            return UNDEFINED, float("nan")
        found = np.cumsum(self.gain)
        f1 = 2 * found / (found + self.reached + self.total)
        value = f1.max()
        best = np.argmax(f1 >= value - 1e-12)
        high = np.max(2 * found / (found + self.above + self.total))
        return Bounded(float(value), self._error(high - value)), float(self.threshold[best])

    def curve(self) -> tuple[Float[NpArray, "P"], Float[NpArray, "P"]]:
        """False positive rates and the found share at each, for drawing; empty where undefined."""
        if not self.negatives or not self.total:
            return np.zeros(0), np.zeros(0)
        found = np.cumsum(self.gain) / self.total
        before = np.concatenate([[0.0], found[:-1]])
        corners = np.stack([self.above, self.reached], 1).ravel() / self.negatives
        x = np.concatenate([[0.0], corners, [1.0]])
        y = np.concatenate([[0.0], np.stack([before, found], 1).ravel(), found[-1:]])
        if len(x) <= CURVE_POINTS:
            return x, y
        rates = np.linspace(0, 1, CURVE_POINTS) ** 2  # denser where rates are low
        return rates, np.interp(rates, x, y)

    def _error(self, error: float) -> float:
        return max(error, 0.0) if self.binned else 0.0


def rank(
    scores: Real[NpArray, "..."], labels: Integer[NpArray, "..."] | Bool[NpArray, "..."]
) -> Ranking:
    """The ranking of scores whose labels are above 0 against the others.

    Raises:
      ValueError: a score is NaN, or there are not as many labels as scores.
    """
    if scores.shape != labels.shape:
        raise ValueError(f"scores have shape {scores.shape}, labels {labels.shape}: expected equal")
    check_not_nan(scores)
    positive = labels > 0
    return rank_against(np.sort(scores[~positive]), scores[positive])


def rank_against(
    negatives: Real[NpArray, "N"],
    positives: Real[NpArray, "P"],
    gain: Float[NpArray, "P"] | None = None,
    total: float | None = None,
) -> Ranking:
    """The ranking of some scores against others that are sorted.

    Args:
      negatives: sorted, rising.
      positives: in any order.
      gain: what each positive is worth; 1 by default.
      total: what all are worth together; their number by default.
    """
    order = np.argsort(positives)[::-1]
    positives = positives[order]
    new = np.ones(len(positives), bool)
    new[1:] = positives[1:] != positives[:-1]
    threshold = positives[new]
    tie = np.cumsum(new) - 1  # which threshold each positive belongs to
    return Ranking(
        threshold=threshold.astype(np.float64),
        gain=np.bincount(tie, None if gain is None else gain[order]).astype(np.float64),
        above=len(negatives) - np.searchsorted(negatives, threshold, "right"),
        reached=len(negatives) - np.searchsorted(negatives, threshold, "left"),
        negatives=len(negatives),
        total=float(len(positives) if total is None else total),
    )


def rank_bins(
    edges: Float[NpArray, "E"],
    negatives: Float[NpArray, "E"],
    gain: Float[NpArray, "E"],
    total: float,
) -> Ranking:
    """The ranking where only counts per bin are known; bin i begins at `edges[i]`."""
    reached = np.cumsum(negatives[::-1])[::-1]
    kept = np.flatnonzero(gain)[::-1]
    return Ranking(
        threshold=edges[kept].astype(np.float64),
        gain=gain[kept],
        above=(reached - negatives)[kept],
        reached=reached[kept],
        negatives=int(negatives.sum()),
        total=float(total),
        binned=True,
    )


def check_not_nan(scores: Real[NpArray, "..."]) -> None:
    """Raises ValueError where a score is NaN: it has no place in an order."""
    if np.isnan(scores).any():
        count = int(np.isnan(scores).sum())
        raise ValueError(f"{count} of {scores.size} scores are NaN: metrics need ordered scores")
