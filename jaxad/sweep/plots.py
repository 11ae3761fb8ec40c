"""A figure for each swept field: the metrics against its values."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxad import plots
from jaxad.sweep.scores import Scores
from jaxad.sweep.settings import rows

METRICS = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "aupro_0.3": "AUPRO@0.3"}
SPREAD = 100  # a range of values wider than this is drawn on a logarithmic axis


def draw(folder: pathlib.Path, configs: Sequence[Any], scores: Scores) -> list[pathlib.Path]:
    """Writes `<field>.png` for each field that differs; returns the files.

    Points are members; the line joins the means over seeds and over all that else was swept.
    """
    settings = rows(configs)
    files = []
    for field in settings[0]:
        files.append(folder / f"{field}.png")
        _draw_field(files[-1], field, [row[field] for row in settings], scores)
    return files


def _draw_field(path: pathlib.Path, field: str, values: Sequence[Any], scores: Scores) -> None:
    metrics = [name for name in METRICS if name in scores.metrics]
    levels = sorted(set(values), key=lambda x: (str(type(x)), x))
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in levels)
    places = levels if numbers else list(range(len(levels)))
    figure = plots.new_figure(1.2 + 3.4 * max(len(metrics), 1), 3.2)
    axes = figure.subplots(1, max(len(metrics), 1), squeeze=False)[0]
    for axis, name in zip(axes, metrics, strict=False):
        means = []
        for place, level in zip(places, levels, strict=True):
            members = scores.metrics[name][[value == level for value in values]].ravel()
            members = members[~np.isnan(members)]
            axis.plot(
                np.full(len(members), place), members, "o", color=plots.NORMAL, alpha=0.5, ms=4
            )
            means.append(members.mean() if members.size else np.nan)
        axis.plot(places, means, color=plots.ANOMALOUS, linewidth=1.6)
        if not numbers:
            axis.set_xticks(places, [str(level) for level in levels])
        elif min(levels) > 0 and max(levels) > SPREAD * min(levels):
            axis.set_xscale("log")
        axis.set(xlabel=field, ylabel=METRICS[name])
        axis.grid(color=plots.FAINT, linewidth=0.6)
        axis.set_axisbelow(True)
        plots.clean(axis)
    plots.save(figure, path)
