"""What a person looks at after a run: a page with metrics, curves, and every picture's heat map."""

import contextlib
import errno
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray as NpArray
from PIL import Image

from jaxad.data.source import Item, Record
from jaxad.decision.card import Card
from jaxad.evaluation.results import Evaluation, Scored
from jaxad.report import figures, html, panels
from jaxad.report.heatmap import overlay
from jaxad.report.nearest import Comparison

PICTURES, THUMBNAILS, NEAREST = "pictures", "thumbnails", "nearest"  # folders
COLUMNS = 5  # pictures in a row of the grid
ROWS = 20  # types of defect in the histogram; where there are more, their kinds are shown
CURVES = {  # file and key in `Category.curves`: title, vertical axis, limit of the area
    "image_roc": ("Images: ROC", "true positive rate", 1.0),
    "pixel_roc": ("Pixels: ROC", "true positive rate", 1.0),
    "pro": ("Regions: PRO up to 0.3", "per-region overlap", 0.3),
    "spro": ("Regions: sPRO up to 0.05", "saturated per-region overlap", 0.05),
}


class Report:
    """Writes the heat map of each picture as it comes, and a page about all of them at the end.

    In the folder: `index.html`, `grid.png`, `histogram.png`, a PNG for each curve, and
    `pictures/<index>_<name>.png` with a small one in `thumbnails/`; of methods that remember
    pictures, alarms beside the normal ones in `nearest/`. Files of an evaluation before
    are overwritten where names are equal; others stay and are not in the page. Nothing of the
    pictures is kept in memory.

    Args:
      folder: of the report; made where it is missing.
      records: those of the test set.
      card: the model's, which tells the colour scale and what is an alarm.

    Raises:
      OSError: the folder cannot be written; so do `visit` and `finish`.
    """

    def __init__(self, folder: str | os.PathLike[str], records: Sequence[Record], card: Card):
        self._folder, self._records, self._card = Path(folder), records, card
        self._visited: set[int] = set()
        with self._writing():
            for name in (PICTURES, THUMBNAILS):
                (self._folder / name).mkdir(parents=True, exist_ok=True)

    def visit(self, index: int, item: Item, map: Float[NpArray, "H W"], score: float) -> None:
        """Writes the heat map of one picture: the hook of `evaluate`.

        Args:
          index: of the picture in the test set.
          item: the picture and its mask.
          map: at the picture's own size.
          score: of the whole picture.
        """
        image, scale = item["image"], self._card.scale
        heat = overlay(image, map, scale, item["mask"])
        caption = "   ".join(_caption(self._records[index], score))
        panel, pair = panels.panel(image, heat, scale, caption), panels.pair(image, heat)
        with self._writing():
            # Level 3 takes a third of the usual level's time, for files 15 % larger.
            panel.save(self._path(PICTURES, index), compress_level=3)
            pair.save(self._path(THUMBNAILS, index), compress_level=3)
        self._visited.add(index)

    def finish(
        self,
        evaluation: Evaluation,
        title: str = "Report",
        compared: Sequence[Comparison] = (),
        alarmed: int = 0,
    ) -> Path:
        """Writes grid, histogram, curves and page; returns the path of the page.

        Pictures that were not visited count in the figures, but have no heat map.

        Args:
          evaluation: of the whole test set.
          title: of the page.
          compared: alarms beside the normal pictures nearest to them, in the order to show.
          alarmed: how many alarms there are, of which these are the clearest.
        """
        pictures = evaluation.pictures
        with self._writing():
            nearest = [self._compared(one, pictures[one.index]) for one in compared]
            self._draw_grid(pictures)
            figures = self._draw_figures(evaluation)
            by_score = sorted(self._visited, key=lambda i: -pictures[i].score)
            heat_maps = [
                html.HeatMap(
                    f"{PICTURES}/{self._file(i)}",
                    f"{THUMBNAILS}/{self._file(i)}",
                    ", ".join(_caption(*pictures[i])),
                )
                for i in by_score
            ]
            scale = self._card.scale
            numbers = panels.numbers((scale.low, scale.normal, scale.high))
            text = html.page(
                title, str(evaluation), figures, "grid.png", heat_maps, numbers,
                self._card.said(), nearest, alarmed,
            )  # fmt: skip
            path = self._folder / "index.html"
            path.write_text(text, encoding="utf-8", errors="replace")
        return path

    def _compared(self, found: Comparison, picture: Scored) -> html.HeatMap:
        (self._folder / NEAREST).mkdir(exist_ok=True)
        found.image.save(self._path(NEAREST, found.index), compress_level=3)
        name, scored = _caption(*picture)
        words = f"{name}, {scored}, at distance {found.distance:#.3g} of {_printable(found.normal)}"
        file = self._file(found.index)
        return html.HeatMap(f"{PICTURES}/{file}", f"{NEAREST}/{file}", words)

    def _draw_grid(self, pictures: Sequence[Scored]) -> None:
        chosen = cases(pictures, self._card, COLUMNS, among=self._visited)
        rows = [
            (name, [self._case(i, pictures[i]) for i in found]) for name, found in chosen.items()
        ]
        panels.sheet(rows, COLUMNS, self._card.scale).save(self._folder / "grid.png")

    def _case(self, index: int, picture: Scored) -> panels.Case:
        with Image.open(self._path(THUMBNAILS, index)) as pair:
            return panels.Case(pair.copy(), _caption(*picture))

    def _draw_figures(self, evaluation: Evaluation) -> list[str]:
        figures.draw_histogram(self._folder / "histogram.png", groups(evaluation.pictures))
        written = ["histogram.png"]
        for key, (title, ylabel, limit) in CURVES.items():
            drawn = {
                name: category.curves[key]
                for name, category in evaluation.categories.items()
                if key in category.curves and len(category.curves[key][0])
            }
            alike = len({_printable(name) for name in drawn}) < len(drawn)
            curves = {repr(n) if alike else _printable(n): curve for n, curve in drawn.items()}
            if curves:
                written.append(f"{key}.png")
                figures.draw_curves(self._folder / written[-1], curves, title, ylabel, limit)
        return written

    def _file(self, index: int) -> str:
        return f"{index:05d}_{_file_name(self._records[index].name)}.png"

    def _path(self, kind: str, index: int) -> Path:
        return self._folder / kind / self._file(index)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = f"cannot write the report: {error.strerror or error}"
            advice = "free some space there or choose a folder that can be written"
            number = error.errno or errno.EIO
            raise OSError(number, f"{reason}; {advice}", str(self._folder)) from error


