"""`jaxad evaluate RUN [DATA]`: measure what a run learned, on its test pictures or others."""

from collections.abc import Sequence

from jaxad.cli.measuring import measure
from jaxad.detector import config, static
from jaxad.report.pages import Style

USAGE = "jaxad evaluate RUN [DATA]"
DESCRIPTION = """Measures a trained model and writes evaluation.json and report/.

RUN: the folder of a run, or one that holds the runs of several categories.
DATA: other pictures, in a layout that `jaxad train` knows; by default those the run was given."""


@config
class EvaluateOptions:
    """What is done with the results."""

    out: str | None = static(None)  # folder for them; none: RUN, or RUN/on-NAME for other DATA


def main(words: Sequence[str]) -> None:
    """The verb."""
    measure(words, USAGE, DESCRIPTION, EvaluateOptions(), lambda _: Style())
