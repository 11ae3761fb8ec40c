"""`jaxad report RUN [DATA]`: the page about a run, even where nothing can be measured."""

import pathlib
from collections.abc import Sequence

from jaxad.cli.measuring import measure
from jaxad.detector import config, static
from jaxad.report.facts import facts
from jaxad.report.pages import Place, Style, untested
from jaxad.training.restore import recorded

USAGE = "jaxad report RUN [DATA]"
DESCRIPTION = """Measures a trained model and makes its page, report/index.html, as `jaxad evaluate`
does, with a choice of how it is written. Of a run without test pictures, or without a model since
it was interrupted or diverged, the page shows what there is and says why there is no more.

RUN: the folder of a run, or one that holds the runs of several categories.
DATA: other pictures, in a layout that `jaxad train` knows; by default those the run was given."""

UNFINISHED = "There is no model to measure: the run was interrupted, or a value was not finite."


@config
class ReportOptions:
    """The page."""

    out: str | None = static(None)  # folder for it; none: RUN, or RUN/on-NAME for other DATA
    sheets: Place = static("auto")  # small pictures: "inside" the page, or "beside"; auto: by size
    full_size: bool = static(False)  # beside the page also each picture and map at its own size


def main(words: Sequence[str]) -> None:
    """The verb."""
    style = lambda options: Style(options.sheets, options.full_size)
    measure(words, USAGE, DESCRIPTION, ReportOptions(), style, _unfinished)


def _unfinished(folder: pathlib.Path, place: pathlib.Path) -> None:
    """Shows a run that has no model."""
    detector, cfg, _ = recorded(folder)
    found = facts(detector, cfg, folder, None)
    title = f"{detector.name}, a run that is not finished"
    print(f"{folder} has no model: the page shows its settings and what it wrote while training")
    print(f"report: {untested(place / 'report', title, UNFINISHED, found)}")
