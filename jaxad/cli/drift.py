"""`jaxad drift RUN PICTURES...`: have the pictures changed since the card was made?"""

import sys
from collections.abc import Sequence

import numpy as np

from jaxad import progress, whole
from jaxad.cli.errors import Usage
from jaxad.cli.inputs import inputs, results, said
from jaxad.cli.options import asked, leading
from jaxad.cli.predict import DecisionOptions, ReadingOptions, loaded
from jaxad.cli.run_options import folder_of
from jaxad.cli.script import prepare
from jaxad.data.files import counted
from jaxad.decision import bulk, drift
from jaxad.detector import config, static
from jaxad.progress import printable
from jaxad.report.figures import draw_histogram
from jaxad.training.contents import learned_from
from jaxad.training.record import write_json

USAGE = "jaxad drift RUN PICTURE|FOLDER|PATTERN..."
DRIFTED = 3  # exit status
DESCRIPTION = """Compares the scores of pictures from production with those of the card.

RUN: the folder of a run.
PICTURE...: files, folders (with the folders in them) or patterns.

Exit status: 0 no drift, 3 drift, 1 or 2 a failure. A difference may be of light or camera (then
`jaxad calibrate`), or real anomalies among the pictures."""


@config
class DriftOptions:
    """The comparison."""

    level: float = static(drift.LEVEL, above=0, below=1)  # probability to call chance drift
    out: str | None = static(None)  # folder for drift.json and drift.png; none: only said


def main(words: Sequence[str]) -> None:
    """The verb."""
    places, rest = leading(words)
    if not places and not rest:
        rest = ["--help"]
    options, decision, reading = asked(
        rest, USAGE, DESCRIPTION,
        comparison=DriftOptions(), decision=DecisionOptions(), reading=ReadingOptions(),
    )  # fmt: skip
    if len(places) < 2:
        raise Usage(f"expected the folder of a run and pictures: {USAGE}")
    prepare(reading.device)
    folder, given = folder_of(places[0]), inputs(places[1:])
    out = None if options.out is None else results(options.out, "drift.json")
    if out is not None:
        whole.ready(out)
    print(f"{said(given)} to compare")
    predictor = loaded(folder, decision, reading)
    if learned := learned_from(folder, [path for path in given.paths if path.is_file()]):
        of = counted(len(learned), "picture")
        print(f"warning: the run learned from {of} of these, which score lower for that")
    for warning in predictor.card.warnings(predictor.category):
        print(f"warning: {warning}")
    rows = bulk.rows(predictor, given.paths, reading.on_bad_image)
    rows = list(progress.shown(rows, "scoring", len(given.paths)))
    scores = np.array([row["score"] for row in rows if "error" not in row])
    bad = [printable(row["error"]) for row in rows if "error" in row]
    for reason in bad:
        print(f"left out: {reason}")
    found = drift.drift(predictor.card, scores, predictor.category)
    drifted = found.drifted(options.level)
    normals = predictor.card.of(predictor.category).scores
    if out is not None:
        about = {**found._asdict(), "drifted": drifted, "level": options.level, "left_out": bad}
        write_json(out / "drift.json", about)
        limit = predictor.card.thresholds(predictor.category)[0]
        draw_histogram(out / "drift.png", {"card": normals, "these": scores}, "card", limit)
        print(f"plot: {out / 'drift.png'}")
    print(_text(found, drifted))
    if drifted:
        sys.exit(DRIFTED)


def _text(found: drift.Drift, drifted: bool) -> str:
    before, now = found.medians
    lines = [
        f"Kolmogorov-Smirnov distance {found.statistic:.3f}, p = {found.p_value:.3g}; "
        f"median score {now:.6g}, {before:.6g} of the card"
    ]
    alarms = f"{counted(found.alarms, 'alarm')} among {counted(found.pictures, 'picture')}"
    if found.expected is not None:
        low, high = found.expected
        alarms += f"; {low:.0f} to {high:.0f} would be expected if all were normal"
    lines.append(alarms)
    lines.append("drift: the scores differ from the card's" if drifted else "no drift")
    return "\n".join(lines)
