"""Whether the pictures of today still score as a card's normal ones did."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray as NpArray
from scipy import stats

from jaxad.decision import conformal
from jaxad.decision.card import Card
from jaxad.decision.conformal import Interval

LEVEL = 0.01  # probability of calling drift what is chance


class Drift(NamedTuple):
    """New scores beside those of a card.

    Attributes:
      statistic: largest distance of the two distribution functions, from 0 to 1.
      p_value: probability of one as large where nothing has changed; two-sample
        Kolmogorov-Smirnov, exact for small samples.
      medians: of the card's scores, of the new ones.
      pictures: new ones.
      alarms: of them.
      expected: how many alarms there would be if all were normal; None without a promised rate.
    """

    statistic: float
    p_value: float
    medians: tuple[float, float]
    pictures: int
    alarms: int
    expected: Interval | None

    def drifted(self, level: float = LEVEL) -> bool:
        """Whether chance alone would make a difference as large more rarely than `level`."""
        return self.p_value < level


def drift(card: Card, scores: Float[NpArray, "n"], category: str | None = None) -> Drift:
    """Compares new scores with a card's.

    Args:
      card: of the model that gave both.
      scores: of new pictures; real anomalies among them count as a difference too.
      category: of the pictures.

    Raises:
      ValueError: there are no scores, or the card has none.
    """
    normals, limits = card.of(category).scores, card.limits(category)
    if not len(scores) or not len(normals):
        what = "the card has no normal pictures" if len(scores) else "no pictures"
        raise ValueError(f"{what} to compare with")
    statistic, p_value = map(float, stats.ks_2samp(normals, scores))
    alarms = 0 if limits.score is None else int((scores > limits.score).sum())
    expected = None
    if limits.rate is not None:
        expected = conformal.count_interval(len(normals), limits.rate, len(scores))
    medians = float(np.median(normals)), float(np.median(scores))
    return Drift(statistic, p_value, medians, len(scores), alarms, expected)
