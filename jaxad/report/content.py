"""What the scripts of a page work on: pictures, scores and limits as plain JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxad.decision.card import Card
from jaxad.evaluation.results import Scored
from jaxad.progress import printable
from jaxad.report import sheets
from jaxad.report.facts import Facts
from jaxad.report.sheets import Layer


def limits(card: Card, names: Sequence[str]) -> list[dict[str, Any]]:
    """Of each category where alarms begin, in words too, and what the card's normals score.

    Args:
      card: the model's.
      names: of the categories, in the order of the page.
    """
    found = []
    for name in names:
        normals = card.of(name)
        found.append(
            {
                "name": printable(name),
                "limit": card.thresholds(name)[0],
                "said": printable(card.said(name)),
                "normals": [short(score) for score in normals.scores.tolist()],
            }
        )
    return found


def pictures(scored: Sequence[Scored], names: Sequence[str]) -> dict[str, list]:
    """Names, truth and scores, a list each; types of defect and kinds by their places in lists."""
    defects = sorted({x.record.defect for x in scored}, key=lambda name: (name != "good", name))
    place = {name: i for i, name in enumerate(defects)}
    category = {name: i for i, name in enumerate(names)}
    return {
        "name": [printable(x.record.name) for x in scored],
        "category": [category[x.record.category] for x in scored],
        "defect": [place[x.record.defect] for x in scored],
        "defects": [printable(name) for name in defects],
        "score": [x.score for x in scored],
    }


def order(scored: Sequence[Scored], among: Sequence[int]) -> list[int]:
    """Those pictures by category, the highest score first: as a page shows them at first."""
    return sorted(among, key=lambda i: (scored[i].record.category, -scored[i].score))


def layers(
    found: Mapping[str, Layer], sizes: Mapping[int, tuple[int, int]], side: int, count: int
) -> dict[str, Any]:
    """Where each picture lies on the sheets.

    Args:
      found: by sort.
      sizes: height and width of a picture's cell, by index.
      side: of a cell.
      count: of pictures.
    """
    size = [list(sizes.get(index, (0, 0))) for index in range(count)]
    at = {sort: [*one.at, *[-1] * (count - len(one.at))] for sort, one in found.items()}
    cells = {sort: 1 + max(places, default=-1) for sort, places in at.items()}
    across = sheets.across(side)
    return {"side": side, "across": across, "size": size, "at": at, "cells": cells}


def history(facts: Facts | None) -> dict[str, Any] | None:
    """What a run wrote while it trained; None where nothing is known."""
    found = None if facts is None else facts.history
    return None if found is None else found._asdict()


def short(value: float) -> float:
    """A score with as many digits as a page shows, for half the bytes."""
    return float(np.format_float_positional(value, 7, fractional=False))
