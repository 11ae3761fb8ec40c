"""Configs: frozen dataclasses that are pytrees, whose fields know which values make sense."""

import dataclasses
from typing import Any, TypeVar, dataclass_transform

import jax
import numpy as np

T = TypeVar("T")
Number = int | float


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers that a field may have; of a tuple, each of its numbers. None is no limit.

    Attributes:
      least: the smallest one.
      most: the largest one.
      above: they are more than this.
      below: they are less than this.
      finite: whether infinity is none of them.
      count: how many values a tuple has.
      fewest: how many it has at least.
    """

    least: Number | None = None
    most: Number | None = None
    above: Number | None = None
    below: Number | None = None
    finite: bool = True
    count: int | None = None
    fewest: int = 0

    def __contains__(self, value: Any) -> bool:
        numbers = np.asarray(value, np.float64)
        fine = ~np.isnan(numbers) & (np.isfinite(numbers) | (not self.finite))
        if self.least is not None:
            fine &= numbers >= self.least
        if self.most is not None:
            fine &= numbers <= self.most
        if self.above is not None:
            fine &= numbers > self.above
        if self.below is not None:
            fine &= numbers < self.below
        return bool(fine.all())

    def __str__(self) -> str:
        low = high = ""
        if self.least is not None or self.above is not None:
            low = f"more than {self.above:g}" if self.least is None else f"{self.least:g}"
        if self.most is not None or self.below is not None:
            high = f"less than {self.below:g}" if self.most is None else f"{self.most:g}"
        if low and high:
            return f"{low} to {high}"
        if high:
            return high if self.most is None else f"{high} or less"
        if low:
            return low if self.least is None else f"{low} or more"
        return "a finite number" if self.finite else "a number"


@dataclass_transform(kw_only_default=True, frozen_default=True)
def config(cls: type[T]) -> type[T]:
    """Makes a class a frozen, keyword-only dataclass and a pytree of its sweepable fields."""
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True, kw_only=True)(cls))


def static(
    default: Any,
    least: Number | None = None,
    most: Number | None = None,
    *,
    above: Number | None = None,
    below: Number | None = None,
    count: int | None = None,
    fewest: int = 0,
) -> Any:
    """A field that is part of the compiled program, not of its data: shapes, step counts.

    Args:
      default: its value where nobody gives one.
      least: the smallest number that makes sense; for a tuple, of each of its numbers.
      most: the largest.
      above: a number that it must be more than.
      below: a number that it must be less than.
      count: of a tuple, how many values it has.
      fewest: of a tuple, how many it has at least.
    """
    limits = Range(least, most, above, below, count=count, fewest=fewest)
    return dataclasses.field(default=default, metadata={"static": True, "range": limits})


def scalar(
    default: Number,
    least: Number | None = None,
    most: Number | None = None,
    *,
    above: Number | None = None,
    below: Number | None = None,
    finite: bool = True,
) -> Any:
    """A number that a sweep may vary without compiling anew; limits as of `static`.

    Args:
      finite: whether infinity is refused.
    """
    limits = Range(least, most, above, below, finite)
    return dataclasses.field(default=default, metadata={"range": limits})
