"""`jaxad predict RUN PICTURE...`: decide about new pictures."""

import contextlib
import json
import os
import pathlib
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from jaxad import progress
from jaxad.bundle.warm import trusted
from jaxad.cli import on_ray, script
from jaxad.cli.errors import Usage
from jaxad.cli.hot_folder import HotFolder
from jaxad.cli.inputs import Inputs, inputs, results
from jaxad.cli.on_ray import ClusterOptions
from jaxad.cli.options import asked, given, leading
from jaxad.cli.run_options import Device, folder_of
from jaxad.cli.script import prepare
from jaxad.cli.webhook import Webhook
from jaxad.cli.written import OutputOptions, page, writer
from jaxad.data.files import counted
from jaxad.data.reading import OnBadImage
from jaxad.decision import bulk, parquet
from jaxad.decision.card import Card
from jaxad.decision.journal import ABOUT, ROWS, Journal
from jaxad.decision.predictor import Predictor
from jaxad.detector import config, static
from jaxad.progress import plain, printable

USAGE = "jaxad predict RUN PICTURE|FOLDER|PATTERN..."
DESCRIPTION = """Scores new pictures and decides about each: normal or anomalous, and where.

RUN: the folder of a run.
PICTURE...: files, folders (with the folders in them) or patterns such as "day/*.png".

Without --out it prints JSON lines. With it the same command goes on where it stopped."""


@config
class DecisionOptions:
    """How is decided."""

    card: str | None = static(None)  # file of another card than the run's
    category: str | None = static(None)  # of the pictures, where the run learned several
    target_fpr: float | None = static(None, above=0, below=1)  # false alarms; none: as the card has
    threshold: float | None = static(None)  # a fixed one for scores, in place of the rate
    pixel_threshold: float | None = static(None)  # beside --threshold: a fixed one for maps
    tiles: int | None = static(None, 8)  # cut larger pictures into squares of so many pixels


@config
class ReadingOptions:
    """How pictures are read; what the run has decided stays."""

    on_bad_image: OnBadImage = static("skip")  # "error" stops at a file that cannot be used
    max_pixels: int | None = static(None, 4)  # more are refused; none: as in the run
    batch_size: int | None = static(None, 1)  # pictures that are computed together
    device: Device | None = static(None)  # what computes; none: the best there is
    mesh: str | None = static(None)  # such as data:8; none: all devices
    trust_cache: bool = static(False)  # run what lies compiled in the bundle's cache/: it is code


def main(words: Sequence[str]) -> None:
    """The verb."""
    places, rest = leading(words)
    if not places and not rest:
        rest = ["--help"]
    output, decision, reading, cluster = asked(
        rest, USAGE, DESCRIPTION,
        output=OutputOptions(), decision=DecisionOptions(), reading=ReadingOptions(),
        cluster=ClusterOptions(),
    )  # fmt: skip
    if len(places) < 2:
        raise Usage(f"expected the folder of a run and pictures: {USAGE}")
    if output.out is None:
        for name in ("overlays", "masks", "maps", "watch", "webhook"):
            if given(rest, name):
                raise Usage(f"--{name} belongs to --out FOLDER, which is not given")
    on_ray.check(rest, cluster, reading.device)
    # With workers elsewhere this process looks at the run, and leaves accelerators to them.
    prepare(reading.device if cluster.on == "here" else "cpu")
    found = _watched(places[1:]) if output.watch else inputs(places[1:])
    if output.out is not None:
        _check_out(results(output.out, ABOUT), found)
    predictor = loaded(folder_of(places[0]), decision, reading)
    for warning in predictor.card.warnings(predictor.category):
        print(f"warning: {warning}", file=sys.stderr)
    if output.out is None:
        bad = 0
        for row in bulk.rows(predictor, found.paths, reading.on_bad_image):
            print(json.dumps(row), flush=True)  # in ASCII, whatever the terminal's letters are
            bad += "error" in row
        if bad:
            of = counted(len(found.paths), "picture")
            print(f"warning: {bad} of {of} cannot be used", file=sys.stderr)
        return
    _to_folder(predictor, found, output, reading, cluster, places[0])


def loaded(run: pathlib.Path, decision: DecisionOptions, reading: ReadingOptions) -> Predictor:
    """The predictor of a run, with the card that the options ask for.

    Raises:
      FileNotFoundError: there is no such run, or no card.
      ValueError: see `Predictor.load`; or the card cannot promise the rate.
    """
    card = pathlib.Path(decision.card) if decision.card is not None else None
    if reading.trust_cache:
        trusted(pathlib.Path(run))
    with script.devices(reading.mesh):
        predictor = Predictor.load(
            run, card=card, category=decision.category, batch_size=reading.batch_size,
            tiles=decision.tiles, max_pixels=reading.max_pixels,
        )  # fmt: skip
    predictor.card = decided(predictor.card, decision)
    return predictor


