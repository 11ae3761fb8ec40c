"""A figure for each swept field: the metrics against its values."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxad.report import figures
from jaxad.sweep.scores import Scores
from jaxad.sweep.settings import rows

METRICS = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "aupro_0.3": "AUPRO@0.3"}
SPREAD = 100  # a range of values wider than this is drawn on a logarithmic axis
FEW = 8  # values up to this many stand evenly spaced, each with its name
Rows = Sequence[dict[str, Any]]


def draw(folder: pathlib.Path, configs: Sequence[Any], scores: Scores) -> list[pathlib.Path]:
    """Writes `<field>.png` for each field that differs; returns the files.

    Points are members. A thin line joins, by their means over seeds, settings that differ in this
    field alone; the thick one is the mean of such lines where all have every value.
    """
    settings = rows(configs)
    files = []
    for field in settings[0]:
        files.append(folder / f"{field}.png")
        _draw_field(files[-1], field, settings, scores)
    return files


def _draw_field(path: pathlib.Path, field: str, settings: Rows, scores: Scores) -> None:
    metrics = [name for name in METRICS if name in scores.metrics]
    levels = sorted({row[field] for row in settings}, key=lambda x: (str(type(x)), x))
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in levels)
    named = not numbers or len(levels) <= FEW
    places = dict(zip(levels, range(len(levels)) if named else levels, strict=True))
    figure = figures.new_figure(1.2 + 3.4 * max(len(metrics), 1), 3.2)
    axes = figure.subplots(1, max(len(metrics), 1), squeeze=False)[0]
    for axis, name in zip(axes, metrics, strict=False):
        values = scores.metrics[name]
        for row, members in zip(settings, values, strict=True):
            at = np.full(len(members), places[row[field]])
            axis.plot(at, members, "o", color=figures.NORMAL, alpha=0.5, ms=4)
        lines = joined(field, levels, settings, values)
        for line in lines:
            axis.plot(
                [places[level] for level in line], list(line.values()),
                color=figures.ANOMALOUS, linewidth=0.8, alpha=0.6,
            )  # fmt: skip
        if lines and all(len(line) == len(levels) for line in lines):
            means = [np.mean([line[level] for line in lines]) for level in levels]
            axis.plot(list(places.values()), means, color=figures.ANOMALOUS, linewidth=1.6)
        if named:
            axis.set_xticks(list(places.values()), [str(level) for level in levels])
        elif min(levels) > 0 and max(levels) > SPREAD * min(levels):
            axis.set_xscale("log")
        axis.set(xlabel=field, ylabel=METRICS[name])
        axis.grid(color=figures.FAINT, linewidth=0.6)
        axis.set_axisbelow(True)
        figures.clean(axis)
    figures.save(figure, path)


def joined(
    field: str, levels: Sequence[Any], settings: Rows, values: Float[np.ndarray, "S K"]
) -> list[dict[Any, float]]:
    """Mean over the seeds by value of the field, for each choice of all else that has several."""
    found: dict[tuple, dict[Any, float]] = {}
    for row, members in zip(settings, values, strict=True):
        finite = members[~np.isnan(members)]
        if finite.size:
            others = tuple((name, value) for name, value in row.items() if name != field)
            found.setdefault(others, {})[row[field]] = float(finite.mean())
    lines = [{x: line[x] for x in levels if x in line} for line in found.values()]
    return [line for line in lines if len(line) > 1]
