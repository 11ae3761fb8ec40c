"""Training: one loop for every detector, in memory (`fit`) or in a folder, resumable (`run`)."""

import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

import grain
import jax
import numpy as np
from jaxtyping import Array, PyTree

from jaxad import checkpoint, compile
from jaxad.data import pipeline
from jaxad.detector import Data, Detector, ImageSet, State, check_finite
from jaxad.features import Cache, frozen_features
from jaxad.progress import CHUNK, Progress

log = logging.getLogger(__name__)

Advance = Callable[[State, list], tuple[State, dict[str, Array]]]


def fit(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    data: Data,
    key: Array,
    *,
    workers: int = 0,
    cache: Cache = None,
) -> State:
    """Trains and calibrates in memory.

    Args:
      detector: the method.
      cfg: its settings.
      pretrained: {name: tree} for `cfg.weights`.
      data: what to learn from; `data.test` is not read.
      key: of everything random, the order of the pictures included.
      workers: processes that read pictures; 0 reads in threads.
      cache: where the frozen features of the training set are kept in half precision: "memory", or
        a folder for later runs too; None computes them in every step. See `features`.

    Raises:
      ValueError: settings that cannot work, or data missing for them.
      FloatingPointError: the loss or the state is not finite.
    """
    detector.check(cfg)
    init_key, step_key, data_key = run_keys(key)
    heldout = pipeline.image_set(data.heldout, cfg.size)  # before hours of training, not after
    images = pipeline.image_set(data.train, cfg.size)
    kept = frozen_features(detector, cfg, pretrained, images, cache)
    batches = train_batches(detector, cfg, data, data_key, workers, kept, images)
    iterator = iter(batches)
    state = detector.init(cfg, pretrained, images, init_key)

    def advance(state: State, batches: list) -> tuple[State, dict]:
        return compile.steps(detector, cfg, pretrained, state, batches, step_key)

    state = loop(advance, state, iterator, 0, cfg.steps, Progress(cfg))
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
    cache: Cache = None,
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
      cache: as `fit`'s; whether there is one belongs to the run, where it lies does not.
      at_save: called with step and state whenever a checkpoint is saved: to draw a curve. What it
        finds must not decide which state is kept.

    Raises:
      ValueError: settings that cannot work, data missing for them, or another run's folder.
      FloatingPointError: the loss or the state is not finite; the checkpoints before are kept.
      OSError: the folder cannot be written.
    """
    detector.check(cfg)
    init_key, step_key, data_key = run_keys(key)
    folder = checkpoint.RunFolder(workdir, keep)
    record = {
        **checkpoint.settings(cfg),
        "key": np.asarray(jax.random.key_data(key)).tolist(),
        "workers": workers,
        "cached_features": cache is not None,
        "data": {name: repr(x) for name, x in data._replace(test=None)._asdict().items()},
        "pretrained": {name: checkpoint.fingerprint(x) for name, x in pretrained.items()},
    }
    folder.check(record)
    template = checkpoint.abstract_state(detector, cfg, pretrained, init_key)
    if folder.has_model():
        log.info("%s is complete; taking its model", folder.path)
        return folder.restore_model(template)

    heldout = pipeline.image_set(data.heldout, cfg.size)  # before hours of training, not after
    images = pipeline.image_set(data.train, cfg.size)
    kept = frozen_features(detector, cfg, pretrained, images, cache)
    batches = train_batches(detector, cfg, data, data_key, workers, kept, images)
    iterator = iter(batches)

    def first() -> State:
        return detector.init(cfg, pretrained, images, init_key)

    def advance(state: State, batches: list) -> tuple[State, dict]:
        return compile.steps(detector, cfg, pretrained, state, batches, step_key)

    state = loop_in_folder(
        folder, record, template, first, advance, iterator, cfg.steps, Progress(cfg),
        save_every, at_save,
    )  # fmt: skip
    state = detector.calibrate(cfg, pretrained, state, heldout)
    check_finite(state)
    folder.save_model(state)
    return state


def run_keys(key: Array) -> tuple[Array, Array, Array]:
    """The keys of a run's parts: initial state, steps, order of the pictures."""
    return tuple(jax.random.split(key, 3))


def train_batches(
    detector: Detector,
    cfg: Any,
    data: Data,
    key: Array,
    workers: int = 0,
    features: PyTree | None = None,
    images: ImageSet | None = None,
) -> grain.IterDataset:
    """The batches of a run, in the order that belongs to `key`; see `pipeline.train_batches`."""
    seed = int(jax.random.randint(key, (), 0, 2**31 - 1))
    return pipeline.train_batches(
        detector, cfg, data, seed, workers, features=features, images=images
    )


def loop(
    advance: Advance,
    state: State,
    iterator: Iterator,
    step: int,
    last: int,
    progress: Progress,
    save: Callable[[int, State], None] | None = None,
    save_every: int = 0,
) -> State:
    """Takes the steps after `step` up to `last`: the one loop of single runs and of sweeps.

    Metrics are fetched one chunk late, so the device never waits.

    Args:
      advance: (state, batches) -> (state, metrics stacked over the batches).
      state: of one run, or stacked.
      iterator: over batches.
      step: taken before.
      last: to end with.
      progress: sees the metrics, and checks the state wherever it is saved and at the end.
      save: called with step and state every `save_every` steps and at the end.
      save_every: steps.
    """
    pending = None
    with progress:
        while step < last and not progress.stopped:
            ends = [last, step + CHUNK]
            if save:
                ends.append(step - step % save_every + save_every)
            count = min(ends) - step
            batches = [next(iterator) for _ in range(count)]
            state, metrics = advance(state, batches)
            step += count
            if pending is not None:
                progress.add(*pending)
            pending = step, metrics
            if step == last or (save and step % save_every == 0):
                progress.add(*pending)
                pending = None
                progress.check(step, state)  # the loss was fine; the update may have spoiled it
                if save:
                    save(step, state)
    return state


def loop_in_folder(
    folder: checkpoint.RunFolder,
    record: dict,
    template: State,
    first: Callable[[], State],
    advance: Advance,
    iterator: Any,
    last: int,
    progress: Progress,
    save_every: int,
    at_save: Callable[[int, State], None] | None = None,
) -> State:
    """`loop` from the folder's newest checkpoint, or from `first()`; closes folder and iterator."""
    folder.claim(record)  # now that nothing is missing
    state, step = folder.restore(template, iterator)
    if state is None:
        state = first()
    else:
        log.info("continuing %s at step %d", folder.path, step)

    def save(step: int, state: State) -> None:
        folder.save(step, state, iterator)
        if at_save is not None:
            at_save(step, state)

    progress.write_to(folder.path / "metrics.jsonl", step)
    try:
        return loop(advance, state, iterator, step, last, progress, save, save_every)
    finally:
        iterator.close()
        folder.close()
