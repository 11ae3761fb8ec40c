"""Curves and histories as few points that a page can draw."""

import json
import math
import pathlib
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray as NpArray

from jaxad.evaluation.results import Evaluation
from jaxad.progress import printable

STEP = 1 / 300  # a curve's points are at least so far apart in either direction
POINTS = 400  # of a history, at most
KINDS = {  # key in `Category.curves`: title, what the vertical axis is, limit of the area
    "pixel_roc": ("ROC of pixels", "true positive rate", 1.0),
    "pro": ("Per-region overlap (PRO)", "per-region overlap", 0.3),
    "spro": ("Saturated PRO", "saturated per-region overlap", 0.05),
}
NOT_TERMS = ("step", "epoch", "seconds")


class History(NamedTuple):
    """What a run wrote while it trained.

    Attributes:
      step: of each point.
      values: of each term; None where it is not finite, or not told.
      diverged: the first step with a value that is not finite, written as null; None without one.
    """

    step: list[int]
    values: dict[str, list[float | None]]
    diverged: int | None


def pixel_curves(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The curves of pixels of all categories, a plot for each sort that some category has."""
    found = []
    for key, (title, vertical, limit) in KINDS.items():
        lines = {}
        for name, category in evaluation.categories.items():
            x, y = category.curves.get(key, (np.zeros(0), np.zeros(0)))
            if len(x):
                lines[printable(name)] = [_short(values) for values in thinned(x, y)]
        if lines:
            found.append({"title": title, "vertical": vertical, "limit": limit, "lines": lines})
    return found


def thinned(
    x: Float[NpArray, "P"], y: Float[NpArray, "P"], step: float = STEP
) -> tuple[Float[NpArray, "Q"], Float[NpArray, "Q"]]:
    """The points of a curve that differ from the one kept before by `step` in x or y, and its ends.

    A point before a jump is kept as well, so that steps stay steps.
    """
    kept = [0]
    for i in range(1, len(x)):
        if max(abs(x[i] - x[kept[-1]]), abs(y[i] - y[kept[-1]])) >= step:
            if i - 1 > kept[-1]:
                kept.append(i - 1)
            kept.append(i)
    if len(x) and kept[-1] != len(x) - 1:
        kept.append(len(x) - 1)
    kept = kept[: len(x)]
    return x[kept], y[kept]


def history(file: pathlib.Path) -> History | None:
    """What `metrics.jsonl` tells; None if there is none, or nothing in it.

    Raises:
      ValueError: the file is damaged.
    """
    if not file.exists():
        return None
    try:
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        steps = [int(row["step"]) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is damaged: {error!r}") from error
    if not rows:
        return None
    names = dict.fromkeys(name for row in rows for name in row)
    terms = [name for name in names if name not in NOT_TERMS]
    bad = [step for step, row in zip(steps, rows, strict=True) if None in row.values()]
    chosen = _spread(len(rows))
    values = {name: [_plain(rows[i].get(name)) for i in chosen] for name in terms}
    return History([steps[i] for i in chosen], values, bad[0] if bad else None)


def _plain(value: Any) -> float | None:
    if isinstance(value, int | float) and math.isfinite(value):
        return float(f"{value:.5g}")
    return None


def _spread(count: int) -> list[int]:
    """So many places that a page can draw them, the last one among them."""
    return np.unique(np.linspace(0, count - 1, min(count, POINTS)).round().astype(int)).tolist()


def _short(values: Float[NpArray, "Q"]) -> list[float]:
    return [round(float(value), 4) for value in values]
