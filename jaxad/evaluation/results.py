"""What an evaluation found: metrics of each category, as JSON and as a table."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxtyping import Float
from numpy import ndarray as NpArray

from jaxad.data.source import Record

Metrics = dict[str, float | None]  # NaN where undefined, None where the data set has no masks

COLUMNS = {
    "image_auroc": "image AUROC",
    "image_average_precision": "AP",
    "image_f1_max": "F1-max*",
    "pixel_auroc": "pixel AUROC",
    "pixel_average_precision": "AP",
    "pixel_f1_max": "F1-max*",
    "aupro_0.3": "AUPRO@0.3",
    "aupro_0.05": "@0.05",
    "au_spro_0.05": "AU-sPRO@0.05",
}
DEFECT_COLUMNS = ("image_auroc", "pixel_auroc", "aupro_0.3")


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
    F1-max, with their "..._threshold", are oracles: the threshold is picked on the test labels.

    Attributes:
      mean: unweighted over categories, those left out for which a metric is undefined.
      categories: by name.
      pictures: in the order of the test set.
    """

    mean: Metrics
    categories: dict[str, Category]
    pictures: tuple[Scored, ...]

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
            }
        )

    def __str__(self) -> str:
        return table(self)


def joined(evaluations: Sequence[Evaluation]) -> Evaluation:
    """The categories of several evaluations as one: of models that learned one category each."""
    categories = {
        name: category for one in evaluations for name, category in one.categories.items()
    }
    pictures = tuple(picture for one in evaluations for picture in one.pictures)
    return Evaluation(mean([x.metrics for x in categories.values()]), categories, pictures)


def mean(rows: Sequence[Metrics]) -> Metrics:
    """Each metric's mean over the rows that have it; thresholds are left out."""
    found: Metrics = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        if name.endswith("_threshold"):
            continue
        values = [row.get(name) for row in rows]
        defined = [x for x in values if x is not None and not math.isnan(x)]
        if defined:
            found[name] = sum(defined) / len(defined)
        else:
            found[name] = None if None in values else math.nan
    return found


def table(evaluation: Evaluation) -> str:
    """The main metrics as text: a row for each category and kind, then each type of defect."""
    columns = {
        name: title for name, title in COLUMNS.items() if evaluation.mean.get(name) is not None
    }
    rows = [["", "normal", "anomalous", *columns.values()]]
    for name, category in evaluation.categories.items():
        counts = [str(category.normal), str(category.anomalous)]
        rows.append([name, *counts, *(_number(category.metrics.get(x)) for x in columns)])
        for kind, metrics in category.kinds.items():
            rows.append([f"  {kind}", "", "", *(_number(metrics.get(x)) for x in columns)])
    if len(evaluation.categories) > 1:
        rows.append(["mean", "", "", *(_number(evaluation.mean[x]) for x in columns)])
    lines = _aligned(rows)
    shown = [name for name in DEFECT_COLUMNS if name in columns]
    defects = [
        [f"{name}/{defect}", *(_number(metrics[x]) for x in shown)]
        for name, category in evaluation.categories.items()
        for defect, metrics in category.defects.items()
    ]
    if defects:
        header = ["by type of defect", *(columns[x] for x in shown)]
        lines += ["", *_aligned([header, *defects])]
    lines += ["", "* an oracle: its threshold is picked on the test labels"]
    if any(category.kinds for category in evaluation.categories.values()):
        lines.append("a category with kinds of defects has the mean over its kinds")
    if evaluation.approximate:
        errors = [error for x in evaluation.categories.values() for error in x.errors.values()]
        worst = math.ceil(1e4 * max(errors)) / 1e4
        lines.append(f"pixel metrics are approximate, off by {worst:.4f} at most")
    if all(x.metrics["pixel_auroc"] is None for x in evaluation.categories.values()):
        lines.append("no pixel metrics: the data set has no masks")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
