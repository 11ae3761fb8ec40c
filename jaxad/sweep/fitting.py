"""Training a sweep: every member as a run alone would train it, the loop and the step shared."""

import functools
import json
import logging
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Int, PyTree

from jaxad import checkpoint, members, train
from jaxad.detector import Data, Detector, State
from jaxad.features import Cache
from jaxad.sweep import team as teams
from jaxad.sweep.memory import members_at_once
from jaxad.sweep.settings import dividing, groups
from jaxad.sweep.team import NEVER, Sets, SideBySide, Team, TeamProgress

log = logging.getLogger(__name__)


class Members(NamedTuple):
    """What a sweep learned.

    Attributes:
      states: of each of `settings.groups(configs)`, calibrated; leaves (its settings, seeds, ...).
        Where no static setting is swept there is one group, and leaves are (settings, seeds, ...).
      diverged: by setting and seed, the step at which the loss was first not finite; -1: never.
    """

    states: tuple[State, ...]
    diverged: Int[np.ndarray, "S K"]

    def state(self, configs: Sequence[Any], setting: int, seed: int) -> State:
        """The state of one member."""
        for places, states in zip(groups(configs), self.states, strict=True):
            if setting in places:
                return members.nth(members.nth(states, places.index(setting)), seed)
        raise IndexError(f"there is no setting {setting}: the sweep has {len(configs)}")


def fit(
    detector: Detector,
    configs: Sequence[Any],
    pretrained: PyTree,
    data: Data | Sequence[Data],
    keys: Array,
    *,
    at_once: int | None = None,
    workers: int = 0,
    cache: Cache = None,
) -> Members:
    """Trains and calibrates every setting with every key, in memory.

    A member is what `train.fit` makes of its setting and its key. All settings have the same keys,
    so their differences are paired; members of one key see the same pictures in the same order.

    Args:
      detector: the method.
      configs: the settings.
      pretrained: {name: tree} for the settings' `weights`; one for all members.
      data: what to learn from: one for all settings, or one for each.
      keys: of each seed, an array such as `jax.random.split(key, 8)`.
      at_once: members that train at once; changes the cost, not the results. By default as many as
        fit into the free memory (on a CPU one: there they take turns anyway).
      workers: processes that read pictures; 0 reads in threads.
      cache: of frozen features, as `train.fit`'s.

    Raises:
      ValueError: no settings or no keys; settings that cannot work, data missing for them.
    """
    return _sweep(detector, configs, pretrained, data, keys, at_once, workers, cache)


def run(
    detector: Detector,
    configs: Sequence[Any],
    pretrained: PyTree,
    data: Data | Sequence[Data],
    keys: Array,
    workdir: str | os.PathLike,
    *,
    at_once: int | None = None,
    save_every: int = 500,
    workers: int = 0,
    cache: Cache = None,
) -> Members:
    """As `fit`, in a folder: started again after an interruption it continues.

    Members that are complete are taken from there; those that were training go on from their newest
    checkpoint, bit for bit. The states come without the optimisers'.

    Args:
      workdir: the sweep's folder: `run.json`, and in `teams` a run's folder for the members that
        train at once.
      save_every: steps between checkpoints.

    Raises:
      ValueError: as `fit`, or the folder belongs to another run or sweep.
      OSError: the folder cannot be written.
    """
    folder = checkpoint.RunFolder(workdir)
    return _sweep(
        detector, configs, pretrained, data, keys, at_once, workers, cache, folder, save_every
    )


def _sweep(
    detector: Detector,
    configs: Sequence[Any],
    pretrained: PyTree,
    data: Data | Sequence[Data],
    keys: Array,
    at_once: int | None,
    workers: int,
    cache: Cache,
    folder: checkpoint.RunFolder | None = None,
    save_every: int = 0,
) -> Members:
    sizes = None if folder is None else _recorded_sizes(folder, at_once)
    todo = planned(detector, configs, pretrained, data, keys, at_once, sizes)
    sets = Sets(detector, pretrained, cache)
    if folder is not None:
        sizes = {"asked": at_once, "taken": [len(team.places) for team in todo]}
        record = _record(configs, pretrained, data, keys, workers, cache)
        folder.claim(record | {"at_once": sizes})
    found, diverged = {}, np.full((len(configs), len(keys)), NEVER)
    for n, team in enumerate(todo):
        log.info("members %s (setting, seed), team %d of %d", list(team.places), n + 1, len(todo))
        where = None
        if folder is not None:
            where = checkpoint.RunFolder(folder.path / "teams" / f"{n:04d}", keep=1)
        sets.keep(todo[n:])
        states, failed = train_team(detector, team, pretrained, sets, workers, where, save_every)
        for place, state, step in zip(
            team.places, members.apart(states, len(team.places)), failed, strict=True
        ):
            found[place], diverged[place] = (
                state if folder is None else state._replace(opt=()),
                step,
            )
    return Members(grouped(found, groups(configs), len(keys)), diverged)


