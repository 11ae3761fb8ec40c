"""Runs that are measured and shown again: on their own test pictures, or on others."""

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jaxad.cli import found as findings
from jaxad.cli import script
from jaxad.cli.data import pictures, together
from jaxad.cli.errors import Usage
from jaxad.cli.learn import assessed
from jaxad.cli.options import asked, given, leading, option
from jaxad.cli.run_options import DataOptions, DeviceOptions, folder_of
from jaxad.cli.script import prepare
from jaxad.data.preprocessing import FILE, as_before, stored
from jaxad.data.reading import OnBadImage, Reading
from jaxad.data.source import Data
from jaxad.decision import card as cards
from jaxad.detector import config, replace, static
from jaxad.evaluation.results import Evaluation, joined
from jaxad.export.manifest import is_bundle
from jaxad.report.pages import Style
from jaxad.training import contents
from jaxad.training import record as records
from jaxad.training.restore import Finished, finished, has_model

FIXED = ("bits", "orientation", "fit", "region")  # of a run, and of all pictures that it sees
AS_BEFORE = ("mask_threshold", "max_pixels")
OF_DATA = ("normal", "test", "test_normal", "masks", "unified", "rendered", "rendered_test")


@config
class PictureOptions:
    """What it is measured on; how pictures are read otherwise is as the run's were."""

    normal: str | None = static(None)  # in place of DATA: folder of normal pictures
    test: str | None = static(None)  # beside --normal: folder of anomalous ones, or of such folders
    test_normal: str | None = static(None)  # beside --normal: folder of normal ones to test on
    masks: str | None = static(None)  # beside --test: folder of their masks
    unified: bool = static(False)  # all categories of DATA together
    rendered: int = static(200, 1)  # of `workpieces`: as in training
    rendered_test: tuple[int, int] = static((40, 8), 0)  # of `workpieces`: good, of each defect
    on_bad_image: OnBadImage | None = static(None)  # "skip": without bad files; none: as in the run
    mask_threshold: int | None = static(None, 0, 254)  # grey level of masks; none: as in the run
    max_pixels: int | None = static(None, 4)  # more are refused; none: as in the run
    check_files: bool = static(False)  # decode every file before the first picture is measured


def measure(
    words: Sequence[str],
    usage: str,
    description: str,
    options: Any,
    style: Callable[[Any], Style],
    unmeasured: Callable[[pathlib.Path, pathlib.Path], None] | None = None,
) -> None:
    """Measures and shows each run in the folder that a command line names.

    Args:
      words: RUN, perhaps DATA, and options.
      usage: of the command.
      description: for the help.
      options: those of the command alone, with `out`, a folder for the results.
      style: of the page, by the options as they were given.
      unmeasured: what is done with a run that has no model: its folder and that for the results;
        None if that is an error.

    Raises:
      Usage: the words are no RUN and perhaps DATA, or an option does not fit them.
      ValueError, OSError: a run or its data cannot be used.
    """
    places, rest = leading(words)
    if not places and not rest:
        rest = ["--help"]
    for name in FIXED:
        if given(rest, name):
            raise Usage(f"{option(name)}: pictures are read as the run's were (its {FILE})")
    options, chosen, devices = asked(
        rest, usage, description,
        evaluation=options, pictures=PictureOptions(), devices=DeviceOptions(),
    )  # fmt: skip
    if len(places) < 2 and chosen.normal is None:
        for name in OF_DATA:
            if given(rest, name):
                raise Usage(f"{option(name)} belongs to other DATA, which is not given: {usage}")
    if not places or len(places) > 2:
        raise Usage(f"expected the folder of a run and perhaps DATA: {usage}")
    prepare(devices.device)
    asked_for = Asked(usage, places, options.out, chosen, style(options), unmeasured)
    with script.devices(devices.mesh):
        _measured(folder_of(places[0]), asked_for)


class Asked(NamedTuple):
    """What a command line asks for."""

    usage: str
    places: list[str]
    out: str | None
    chosen: PictureOptions
    style: Style
    unmeasured: Callable[[pathlib.Path, pathlib.Path], None] | None = None

    def reading(self, entries: dict[str, Any], category: str) -> Reading:
        """How pictures of a category are read."""
        here = {name: getattr(self.chosen, name) for name in AS_BEFORE}
        here = {name: value for name, value in here.items() if value is not None}
        plain = replace(Reading(), check_files=self.chosen.check_files)
        return replace(as_before(plain, entries, category), **here)


