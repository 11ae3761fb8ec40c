"""Training: one loop for every detector, in memory (`fit`) or in a folder, resumable (`run`)."""

import json
import logging
import math
import os
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import grain
import jax
import numpy as np
from jaxtyping import Array, PyTree
from tqdm import tqdm

from jaxad import checkpoint, compile
from jaxad.data import pipeline
from jaxad.detector import Data, Detector, State, check_finite

log = logging.getLogger(__name__)

CHUNK = 10  # steps at most between two looks at the clock, one scan on an accelerator


def fit(
    detector: Detector, cfg: Any, pretrained: PyTree, data: Data, key: Array, workers: int = 0
) -> State:
    """Trains and calibrates in memory.

    Args:
      detector: the method.
      cfg: its settings.
      pretrained: {name: tree} for `cfg.weights`.
      data: what to learn from; `data.test` is not read.
      key: of everything random, the order of the pictures included.
      workers: processes that read pictures; 0 reads in threads.

    Raises:
      ValueError: settings that cannot work, or data missing for them.
      FloatingPointError: the loss or the state is not finite.
    """
    detector.check(cfg)
    init_key, step_key, data_key = jax.random.split(key, 3)
    heldout = pipeline.image_set(data.heldout, cfg.size)  # before hours of training, not after
    iterator = iter(train_batches(detector, cfg, data, data_key, workers))
    images = pipeline.image_set(data.train, cfg.size)
    state = detector.init(cfg, pretrained, images, init_key)
    state = _loop(detector, cfg, pretrained, state, iterator, step_key, 0, Progress(cfg))
    iterator.close()
    return detector.calibrate(cfg, pretrained, state, heldout)


def run(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    data: Data,
    key: Array,
    workdir: str | os.PathLike,
    *,
    save_every: int = 500,
    keep: int = 2,
    workers: int = 0,
    at_save: Callable[[int, State], None] | None = None,
) -> State:
    """As `fit`, in a folder: started again after an interruption it continues bit for bit.

    Args:
      detector: the method.
      cfg: its settings.
      pretrained: {name: tree} for `cfg.weights`.
      data: what to learn from; `data.test` is not read.
      key: of everything random.
      workdir: the run's folder; see `checkpoint`.
      save_every: steps between checkpoints.
      keep: how many checkpoints stay.
      workers: processes that read pictures; 0 reads in threads.
      at_save: called with step and state whenever a checkpoint is saved: to draw a curve. What it
        finds must not decide which state is kept.

    Raises:
      ValueError: settings that cannot work, data missing for them, or another run's folder.
      FloatingPointError: the loss or the state is not finite; the checkpoints before are kept.
      OSError: the folder cannot be written.
    """
    detector.check(cfg)
    init_key, step_key, data_key = jax.random.split(key, 3)
    folder = checkpoint.RunFolder(workdir, keep)
    record = {
        **checkpoint.settings(cfg),
        "key": np.asarray(jax.random.key_data(key)).tolist(),
        "workers": workers,
        "data": {name: repr(x) for name, x in data._replace(test=None)._asdict().items()},
        "pretrained": {name: checkpoint.fingerprint(x) for name, x in pretrained.items()},
    }
    folder.check(record)
    template = checkpoint.abstract_state(detector, cfg, pretrained, init_key)
    if folder.has_model():
        log.info("%s is complete; taking its model", folder.path)
        return folder.restore_model(template)

    heldout = pipeline.image_set(data.heldout, cfg.size)  # before hours of training, not after
    iterator = iter(train_batches(detector, cfg, data, data_key, workers))
    folder.claim(record)  # now that nothing is missing
    state, step = folder.restore(template, iterator)
    if state is None:
        images = pipeline.image_set(data.train, cfg.size)
        state = detector.init(cfg, pretrained, images, init_key)
    else:
        log.info("continuing %s at step %d", folder.path, step)

    def save(step: int, state: State) -> None:
        folder.save(step, state, iterator)
        if at_save is not None:
            at_save(step, state)

    progress = Progress(cfg, folder.path / "metrics.jsonl", step)
    try:
        state = _loop(
            detector, cfg, pretrained, state, iterator, step_key, step, progress, save, save_every
        )
    finally:
        iterator.close()
        folder.close()
    state = detector.calibrate(cfg, pretrained, state, heldout)
    check_finite(state)
    folder.save_model(state)
    return state


def train_batches(
    detector: Detector, cfg: Any, data: Data, key: Array, workers: int = 0
) -> grain.IterDataset:
    """The batches of a run, in the order that belongs to `key`."""
    seed = int(jax.random.randint(key, (), 0, 2**31 - 1))
    return pipeline.train_batches(detector, cfg, data, seed, workers=workers)


def _loop(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    state: State,
    iterator: Any,
    key: Array,
    step: int,
    progress: "Progress",
    save: Callable[[int, State], None] | None = None,
    save_every: int = 0,
) -> State:
    """Takes the remaining steps. Metrics are fetched one chunk late, so the device never waits."""
    pending = None
    with progress:
        while step < cfg.steps:
            ends = [cfg.steps, step + CHUNK]
            if save:
                ends.append(step - step % save_every + save_every)
            count = min(ends) - step
            batches = [next(iterator) for _ in range(count)]
            state, metrics = compile.steps(detector, cfg, pretrained, state, batches, key)
            step += count
            if pending is not None:
                progress.add(*pending)
            pending = step, metrics
            if step == cfg.steps or (save and step % save_every == 0):
                progress.add(*pending)
                pending = None
                check_finite(state)  # the loss was, but the update may have spoiled the state
                if save:
                    save(step, state)
    return state


class Progress:
    """What a person sees of a run, and its metrics as JSON lines."""

    def __init__(self, cfg: Any, file: os.PathLike | None = None, step: int = 0):
        """Starts at `step`; lines of later steps in `file` are of an interrupted run and go."""
        self._cfg, self._file, self._step = cfg, file, step
        if file is not None and os.path.exists(file):
            lines = pathlib.Path(file).read_text().splitlines(keepends=True)
            kept = [
                line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step
            ]
            part = pathlib.Path(f"{file}.part")
            part.write_text("".join(kept))
            part.replace(file)

    def __enter__(self) -> "Progress":
        self._tty = sys.stderr.isatty()
        self._bar = tqdm(
            total=self._cfg.steps, initial=self._step, unit="step", disable=not self._tty
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
                raise FloatingPointError(
                    f"{name} is {series[~np.isfinite(series)][0]} at step {bad}: the learning rate "
                    "may be too high, or a setting or a weight out of range; checkpoints saved "
                    "before are kept"
                )
        means = {name: float(np.mean(series)) for name, series in values.items()}
        if self._file is not None:
            with open(self._file, "a") as lines:
                lines.write(json.dumps({"step": step, **means}) + "\n")
        self._show(step, means["loss"])

    def _show(self, step: int, loss: float) -> None:
        now = time.monotonic()
        self._bar.update(step - self._bar.n)
        rate = (step - self._last_line) * self._cfg.batch_size / max(now - self._last_time, 1e-9)
        self._bar.set_postfix_str(f"loss {loss:.4f}, {rate:.1f} images/s")
        every = max(self._cfg.steps // 20, CHUNK)
        if self._tty or (step // every == self._last_line // every and step < self._cfg.steps):
            return
        left = (self._cfg.steps - step) * self._cfg.batch_size / rate
        print(
            f"step {step}/{self._cfg.steps}  loss {loss:.4f}  {rate:.1f} images/s  "
            f"{math.ceil(left)} s left",
            file=sys.stderr,
        )
        self._last_line, self._last_time = step, now