def decided(card: Card, options: DecisionOptions) -> Card:
    """A card with the rate or the threshold that a command asks for.

    Raises:
      Usage: both are given, or a threshold of maps without one of scores.
      ValueError: the card's normals cannot promise the rate.
    """
    if options.target_fpr is not None and options.threshold is not None:
        raise Usage("--target-fpr and --threshold: say one of the two")
    if options.pixel_threshold is not None and options.threshold is None:
        raise Usage("--pixel-threshold belongs to --threshold")
    if options.target_fpr is not None:
        return card.with_target(options.target_fpr, options.category)
    if options.threshold is not None:
        return card.with_threshold(options.threshold, options.pixel_threshold)
    return card


def _to_folder(
    predictor: Predictor,
    found: Inputs,
    output: OutputOptions,
    reading: ReadingOptions,
    cluster: ClusterOptions,
    run: str,
) -> None:
    folder = folder_of(output.out or "")
    about = {
        "run": plain(str(pathlib.Path(run).absolute())),
        "card": predictor.card.checksum(),
        "category": predictor.category,
        "options": {name: getattr(output, name) for name in ("overlays", "masks", "maps")},
        "root": plain(str(found.root)),
    }
    hook = Webhook(output.webhook) if output.webhook else None
    with Journal(folder, about) as journal:
        write, now = writer(predictor, found, output), 0
        with contextlib.ExitStack() as ending:
            rows = lambda paths: bulk.rows(predictor, paths, reading.on_bad_image, write)
            batches = _batches(found, journal, output.watch)
            if cluster.on == "ray" and (left := next(batches)):
                device, most, bad = reading.device, reading.max_pixels, reading.on_bad_image
                load = on_ray.load(predictor, run, (found.root, folder), device, most)
                rows = ending.enter_context(on_ray.rows(cluster, load, bad, write))
                batches = [left]
            began, table = time.monotonic(), cluster.on == "ray"
            ending.callback(
                lambda: _ended(predictor, journal, found, output, table, run, now, began)
            )
            post = ending.enter_context(hook).add if hook else None
            for several in batches:
                for row in progress.shown(rows(several), "predicting", len(several)):
                    journal.add(row)
                    now += 1
                    if post is not None:
                        post(row)
                    if output.watch:
                        print(_line(row), flush=True)


def _check_out(folder: pathlib.Path, found: Inputs) -> None:
    """Raises Usage if results would lie among the pictures."""
    place = folder.resolve()
    if place in {found.root.resolve(), *(path.parent.resolve() for path in found.paths)}:
        raise Usage(f"--out {folder}: pictures lie there; give a folder for the results alone")


def _watched(places: Sequence[str]) -> Inputs:
    """The folder to watch, whatever is in it now.

    Raises:
      Usage: it is not one folder.
    """
    if len(places) != 1 or not pathlib.Path(places[0]).is_dir():
        raise Usage(f"--watch: expected one folder that is there, not {' '.join(places)}")
    folder = pathlib.Path(os.path.abspath(places[0]))
    return Inputs([], folder, folder)


def _batches(found: Inputs, journal: Journal, watch: bool) -> Iterator[list[pathlib.Path]]:
    """Files that are to be done: all at once or, from a watched folder, as they settle."""
    if not watch:
        yield _left(found.paths, journal)
        return
    print(f"watching {found.place}; Ctrl-C ends it", file=sys.stderr)
    for several in HotFolder(found.place):
        yield _left(several, journal)


def _left(paths: Sequence[pathlib.Path], journal: Journal) -> list[pathlib.Path]:
    """Those without a row, and those that have been written anew since theirs."""
    known = [journal.done.get(str(path)) for path in paths]
    left = [
        path for path, stamp in zip(paths, known, strict=True)
        if stamp is None or stamp != bulk.stamp(path)
    ]  # fmt: skip
    if before := len(paths) - len(left):
        print(f"{before} of {counted(len(paths), 'picture')} done before", file=sys.stderr)
    if changed := len(left) - known.count(None):
        print(f"{counted(changed, 'picture')} changed since: done again", file=sys.stderr)
    return left


def _ended(
    predictor: Predictor,
    journal: Journal,
    found: Inputs,
    output: OutputOptions,
    table: bool,
    run: str,
    now: int,
    began: float,
) -> None:
    """Summary, table and page of what there is, also of a run that ends early."""
    seconds = time.monotonic() - began
    summary, place = journal.summarise(), journal.path / parquet.FILE
    print(_said(journal, now, seconds))
    print(f"rows: {journal.path / ROWS}\nsummary: {summary}")
    if table or place.exists():  # one that is there tells of all rows, wherever they were made
        print(f"table: {parquet.write(place, journal.rows())}")
    if output.page:
        told = page(journal.path, journal.rows(), predictor, found, output, run)
        print(f"page: {told}")


def _line(row: bulk.Row) -> str:
    """A row for somebody who looks on; control characters of names are escaped."""
    name = printable(row["path"])
    if "error" in row:
        return f"{name}: cannot be used"
    return f"{name}: {row['label'] or 'no label'}, score {row['score']:.6g}"


def _said(journal: Journal, now: int, seconds: float) -> str:
    """How many pictures were called what, and how fast."""
    counts = Counter(
        "cannot be used" if "error" in row else row["label"] or "without a label"
        for row in journal.rows()
    )
    each = ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "no pictures"
    return f"{each}; {counted(now, 'picture')} now, {now / max(seconds, 1e-9):.1f} a second"
