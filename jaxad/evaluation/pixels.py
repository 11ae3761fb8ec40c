"""Scores of all pixels of a set, kept for the metrics: in full up to a limit, beyond it in bins."""

import dataclasses
from collections.abc import Collection, Hashable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float, Float32, Int32, Integer, Real
from numpy import ndarray as NpArray

from jaxad.data.source import Region
from jaxad.evaluation.ranking import Ranking, check_not_nan, rank_against, rank_bins

EXACT_PIXELS = 2**27
SAMPLE = 2**22  # scores that the bins are made from

Map = Real[NpArray, "H W"]
Mask = Integer[NpArray, "h w"] | Bool[NpArray, "h w"]


class Rankings(NamedTuple):
    """Three ways of weighing defective pixels, each against all pixels of the background.

    Attributes:
      pixels: every defective pixel weighs the same.
      components: every connected component of the masks weighs the same (PRO).
      regions: every annotated region weighs the same and counts as found when its saturation area
        is (sPRO).
    """

    pixels: Ranking
    components: Ranking
    regions: Ranking


class Pixels:
    """Collects maps, one picture at a time, and ranks their pixels.

    Up to `exact_pixels` the scores are kept, 4 bytes each (12 where defective) and as much again
    while they are ranked. Beyond, each score is replaced by the 16-bit number of its bin and only
    counts per bin remain, 2 MB for each group of pictures; the rankings are then `binned`. Bins
    are made from the scores at hand at that moment, so the first pictures had better be a fair
    sample of all.

    Attributes:
      exact_pixels: up to which rankings are exact.
      seen: pixels added so far.
      edges: lower ends of the bins; None while rankings are exact.
    """

    def __init__(self, exact_pixels: int | float = EXACT_PIXELS):
        self.exact_pixels = exact_pixels
        self.seen = 0
        self.edges: NpArray | None = None
        self._tallies: dict[tuple[Hashable, str], _Tally] = {}

    @property
    def approximate(self) -> bool:
        """Whether more than `exact_pixels` were added."""
        return self.edges is not None

    def add(
        self,
        map: Map,
        mask: Mask,
        regions: Sequence[Region] = (),
        group: Hashable = "",
        counted: Bool[NpArray, "h w"] | None = None,
    ) -> None:
        """Adds a picture.

        Args:
          map: its scores, the higher the more anomalous.
          mask: above 0 where defective.
          regions: its annotated defects; only sPRO looks at them.
          group: pictures can be ranked without those of other groups.
          counted: the pixels that count; None for all. A defect counts by its part in there.

        Raises:
          ValueError: a score is NaN, shapes differ, or a saturation area is below one pixel.
        """
        _check(map, mask, regions)
        inside = np.ones(mask.shape, bool) if counted is None else counted
        defective = (mask > 0) & inside
        background = map[~(mask > 0) & inside]
        self._tally(group, "background").add(background, 1.0, len(background), self.edges)
        if defective.any():
            scores = map[defective]
            labels, count = components(defective)
            labels = labels[defective] - 1
            share = 1 / np.bincount(labels)
            self._tally(group, "pixels").add(scores, 1.0, len(scores), self.edges)
            self._tally(group, "components").add(scores, share[labels], count, self.edges)
        for area, saturation in regions:
            # The highest scores are found first; pixels beyond the saturation area add nothing.
            scores = np.sort(map[area & inside])[-saturation:]
            if len(scores):
                saturation = min(saturation, len(scores))
                self._tally(group, "regions").add(scores, 1 / saturation, 1, self.edges)
        self.seen += int(inside.sum())
        if self.edges is None and self.seen > self.exact_pixels:
            self.edges = bin_edges(self._all("background").scores, self._all("pixels").scores)
            for tally in self._tallies.values():
                tally.bin(self.edges)

    def rankings(self, groups: Collection[Hashable] | None = None) -> Rankings:
        """The rankings of the pictures of some groups together; of all by default."""
        background = self._all("background", groups)
        tallies = [self._all(layer, groups) for layer in Rankings._fields]
        if self.edges is not None:
            return Rankings(
                *(rank_bins(self.edges, background.counts, t.counts, t.total) for t in tallies)
            )
        negatives = background.joined()
        negatives.sort()
        return Rankings(
            *(rank_against(negatives, t.joined(), t.joined_gains(), t.total) for t in tallies)
        )

    def _tally(self, group: Hashable, layer: str) -> "_Tally":
        return self._tallies.setdefault((group, layer), _Tally())

    def _all(self, layer: str, groups: Collection[Hashable] | None = None) -> "_Tally":
        together = _Tally(counts=np.zeros(() if self.edges is None else len(self.edges)))
        for (group, name), tally in self._tallies.items():
            if name == layer and (groups is None or group in groups):
                together.total += tally.total
                together.scores += tally.scores
                together.gains += tally.gains
                together.counts = together.counts + tally.counts
        return together


