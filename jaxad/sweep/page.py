"""A sweep as a page: settings side by side, and every swept field against every metric."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxad.data.files import counted
from jaxad.detector import Detector
from jaxad.evaluation.text import undefined
from jaxad.report import rendering
from jaxad.report.measured import TITLES
from jaxad.sweep.plots import FEW, Rows, joined
from jaxad.sweep.scores import Scores, summary
from jaxad.sweep.settings import rows
from jaxad.sweep.table import alive, in_words

PAGE = "index.html"


def write(
    folder: pathlib.Path, detector: Detector, configs: Sequence[Any], scores: Scores
) -> pathlib.Path:
    """Writes `index.html`; returns its path.

    Raises:
      OSError: it cannot be written.
    """
    settings = rows(configs)
    names = [name for name in TITLES if name in scores.metrics and _some(scores.metrics[name])]
    found = {name: summary(scores.metrics[name]) for name in names}
    seeds = len(scores.evaluations[0])
    evaluations = [one for row in scores.evaluations for one in row if one is not None]
    return rendering.write(
        folder / PAGE,
        "sweep.html",
        title=f"{detector.name}: {counted(len(configs), 'setting')} of {', '.join(settings[0])}",
        fields=list(settings[0]),
        titles=[TITLES[name] for name in names],
        seeds=counted(seeds, "seed"),
        rows=[
            {
                "setting": [str(value) for value in setting.values()],
                "seeds": alive(scores, s),
                "cells": [in_words(found[name][s], s == 0) for name in names],
            }
            for s, setting in enumerate(settings)
        ],
        gaps=_gaps(scores, [line for one in evaluations for line in undefined(one)]),
        data={
            "settings": [", ".join(f"{x} {y}" for x, y in row.items()) for row in settings],
            "metrics": [
                {"name": name, "title": TITLES[name], "values": _plain(scores.metrics[name])}
                for name in names
            ],
            "fields": [_field(name, settings, scores, names) for name in settings[0]],
        },
    )


def _field(field: str, settings: Rows, scores: Scores, names: Sequence[str]) -> dict[str, Any]:
    """Where the settings stand on a field's axis: values evenly spaced by name where few."""
    levels = sorted({row[field] for row in settings}, key=lambda x: (str(type(x)), x))
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in levels)
    named = not numbers or len(levels) <= FEW
    places = dict(zip(levels, range(len(levels)) if named else levels, strict=True))
    lines = {}
    for name in names:
        found = joined(field, levels, settings, scores.metrics[name])
        lines[name] = [_line("one", line, places) for line in found]
        if found and all(len(line) == len(levels) for line in found):
            mean = {x: float(np.mean([line[x] for line in found])) for x in levels}
            lines[name].append(_line("mean", mean, places))
    return {
        "name": field,
        "at": [places[row[field]] for row in settings],
        "named": [str(level) for level in levels] if named else None,
        "lines": lines,
    }


def _line(kind: str, line: Mapping[Any, float], places: Mapping[Any, Any]) -> dict[str, Any]:
    return {"kind": kind, "points": [[places[x], y] for x, y in line.items()]}


def _gaps(scores: Scores, said: Sequence[str]) -> list[str]:
    diverged = sum(one is None for row in scores.evaluations for one in row)
    lines = [f"{counted(diverged, 'member')} diverged and count nowhere"] if diverged else []
    return [*lines, *dict.fromkeys(said)]


def _some(values: Float[np.ndarray, "S K"]) -> bool:
    return bool(np.isfinite(values).any())


def _plain(values: Float[np.ndarray, "S K"]) -> list[list[float | None]]:
    return [[None if math.isnan(x) else round(x, 6) for x in row] for row in values.tolist()]
