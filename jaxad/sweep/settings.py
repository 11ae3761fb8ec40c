"""Settings of a sweep: configs of one method in a tuple, each as good as one written by hand.

Sweeps add up: `grid(cfg, lr=[1e-4, 1e-3]) + zip(cfg, p_hard=[0.9, 0.99], penalty=[True, False])`.
"""

import builtins
import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from jaxad import members
from jaxad.detector import method_name, override

T = TypeVar("T")


class Uniform(NamedTuple):
    """Numbers drawn evenly from `low` to `high`."""

    low: float
    high: float


class LogUniform(NamedTuple):
    """Positive numbers whose logarithms are drawn evenly, from `low` to `high`."""

    low: float
    high: float


def grid(cfg: T, **values: Any) -> tuple[T, ...]:
    """`cfg` with every combination of the values of each field; the last field varies fastest.

    Raises:
      ValueError: a field is unknown, has no values, or one of another type than the field's.
    """
    chosen = itertools.product(*(_listed(name, several) for name, several in values.items()))
    return tuple(_with(cfg, dict(builtins.zip(values, row, strict=True))) for row in chosen)


def zip(cfg: T, **values: Any) -> tuple[T, ...]:
    """`cfg` with the first value of every field, with the second of every field, and so on.

    Raises:
      ValueError: as `grid`, or fields have different numbers of values, or there are none.
    """
    lists = {name: _listed(name, several) for name, several in values.items()}
    counts = {name: len(several) for name, several in lists.items()}
    if len(set(counts.values())) != 1:
        raise ValueError(f"expected as many values of each field, not {counts}")
    rows = builtins.zip(*lists.values(), strict=True)
    return tuple(_with(cfg, dict(builtins.zip(values, row, strict=True))) for row in rows)


def random(cfg: T, count: int, seed: int, **values: Any) -> tuple[T, ...]:
    """`cfg` with `count` draws of the fields.

    Args:
      cfg: where the other fields come from.
      count: of settings.
      seed: the same seed gives the same settings.
      values: of each field, a range or a list to choose from.

    Raises:
      ValueError: as `grid`, or a range is empty, or `count` is below 1.
    """
    if count < 1:
        raise ValueError(f"count={count}: expected 1 or more settings")
    drawn = {}
    for name, of in values.items():
        # A generator for each field: adding one leaves the others' draws as they were.
        rng = np.random.default_rng([seed, *name.encode()])
        drawn[name] = _drawn(name, of, count, rng)
    if not drawn:
        return (cfg,) * count
    return zip(cfg, **drawn)


def rows(configs: Sequence[Any]) -> tuple[dict[str, Any], ...]:
    """Of each config, the fields in which any differ: what a reader wants to see of it."""
    every = [dataclasses.asdict(cfg) for cfg in configs]
    differ = [name for name in every[0] if any(row[name] != every[0][name] for row in every)]
    return tuple({name: row[name] for name in differ} for row in every)


def stack(configs: Sequence[T]) -> T:
    """Configs as one whose sweepable fields are arrays of all values, for `jax.vmap`.

    Raises:
      ValueError: there are none, or static fields differ, which belong to the program: `groups`
        tells which configs can be stacked.
    """
    if len(groups(configs)) > 1:
        raise ValueError(
            f"{', '.join(dividing(configs))} of {method_name(configs[0])} cannot be stacked: "
            "static settings are part of the compiled program; sweep.fit makes one group for each "
            "of their combinations, sweep.groups tells which"
        )
    return members.stack(configs)


def groups(configs: Sequence[Any]) -> tuple[tuple[int, ...], ...]:
    """Places of configs with equal static settings: those that one compiled program serves.

    Raises:
      ValueError: there are no configs, or they are of different methods.
    """
    if len(configs) == 0:
        raise ValueError("a sweep of no settings: expected one config or more")
    kinds = {type(cfg) for cfg in configs}
    if len(kinds) > 1:
        raise ValueError(f"expected configs of one method, not of {sorted(map(str, kinds))}")
    found: dict[tuple, list[int]] = {}
    for place, cfg in enumerate(configs):
        found.setdefault(static_settings(cfg), []).append(place)
    return tuple(tuple(places) for places in found.values())


def dividing(configs: Sequence[Any]) -> list[str]:
    """The static fields that differ: for them there is more than one group."""
    return [name for name in _static(configs[0]) if len({_key(c, name) for c in configs}) > 1]


def static_settings(cfg: Any) -> tuple:
    """What two configs have in common if one compiled program serves both."""
    return tuple(_key(cfg, name) for name in _static(cfg))


def _static(cfg: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(cfg) if field.metadata.get("static")]


def _key(cfg: Any, name: str) -> tuple:
    value = getattr(cfg, name)
    return type(value), value  # True is not 1


def _with(cfg: T, changes: dict[str, Any]) -> T:
    """`cfg` changed, with the checks and the messages of settings from a command line."""
    return override(cfg, [f"{name}={_text(value)}" for name, value in changes.items()])


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _listed(name: str, values: Any) -> list:
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        raise ValueError(f"{name}={values!r}: expected a list of values")
    values = list(values)
    if not values:
        raise ValueError(f"{name}: there are no values to sweep over")
    return values


def _drawn(name: str, of: Any, count: int, rng: np.random.Generator) -> list:
    if not isinstance(of, Uniform | LogUniform):
        choices = _listed(name, of)
        return [choices[i] for i in rng.integers(0, len(choices), count)]
    low, high = of
    if not low < high or (isinstance(of, LogUniform) and low <= 0):
        raise ValueError(f"{name}={of}: expected low < high, and 0 < low for logarithms")
    if isinstance(of, LogUniform):
        draws = np.exp(rng.uniform(np.log(low), np.log(high), count))
        return np.clip(draws, low, high).tolist()
    return rng.uniform(low, high, count).tolist()
