"""The metrics of one category: of all its pictures, of each kind and each type of defect.

What is measured of some defects is measured of their pictures together with all normal ones.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray as NpArray

from jaxad.data.source import Record
from jaxad.evaluation.pixels import Pixels, Rankings
from jaxad.evaluation.ranking import UNDEFINED, Bounded, Ranking, rank
from jaxad.evaluation.results import Category, Metrics, mean

# 0.3: MVTec AD (Bergmann et al., IJCV 2021, doi:10.1007/s11263-020-01400-4). 0.05: the limit of
# MVTec LOCO (Bergmann et al., IJCV 2022) and of MVTec AD 2 (Heckler-Kram et al., 2025), where
# few false alarms are allowed.
AUPRO_LIMITS = (0.3, 0.05)
AU_SPRO_LIMITS = (0.01, 0.05, 0.1, 0.3, 1.0)  # Bergmann et al., IJCV 2022
PIXEL_METRICS = (
    "pixel_auroc",
    "pixel_average_precision",
    "pixel_f1_max",
    "pixel_f1_max_threshold",
    *(f"aupro_{limit}" for limit in AUPRO_LIMITS),
)

Group = tuple[str, str]  # kind and type of a defect
Row = dict[str, Bounded | None]  # of each metric; None where there are no masks

NORMAL: Group = ("", "good")


def group(record: Record) -> Group:
    """The group of `Pixels` that a picture belongs to: kind and type of its defect, or NORMAL."""
    return (record.kind, record.defect) if record.label else NORMAL


def category(
    records: Sequence[Record],
    scores: Float[NpArray, "N"],
    pixels: Pixels | None = None,
    has_regions: bool = False,
) -> Category:
    """The metrics of one category.

    Args:
      records: its pictures.
      scores: of the pictures.
      pixels: of the pictures, each added to its `group`; None without masks.
      has_regions: whether `pixels` were added with regions.
    """
    labels = np.array([record.label for record in records])
    pictures = _Pictures([group(record) for record in records], scores, labels, pixels)
    anomalous = {group(record) for record in records if record.label}
    whole = pictures.ranked(anomalous)

    def each(parts: Collection[str], part: int) -> dict[str, Row]:
        """What is measured of the groups that share a part: 0 the kind, 1 the type of defect."""
        return {
            name: _measured(pictures.ranked({x for x in anomalous if x[part] == name}), has_regions)
            for name in sorted(parts)
        }

    defects = each({defect for _, defect in anomalous}, 1)
    has_kinds = bool(anomalous) and all(kind for kind, _ in anomalous)
    kinds = each({kind for kind, _ in anomalous}, 0) if has_kinds else {}
    main = list(kinds.values()) if has_kinds else [_measured(whole, has_regions)]
    return Category(
        metrics=mean([_values(row) for row in main]) if has_kinds else _values(main[0]),
        kinds={kind: _values(row) for kind, row in kinds.items()},
        defects={defect: _values(row) for defect, row in defects.items()},
        errors=_errors([*main, *defects.values()], whole),
        curves=_curves(whole, has_regions),
        normal=int((labels == 0).sum()),
        anomalous=int((labels == 1).sum()),
    )


class _Ranked(NamedTuple):
    """Pictures by their scores, and their pixels where there are masks."""

    images: Ranking
    pixels: Rankings | None


class _Pictures(NamedTuple):
    """The pictures of a category."""

    groups: list[Group]
    scores: Float[NpArray, "N"]
    labels: NpArray
    pixels: Pixels | None

    def ranked(self, groups: Collection[Group]) -> _Ranked:
        """Those of some groups together with the normal ones."""
        chosen = {NORMAL, *groups}
        members = np.array([one in chosen for one in self.groups])
        images = rank(self.scores[members], self.labels[members])
        return _Ranked(images, None if self.pixels is None else self.pixels.rankings(chosen))


def _measured(ranked: _Ranked, has_regions: bool) -> Row:
    found = _over_thresholds("image", ranked.images)
    if ranked.pixels is None:
        return found | dict.fromkeys(PIXEL_METRICS)
    pixels, components, regions = ranked.pixels
    found |= _over_thresholds("pixel", pixels)
    found |= {f"aupro_{limit}": components.area(limit) for limit in AUPRO_LIMITS}
    if has_regions:
        found |= {f"au_spro_{limit}": regions.area(limit) for limit in AU_SPRO_LIMITS}
    return found


def _over_thresholds(level: str, ranking: Ranking) -> Row:
    best, threshold = ranking.f1_max()
    found: Row = {
        f"{level}_auroc": ranking.area(),
        f"{level}_average_precision": ranking.average_precision(),
        f"{level}_f1_max": best,
        f"{level}_f1_max_threshold": Bounded(threshold),
    }
    # Without negatives every threshold is precise: AP and F1-max are 1 by definition, for any
    # detector. In a table that would pass for a success.
    return found if ranking.negatives else dict.fromkeys(found, UNDEFINED)


def _curves(whole: _Ranked, has_regions: bool) -> dict[str, tuple[NpArray, NpArray]]:
    curves = {"image_roc": whole.images.curve()}
    if whole.pixels is not None:
        pixels, components, regions = whole.pixels
        curves |= {"pixel_roc": pixels.curve(), "pro": components.curve()}
        curves |= {"spro": regions.curve()} if has_regions else {}
    return curves


def _errors(rows: Sequence[Row], whole: _Ranked) -> dict[str, float]:
    """How far pixel metrics may be off, at most in any row; nothing where they are exact."""
    if whole.pixels is None or not whole.pixels.pixels.binned:
        return {}
    names = [name for name in rows[0] if not name.startswith("image")]
    return {name: max((row[name] or UNDEFINED).error for row in rows) for name in names}


def _values(row: Row) -> Metrics:
    return {name: None if found is None else found.value for name, found in row.items()}