def _measured(root: pathlib.Path, command: Asked) -> None:
    """Measures each run in a folder, and says what came out."""
    folders = runs(root)
    other = bool(command.places[1:] or command.chosen.normal)
    results: dict[str, Evaluation] = {}
    for folder in folders:
        alone = len(folders) == 1
        if command.unmeasured is not None and not has_model(folder):
            inside = [] if alone else [folder.name]
            command.unmeasured(folder, pathlib.Path(command.out or root, *inside))
            continue
        run = finished(folder)
        card = cards.of_run(folder, run.model)
        reading = functools.partial(command.reading, stored(folder))
        several = data_of(run, command, reading, folder, alone)
        print(findings.said(several))
        for name, one in several.items():
            inside = [folder.name] * (not alone) + [name] * (len(several) > 1)
            if command.out is None and is_bundle(folder):
                raise Usage(f"{folder} is a bundle, which stays as it is: give --out FOLDER")
            place = folder / f"on-{name}" if other else folder
            if command.out is not None:
                place = pathlib.Path(command.out, *inside)
            title = f"{run.detector.name} of {folder.name} on {name}"
            print(f"{name}: {run.detector.name}, trained in {folder}")
            same = repr(one.train) == run.record["data"]["train"] and contents.same(folder, one)
            if run.detector.nearest is not None and not same:
                print("alarms are not shown beside normal pictures: the run learned from others")
            result = assessed(
                run.detector, run.cfg, run.pretrained, run.state, one, card, place, title,
                one.train if same else None, folder, command.style,
            )  # fmt: skip
            if result is not None:
                results["/".join(inside) or name] = result
    if len(results) > 1:
        names = [name for one in results.values() for name in one.categories]
        several_of_one = len(set(names)) < len(names)
        whole = joined(results if several_of_one else list(results.values()))
        print(f"\nall categories\n{whole}")


def runs(root: pathlib.Path) -> list[pathlib.Path]:
    """The folder itself if it is that of a run, otherwise those of the runs in it.

    Raises:
      FileNotFoundError: there are none.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"there is no run folder {root}")
    if (root / records.FILE).exists():
        return [root]
    found = sorted(file.parent for file in root.glob(f"*/{records.FILE}"))
    if not found:
        raise FileNotFoundError(f"{root} is not the folder of a run, nor has it any in it")
    return found


def data_of(
    run: Finished,
    command: Asked,
    reading: Callable[[str], Reading],
    folder: pathlib.Path,
    alone: bool,
) -> dict[str, Data]:
    """The pictures to measure on: those the command names, or those of the record.

    Only categories that are measured are opened: each may be read in a way of its own. Of several
    runs (not `alone`) each is measured on the category of its own name, where there is one.
    """
    about, chosen = run.record.get(records.ABOUT, {}), command.chosen
    places = command.places[1:]
    size, seed = run.cfg.size, about.get("seed", 0)
    before = {
        n: tuple(x) if isinstance(x, list) else x for n, x in about.get("options", {}).items()
    }
    on_bad_image = chosen.on_bad_image or before.get("on_bad_image", "error")
    if places or chosen.normal is not None:
        other = {name: getattr(chosen, name) for name in OF_DATA}
        options = replace(DataOptions(), **other, on_bad_image=on_bad_image)
        each = not alone and not options.unified
        choose = lambda names: [folder.name] if each and folder.name in names else names
        place = places[0] if places else None
        return together(pictures(place, size, options, seed, reading, choose), options)
    if not before:
        raise Usage(f"{folder} does not say where its pictures lay: {command.usage}")
    options = replace(DataOptions(), **{**before, "on_bad_image": on_bad_image})
    name, lay = about["category"], about.get("data")

    def choose(names: list[str]) -> list[str]:
        if options.unified:
            return names
        if name not in names:
            raise FileNotFoundError(f"the category {name!r} of {folder} is not in {lay} now")
        return [name]

    try:
        return together(pictures(lay, size, options, seed, reading, choose), options)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error}; if the pictures lie elsewhere now: {command.usage}"
        ) from error
