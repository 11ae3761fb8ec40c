"""What `jaxad compare` is about: runs and pictures, as they were typed."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from jaxad.cli import found as findings
from jaxad.cli.data import pictures
from jaxad.cli.errors import Usage
from jaxad.cli.inputs import inputs, said
from jaxad.cli.predict import DecisionOptions, decided
from jaxad.cli.run_options import DataOptions, folder_of
from jaxad.data.image_folder import ImageFolder
from jaxad.data.reading import Reading
from jaxad.data.source import Data
from jaxad.decision import card as cards
from jaxad.detector import config, replace, static
from jaxad.progress import plain
from jaxad.training import record as records

USAGE = "jaxad compare RUN RUN... DATA"


@config
class CompareOptions:
    """The comparison."""

    out: str | None = static(None)  # folder for comparison.json, .csv and a page; none: only said
    category: str | None = static(None)  # of DATA, and of runs that learned several
    target_fpr: float | None = static(None, above=0, below=1)  # of all cards; none: as each has


class Entry(NamedTuple):
    """A run that is compared.

    Attributes:
      name: that tells it from the others.
      folder: of the run.
      decision: how its predictor is loaded.
      categories: of its card.
    """

    name: str
    folder: pathlib.Path
    decision: DecisionOptions
    categories: list[str]


class Chosen(NamedTuple):
    """The files that are compared, and their types of defect; None without truth."""

    paths: list[pathlib.Path]
    defects: list[str | None] | None


def entries(runs: Sequence[str], options: CompareOptions) -> list[Entry]:
    """The runs, looked at before the first one scores.

    Raises:
      FileNotFoundError: one is no run, or has no card.
      ValueError: one is given twice, or its card is damaged or cannot decide as the options ask.
    """
    folders = [folder_of(run) for run in runs]
    there = [folder.expanduser().resolve() for folder in folders]
    found = []
    for run, folder, path in zip(runs, folders, there, strict=True):
        if not (path / records.FILE).is_file():
            raise FileNotFoundError(
                f"{run} is not the folder of a run; all words but the last are runs, so put a "
                f"pattern of pictures in quotes: {USAGE}"
            )
        if there.count(path) > 1:
            raise Usage(f"{run}: the same run twice; expected runs that differ")
        if not (path / cards.FILE).exists():
            raise FileNotFoundError(
                f"{run} has no card; make one with `jaxad calibrate {run} NORMAL_PICTURES`"
            )
        card = cards.read(path / cards.FILE)
        category = options.category if len(card.normals) > 1 else None  # or it is that of DATA
        decision = replace(
            DecisionOptions(), category=category, target_fpr=options.target_fpr,
        )  # fmt: skip
        try:
            decided(card, decision).of(options.category)
        except ValueError as error:
            raise ValueError(f"{run}: {error}") from error
        alone = [other.name for other in there].count(path.name) == 1
        name = plain(path.name if alone else run)
        found.append(Entry(name, folder, decision, list(card.normals)))
    return found


def chosen(place: str, runs: Sequence[Entry], options: CompareOptions) -> Chosen:
    """What DATA means, and says so: test pictures of a data set, or loose pictures.

    Raises:
      FileNotFoundError: there is no such file or folder.
      ValueError: there are no pictures, the category is unknown or not said, or the pictures lie
        in no files.
    """
    several, reason = _data(place, options)
    known = {*several, *(name for run in runs for name in run.categories)}
    if options.category is not None and options.category not in known:
        raise Usage(f"--category {options.category}: there are {', '.join(sorted(known))}")
    tests = [one.test for one in several.values() if one.test is not None]
    if not tests:
        given = inputs([place])
        print(f"no data set: {reason}; compared as loose pictures: {said(given)}, no truth")
        return Chosen(given.paths, None)
    (test,) = tests
    if not isinstance(test, ImageFolder):
        raise ValueError(f"{place}: its pictures lie in no files; only files can be compared")
    print(f"a data set: its test pictures are compared, beside the truth\n{findings.said(several)}")
    bad = [one.path for one in test.skipped]  # they have a row each, as all others
    defects = [record.defect for record in test.records]
    return Chosen([*(file.path for file in test.files), *bad], [*defects, *(None for _ in bad)])


def _data(place: str, options: CompareOptions) -> tuple[dict[str, Data], str]:
    """DATA as a data set of one category; or nothing, and why.

    Raises:
      Usage: there are several categories, and none of them is named.
    """
    names: list[str] = []

    def choose(there: list[str]) -> list[str]:
        names[:] = there
        return [name for name in there if len(there) == 1 or name == options.category]

    # No picture is read in this way, but as each run has it; "squeeze" would be told of.
    reading = replace(Reading(), fit="pad")
    reason = ""
    for on_bad_image in ("error", "skip"):  # the latter decodes all files, so only where it helps
        asked_for = replace(DataOptions(), on_bad_image=on_bad_image)
        try:
            found = pictures(place, 64, asked_for, 0, lambda category: reading, choose)
        except (ValueError, OSError) as error:
            reason = str(error).partition("\n")[0]
            continue
        if not found:
            raise Usage(f"{place} has the categories {', '.join(names)}: name one (--category)")
        return found, "no test pictures"
    return {}, reason
