"""What an evaluation found as a table of text, and in sentences what is undefined and why."""

import math
from collections.abc import Sequence

from jaxad.evaluation.results import Category, Evaluation, Metrics

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
    lines += of_pixels(evaluation)
    if evaluation.left_out:
        lines.append(f"pictures left out, since they cannot be read: {len(evaluation.left_out)}")
        lines += [f"  {reason}" for _, reason in evaluation.left_out]
    return "\n".join([*lines, *undefined(evaluation)])


def of_pixels(evaluation: Evaluation) -> list[str]:
    """Sentences that say whether pixel metrics are approximate, or missing from all categories."""
    lines = []
    if evaluation.approximate:
        errors = [error for x in evaluation.categories.values() for error in x.errors.values()]
        worst = math.ceil(1e4 * max(errors)) / 1e4
        lines.append(f"pixel metrics are approximate, off by {worst:.4f} at most")
    if all(x.metrics["pixel_auroc"] is None for x in evaluation.categories.values()):
        lines.append("no pixel metrics: the data set has no masks")
    return lines


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
    return "it has no masks, or they mark nothing or everything"


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
