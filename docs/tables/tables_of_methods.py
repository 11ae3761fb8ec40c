"""Tables of docs/methods: the settings of each method, and what was measured of it here."""

import dataclasses
import functools
import typing
from collections.abc import Callable
from typing import Any

from tables_of_comparison import UNIAD
from tables_of_distillation import EFFICIENTAD, REVERSE, STFPM
from tables_read import FOLDERS, Metrics, Rows, models, runs, summary
from tyro._docstrings import get_field_docstring  # that of `jaxad train METHOD --help`

from jaxad.cli.options import option
from jaxad.detector.fields import Range
from jaxad.detector.types import described, shown
from jaxad.methods import DETECTORS

Measured = dict[str, Metrics]  # by data, and what else tells one row from another
WORKPIECES = "workpieces, mean of five, 64 px"


def tables() -> dict[str, Callable[[], Rows]]:
    """The tables by name: settings_METHOD, and measured_METHOD where results are stored."""
    found: dict[str, Callable[[], Rows]] = {}
    for name in DETECTORS:
        found[f"settings_{name}"] = functools.partial(settings, name)
    for name in MEASURED:
        found[f"measured_{name}"] = functools.partial(measured, name)
    return found


def settings(name: str) -> Rows:
    """Each setting of a method: how it is written, its default, what it may be, what it means."""
    cls = DETECTORS[name].Config
    hints = typing.get_type_hints(cls)
    rows = [["setting", "default", "values", "meaning"]]
    for field in dataclasses.fields(cls):
        meaning = get_field_docstring(cls, field.name, ()) or ""
        limits = allowed(hints[field.name], field.metadata.get("range", Range()))
        default = "none" if field.default is None else shown(field.default) or "''"
        cells = f"`{option(field.name)}`", f"`{default}`", limits, " ".join(meaning.split())
        rows.append([cell.replace("|", r"\|") for cell in cells])
    return rows


def allowed(hint: Any, limits: Range) -> str:
    """What a setting of this type may be, in words."""
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(hint))
    kind = described(hint).replace("a tuple, each ", "with commas, each ")
    ends = (limits.least, limits.most, limits.above, limits.below)
    return kind if ends == (None,) * 4 else f"{kind}, {limits}"


def measured(name: str) -> Rows:
    """Mean and deviation over seeds of a method's stored results, each metric a column."""
    found = MEASURED[name]()
    rows = summary("data", {"": found})
    rows[0].append("seeds")
    for row, metrics in zip(rows[1:], found.values(), strict=True):
        row.append(str(len(metrics["image_auroc"])))
    return rows


def folders(name: str, seeds: int = 1) -> Measured:
    """A method without training on the three real folders."""
    return {data: runs(f"{name}_{data}", seeds) for data in FOLDERS}


def efficientad() -> Measured:
    """EfficientAD-S after 1000 steps."""
    return {data: runs(EFFICIENTAD[data], 2 if data == "cookies" else 1) for data in FOLDERS}


def uniad() -> Measured:
    """UniAD: one model for three real folders, one for five workpieces, and one for each."""
    of: Measured = {
        f"{data}, one model for three": models(UNIAD, "unified", data) for data in FOLDERS
    }
    for protocol, about in (("unified", "one model for five"), ("separate", "a model for each")):
        of[f"workpieces, 128 px, mean, {about}"] = models("uniad_workpieces", protocol)
    return of


def diffusionad() -> Measured:
    """DiffusionAD in its small settings on cookies."""
    ways = ("guided", "one_step")
    return {f"cookies, `{way}`, 64 px": runs(f"diffusionad_cookies_{way}", 2) for way in ways}


def daad() -> Measured:
    """DAAD and DAAD+ on workpieces."""
    files = {
        "`--adversarial false`": "daad_workpieces",
        "DAAD+, smaller weights": "daad_plus_workpieces",
        "DAAD+, default weights": "daad_plus_default_weights_workpieces",
    }
    return {f"{WORKPIECES}, {about}": models(name) for about, name in files.items()}


def stfpm() -> Measured:
    """STFPM on the three real folders, and with the default features on one."""
    of = {f"{data}, ResNet-18": runs(STFPM[data]) for data in FOLDERS}
    return of | {"cookies, defaults, 200 steps of 8": runs("lite_stfpm_cookies", 1)}


def reverse_distillation() -> Measured:
    """Reverse distillation on the three real folders, and with the default features on one."""
    of = {f"{data}, ResNet-18, 40 epochs": runs(REVERSE[data]) for data in FOLDERS}
    lite = runs("lite_reverse_distillation_cookies", 1)
    return of | {"cookies, defaults, 400 steps of 8": lite}


def mkd() -> Measured:
    """MKD with two teachers on cookies, and with one on workpieces."""
    return {
        "cookies, SqueezeNet": runs("mkd_cookies"),
        "cookies, defaults, 500 steps of 16": runs("lite_mkd_cookies", 1),
        f"{WORKPIECES}, SqueezeNet": models("mkd_workpieces"),
    }


def uninformed_students() -> Measured:
    """Uninformed Students with two teachers on cookies, and with one on workpieces."""
    return {
        "cookies, 128 px, `pdn_small`, 2800 steps": runs("uninformed_students_cookies"),
        "cookies, 128 px, `pdn_free`, 600 steps": runs("lite_uninformed_students_cookies", 1),
        f"{WORKPIECES}, `pdn_small`": models("uninformed_students_workpieces"),
    }


MEASURED: dict[str, Callable[[], Measured]] = {
    "efficientad": efficientad,
    "uniad": uniad,
    "autoencoder": lambda: {WORKPIECES: models("autoencoder_workpieces")},
    "daad": daad,
    "diffusionad": diffusionad,
    "uninformed_students": uninformed_students,
    "stfpm": stfpm,
    "reverse_distillation": reverse_distillation,
    "mkd": mkd,
    "patchcore": lambda: folders("patchcore", 3),
    "padim": lambda: folders("padim"),
    "spade": lambda: folders("spade"),
    "mahalanobis": lambda: folders("mahalanobis"),
}
