"""Training a sweep: every member as a run alone would train it, the loop and the step shared."""

import contextlib
import json
import logging
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Int, PyTree

from jaxad import mesh
from jaxad.data.source import Data
from jaxad.detector import Detector, State
from jaxad.ops import stacked
from jaxad.sweep import team as teams
from jaxad.sweep.batches import SideBySide
from jaxad.sweep.planning import checked, planned
from jaxad.sweep.progress import TeamProgress
from jaxad.sweep.sets import Sets
from jaxad.sweep.settings import groups
from jaxad.sweep.team import NEVER, Task, Team
from jaxad.training import checkpoint, contents, fitting
from jaxad.training import record as records
from jaxad.training.features import Cache
from jaxad.training.loop import loop, loop_in_folder
from jaxad.training.selection import LOOKS, Select
from jaxad.training.writers import Writer, careful

log = logging.getLogger(__name__)

Place = tuple[int, int]  # of a member: its setting and its seed


class Members(NamedTuple):
    """What a sweep learned.

    Attributes:
      states: of each of `settings.groups(configs)`, calibrated, without optimisers, in the host's
        memory; leaves (its settings, seeds, ...). Where no static setting is swept there is one
        group, and leaves are (settings, seeds, ...).
      diverged: by setting and seed, the step at which the loss was first not finite; -1: never.
    """

    states: tuple[State, ...]
    diverged: Int[np.ndarray, "S K"]

    def state(self, configs: Sequence[Any], setting: int, seed: int) -> State:
        """The state of one member."""
        for places, states in zip(groups(configs), self.states, strict=True):
            if setting in places:
                return stacked.nth(stacked.nth(states, places.index(setting)), seed)
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
    memory: int | None = None,
    select: Select = "last",
    looks: int = LOOKS,
    writer: Writer | None = None,
) -> Members:
    """Trains and calibrates every setting with every key, in memory.

    A member is what `training.fit` makes of its setting and its key. All settings have the same
    keys, so their differences are paired; members of one key see the same pictures in the same
    order. What is done goes to the host's memory, without its optimiser: the device holds those
    that train.

    Args:
      detector: the method.
      configs: the settings.
      pretrained: {name: tree} for the settings' `weights`; one for all members.
      data: what to learn from: one for all settings, or one for each.
      keys: of each seed, an array such as `jax.random.split(key, 8)`.
      at_once: members that train at once; changes the cost, not the results. By default as many as
        fit into the free memory (on a CPU one: there they take turns anyway).
      workers: processes that read pictures; 0 reads in threads.
      cache: of frozen features, as `training.fit`'s.
      memory: of pictures, for all members together; as `training.fit`'s.
      select: as `training.fit`'s.
      looks: as `training.fit`'s.
      writer: as `training.fit`'s. Values are named `loss/member_5`, NaN once that member has
        diverged; seeds of the first setting have the lowest numbers.

    Raises:
      ValueError: no settings or no keys; settings that cannot work, data missing for them.

    >>> import jax
    >>> from jaxad import sweep
    >>> from jaxad.data import workpieces
    >>> from jaxad.methods import autoencoder
    >>> cfg = autoencoder.Config(size=64, batch_size=2, steps=2, widths=(4, 8))
    >>> data = workpieces.load("plate", size=64, train=4, heldout=2, test=(2, 1))
    >>> configs = sweep.grid(cfg, lr=[1e-4, 1e-3])
    >>> keys = jax.random.split(jax.random.key(0), 2)
    >>> members = fit(autoencoder.DETECTOR, configs, {}, data, keys)
    >>> members.diverged.tolist()  # by setting and seed; -1 is never
    [[-1, -1], [-1, -1]]
    """
    several = checked(detector, configs, data, keys, select)
    pretrained = mesh.placed(pretrained)
    sets = Sets(detector, pretrained, cache, memory, workers)
    task = Task(detector, pretrained, sets, workers, select, looks)
    todo = planned(task, configs, several, keys, at_once)
    told = careful(writer)
    told.begin()
    return _trained(task, configs, keys, todo, told)


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
    memory: int | None = None,
    select: Select = "last",
    looks: int = LOOKS,
    writer: Writer | None = None,
) -> Members:
    """As `fit`, in a folder: started again after an interruption it continues.

    Members that are complete are taken from there; those that were training go on from their newest
    checkpoint, bit for bit.

    Args:
      detector: the method.
      configs: as `fit`'s.
      pretrained: as `fit`'s.
      data: as `fit`'s.
      keys: as `fit`'s.
      workdir: the sweep's folder: `run.json`, and in `teams` a run's folder for the members that
        train at once.
      at_once: as `fit`'s.
      save_every: steps between checkpoints.
      workers: as `fit`'s.
      cache: as `fit`'s.
      memory: as `fit`'s.
      select: as `fit`'s.
      looks: as `fit`'s.
      writer: as `fit`'s; a sweep that goes on may have another.

    Raises:
      ValueError: as `fit`, or the folder belongs to another run or sweep.
      BlockingIOError: another process trains in the folder.
      OSError: the folder cannot be written.
    """
    several = checked(detector, configs, data, keys, select)
    pretrained = mesh.placed(pretrained)
    sets = Sets(detector, pretrained, cache, memory, workers)
    task = Task(detector, pretrained, sets, workers, select, looks)
    with checkpoint.RunFolder(workdir) as folder:
        todo = planned(task, configs, several, keys, at_once, _recorded_sizes(folder, at_once))
        sizes = {"asked": at_once, "taken": [len(team.places) for team in todo]}
        sets_of = [data] if isinstance(data, Data) else list(several)
        contents.check(folder.path, sets_of)
        record = {
            "sweep": [records.settings(detector, cfg) for cfg in configs],
            "keys": np.asarray(jax.random.key_data(keys)).tolist(),
            "data": [fitting.described(one) for one in sets_of],
            **fitting.circumstances(pretrained, workers, cache, select, looks),
            "at_once": sizes,
        }
        fitting.agreed([record], sets_of)
        folder.claim(record)
        told = careful(writer)
        told.begin()
        with contents.kept(folder.path, sets_of):
            return _trained(task, configs, keys, todo, told, folder, save_every)


