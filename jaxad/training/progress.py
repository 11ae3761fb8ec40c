"""What a person sees of a run while it goes on, and what it writes down."""

import json
import math
import os
import pathlib
import sys
import time
from typing import Any

import jax
import numpy as np
from jaxtyping import Array
from tqdm import tqdm

from jaxad import compile, whole
from jaxad.detector import State
from jaxad.mesh import hosts
from jaxad.training.writers import Writer, careful

CHUNK = 10  # steps at most between two looks at the clock, one scan on an accelerator


class Progress:
    """What a person sees of a run, and its metrics as JSON lines; a writer is told the same.

    Attributes:
      stopped: whether going on makes no sense; never of a single run, which raises instead.
    """

    stopped = False

    def __init__(self, cfg: Any, writer: Writer | None = None):
        """Starts at the first step of a run with these settings; nothing is written to a file."""
        self._cfg, self._file, self._step = cfg, None, 0
        self._writer = careful(writer)
        self._told: dict[str, int] = {}  # the last step of each value, by the interrupted run

    def write_to(self, file: os.PathLike, step: int) -> None:
        """Writes to `file` too, from `step` on; an interrupted run's lines of later steps go.

        Of many hosts the first one writes.

        The writer was told these by that run, the same bit for bit, and is not told again.
        """
        path = pathlib.Path(file)
        self._file, self._step = path if hosts.primary() else None, step
        if path.exists():
            lines = path.read_text().splitlines(keepends=True)
            complete = [line for line in lines if line.endswith("\n")]
            kept = [line for line in complete if json.loads(line)["step"] <= step]
            for row in map(json.loads, complete[len(kept) :]):
                self._told |= dict.fromkeys(row, row["step"])
            self._take_up(kept)
            if hosts.primary():
                with whole.written(path) as part:
                    part.write_text("".join(kept))

    def _take_up(self, lines: list[str]) -> None:
        """What the interrupted run marked in these lines; a single run marks nothing."""

    def __enter__(self) -> "Progress":
        self._tty = sys.stderr.isatty() and hosts.primary()
        self._bar = tqdm(
            total=self._cfg.steps,
            initial=self._step,
            unit="step",
            disable=not self._tty,
        )
        self._last_line, self._last_time = self._step, time.monotonic()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def add(self, step: int, metrics: dict[str, Array]) -> None:
        """Takes in the stacked metrics of the steps up to `step`.

        Raises:
          FloatingPointError: one is not finite.
        """
        values = jax.device_get(metrics)
        for name, series in values.items():
            if not np.isfinite(series).all():
                bad = step - len(series) + 1 + int(np.argmin(np.isfinite(series)))
                self._write({"step": bad, name: None})  # for who looks at the run afterwards
                raise FloatingPointError(
                    f"{name} is {series[~np.isfinite(series)][0]} at step {bad}: the learning rate "
                    "may be too high, or a setting or a weight out of range; checkpoints saved "
                    "before are kept"
                )
        means = {name: float(np.mean(series)) for name, series in values.items()}
        self._write({"step": step, **means})
        self._show(step, means["loss"])

    def note(self, step: int, **values: Any) -> None:
        """Writes down what was measured after `step` beside the metrics: numbers, or one a member.

        NaN of a member that diverged is written as null.
        """
        self._write({"step": step, **{name: plain(value) for name, value in values.items()}})

    def check(self, step: int, state: State) -> None:
        """Looks at the state after `step`.

        Raises:
          FloatingPointError: it is not finite.
        """
        compile.check_finite(state)

    def _write(self, line: dict) -> None:
        if self._file is not None:
            with open(self._file, "a") as lines:
                lines.write(json.dumps(line, allow_nan=False) + "\n")
        step = line["step"]
        new = {name: x for name, x in line.items() if step > self._told.get(name, -1)}
        new.pop("step", None)
        if new:
            self._writer.scalars(step, self._scalars(new))

    def _scalars(self, values: dict) -> dict[str, float]:
        """What the writer is told of values in a line."""
        return {name: number(value) for name, value in values.items()}

    def _show(self, step: int, loss: float) -> None:
        now = time.monotonic()
        self._bar.update(step - self._bar.n)
        rate = (step - self._last_line) * self._cfg.batch_size / max(now - self._last_time, 1e-9)
        self._bar.set_postfix_str(f"loss {loss:.4f}, {rate:.1f} images/s")
        every = max(self._cfg.steps // 20, CHUNK)
        if (
            self._tty
            or not hosts.primary()
            or (step // every == self._last_line // every and step < self._cfg.steps)
        ):
            return
        left = (self._cfg.steps - step) * self._cfg.batch_size / rate
        print(
            f"step {step}/{self._cfg.steps}  loss {loss:.4f}  {rate:.1f} images/s  "
            f"{math.ceil(left)} s left",
            file=sys.stderr,
        )
        self._last_line, self._last_time = step, now


def number(value: int | float | None) -> float:
    """What was written as null is NaN again."""
    return float("nan") if value is None else float(value)


def plain(value: Any) -> Any:
    """A number or an array of them as JSON has them."""
    value = np.asarray(value, np.float64)
    if value.ndim:
        return [plain(x) for x in value]
    return float(value) if np.isfinite(value) else None
