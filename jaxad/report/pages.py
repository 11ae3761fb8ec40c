"""What a person looks at after a run: one page with every picture, its map and its verdict."""

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray as NpArray

from jaxad.data.source import Item, LeftOut, Record
from jaxad.decision.card import Card
from jaxad.evaluation.bootstrap import Intervals, intervals
from jaxad.evaluation.results import Evaluation
from jaxad.progress import printable
from jaxad.report import content, curves, measured, rendering, sheets
from jaxad.report.facts import Facts
from jaxad.report.heatmap import gradient
from jaxad.report.layers import layers
from jaxad.report.nearest import Comparison
from jaxad.report.panels import numbers

Place = Literal["auto", "inside", "beside"]

FULL, SHEETS = "pictures", "sheets"  # folders beside the page, each by choice
SIDES = ((300, 256), (1500, 176))  # of a small picture, in pixels, by the number of pictures
SMALLEST = 112
INSIDE = 4 * 2**20  # bytes of sheets up to which they lie in the page, where nobody chooses
SORTS = ("picture", "map", "truth")


class Style(NamedTuple):
    """How a report is written.

    Attributes:
      sheets: where the small pictures lie: "inside" the page, which is then one file; "beside" it,
        in `sheets/`; "auto": inside where they are few.
      full_size: whether each picture and its map lie beside the page at their own size too.
    """

    sheets: Place = "auto"
    full_size: bool = False