def _trained(
    task: Task,
    configs: Sequence[Any],
    keys: Array,
    todo: Sequence[Team],
    writer: Writer,
    folder: checkpoint.RunFolder | None = None,
    save_every: int = 0,
) -> Members:
    """The members of all teams, one team after the other."""
    found: dict[Place, State] = {}
    diverged = np.full((len(configs), len(keys)), NEVER)
    for n, team in enumerate(todo):
        log.info("members %s (setting, seed), team %d of %d", list(team.places), n + 1, len(todo))
        task.sets.keep(data for later in todo[n:] for data in later.data)
        progress = TeamProgress(
            team.configs[0], _none_diverged(team),
            writer=writer, members=numbers(team, len(keys)),
        )  # fmt: skip
        if folder is None:
            states = _in_memory(task, team, progress)
        else:
            where = checkpoint.RunFolder(folder.path / "teams" / f"{n:04d}", keep=1)
            states = _in_folder(task, team, progress, where, save_every)
        found |= states
        diverged[tuple(np.transpose(team.places))] = progress.diverged
    return Members(grouped(found, groups(configs), len(keys)), diverged)


def _in_memory(task: Task, team: Team, progress: TeamProgress) -> dict[Place, State]:
    """The team's calibrated states on the host; `progress` knows which members diverged."""
    with contextlib.closing(SideBySide(task, team)) as batches:
        states, keeper = teams.new_states(task, team), teams.keeper_of(task, team)
        keeper.begin(states)
        advance, last = teams.advance(task, team), team.configs[0].steps
        states = loop(advance, states, batches, 0, last, progress, keeper)
    return on_host(team, _finished(task, team, keeper.kept(states), progress))


def _in_folder(
    task: Task,
    team: Team,
    progress: TeamProgress,
    folder: checkpoint.RunFolder,
    save_every: int,
) -> dict[Place, State]:
    """As `_in_memory`, from where the folder's last checkpoint is, or from its finished model."""
    last = team.configs[0].steps
    template = teams.abstract_states(task, team)
    if folder.has_model():
        progress.write_to(folder.path / "metrics.jsonl", last)
        return on_host(team, folder.restore_model(template))
    with folder, contextlib.closing(SideBySide(task, team)) as batches:
        folder.claim({"members": [list(place) for place in team.places]})
        states = loop_in_folder(
            folder, template, lambda: teams.new_states(task, team), teams.advance(task, team),
            batches, last, progress, teams.keeper_of(task, team), save_every,
        )  # fmt: skip
        states = _finished(task, team, states, progress)
        folder.save_model(states)
    return on_host(team, states)


def _finished(task: Task, team: Team, states: State, progress: TeamProgress) -> State:
    """The states after calibration, looked at once more."""
    states = teams.calibrated(task, team, states._replace(opt=()), progress.diverged)
    progress.check(team.configs[0].steps, states)
    return states


def _none_diverged(team: Team) -> Int[np.ndarray, "m"]:
    return np.full(len(team.places), NEVER)


def numbers(team: Team, seeds: int) -> tuple[int, ...]:
    """The members' numbers in the sweep: those of one setting follow one another."""
    return tuple(setting * seeds + seed for setting, seed in team.places)


def on_host(team: Team, states: State) -> dict[Place, State]:
    """The team's states by place, in the host's memory, without optimisers."""
    states = mesh.fetched(states._replace(opt=()))
    return {place: stacked.nth(states, i) for i, place in enumerate(team.places)}


def grouped(
    found: dict[Place, State], places: Sequence[Sequence[int]], seeds: int
) -> tuple[State, ...]:
    """States by setting and seed as one stacked state for each group of settings."""
    host = stacked.stack_on_host
    return tuple(
        host([host([found[s, k] for k in range(seeds)]) for s in group]) for group in places
    )


def _recorded_sizes(folder: checkpoint.RunFolder, at_once: int | None) -> list[int] | None:
    """How many members trained at once before an interruption: free memory may differ now."""
    try:
        there = json.loads((folder.path / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # nothing there, or claiming the folder says what is wrong with it
    sizes = there.get("at_once", {})
    return sizes.get("taken") if sizes.get("asked") == at_once else None
