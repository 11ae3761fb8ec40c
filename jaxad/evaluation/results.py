"""What an evaluation found: metrics of each category, as JSON and as a table."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxtyping import Float
from numpy import ndarray as NpArray

from jaxad.data.source import LeftOut, Record

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
MEAN = "mean of "  # begins the row of the mean over categories
# What is defined together, by the metric that tells it.
LEVELS = {
    "image_auroc": "image metrics",
    "pixel_auroc": "pixel metrics",
    "au_spro_0.05": "sPRO metrics",
}


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
      left_out: pictures of the test set that could not be read and count nowhere.
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


def table(evaluation: Evaluation) -> str:
    """The main metrics as text: a row for each category and kind, then each type of defect.

    Lines below say which are undefined and why. Names that could be taken for something else in the
    table are in quotes.
    """
    columns = {
        name: title for name, title in COLUMNS.items() if evaluation.mean.get(name) is not None
    }
    rows = [["", "normal", "anomalous", *columns.values()]]
    for name, category in evaluation.categories.items():
        counts = [str(category.normal), str(category.anomalous)]
        cells = [_number(category.metrics.get(x)) for x in columns]
        rows.append([_label(name), *counts, *cells])
        for kind, metrics in category.kinds.items():
            cells = [_number(metrics.get(x)) for x in columns]
            rows.append([f"  {_label(kind)}", "", "", *cells])
    if len(evaluation.categories) > 1:
        name = f"{MEAN}{len(evaluation.categories)} categories"
        rows.append([name, "", "", *(_number(evaluation.mean[x]) for x in columns)])
    lines = _aligned(rows)
    shown = [name for name in DEFECT_COLUMNS if name in columns]
    defects = [
        [_label(name, defect), *(_number(metrics[x]) for x in shown)]
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
    if evaluation.left_out:
        lines.append(f"left out, since they cannot be read: {len(evaluation.left_out)} pictures")
        lines += [f"  {reason}" for _, reason in evaluation.left_out]
    return "\n".join([*lines, *undefined(evaluation)])


def undefined(evaluation: Evaluation) -> list[str]:
    """Sentences that say which metrics are undefined, of what, and why.

    Metrics that no category has, since the data set has no masks, are not spoken of.
    """
    levels = [level for level in LEVELS if evaluation.mean.get(level) is not None]
    found, counts = [], dict.fromkeys(levels, 0)
    for name, category in evaluation.categories.items():
        lacking = _lacking(category.metrics, levels)
        found += _sentences(_label(name), category, category.metrics, lacking)
        for level in set(levels) - set(lacking):
            counts[level] += 1
        parts = {f"{_label(name)}, kind {_label(x)}": row for x, row in category.kinds.items()}
        parts |= {_label(name, x): row for x, row in category.defects.items()}
        for part, row in parts.items():  # unless the same is said of the whole category
            more = [level for level in _lacking(row, levels) if level not in lacking]
            found += _sentences(part, category, row, more)
    total = len(evaluation.categories)
    return found + [
        f"the mean of {LEVELS[level]} is over {count} of {total} categories"
        for level, count in counts.items()
        if 0 < count < total
    ]


def _lacking(metrics: Metrics, levels: Sequence[str]) -> list[str]:
    return [level for level in levels if not _is_defined(metrics.get(level))]


def _sentences(
    place: str, category: Category, metrics: Metrics, levels: Sequence[str]
) -> list[str]:
    """One for each reason for which metrics of a category, or of a part of it, are undefined."""
    reasons: dict[str, list[str]] = {}
    for level in levels:
        reasons.setdefault(_reason(category, metrics, level), []).append(LEVELS[level])
    return [f"{place}: {' and '.join(x)} are undefined: {why}" for why, x in reasons.items()]


def _reason(category: Category, metrics: Metrics, level: str) -> str:
    if metrics.get(level) is None:
        return "its data set tells no regions" if "spro" in level else "its data set has no masks"
    if not category.anomalous:
        return "there are no anomalous test pictures"
    if level == "image_auroc":
        return "there are no normal test pictures"
    return "its masks mark nothing, or everything"


def _named(name: str, one: Evaluation) -> Evaluation:
    """The evaluation with its name in front of those of its categories."""
    pictures = [
        Scored(record._replace(category=f"{name}: {record.category}"), score)
        for record, score in one.pictures
    ]
    categories = {f"{name}: {category}": found for category, found in one.categories.items()}
    return one._replace(categories=categories, pictures=tuple(pictures))


def _label(*names: str) -> str:
    """Names on one line, in quotes where they could be taken for something else."""
    return "/".join(name if _is_plain(name) else repr(name) for name in names)


def _is_plain(name: str) -> bool:
    if not name or not name.isprintable() or name != name.strip():
        return False
    return "/" not in name and name[0] not in "'\"" and not name.startswith(MEAN)


def _is_defined(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


def _number(value: float | None) -> str:
    return f"{value:.4f}" if _is_defined(value) else "-"


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
