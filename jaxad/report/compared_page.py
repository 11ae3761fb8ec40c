"""Several runs on the same pictures as a page: side by side, and where they disagree."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jaxad.data.files import counted
from jaxad.decision.comparison import Comparison
from jaxad.progress import printable
from jaxad.report import rendering
from jaxad.report.compared import said, summary, unusable, verdict
from jaxad.report.measured import Tile

PAGE = "index.html"
SHOWN = 50  # pictures on the page, at most
PAIRS = 6  # of runs whose scores are drawn against one another, at most


def page(
    folder: Path,
    comparison: Comparison,
    title: str,
    overlay: Callable[[int, int], str | None],
) -> Path:
    """Writes `index.html`: the runs, their scores against one another, and where verdicts differ.

    Args:
      folder: to write to.
      comparison: what it is about.
      title: of the page.
      overlay: the places of a picture and a run -> the path of the map over the picture, as seen
        from the page; None without one.

    Raises:
      OSError: the page cannot be written.
    """
    shown, total = comparison.different[:SHOWN], len(comparison.different)
    few = f"The first {len(shown)} of {total} pictures"
    rows = [_row(comparison, i, overlay) for i in shown]
    bad = unusable(comparison)
    bad[SHOWN:] = [f"and {len(bad) - SHOWN} more"] if len(bad) > SHOWN else []
    titles, *runs = summary(comparison)
    return rendering.write(
        folder / PAGE,
        "compare.html",
        title=title,
        tiles=_tiles(comparison),
        titles=titles,
        runs=runs,
        said=said(comparison),
        names=[run.name for run in comparison.runs],
        which=few if len(shown) < total else counted(total, "picture"),
        rows=rows,
        truths=sorted({row["truth"] for row in rows}),
        unusable=bad,
        data=_data(comparison),
    )


def _tiles(comparison: Comparison) -> list[Tile]:
    of = f"of {counted(len(comparison.paths), 'picture')}"
    found = [
        Tile(str(comparison.same), f"{of}: the same verdict from all runs"),
        Tile(str(len(comparison.different)), f"{of}: verdicts differ"),
    ]
    if comparison.incomplete:
        found.append(Tile(str(comparison.incomplete), f"{of}: no verdict from some run"))
    return found


def _row(
    comparison: Comparison, place: int, overlay: Callable[[int, int], str | None]
) -> dict[str, Any]:
    links = [overlay(place, number) for number in range(len(comparison.runs))]
    verdicts = [run.verdicts[place] for run in comparison.runs]
    truth = None if comparison.defects is None else comparison.defects[place]
    return {
        "path": comparison.paths[place],
        "truth": truth or "unknown",
        "verdicts": [
            {
                "label": one.label or "none",
                "words": verdict(one),
                "overlay": None if link is None else quote(link),
            }
            for one, link in zip(verdicts, links, strict=True)
        ],
    }


def _data(comparison: Comparison) -> dict[str, Any]:
    differs = set(comparison.different)
    scores = [[one.score for one in run.verdicts] for run in comparison.runs]
    truth = comparison.defects
    return {
        "runs": [printable(run.name) for run in comparison.runs],
        "pairs": list(itertools.combinations(range(len(comparison.runs)), 2))[:PAIRS],
        "names": [printable(path) for path in comparison.paths],
        "scores": scores,
        "truth": None if truth is None else [x and printable(x) for x in truth],
        "differs": [place in differs for place in range(len(comparison.paths))],
    }
