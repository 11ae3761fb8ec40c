"""One colour scale for all maps of a model, set from normal pictures."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray as NpArray

QUANTILE = 0.9  # of pixels of normal pictures that get no colour
HEADROOM = 2.0  # the scale ends this many times as far above `low` as the highest normal value


class Scale(NamedTuple):
    """The values of a map that get the lowest and the highest colour; values beyond are clipped."""

    low: float
    high: float

    @property
    def normal(self) -> float:
        """The highest value on the normal pictures that a scale of `colour_scale` is from."""
        return self.low + (self.high - self.low) / HEADROOM

    def __call__(self, map: Float[NpArray, "H W"]) -> Float[NpArray, "H W"]:
        """Places of a map's values on the scale, from 0 (low or less) to 1 (high or more)."""
        return np.clip((map - self.low) / (self.high - self.low), 0, 1)


def colour_scale(values: Float[NpArray, "n"], highest: float) -> Scale:
    """The scale of a model, from maps of normal pictures that it has not learned from.

    `low` is the 0.9 quantile of their pixels, so most of a normal picture stays untouched, and
    `high` is `low + 2 (highest - low)`, so the highest value seen on a normal picture gets the
    colour in the middle. A scale of its own for every picture would make the highest pixel of each
    normal one look like a defect.

    Where nothing is above `low` nothing tells how much is much: `high` is then `low + |low|`, or
    `low + 1` if that is zero too.

    Args:
      values: of maps, unscaled, where they are looked at; of many pictures a part will do.
      highest: of all of them.

    Raises:
      ValueError: there are none.
    """
    if values.size == 0:
        raise ValueError("the colour scale needs the map of at least one normal picture")
    low = float(np.quantile(values, QUANTILE))
    span = highest - low
    if span <= 1e-6 * abs(low):  # what rounding leaves of a constant
        span = (abs(low) or 1.0) / HEADROOM
    return Scale(low, low + HEADROOM * span)
