"""Metrics of anomaly detection, on arrays: how well scores and maps tell defects from the rest.

Higher scores are more anomalous. Every metric is exact: each distinct score is a threshold, and
ties are not broken. A metric that is undefined (no defect, or nothing else) is NaN; a NaN among the
scores is an error. `Ranking` gives several metrics of one sort, `Pixels` those of large sets.

Average precision and F1-max are 1 by their definition where there are no negatives, whatever the
scores. `evaluate` leaves them undefined there, as it does AUROC.
"""

import math
from collections.abc import Iterable, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer, Real
from numpy import ndarray as NpArray

from jaxad.data.source import Region
from jaxad.evaluation.pixels import Pixels
from jaxad.evaluation.ranking import rank

Scores = Real[NpArray, "..."]
Labels = Integer[NpArray, "..."] | Bool[NpArray, "..."]


def auroc(scores: Scores, labels: Labels) -> float:
    """The chance that a positive scores more than a negative; equal scores count half.

    Never replaced by 1 - AUROC, however low. Undefined with one class.

    >>> import numpy as np
    >>> auroc(np.array([0.1, 0.4, 0.3, 0.8]), np.array([0, 0, 1, 1]))
    0.75
    """
    return rank(scores, labels).area().value


def average_precision(scores: Scores, labels: Labels) -> float:
    """Sum of (step in recall) x precision over distinct thresholds, without interpolation.

    Undefined without positives; 1 without negatives, whatever the scores.
    """
    return rank(scores, labels).average_precision().value


def f1_max(scores: Scores, labels: Labels) -> tuple[float, float]:
    """The highest F1 of any threshold t (positive: score >= t), and the highest such t.

    An oracle: the threshold is chosen on the labels that it is judged by, so this is no operating
    performance. Undefined without positives; 1 without negatives, whatever the scores.
    """
    best, threshold = rank(scores, labels).f1_max()
    return best.value, threshold


def aupro(
    maps: Iterable[Real[NpArray, "_ _"]],
    masks: Iterable[Integer[NpArray, "_ _"] | Bool[NpArray, "_ _"]],
    limit: float = 0.3,
) -> float:
    """Area under the per-region overlap, up to a false positive rate of `limit`, over `limit`.

    Overlap: the found share of each connected component (8 neighbours, within one mask), averaged
    over all components of the set. False positive rate: over all pixels outside masks, those of
    normal pictures included. Undefined without components or without background.

    Source: Bergmann et al., IJCV 2021 (doi:10.1007/s11263-020-01400-4); values as by the
    evaluation code of MVTec AD.
    """
    pixels = Pixels(exact_pixels=math.inf)
    for map, mask in zip(maps, masks, strict=True):
        pixels.add(map, mask)
    return pixels.rankings().components.area(limit).value


def au_spro(
    maps: Iterable[Real[NpArray, "_ _"]],
    regions: Iterable[Sequence[Region]],
    limit: float = 0.05,
) -> float:
    """Area under the saturated per-region overlap, up to a false positive rate of `limit`.

    A region counts as found in full when as many of its pixels are as its saturation area has;
    below that the overlap grows in proportion. Averaged over all regions of the set. False
    positive rate: over all pixels outside every region of their picture. Divided by `limit`.
    Undefined without regions or without background.

    Args:
      maps: scores of each picture.
      regions: the defects of each picture; none for a normal one.
      limit: a false positive rate.

    Source: Bergmann et al., IJCV 2022 (doi:10.1007/s11263-022-01578-9).
    """
    pixels = Pixels(exact_pixels=math.inf)
    for map, several in zip(maps, regions, strict=True):
        mask = np.zeros(map.shape, bool)
        for region in several:
            mask |= region.mask
        pixels.add(map, mask, several)
    return pixels.rankings().regions.area(limit).value


def pairwise_auroc(
    scores: Float[Array, "N"], labels: Integer[Array, "N"] | Bool[Array, "N"]
) -> Float[Array, ""]:
    """`auroc` inside jit and vmap, by comparing all pairs: for the few scores of images.

    NaN where a score is NaN, since compiled code cannot raise.
    """
    positive, negative = labels > 0, labels <= 0
    a, b = scores[:, None], scores[None, :]
    wins = jnp.where(a > b, 1.0, jnp.where(a == b, 0.5, jnp.where(a < b, 0.0, jnp.nan)))
    pairs = positive[:, None] & negative[None, :]
    return jnp.mean(wins, where=pairs)
