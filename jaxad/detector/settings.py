"""The settings of a config by name: looked at, changed, read from text."""

import dataclasses
import difflib
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Array

from jaxad.detector.contract import Detector, takes_no_steps
from jaxad.detector.fields import Range
from jaxad.detector.types import described, is_of, parsed, shown

COMMON = ("size", "batch_size", "steps", "weights")  # static settings that every config has

T = TypeVar("T")


def check_settings(detector: Detector, cfg: Any) -> None:
    """Looks at every field by itself, then at what the detector says of them together.

    Raises:
      ValueError: names the field that is wrong, its value and what was expected; or the config
        lacks a setting that the contract asks for.
    """
    if missing := [name for name in COMMON if not hasattr(cfg, name)]:
        raise ValueError(
            f"the config of {detector.name} has no {', '.join(missing)}: every detector's has "
            f"static {', '.join(COMMON)}"
        )
    check_fields(cfg)
    if cfg.steps and detector.train_step is takes_no_steps:
        raise ValueError(f"steps={cfg.steps}: expected 0, {detector.name} takes no steps")
    detector.check(cfg)


def check_fields(cfg: Any) -> None:
    """Looks at every setting of a config by itself.

    Raises:
      ValueError: one is of another type than its field, or out of the field's range.
    """
    for name, path in settings(cfg).items():
        owner = _owner(cfg, path)
        field = {field.name: field for field in dataclasses.fields(owner)}[path[-1]]
        limits = field.metadata.get("range", Range())
        _check_field(name, getattr(owner, field.name), _hints(owner)[field.name], limits)


def _check_field(name: str, value: Any, hint: Any, limits: Range) -> None:
    several = isinstance(value, tuple)
    if not is_of(value, hint):
        expected = described(hint)
    elif several and limits.count is not None and len(value) != limits.count:
        expected = f"{limits.count or 'no'} value{'s' if limits.count != 1 else ''}"
    elif several and len(value) < limits.fewest:
        expected = f"{limits.fewest} or more values"
    elif not _numbers(value) or value in limits:
        return
    else:
        expected = str(limits)
    raise ValueError(f"{name}={shown(value)}: expected {expected}")


def _numbers(value: Any) -> bool:
    """Whether a value, or each of a tuple, is a number."""
    numbers = value if isinstance(value, tuple) else (value,)
    return bool(numbers) and all(isinstance(x, int | float | Array | np.generic) for x in numbers)


def settings(cfg: Any) -> dict[str, tuple[str, ...]]:
    """{name: where it lies} of all settings of a config, those of configs inside it included.

    A wrapper's config holds the config of the detector inside. A setting goes by the name of its
    field or, where an outer config has a field of that name, by its path, "inside.tiles".
    """
    found: dict[str, tuple[str, ...]] = {}
    level: list[tuple[tuple[str, ...], Any]] = [((), cfg)]
    while level:
        inner = []
        for path, one in level:
            for field in dataclasses.fields(one):
                value, place = getattr(one, field.name), (*path, field.name)
                if dataclasses.is_dataclass(value):
                    inner.append((place, value))
                else:
                    found[field.name if field.name not in found else ".".join(place)] = place
        level = inner
    return found


def values(cfg: Any) -> dict[str, Any]:
    """{name: value} of all `settings`."""
    return {name: getattr(_owner(cfg, path), path[-1]) for name, path in settings(cfg).items()}


def static_settings(cfg: Any) -> tuple[str, ...]:
    """The names of those `settings` that belong to the compiled program."""
    return tuple(
        name
        for name, path in settings(cfg).items()
        for field in dataclasses.fields(_owner(cfg, path))
        if field.name == path[-1] and field.metadata.get("static")
    )


def replace(cfg: T, **changes: Any) -> T:
    """`cfg` with other values of some `settings`, whatever config they lie in.

    Raises:
      ValueError: there is no such setting; the message lists what there is.
    """
    for name, value in changes.items():
        cfg = _replaced(cfg, _place(name, settings(cfg)), value)
    return cfg


def override(cfg: T, settings_: Sequence[str] | str) -> T:
    """`cfg` with settings such as "lr=3e-4" or "weights=pdn_small,mine" applied.

    Raises:
      ValueError: a setting is not of the form name=value, names no field, or has a value of
        another type than the field's; the message lists what there is.

    >>> from jaxad.methods import stfpm
    >>> override(stfpm.Config(), ["lr=3e-4", "layers=pool2,conv4"]).layers
    ('pool2', 'conv4')
    """
    places = settings(cfg)
    for setting in [settings_] if isinstance(settings_, str) else settings_:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"{setting!r} is not a setting: write name=value, such as steps=1000")
        path = _place(name, places)
        cfg = _replaced(cfg, path, parsed(name, text, _hints(_owner(cfg, path))[path[-1]]))
    return cfg


def _place(name: str, places: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Where a setting lies, given its name or its path."""
    path = places.get(name, tuple(name.split(".")))
    if path not in places.values():
        close = difflib.get_close_matches(name, places, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"there is no setting {name!r}; {hint}settings are: {', '.join(places)}")
    return path


def _owner(cfg: Any, path: Sequence[str]) -> Any:
    """The config that the setting at `path` is a field of."""
    for name in path[:-1]:
        cfg = getattr(cfg, name)
    return cfg


def _replaced(cfg: Any, path: Sequence[str], value: Any) -> Any:
    first, *rest = path
    inner = _replaced(getattr(cfg, first), rest, value) if rest else value
    return dataclasses.replace(cfg, **{first: inner})


def _hints(cfg: Any) -> dict[str, Any]:
    return typing.get_type_hints(type(cfg))