class Report:
    """Makes small pictures of each picture and its map as they come, and the page at the end.

    In the folder: `index.html`; by choice `sheets/` with the small pictures and `pictures/` with
    those of their own size. What an evaluation before left there is overwritten or removed. Of the
    pictures only the small ones are kept, compressed, and many of them in a temporary file.

    Args:
      folder: of the report; made where it is missing.
      records: those of the test set.
      card: the model's, which tells the colour scale and what is an alarm.
      style: how it is written.

    Raises:
      OSError: the folder cannot be written; so do `visit` and `finish`.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        records: Sequence[Record],
        card: Card,
        style: Style = Style(),  # noqa: B008, immutable
    ):
        self._folder, self._records, self._card = Path(folder), records, card
        self._style, self._side = style, side(len(records))
        self._spool, self._sizes = sheets.Spool(), {}
        with self._writing():
            self._folder.mkdir(parents=True, exist_ok=True)
            if style.full_size:
                (self._folder / FULL).mkdir(exist_ok=True)

    def visit(self, index: int, item: Item, map: Float[NpArray, "H W"], score: float) -> None:
        """Takes one picture: the hook of `evaluate`.

        Args:
          index: of the picture in the test set.
          item: the picture and its mask.
          map: at the picture's own size.
          score: of the whole picture.
        """
        given = item["image"], map, item["mask"], self._card.scale
        small = layers(*given, side=self._side)
        self._sizes[index] = small.picture.shape[:2]
        with self._writing():
            for sort, pixels in zip(SORTS, small, strict=True):
                if pixels is not None:
                    self._spool.add(sort, index, pixels)
            if self._style.full_size:
                for sort, pixels in zip(SORTS, layers(*given), strict=True):
                    if pixels is not None:
                        quality = sheets.QUALITY.get(sort)
                        path = self._folder / FULL / f"{index:05d}_{sort}.webp"
                        path.write_bytes(sheets.webp(pixels, quality))

    def finish(
        self,
        evaluation: Evaluation,
        title: str = "Report",
        compared: Sequence[Comparison] = (),
        alarmed: int = 0,
        facts: Facts | None = None,
        bounds: Intervals | None = None,
        gaps: Sequence[str] = (),
    ) -> Path:
        """Writes the page; returns its path.

        Pictures that were not visited count in the figures, but cannot be seen.

        Args:
          evaluation: of the whole test set.
          title: of the page.
          compared: alarms beside the normal pictures nearest to them, the clearest first.
          alarmed: how many alarms there are, of which these are the clearest.
          facts: what is known of the run.
          bounds: of the image metrics; measured here where they are not given.
          gaps: what else was not measured or is not shown, in sentences.
        """
        bounds = intervals(evaluation.pictures) if bounds is None else bounds
        names, visited = list(evaluation.categories), sorted(self._sizes)
        with self._writing(), self._spool:
            order = content.order(evaluation.pictures, visited)
            found = {sort: sheets.layer(self._spool, sort, order, self._side) for sort in SORTS}
            inside = self._inside(sum(len(x) for one in found.values() for x in one.sheets))
            self._write_sheets({} if inside else {x: one.sheets for x, one in found.items()})
            count = len(evaluation.pictures)
            data = {
                "pictures": content.pictures(evaluation.pictures, names),
                "categories": content.limits(self._card, names),
                "layers": content.layers(found, self._sizes, self._side, count),
                "full": FULL if self._style.full_size else None,
                "curves": curves.pixel_curves(evaluation),
                "nearest": _compared(compared),
                "history": content.history(facts),
            }
            return rendering.write(
                self._folder / "index.html",
                "report.html",
                title=title,
                data=data,
                sheets={sort: one.sheets for sort, one in found.items()} if inside else {},
                tiles=measured.tiles(evaluation, bounds, self._card),
                columns=list(measured.columns(evaluation).values()),
                rows=measured.rows(evaluation, bounds),
                bounds=bounds,
                gaps=[*measured.gaps(evaluation), *_unseen(len(compared), alarmed), *gaps],
                left_out=_left_out(evaluation, facts),
                scale=ends(self._card),
                gradient=gradient(),
                facts=facts,
                shown=len(visited),
                masks=bool(found["truth"].sheets),
                why="",
            )

    def _inside(self, size: int) -> bool:
        return {"auto": size <= INSIDE, "inside": True, "beside": False}[self._style.sheets]

    def _write_sheets(self, found: dict[str, list[bytes]]) -> None:
        """Those of the sheets that lie beside the page; those of an earlier page go."""
        for old in (*self._of(SHEETS, "-[0-9]*"), *self._of(FULL, "", "[0-9]*_")):
            if old.parent.name == SHEETS or not self._style.full_size:
                old.unlink()
        for sort, several in found.items():
            (self._folder / SHEETS).mkdir(exist_ok=True)
            for number, sheet in enumerate(several):
                (self._folder / SHEETS / f"{sort}-{number:03d}.webp").write_bytes(sheet)

    def _of(self, folder: str, after: str, before: str = "") -> Iterator[Path]:
        """Files of ours in a folder of the report."""
        for sort in SORTS:
            yield from list((self._folder / folder).glob(f"{before}{sort}{after}.webp"))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = f"cannot write the report: {error.strerror or error}"
            advice = "free some space there or choose a folder that can be written"
            number = error.errno or errno.EIO
            raise OSError(number, f"{reason}; {advice}", str(self._folder)) from error


def untested(
    folder: str | os.PathLike[str], title: str, why: str, facts: Facts, card: Card | None = None
) -> Path:
    """Writes the page of a run that cannot be measured: without test pictures, or without a model.

    Args:
      folder: of the report; made where it is missing.
      title: of the page.
      why: there are no results, in a sentence.
      facts: what is known of the run.
      card: the run's, if it has one.

    Raises:
      OSError: the folder cannot be written.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    data = {
        "pictures": None,
        "categories": [] if card is None else content.limits(card, list(card.normals)),
        "history": content.history(facts),
    }
    return rendering.write(
        Path(folder) / "index.html",
        "report.html",
        title=title, data=data, sheets={}, tiles=[], columns=[], rows=[], bounds=None, gaps=[why],
        left_out=facts.left_out, scale=("", "", ""), gradient="", facts=facts, shown=0, masks=False,
        why=why,
    )  # fmt: skip


def side(count: int) -> int:
    """Of a small picture, in pixels: the more pictures, the smaller."""
    return next((size for most, size in SIDES if count <= most), SMALLEST)


def ends(card: Card) -> list[str]:
    """The values at the lowest, middle and highest colour."""
    return numbers((card.scale.low, card.scale.normal, card.scale.high))


def _unseen(compared: int, alarmed: int) -> list[str]:
    if not 0 < compared < alarmed:
        return []
    return [f"only the clearest {compared} of {alarmed} alarms stand beside a normal picture"]


def _left_out(evaluation: Evaluation, facts: Facts | None) -> list[LeftOut]:
    more = [] if facts is None else facts.left_out
    return list(dict.fromkeys([*evaluation.left_out, *more]))


def _compared(found: Sequence[Comparison]) -> dict[str, Any]:
    """What is shown beside alarms, by the index of the picture."""
    return {
        str(one.index): {
            "image": rendering.webp_url(sheets.webp(np.asarray(one.image), 82)),
            "normal": printable(one.normal),
            "distance": float(f"{one.distance:.4g}"),
        }
        for one in found
    }
