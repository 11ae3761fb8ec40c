"""What experiment scripts share: logging, settings from the command line, opening of data."""

import json
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxad import compile
from jaxad.data import folder, layouts, prepared, workpieces
from jaxad.data.files import OnBadImage
from jaxad.data.source import Data, Source
from jaxad.data.textures import Textures
from jaxad.detector import check_fields, override
from jaxad.detector import settings as settings_of

log = logging.getLogger(__name__)


def prepare() -> None:
    """Plain log lines of this package, and compiled programs kept between calls."""
    logging.basicConfig(format="%(message)s", force=True)  # absl has configured it before
    logging.getLogger("jaxad").setLevel(logging.INFO)
    logging.getLogger("absl").setLevel(logging.WARNING)
    compile.enable_cache()


def parsed(settings: Sequence[str], *configs: Any) -> tuple[Any, ...]:
    """Several configs with settings such as "lr=3e-4", each given to the config that has its field.

    Args:
      settings: from the command line.
      configs: a script's own options, a detector's settings; the first that has a field gets it.

    Raises:
      ValueError: no config has such a field, or its value is of another type or out of its range.
    """
    fields = [list(settings_of(cfg)) for cfg in configs]
    shares: list[list[str]] = [[] for _ in configs]
    for setting in settings:
        name = setting.partition("=")[0]
        owners = [i for i, names in enumerate(fields) if name in names]
        if not owners:
            there = "; ".join(
                f"{_title(cfg)} has {', '.join(names)}"
                for cfg, names in zip(configs, fields, strict=True)
            )
            raise ValueError(f"there is no setting {name!r}: {there}")
        shares[owners[0]].append(setting)
    found = tuple(override(cfg, share) for cfg, share in zip(configs, shares, strict=True))
    for cfg in found:
        check_fields(cfg)
    return found


def photographs(path: str | None, size: int, on_bad_image: OnBadImage = "error") -> Source:
    """The pictures below a folder or, without one, procedural textures; the log says so.

    Args:
      path: of the folder: of picture files, or of a set prepared as array_record.
      size: side of the textures.
      on_bad_image: "skip" leaves damaged files out.
    """
    if path is not None:
        if prepared.is_prepared(path):
            return prepared.pictures(path)
        return folder.photographs(path, on_bad_image=on_bad_image)
    log.warning("no photographs given (aux=FOLDER): textures take their place")
    return Textures(size=size)


def categories(
    folders: Sequence[str],
    size: int,
    *,
    train: int = 100,
    test: tuple[int, int] = (40, 8),
    seed: int = 0,
    on_bad_image: OnBadImage = "error",
) -> dict[str, Data]:
    """The data of several categories, by name.

    Args:
      folders: of one category each, or that hold such folders; none: the rendered workpieces.
      size: side of rendered pictures.
      train: number of rendered pictures of each category to learn from.
      test: ... and to test on: good ones, and those of each defect.
      seed: of the held-out splits.
      on_bad_image: "skip" leaves damaged files out.

    Raises:
      ValueError: two folders have one name, or a category no pictures; and as `layouts.load`.
    """
    if not folders:
        return {
            name: workpieces.load(name, size=size, train=train, test=test)
            for name in workpieces.CATEGORIES
        }
    paths = [
        path for folder in folders for path in layouts.categories(folder) or [pathlib.Path(folder)]
    ]
    names = [path.absolute().name for path in paths]
    if len(set(names)) < len(names):
        raise ValueError(f"categories need names of their own: {', '.join(names)}")
    return {
        name: layouts.load(path, seed=seed, on_bad_image=on_bad_image)
        for name, path in zip(names, paths, strict=True)
    }


def said_of(several: Mapping[str, Data]) -> str:
    """The names of categories, and which of them have no test pictures."""
    without = [name for name, one in several.items() if one.test is None]
    untested = f"; no test pictures of {', '.join(without)}" if without else ""
    return f"{len(several)} categories: {', '.join(several)}{untested}"


def check_counts(options: Any, *names: str) -> None:
    """Raises ValueError for those of a script's settings that are below 1; None is none."""
    for name in names:
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"{name}={value}: expected 1 or more")


def read_rows(file: pathlib.Path, before: int | None = None) -> list[dict]:
    """The rows of a curve; only those of steps before `before`; none where there is no file."""
    rows = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    return [row for row in rows if before is None or row["step"] < before]


def _title(cfg: Any) -> str:
    module = type(cfg).__module__.rpartition(".")[2]
    return "this script" if type(cfg).__name__ == "Options" else module
