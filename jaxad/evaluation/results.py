"""What an evaluation found: metrics of each category."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxtyping import Float
from numpy import ndarray as NpArray

from jaxad.data.source import LeftOut, Record

Metrics = dict[str, float | None]  # NaN where undefined, None where the data set has no masks


class Category(NamedTuple):
    """The metrics of one category.

    Attributes:
      metrics: of all its pictures; where defects have kinds, the mean over the kinds and not the
        pool of them (Bergmann et al., IJCV 2022), without thresholds.
      kinds: for each kind of defect, the metrics of normal pictures and those of this kind.
      defects: for each type of defect, the metrics of normal pictures and those of this type.
      errors: how far `metrics`, `kinds` and `defects` may be off; empty where they are exact.
      curves: x and y of "image_roc", "pixel_roc", "pro" and "spro" over all pictures, for drawing;
        empty where undefined.
      normal: number of pictures.
      anomalous: number of pictures.
    """

    metrics: Metrics
    kinds: dict[str, Metrics]
    defects: dict[str, Metrics]
    errors: dict[str, float]
    curves: dict[str, tuple[Float[NpArray, "P"], Float[NpArray, "P"]]]
    normal: int
    anomalous: int


class Scored(NamedTuple):
    """A picture and the score it got."""

    record: Record
    score: float


class Evaluation(NamedTuple):
    """What `evaluate` found; prints as a table.

    Metrics are "image_auroc", "image_average_precision", "image_f1_max", the same for "pixel",
    "aupro_0.3", "aupro_0.05" and, where the data set tells regions, "au_spro_0.05" and others. Both
    F1-max, with their "..._threshold", are oracles: the threshold is picked on the test labels. All
    are undefined, NaN, without positives or without negatives: pictures, or pixels.

    Attributes:
      mean: unweighted over categories, those left out for which a metric is undefined.
      categories: by name.
      pictures: in the order of the test set.
      left_out: pictures that could not be read and count nowhere: of the test set and, where it is
        known, of those to learn from.
    """

    mean: Metrics
    categories: dict[str, Category]
    pictures: tuple[Scored, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def approximate(self) -> bool:
        """Whether there are pixel metrics that were measured in bins, see `Category.errors`."""
        return any(category.errors for category in self.categories.values())

    def as_dict(self) -> dict[str, Any]:
        """All but the curves, for JSON; numbers that are not finite become None."""
        categories = {
            name: {key: value for key, value in category._asdict().items() if key != "curves"}
            for name, category in self.categories.items()
        }
        pictures = [
            {**record._asdict(), "label": record.label, "score": score}
            for record, score in self.pictures
        ]
        return _plain(
            {
                "mean": self.mean,
                "approximate": self.approximate,
                "categories": categories,
                "pictures": pictures,
                "left_out": [{"path": str(path), "reason": why} for path, why in self.left_out],
            }
        )

    def __str__(self) -> str:
        from jaxad.evaluation.text import table  # which is about this class

        return table(self)


def joined(evaluations: Sequence[Evaluation] | Mapping[str, Evaluation]) -> Evaluation:
    """The categories of several evaluations as one: of models that learned one category each.

    Args:
      evaluations: no two with a category of the same name; or by names of their own, with which
        the names of their categories then begin: "first: bottle".

    Raises:
      ValueError: two have a category of the same name.
    """
    if isinstance(evaluations, Mapping):
        evaluations = [_named(name, one) for name, one in evaluations.items()]
    names = [name for one in evaluations for name in one.categories]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"several evaluations have the category {', '.join(map(repr, doubled))}: joined, one "
            "would take the other's place; give the evaluations by names of their own"
        )
    categories = {
        name: category for one in evaluations for name, category in one.categories.items()
    }
    pictures = tuple(picture for one in evaluations for picture in one.pictures)
    left_out = tuple(one for several in evaluations for one in several.left_out)
    return Evaluation(
        mean([x.metrics for x in categories.values()]), categories, pictures, left_out
    )


def mean(rows: Sequence[Metrics]) -> Metrics:
    """Each metric's mean over the rows for which it is defined; thresholds are left out.

    NaN where it is defined for none; None where none has it.
    """
    found: Metrics = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        if name.endswith("_threshold"):
            continue
        values = [value for row in rows if (value := row.get(name)) is not None]
        defined = [value for value in values if not math.isnan(value)]
        if defined:
            found[name] = sum(defined) / len(defined)
        else:
            found[name] = math.nan if values else None
    return found


def _named(name: str, one: Evaluation) -> Evaluation:
    """The evaluation with its name in front of those of its categories."""
    pictures = [
        Scored(record._replace(category=f"{name}: {record.category}"), score)
        for record, score in one.pictures
    ]
    categories = {f"{name}: {category}": found for category, found in one.categories.items()}
    return one._replace(categories=categories, pictures=tuple(pictures))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
