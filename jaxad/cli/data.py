"""What DATA and the options beside it mean: categories, each with pictures to learn from."""

import logging
import pathlib
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from jaxad.cli import found as findings
from jaxad.cli.errors import Usage
from jaxad.cli.options import option
from jaxad.cli.run_options import DataOptions
from jaxad.cli.streams import with_streams
from jaxad.data import folder, layouts, multiclass, workpieces
from jaxad.data.files import category_of
from jaxad.data.images import PLAIN
from jaxad.data.preprocessing import region_of
from jaxad.data.reading import OnBadImage, Reading
from jaxad.data.source import Data
from jaxad.detector import Detector, replace

log = logging.getLogger(__name__)

Choose = Callable[[list[str]], Collection[str]]  # names of categories -> some of them

RENDERED = "workpieces"  # as DATA; "workpieces/plate" is one of them
OF_NORMAL = ("test", "test_normal", "masks")  # options that belong to --normal
FOLDERS = ("normal", *OF_NORMAL, "aux", "foreground_masks")


def opened(
    detector: Detector,
    cfg: Any,
    place: str | None,
    options: DataOptions,
    seed: int,
    workdir: pathlib.Path,
    reading: Reading = PLAIN,
) -> dict[str, Data]:
    """The data of each model that is to be trained, by the name of its category.

    Args:
      detector: the method, whose streams are filled too.
      cfg: its settings.
      place: DATA of the command; None where `options.normal` takes its place.
      options: of the command.
      seed: of the held-out splits.
      workdir: where estimated masks of objects are written.
      reading: how files become pictures.

    Raises:
      ValueError: options do not go together, or pictures cannot be used.
      FileNotFoundError: a folder does not exist, or holds no pictures where they belong.
    """
    found = pictures(place, cfg.size, options, seed, lambda category: reading)
    several = len(found) > 1 and not options.unified
    filled = {
        name: with_streams(
            detector, cfg, one, options, reading, workdir / name if several else workdir
        )
        for name, one in found.items()
    }
    print(findings.said(filled))
    return together(filled, options)


def pictures(
    place: str | None,
    size: int,
    options: DataOptions,
    seed: int,
    reading: Callable[[str], Reading],
    choose: Choose = list,
) -> dict[str, Data]:
    """The pictures of each category, by its name, without streams.

    Args:
      place: see `opened`.
      size: side of rendered pictures.
      options: of the command.
      seed: of the held-out splits.
      reading: how the files of a category become pictures, by its name.
      choose: which of the categories are opened.
    """
    if options.normal is not None:
        name = category_of(options.normal)
        one = folder.load(
            options.normal, test_normal=options.test_normal, test_anomalous=options.test,
            masks=options.masks, seed=seed, heldout=options.heldout,
            on_bad_image=options.on_bad_image, reading=reading(name),
        )  # fmt: skip
        return {name: one}
    return categories(
        places(given(place, options)), size, seed=seed, heldout=options.heldout,
        on_bad_image=options.on_bad_image, reading=reading,
        train=options.rendered, test=options.rendered_test, choose=choose,
    )  # fmt: skip


def together(found: dict[str, Data], options: DataOptions) -> dict[str, Data]:
    """All categories as one under the name "unified", if the options say so."""
    return {"unified": multiclass.pooled(found)} if options.unified else found


def lasting(place: str | None, options: DataOptions) -> tuple[str | None, DataOptions]:
    """DATA and options that mean the same in any current folder."""

    def absolute(name: str) -> str:
        return name if is_rendered(name) else str(pathlib.Path(name).absolute())

    folders = {name: getattr(options, name) for name in FOLDERS}
    fixed = {name: absolute(value) for name, value in folders.items() if value is not None}
    whole = None if place is None else ",".join(absolute(one) for one in places(place))
    return whole, replace(options, **fixed)


def places(place: str) -> list[str]:
    """The folders that DATA names: one, or several with commas between them.

    A comma in the name of a folder that exists belongs to the name.
    """
    parts, found = place.split(","), []
    while parts:
        count = next(
            (n for n in range(len(parts), 1, -1) if pathlib.Path(",".join(parts[:n])).exists()), 1
        )
        found.append(",".join(parts[:count]))
        parts = parts[count:]
    return [name for name in found if name] or [place]


