"""What a person sees of a team while it trains, and which members diverge."""

import json
import logging
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxad import compile
from jaxad.detector import State
from jaxad.sweep.team import NEVER
from jaxad.training.progress import Progress, number, plain
from jaxad.training.writers import Writer

log = logging.getLogger(__name__)


class TeamProgress(Progress):
    """Marks members that diverge; stops when all have.

    Attributes:
      diverged: of each member, the step at which its loss was first not finite.
    """

    def __init__(
        self,
        cfg: Any,
        diverged: Int[np.ndarray, "m"],
        step: int = 0,
        writer: Writer | None = None,
        members: Sequence[int] | None = None,
    ):
        """Of a team.

        Args:
          cfg: settings of a member.
          diverged: steps at which members did before; `NEVER` for the others.
          step: that it starts from.
          writer: told the metrics of each member.
          members: their numbers in the sweep; None for those in the team.
        """
        super().__init__(cfg, writer)
        self.diverged, self._step = diverged, step
        self._members = range(len(diverged)) if members is None else members
        self._losses, self._taken = np.zeros(len(diverged)), 0

    def _take_up(self, lines: list[str]) -> None:
        marks = [row["diverged"] for row in map(json.loads, lines) if "diverged" in row]
        if marks:  # what the interrupted run marked stays marked
            self.diverged = np.array(marks[-1])

    def _scalars(self, values: dict) -> dict[str, float]:
        return {
            f"{name}/member_{member}": number(x)
            for name, row in values.items()
            for member, x in zip(self._members, row, strict=True)
        }

    @property
    def stopped(self) -> bool:
        """Whether every member has diverged."""
        return bool((self.diverged != NEVER).all())

    @property
    def mean_loss(self) -> Float[np.ndarray, "m"]:
        """Of each member, over the steps seen; NaN if it has diverged."""
        return np.where(self.diverged == NEVER, self._losses / max(self._taken, 1), np.nan)

    def add(self, step: int, metrics: dict[str, Array]) -> None:
        """Takes in the metrics of the steps up to `step`, by step and member."""
        values = jax.device_get(metrics)
        loss = values["loss"]
        finite = np.all([np.isfinite(series) for series in values.values()], 0)
        first = step - len(loss) + 1 + np.argmin(finite, 0)
        self._mark(first, ~finite.all(0))
        self._losses += np.where(np.isfinite(loss), loss, 0).sum(0)
        self._taken += len(loss)
        with np.errstate(invalid="ignore", over="ignore"):
            means = {name: plain(series.mean(0)) for name, series in values.items()}
        self._write({"step": step, **means, "diverged": self.diverged.tolist()})
        alive = loss[:, self.diverged == NEVER]
        self._show(step, float(alive.mean()) if alive.size else float("nan"))

    def check(self, step: int, state: State) -> None:
        """Marks members whose state is not finite after `step`."""
        bad = ~compile.finite_members(state)
        self._mark(np.full(len(bad), step), bad)

    def _mark(self, step: Int[np.ndarray, "m"], bad: Bool[np.ndarray, "m"]) -> None:
        new = bad & (self.diverged == NEVER)
        for member in np.flatnonzero(new):
            log.warning(
                "member %d of %d diverged at step %d: its learning rate may be too high; the "
                "others go on", member, len(bad), step[member],
            )  # fmt: skip
        self.diverged = np.where(new, step, self.diverged)