def cases(
    pictures: Sequence[Scored], card: Card, count: int, among: Collection[int]
) -> dict[str, list[int]]:
    """The best and worst cases: for each sort, the indices of its `count` clearest pictures.

    An alarm is a score above the card's limit for the picture's category; pictures are ordered by
    how far from it they are.

    Args:
      pictures: of the whole test set.
      card: the model's.
      count: how many of each sort, at most.
      among: indices of pictures that may be chosen.
    """
    anomalous, margin = _labels_and_margins(pictures, card)
    alarm = margin > 0
    allowed = np.isin(np.arange(len(pictures)), list(among))

    def first(chosen: Bool[NpArray, "N"], order: Float[NpArray, "N"]) -> list[int]:
        indices = np.flatnonzero(chosen & allowed)
        return indices[np.argsort(order[indices], kind="stable")][:count].tolist()

    return {
        "Most confident hits": first(anomalous & alarm, -margin),
        "Weakest hits": first(anomalous & alarm, margin),
        "Missed anomalies": first(anomalous & ~alarm, margin),
        "False alarms": first(~anomalous & alarm, -margin),
        "Hardest normals without alarm": first(~anomalous & ~alarm, -margin),
    }


def alarms(pictures: Sequence[Scored], card: Card) -> list[int]:
    """The indices of all pictures that raise one, as in `cases`, the clearest first.

    Of several categories first the clearest of each, then their second ones, and so on.
    """
    _, margin = _labels_and_margins(pictures, card)
    found, seen = [], dict.fromkeys((picture.record.category for picture in pictures), 0)
    for i in np.argsort(-margin, kind="stable").tolist():
        if margin[i] > 0:
            category = pictures[i].record.category
            found.append((seen[category], i))
            seen[category] += 1
    return [i for _, i in sorted(found, key=lambda place: place[0])]


def _labels_and_margins(
    pictures: Sequence[Scored], card: Card
) -> tuple[Bool[NpArray, "N"], Float[NpArray, "N"]]:
    """Whether pictures are anomalous, and how far their scores are above the card's limit."""
    scores = np.array([picture.score for picture in pictures])
    anomalous = np.array([picture.record.label == 1 for picture in pictures])
    categories = np.array([picture.record.category for picture in pictures])
    margin = np.zeros(len(pictures))
    for name in np.unique(categories):
        members = categories == name
        limit = card.limits(name).score
        margin[members] = scores[members] - (scores[members].max() if limit is None else limit)
    return anomalous, margin


def groups(pictures: Sequence[Scored]) -> dict[str, Float[NpArray, "_"]]:
    """Scores of normal pictures under "good", and of each type of defect under its name.

    Where there are more than ROWS types, those of each kind, "structural" or "logical", are put
    together; those without a kind are "anomalous".
    """
    many = len({picture.record.defect for picture in pictures}) > ROWS
    found: dict[str, list[float]] = {}
    for record, score in sorted(pictures, key=lambda x: (x.record.label, x.record.defect)):
        name = (record.kind or "anomalous") if many and record.label else record.defect
        found.setdefault(_printable(name), []).append(score)
    return {name: np.array(scores) for name, scores in found.items()}


def _caption(record: Record, score: float) -> tuple[str, str]:
    return _printable(record.name), f"{_printable(record.defect)}   score {score:#.4g}"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _file_name(name: str) -> str:
    """What may be in a file's name on every system; at most 240 bytes. Not always unique."""
    kept = "".join(c if c.isprintable() and c not in '/\\:*?"<>|% ' else "_" for c in name)
    return kept[:60].rstrip(".")
