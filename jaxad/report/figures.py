"""Figures as files: a score histogram, and what studies draw. matplotlib without global state."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray as NpArray

NORMAL, ANOMALOUS, FAINT = "#5b7083", "#c8453c", "#d8dde1"
BINS = 40
DPI = 120


def draw_histogram(
    path: Path,
    rows: Mapping[str, Float[NpArray, "_"]],
    normal: str = "good",
    limit: float | None = None,
) -> None:
    """Writes a PNG with a row of scores for each group of pictures, all on one axis.

    Args:
      path: of the PNG.
      rows: finite scores by the name of the row.
      normal: the name of the row of normal pictures, where there are any.
      limit: a line through all rows, above which alarms are; None for the highest normal score.
    """
    everything = np.concatenate(list(rows.values()))
    low, high = everything.min(), everything.max()
    told = "image score"
    if limit is not None:
        low, high, told = min(low, limit), max(high, limit), f"{told}, dotted: limit of alarms"
    elif normal in rows:
        limit, told = float(rows[normal].max()), f"{told}, dotted: highest of {normal}"
    # Equal scores have no range to cut into bins.
    margin = 0.02 * (high - low) or max(abs(low), 1.0) * 1e-3
    edges = np.linspace(low - margin, high + margin, BINS + 1)

    figure = new_figure(7.2, 1.0 + 0.7 * len(rows))
    axes = figure.subplots(len(rows), sharex=True, squeeze=False)[:, 0]
    for axis, (name, scores) in zip(axes, rows.items(), strict=True):
        colour = NORMAL if name == normal else ANOMALOUS
        axis.hist(scores, edges, color=colour, edgecolor="white", linewidth=0.5)
        if limit is not None:
            axis.axvline(limit, color=NORMAL, linewidth=1, linestyle=":")
        axis.yaxis.get_major_locator().set_params(integer=True, nbins=2)
        label = axis.set_ylabel(f"{_short(name)}\n{len(scores)}", fontsize=9, color=colour)
        label.set(rotation=0, ha="right", va="center", parse_math=False)
        clean(axis)
    axes[-1].set_xlabel(told)
    save(figure, path)


def new_figure(width: float, height: float) -> Any:
    """An empty figure, sides in inches, apart from pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def clean(axis: Any) -> None:
    """Takes away what says nothing."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=9, colors="#333333")


def save(figure: Any, path: Path) -> None:
    """Writes a PNG."""
    with warnings.catch_warnings():
        # Names may be in a script that the font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(path, dpi=DPI, format="png")


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:23]}…"