@dataclasses.dataclass
class _Tally:
    """Scores with what each is worth, or the worth per bin once bins are used."""

    total: float = 0.0
    scores: list[Real[NpArray, "_"]] = dataclasses.field(default_factory=list)
    gains: list[float | Float[NpArray, "_"]] = dataclasses.field(default_factory=list)
    counts: Float[NpArray, "*E"] = dataclasses.field(default_factory=lambda: np.zeros(()))

    def add(self, scores, gain, total, edges) -> None:
        self.total += total
        self.scores.append(scores)
        self.gains.append(gain)
        if edges is not None:
            self.bin(edges)

    def bin(self, edges) -> None:
        for scores, gain in zip(self.scores, self.gains, strict=True):
            self.counts = self.counts + histogram(scores, gain, edges)
        self.scores, self.gains = [], []

    def joined(self):
        return np.concatenate([np.zeros(0, np.float32), *self.scores])

    def joined_gains(self):
        pairs = zip(self.gains, self.scores, strict=True)
        return np.concatenate([np.zeros(0), *(np.broadcast_to(g, s.shape) for g, s in pairs)])


def components(mask: Mask) -> tuple[Int32[NpArray, "h w"], int]:
    """The connected components of the pixels above 0, corners included: labels from 1, number."""
    # SciPy declares no types; with an array to write to, this would be a number alone.
    found = scipy.ndimage.label(mask, np.ones((3, 3)))
    labels, count = found  # pyright: ignore[reportGeneralTypeIssues]
    return labels, count


def bin_edges(
    background: Sequence[Real[NpArray, "_"]], defective: Sequence[Real[NpArray, "_"]]
) -> Float32[NpArray, "E"]:
    """Lower ends of at most 2^16 bins that keep scores apart where it matters for the metrics.

    A quarter of them are quantiles of the background, half of these in its top tenth where the
    limits of the false positive rate lie; a quarter are quantiles of the defective pixels. The
    rest cover all numbers: 64 per power of two, for scores unlike those at hand.
    """
    shares = np.concatenate([np.linspace(0, 0.9, 2**13), np.linspace(0.9, 1, 2**13)])
    patterns = (np.arange(2**15, dtype=np.uint32) << 17).view(np.float32)
    edges = [
        np.array([-np.inf], np.float32),
        patterns[np.isfinite(patterns)],
        _quantiles(background, shares),
        _quantiles(defective, np.linspace(0, 1, 2**14)),
    ]
    return np.unique(np.concatenate(edges).astype(np.float32))


def histogram(
    scores: Real[NpArray, "N"],
    gain: float | Float[NpArray, "N"],
    edges: Float32[NpArray, "E"],
) -> Float[NpArray, "E"]:
    """What the scores in each bin are worth together."""
    if np.ndim(gain) == 0:
        below = np.searchsorted(np.sort(scores), edges)
        return gain * np.diff(below, append=len(scores))
    bins = np.searchsorted(edges, scores, "right") - 1
    return np.bincount(bins, gain, len(edges))


def _quantiles(several: Sequence[Real[NpArray, "_"]], shares: Float[NpArray, "S"]):
    # An odd step is in step with no row length that is a power of two.
    step = sum(map(len, several)) // SAMPLE | 1
    sample = np.sort(np.concatenate([np.zeros(0, np.float32), *(x[::step] for x in several)]))
    return sample[(shares * (len(sample) - 1)).astype(int)] if len(sample) else sample


def _check(scores: NpArray, mask: NpArray, regions: Sequence[Region]) -> None:
    check_not_nan(scores)
    for shape in (mask.shape, *(region.mask.shape for region in regions)):
        if shape != scores.shape:
            raise ValueError(f"map has shape {scores.shape}, mask {shape}: expected equal shapes")
    for region in regions:
        if region.saturation < 1:
            raise ValueError(f"saturation area is {region.saturation}: expected at least 1 pixel")
