"""Settings of a sweep: configs of one method in a tuple, each as good as one written by hand.

Sweeps add up: `grid(cfg, lr=[1e-4, 1e-3]) + zip(cfg, p_hard=[0.9, 0.99], penalty=[True, False])`.
"""

import builtins
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from jaxad.detector import override, static_settings, values
from jaxad.ops import stacked

T = TypeVar("T")


class Uniform(NamedTuple):
    """Numbers drawn evenly from `low` to `high`."""

    low: float
    high: float


class LogUniform(NamedTuple):
    """Positive numbers whose logarithms are drawn evenly, from `low` to `high`."""

    low: float
    high: float


def grid(cfg: T, **swept: Any) -> tuple[T, ...]:
    """`cfg` with every combination of the values of each field; the last field varies fastest.

    Raises:
      ValueError: a field is unknown, has no values, or one of another type than the field's.

    >>> from jaxad.methods import efficientad
    >>> configs = grid(efficientad.Config(), lr=[1e-4, 1e-3], p_hard=[0.9, 0.99])
    >>> [(cfg.lr, cfg.p_hard) for cfg in configs]
    [(0.0001, 0.9), (0.0001, 0.99), (0.001, 0.9), (0.001, 0.99)]
    """
    chosen = itertools.product(*(_listed(name, several) for name, several in swept.items()))
    return tuple(_with(cfg, dict(builtins.zip(swept, row, strict=True))) for row in chosen)


def zip(cfg: T, **swept: Any) -> tuple[T, ...]:
    """`cfg` with the first value of every field, with the second of every field, and so on.

    Raises:
      ValueError: as `grid`, or fields have different numbers of values, or there are none.

    >>> from jaxad.methods import efficientad
    >>> configs = zip(efficientad.Config(), lr=[1e-4, 1e-3], penalty=[True, False])
    >>> [(cfg.lr, cfg.penalty) for cfg in configs]
    [(0.0001, True), (0.001, False)]
    """
    lists = {name: _listed(name, several) for name, several in swept.items()}
    counts = {name: len(several) for name, several in lists.items()}
    if len(set(counts.values())) != 1:
        raise ValueError(f"expected as many values of each field, not {counts}")
    rows = builtins.zip(*lists.values(), strict=True)
    return tuple(_with(cfg, dict(builtins.zip(swept, row, strict=True))) for row in rows)


def random(cfg: T, count: int, seed: int, **swept: Any) -> tuple[T, ...]:
    """`cfg` with `count` draws of the fields.

    Args:
      cfg: where the other fields come from.
      count: of settings.
      seed: the same seed gives the same settings.
      swept: of each field, a range or a list to choose from.

    Raises:
      ValueError: as `grid`, or a range is empty, or `count` is below 1.
    """
    if count < 1:
        raise ValueError(f"count={count}: expected 1 or more settings")
    drawn = {}
    for name, of in swept.items():
        # A generator for each field: adding one leaves the others' draws as they were.
        rng = np.random.default_rng([seed, *name.encode()])
        drawn[name] = _drawn(name, of, count, rng)
    if not drawn:
        return (cfg,) * count
    return zip(cfg, **drawn)


def rows(configs: Sequence[Any]) -> tuple[dict[str, Any], ...]:
    """Of each config, the fields in which any differ: what a reader wants to see of it."""
    every = [values(cfg) for cfg in configs]
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
            f"{', '.join(dividing(configs))} cannot be stacked: "
            "static settings are part of the compiled program; sweep.fit makes one group for each "
            "of their combinations, sweep.groups tells which"
        )
    return stacked.stack(configs)


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
        found.setdefault(static_values(cfg), []).append(place)
    return tuple(tuple(places) for places in found.values())


def dividing(configs: Sequence[Any]) -> list[str]:
    """The static fields that differ: for them there is more than one group."""
    rows = [static_values(cfg) for cfg in configs]
    names = static_settings(configs[0])
    return [name for i, name in enumerate(names) if len({row[i] for row in rows}) > 1]


def static_values(cfg: Any) -> tuple:
    """What two configs have in common if one compiled program serves both."""
    found = values(cfg)
    return tuple((type(found[name]), found[name]) for name in static_settings(cfg))  # True is not 1


def _with(cfg: T, changes: dict[str, Any]) -> T:
    """`cfg` changed, with the checks and the messages of settings from a command line."""
    return override(cfg, [f"{name}={_text(value)}" for name, value in changes.items()])


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _listed(name: str, several: Any) -> list:
    if isinstance(several, str) or not hasattr(several, "__iter__"):
        raise ValueError(f"{name}={several!r}: expected a list of values")
    several = list(several)
    if not several:
        raise ValueError(f"{name}: there are no values to sweep over")
    return several


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
