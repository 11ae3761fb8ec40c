"""Metrics of an evaluation as rows of a page, and what was not measured, in sentences."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jaxad.data.files import counted
from jaxad.decision.card import Card
from jaxad.evaluation.bootstrap import Intervals
from jaxad.evaluation.results import Evaluation, Metrics
from jaxad.evaluation.text import COLUMNS, of_pixels, undefined

# As in the text, where titles below a common head are short; here each stands alone.
TITLES = {
    **COLUMNS,
    "image_average_precision": "image AP",
    "image_f1_max": "image F1-max*",
    "pixel_average_precision": "pixel AP",
    "pixel_f1_max": "pixel F1-max*",
    "aupro_0.05": "AUPRO@0.05",
}


class Cell(NamedTuple):
    """A metric as text: "0.9912", and below it "0.981 to 0.998"; empty where there is none."""

    value: str
    interval: str = ""


class Row(NamedTuple):
    """The metrics of a category, or of a part of it.

    Attributes:
      title: what it is of.
      sort: "mean", "category", "kind" or "defect".
      place: of its category among all; -1 of the mean.
      counts: numbers of pictures, in words.
      cells: one for each column.
    """

    title: str
    sort: str
    place: int
    counts: str
    cells: list[Cell]


def columns(evaluation: Evaluation) -> dict[str, str]:
    """The metrics that the data set can have, and their titles."""
    return {x: title for x, title in TITLES.items() if evaluation.mean.get(x) is not None}


def rows(evaluation: Evaluation, intervals: Intervals) -> list[Row]:
    """A row for the mean, each category, each kind and each type of defect."""
    names, found = list(columns(evaluation)), []
    if len(evaluation.categories) > 1:
        title = f"mean of {len(evaluation.categories)} categories"
        cells = _cells(evaluation.mean, intervals.mean, names)
        found.append(Row(title, "mean", -1, counted(len(evaluation.pictures), "picture"), cells))
    for place, (name, category) in enumerate(evaluation.categories.items()):
        parts = intervals.categories[name]
        counts = f"{category.normal} + {category.anomalous}"
        cells = _cells(category.metrics, parts.metrics, names)
        found.append(Row(name, "category", place, counts, cells))
        members = [x.record for x in evaluation.pictures if x.record.category == name]
        for kind, metrics in category.kinds.items():
            count = sum(record.kind == kind for record in members if record.label)
            cells = _cells(metrics, parts.kinds.get(kind, {}), names)
            found.append(Row(kind, "kind", place, str(count), cells))
        for defect, metrics in category.defects.items():
            count = sum(record.defect == defect for record in members)
            cells = _cells(metrics, parts.defects.get(defect, {}), names)
            found.append(Row(defect, "defect", place, str(count), cells))
    return found


class Tile(NamedTuple):
    """A number that is told first, and what it is."""

    value: str
    words: str


def tiles(evaluation: Evaluation, intervals: Intervals, card: Card) -> list[Tile]:
    """What a person wants to know at once: how well it tells, and what the card's limit does."""
    found = []
    for name, title in (("image_auroc", "image AUROC"), ("aupro_0.3", "AUPRO@0.3")):
        cell = _cell(evaluation.mean.get(name), intervals.mean.get(name))
        share = f" ({100 * intervals.level:.0f} %: {cell.interval})" if cell.interval else ""
        if cell.value:
            found.append(Tile(cell.value, title + share))
    verdicts = [
        (one.record.label, card.judge(one.score, one.record.category).label)
        for one in evaluation.pictures
    ]
    for label, title in ((1, "defects found"), (0, "false alarms")):
        given = [verdict for truth, verdict in verdicts if truth == label and verdict is not None]
        if given:
            found.append(Tile(f"{given.count('anomalous')} of {len(given)}", title))
    return found


def gaps(evaluation: Evaluation) -> list[str]:
    """What was not measured, or not exactly, and why."""
    lines = [*of_pixels(evaluation), *undefined(evaluation)]
    if evaluation.left_out:
        lines.append(
            f"{counted(len(evaluation.left_out), 'picture')} cannot be read and count nowhere"
        )
    return lines


def _cells(metrics: Metrics, bounds: Mapping[str, Sequence[float]], names: list[str]) -> list[Cell]:
    return [_cell(metrics.get(name), bounds.get(name)) for name in names]


def _cell(value: float | None, bounds: Sequence[float] | None) -> Cell:
    if value is None or math.isnan(value):
        return Cell("")
    if bounds is None:
        return Cell(f"{value:.4f}")
    return Cell(f"{value:.4f}", f"{bounds[0]:.3f} to {bounds[1]:.3f}")
