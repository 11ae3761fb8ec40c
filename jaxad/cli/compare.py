"""`jaxad compare RUN RUN... DATA`: the same pictures scored by several runs, side by side."""

import pathlib
import sys
from collections.abc import Sequence

from jaxad import progress, whole
from jaxad.cli.comparing import USAGE, CompareOptions, Entry, chosen, entries
from jaxad.cli.errors import Usage
from jaxad.cli.inputs import results
from jaxad.cli.options import asked, leading
from jaxad.cli.predict import ReadingOptions, loaded
from jaxad.cli.script import prepare
from jaxad.decision import bulk
from jaxad.decision.batches import Seen
from jaxad.decision.comparison import Comparison, Judged, Verdict, comparison
from jaxad.decision.predictor import Finding
from jaxad.progress import plain, printable
from jaxad.report import compared, compared_page, outputs
from jaxad.training import record as records

PRINTED = 20  # pictures whose verdicts differ, and files that cannot be used, at most
DESCRIPTION = """Scores the same pictures with several runs, each with its own card, and shows where
verdicts differ.

RUN: the folder of a run; two or more.
DATA: a data set with test pictures, as of `jaxad evaluate`: these are compared, beside the truth.
Or a picture, a folder (with the folders in it) or a pattern in quotes, such as "day/*.png"."""


def main(words: Sequence[str]) -> None:
    """The verb."""
    places, rest = leading(words)
    if not places and not rest:
        rest = ["--help"]
    options, reading = asked(
        rest, USAGE, DESCRIPTION, comparison=CompareOptions(), reading=ReadingOptions()
    )
    if len(places) < 3:
        raise Usage(f"expected the folders of two runs or more, and DATA: {USAGE}")
    *runs, place = places
    if (pathlib.Path(place) / records.FILE).exists():
        raise Usage(f"the last word is DATA, but {place} is the folder of a run: {USAGE}")
    folder = None if options.out is None else results(options.out, compared.JSON)
    several = entries(runs, options)
    prepare(reading.device)
    given = chosen(place, several, options)
    if folder is not None:
        whole.ready(folder)
    judged = [_judged(entry, given.paths, reading) for entry in several]
    found = comparison([plain(str(path)) for path in given.paths], judged, given.defects)
    print(_text(found))
    if folder is not None:
        compared.tables(folder, found)
        shown = [given.paths[i] for i in found.different[: compared_page.SHOWN]]
        drawn = [_drawn(folder, n, entry, shown, reading) for n, entry in enumerate(several, 1)]
        overlay = lambda picture, run: drawn[run].get(given.paths[picture])
        title = f"{', '.join(entry.name for entry in several)} on {place}"
        print(f"tables: {folder / compared.JSON}, {folder / compared.TABLE}")
        print(f"page: {compared_page.page(folder, found, title, overlay)}")


def _judged(entry: Entry, paths: Sequence[pathlib.Path], reading: ReadingOptions) -> Judged:
    """What a run says of the pictures; nothing else of it is kept."""
    predictor = loaded(entry.folder, entry.decision, reading)
    for warning in predictor.card.warnings(predictor.category):
        print(f"warning: {entry.name}: {warning}", file=sys.stderr)
    rows = bulk.rows(predictor, paths, reading.on_bad_image)
    shown = progress.shown(rows, f"scoring with {entry.name}", len(paths))
    return Judged(
        entry.name, predictor.card.said(predictor.category), [Verdict.of(row) for row in shown]
    )


def _drawn(
    folder: pathlib.Path,
    number: int,
    entry: Entry,
    paths: Sequence[pathlib.Path],
    reading: ReadingOptions,
) -> dict[pathlib.Path, str]:
    """Writes a run's maps over some pictures, on its card's scale; the places below the folder.

    Named by numbers, for the same file is drawn by several runs. What has become unreadable since
    it was scored is not there.
    """
    if not paths:
        return {}
    predictor = loaded(entry.folder, entry.decision, reading)
    names = {path: f"run-{number}/{i:02d}" for i, path in enumerate(paths, start=1)}
    drawn: dict[pathlib.Path, str] = {}

    def write(path: pathlib.Path, seen: Seen, finding: Finding) -> None:
        assert seen.image is not None
        scale = predictor.card.scale
        outputs.write(folder, names[path], seen.image, finding, scale, ("overlays",))
        drawn[path] = f"overlays/{names[path]}.png"

    rows = bulk.rows(predictor, paths, "skip", write)
    for _ in progress.shown(rows, f"drawing with {entry.name}", len(paths)):
        pass
    return drawn


def _text(found: Comparison) -> str:
    """All of it for a terminal."""
    rows = compared.summary(found)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = lambda row: [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
    lines = ["  ".join(aligned(row)) for row in rows]
    lines += compared.said(found)
    differing = []
    for i in found.different:
        truth = "" if found.defects is None else f" (truth: {found.defects[i] or 'unknown'})"
        each = [f"{run.name} {compared.verdict(run.verdicts[i])}" for run in found.runs]
        differing.append(f"{found.paths[i]}{truth}: {', '.join(each)}")
    for title, several in (
        ("cannot be used", compared.unusable(found)),
        ("verdicts differ", differing),
    ):
        if several:
            lines += ["", f"{title}:", *(f"  {printable(x)}" for x in several[:PRINTED])]
        if len(several) > PRINTED:
            lines.append(f"  and {len(several) - PRINTED} more")
    return "\n".join(lines)