def planned(
    detector: Detector,
    configs: Sequence[Any],
    pretrained: PyTree,
    data: Data | Sequence[Data],
    keys: Array,
    at_once: int | None,
    sizes: Sequence[int] | None = None,
) -> list[Team]:
    """The members of a sweep in teams that train one after the other.

    Args:
      sizes: of the teams, if they were planned before.

    Raises:
      ValueError: as `fit`.
    """
    several = checked(detector, configs, data, keys)
    chunks, apart = [], groups(configs)
    if len(apart) > 1:
        log.info(
            "%s: %d groups of settings, each with a compiled step of its own",
            ", ".join(dividing(configs)), len(apart),
        )  # fmt: skip
    for group in apart:
        # Seed by seed, so that members of a team share their batches.
        left = [(s, k) for k in range(len(keys)) for s in group]
        cfg, one = configs[group[0]], several[group[0]]
        batch = functools.partial(_some_batch, detector, cfg, one, keys)
        size = None
        while left:
            if sizes is not None and len(chunks) < len(sizes):
                size = sizes[len(chunks)]
            elif size is None:
                size = members_at_once(detector, cfg, pretrained, batch, len(left), at_once)
            chunks.append(left[:size])
            left = left[size:]
    return [
        Team(
            tuple(configs[s] for s, _ in chunk),
            tuple(chunk),
            tuple(keys[k] for _, k in chunk),
            tuple(several[s] for s, _ in chunk),
        )
        for chunk in chunks
    ]


def train_team(
    detector: Detector,
    team: Team,
    pretrained: PyTree,
    sets: Sets,
    workers: int,
    folder: checkpoint.RunFolder | None,
    save_every: int,
) -> tuple[State, Int[np.ndarray, "m"]]:
    """The team's calibrated states, stacked, and the steps at which members diverged."""
    cfg, progress = team.configs[0], TeamProgress(team.configs[0], len(team.configs))
    template = teams.abstract_states(detector, team, pretrained)
    if folder is not None and folder.has_model():
        progress.write_to(folder.path / "metrics.jsonl", cfg.steps)
        return folder.restore_model(template), progress.diverged
    for data in team.data:
        sets.images(data.heldout, cfg.size)  # before hours of training, not after
    iterator = SideBySide(detector, team, sets, workers)
    first = functools.partial(teams.new_states, detector, team, pretrained, sets)
    advance = teams.advance(detector, team, pretrained)
    if folder is None:
        states = train.loop(advance, first(), iterator, 0, cfg.steps, progress)
        iterator.close()
    else:
        record = {"members": [list(place) for place in team.places]}
        states = train.loop_in_folder(
            folder, record, template, first, advance, iterator, cfg.steps, progress, save_every
        )
    states = teams.calibrated(detector, team, pretrained, states, progress.diverged, sets)
    progress.check(cfg.steps, states)
    if folder is not None:
        folder.save_model(states)
    return states, progress.diverged


def checked(
    detector: Detector, configs: Sequence[Any], data: Data | Sequence[Data], keys: Array
) -> list[Data]:
    """The data of each setting.

    Raises:
      ValueError: keys are missing, a setting cannot work, or data sets are not one for each.
    """
    typed = isinstance(keys, jax.Array) and jax.dtypes.issubdtype(keys.dtype, jax.dtypes.prng_key)
    if not typed or keys.ndim != 1 or len(keys) == 0:
        raise ValueError(
            "keys: expected an array of one key for each seed, such as "
            "jax.random.split(jax.random.key(0), 8)"
        )
    for cfg in configs:
        detector.check(cfg)
    if isinstance(data, Data):
        return [data] * len(configs)
    if len(data) != len(configs):
        raise ValueError(
            f"{len(data)} data sets for {len(configs)} settings: expected one for all, or one each"
        )
    return list(data)


def grouped(
    found: dict[tuple[int, int], State], places: Sequence[Sequence[int]], seeds: int
) -> tuple[State, ...]:
    """States by setting and seed as one stacked state for each group of settings."""
    return tuple(
        members.stack([members.stack([found[s, k] for k in range(seeds)]) for s in group])
        for group in places
    )


def _some_batch(detector: Detector, cfg: Any, data: Data, keys: Array) -> dict:
    batches = iter(train.train_batches(detector, cfg, data, keys[0]))
    batch = next(batches)
    batches.close()
    return batch


def _record(
    configs: Sequence[Any],
    pretrained: PyTree,
    data: Data | Sequence[Data],
    keys: Array,
    workers: int,
    cache: Cache,
) -> dict:
    sets = [
        {name: repr(x) for name, x in one._replace(test=None)._asdict().items()}
        for one in ([data] if isinstance(data, Data) else data)
    ]
    return {
        "sweep": [checkpoint.settings(cfg) for cfg in configs],
        "keys": np.asarray(jax.random.key_data(keys)).tolist(),
        "workers": workers,
        "cached_features": cache is not None,
        "data": sets,
        "pretrained": {name: checkpoint.fingerprint(x) for name, x in pretrained.items()},
    }


def _recorded_sizes(folder: checkpoint.RunFolder, at_once: int | None) -> list[int] | None:
    """How many members trained at once before an interruption: free memory may differ now."""
    try:
        there = json.loads((folder.path / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # nothing there, or claiming the folder says what is wrong with it
    sizes = there.get("at_once", {})
    return sizes.get("taken") if sizes.get("asked") == at_once else None
