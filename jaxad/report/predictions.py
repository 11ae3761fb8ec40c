"""A page about new pictures: how many, which are the most anomalous, and where."""

import heapq
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jaxad.report import rendering

SHOWN = 200  # pictures, at most


def write(
    folder: Path,
    rows: Iterable[dict[str, Any]],
    title: str,
    limits: str,
    overlay: Callable[[str], str | None],
) -> Path:
    """Writes `index.html` about the rows of a prediction; its memory does not grow with them.

    Args:
      folder: to write to.
      rows: of `bulk.rows`, any number.
      title: of the page.
      limits: where alarms begin, in words.
      overlay: a picture's path -> that of its overlay, as seen from the page; None without one.

    Raises:
      OSError: the page cannot be written.
    """
    counts: Counter[str] = Counter()
    bad: list[str] = []
    highest: list[tuple[float, int, dict[str, Any]]] = []
    for number, row in enumerate(rows):
        counts["cannot be used" if "error" in row else row["label"] or "without a label"] += 1
        if "error" in row:
            bad += [row["error"]] if len(bad) < SHOWN else []
        else:
            push = heapq.heappush if len(highest) < SHOWN else heapq.heappushpop
            push(highest, (row["score"], -number, row))
    shown = [row for _, _, row in sorted(highest, key=lambda one: one[:2], reverse=True)]
    total = sum(counts.values()) - counts["cannot be used"]
    which = "All pictures" if len(shown) == total else f"The {len(shown)} highest of {total} scores"
    each = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    return rendering.write(
        folder / "index.html",
        "predictions.html",
        title=title,
        counts=each,
        limits=limits,
        which=which,
        rows=[_row(row, overlay(row["path"])) for row in shown],
        bad=bad,
        more=counts["cannot be used"] - len(bad),
    )


def _row(row: dict[str, Any], overlay: str | None) -> dict[str, Any]:
    """A row in words."""
    return {
        "path": row["path"],
        "score": f"{row['score']:.6g}",
        "percentile": _number(row["percentile"], ".4g"),
        "p_value": _number(row["p_value"], ".3g"),
        "label": row["label"] or "none",
        "regions": len(row["regions"]),
        "overlay": None if overlay is None else quote(os.fsencode(overlay)),
    }


def _number(value: float | None, how: str) -> str:
    return "" if value is None else format(value, how)