def categories(
    folders: Sequence[str],
    size: int,
    *,
    train: int = 200,
    test: tuple[int, int] = (40, 8),
    seed: int = 0,
    heldout: float = 0.1,
    on_bad_image: OnBadImage = "error",
    reading: Callable[[str], Reading] = lambda category: PLAIN,
    choose: Choose = list,
) -> dict[str, Data]:
    """The data of several categories, by name.

    Args:
      folders: of one category each, or that hold such folders; "workpieces" stands for all rendered
        ones, "workpieces/plate" for one of them.
      size: side of rendered pictures.
      train: number of rendered pictures of each category to learn from.
      test: ... and to test on: good ones, and those of each defect.
      seed: of the held-out splits.
      heldout: share of the training pictures that is held out, if none come so.
      on_bad_image: "skip" leaves damaged files out.
      reading: how the files of a category become pictures, by its name.
      choose: which of the categories are opened.

    Raises:
      ValueError: two folders have one name, or a category no pictures; and as `layouts.load`.
    """
    found: list[tuple[str, Callable[[], Data]]] = []
    for place in folders:
        if is_rendered(place):
            for name in pathlib.PurePosixPath(place).parts[1:] or workpieces.CATEGORIES:
                rendered = partial(workpieces.load, name, size=size, train=train, test=test)
                found.append((name, rendered))
            continue
        for path in inside(place, reading):
            name = category_of(path)
            read = lambda path=path, name=name: layouts.load(
                path, seed=seed, heldout=heldout, on_bad_image=on_bad_image, reading=reading(name)
            )
            found.append((name, read))
    check_names([name for name, _ in found])
    chosen = choose([name for name, _ in found])
    return {name: read() for name, read in found if name in chosen}


def inside(place: str, reading: Callable[[str], Reading]) -> list[pathlib.Path]:
    """The folders of categories in a folder; that itself if it is one.

    Args:
      place: the folder; what lies in it beside them, but for their regions, is told.
      reading: how the files of a category become pictures, by its name.
    """
    found = layouts.categories(place)
    if found:
        regions = [region_of(reading(path.name), path.name) for path in found]
        used = [region for region in regions if region is not None]
        beside = layouts.beside(place, found, used)
        for line in findings.left(beside, f"{place}: passed over"):
            log.warning(line.strip())
    return found or [pathlib.Path(place)]


def check_names(names: Sequence[str]) -> None:
    """Raises ValueError if two categories have one name."""
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"categories need names of their own, but there are several called {', '.join(doubled)}"
            ": rename their folders"
        )


def given(place: str | None, options: DataOptions) -> str:
    """DATA, where `--normal` is not given in its place.

    Raises:
      Usage: there is none, or an option that belongs to `--normal`.
    """
    if place is None:
        raise Usage("there is no DATA: give a folder, several as A,B, workpieces, or --normal")
    for name in OF_NORMAL:
        if getattr(options, name) is not None:
            raise Usage(f"{option(name)} belongs to --normal, which is not given")
    return place


def only_one(several: Mapping[str, Data]) -> Data:
    """The data of the only category.

    Raises:
      ValueError: there are more.
    """
    if len(several) > 1:
        raise ValueError(f"expected one category, not {', '.join(several)}")
    (one,) = several.values()
    return one


def check_tests(several: Mapping[str, Data], both: bool = False) -> None:
    """Raises ValueError for categories without test pictures.

    Args:
      several: by name.
      both: whether normal and anomalous ones are needed.
    """
    for name, one in several.items():
        if one.test is None:
            raise ValueError(f"there are no test pictures of {name}")
        if both and {record.label for record in one.test.records} != {0, 1}:
            raise ValueError(f"expected normal and anomalous test pictures of {name}")


def said_of(several: Mapping[str, Data]) -> str:
    """The names of categories, and which of them have no test pictures."""
    without = [name for name, one in several.items() if one.test is None]
    untested = f"; no test pictures of {', '.join(without)}" if without else ""
    return f"{len(several)} categories: {', '.join(several)}{untested}"


def is_rendered(place: str) -> bool:
    """Whether a DATA is `workpieces`, or one category of them."""
    return pathlib.PurePosixPath(place).parts[:1] == (RENDERED,)
