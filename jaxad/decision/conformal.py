"""What scores of normal pictures say about a new score: thresholds, p-values, and how far off.

All of it holds whatever the distribution of the scores, as long as the pictures to come are drawn
as the normal ones were (exchangeable), and these took no part in learning. Source: Vovk, Gammerman
& Shafer, "Algorithmic learning in a random world", 2005; Vovk, "Conditional validity of inductive
conformal predictors", 2012 (the Beta distribution of the rate that one set of normals gives).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray as NpArray
from scipy import stats

CONFIDENCE = 0.95  # of all intervals


class Interval(NamedTuple):
    """From where to where a rate, or a count, is to be expected with `CONFIDENCE`."""

    low: float
    high: float


def reachable(count: int) -> float:
    """The smallest false-alarm rate that so many normal pictures can promise: 1 / (count + 1)."""
    return 1 / (count + 1)


def needed(rate: float) -> int:
    """How many normal pictures a false-alarm rate needs: 99 for 0.01."""
    return math.ceil(1 / rate - 1e-9) - 1


def allowed(count: int, rate: float) -> int:
    """How many of `count` normal scores and a new one may be alarms; 0: the rate is not reachable.

    Raises:
      ValueError: the rate is not between 0 and 1.
    """
    if not 0 < rate < 1:
        raise ValueError(f"target_fpr={rate}: expected a share between 0 and 1, such as 0.01")
    # 0.07 * 100 is a little above 7, others below; all but one at most, to have a threshold.
    return min(math.floor(rate * (count + 1) + 1e-9), count)


def threshold(normals: Float[NpArray, "n"], rate: float) -> float:
    """The score above which a picture is an alarm: the (n + 1 - allowed)th smallest of the normals.

    A normal picture is above it with probability `rate` at most, on average over sets of normals;
    see `rate_interval` for one set.

    Args:
      normals: their scores, in any order.
      rate: of false alarms among normal pictures.

    Raises:
      ValueError: the rate is not between 0 and 1, or below what so few normals can promise.
    """
    count = len(normals)
    alarms = allowed(count, rate)
    if not alarms:
        raise ValueError(
            f"target_fpr={rate} cannot be promised by {count} normal pictures: it needs "
            f"{needed(rate)}; the smallest rate of {count} is {reachable(count):.4g}"
        )
    return float(np.partition(normals, count - alarms)[count - alarms])


def p_values(normals: Float[NpArray, "n"], scores: Float[NpArray, "*m"]) -> Float[NpArray, "*m"]:
    """(1 + normals at or above the score) / (n + 1): at most `rate` for scores above `threshold`.

    Args:
      normals: their scores, in ascending order.
      scores: of new pictures.
    """
    above = len(normals) - np.searchsorted(normals, scores, side="left")
    return (1 + above) / (len(normals) + 1)


def percentiles(normals: Float[NpArray, "n"], scores: Float[NpArray, "*m"]) -> Float[NpArray, "*m"]:
    """Which share of the normals, from 0 to 100, is at or below each score.

    Args:
      normals: their scores, in ascending order.
      scores: of new pictures.
    """
    return 100 * np.searchsorted(normals, scores, side="right") / len(normals)


def rate_interval(count: int, rate: float) -> Interval:
    """The false-alarm rate of `threshold` in the long run: Beta(allowed, count + 1 - allowed).

    The threshold is a score that these very normals had; other normals would have had another.
    """
    alarms = allowed(count, rate)
    return _central(stats.beta(alarms, count + 1 - alarms).ppf)


def rate_interval_of_fixed(count: int, above: int) -> Interval:
    """The false-alarm rate of a threshold that was not made from the normals.

    Clopper & Pearson, 1934, of `above` alarms among `count` normal pictures.
    """
    tail = (1 - CONFIDENCE) / 2
    low = stats.beta.ppf(tail, above, count - above + 1) if above else 0.0
    high = stats.beta.ppf(1 - tail, above + 1, count - above) if above < count else 1.0
    return Interval(float(low), float(high))


def count_interval(count: int, rate: float, pictures: int) -> Interval:
    """How many false alarms among so many normal pictures to come: Beta-binomial."""
    alarms = allowed(count, rate)
    return _central(stats.betabinom(pictures, alarms, count + 1 - alarms).ppf)


def _central(quantile: Callable[[float], float]) -> Interval:
    tail = (1 - CONFIDENCE) / 2
    return Interval(float(quantile(tail)), float(quantile(1 - tail)))
