"""Successive halving: settings that fall behind stop early and free their memory.

Karnin et al., ICML 2013; Jamieson & Talwalkar, AISTATS 2016 (arXiv:1502.07943).
"""

import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from jaxad import mesh
from jaxad.data.source import Data
from jaxad.detector import Detector, State
from jaxad.ops import stacked
from jaxad.sweep import team as teams
from jaxad.sweep.batches import SideBySide
from jaxad.sweep.fitting import Members, Place, grouped, numbers, on_host
from jaxad.sweep.planning import checked, planned
from jaxad.sweep.progress import TeamProgress
from jaxad.sweep.sets import Sets
from jaxad.sweep.settings import groups
from jaxad.sweep.team import NEVER, Task, Team, filled
from jaxad.training.features import Cache
from jaxad.training.loop import loop
from jaxad.training.writers import Writer, careful

log = logging.getLogger(__name__)

Score = Callable[[Any, PyTree, State], float]


class Cut(NamedTuple):
    """What a cut saw and did.

    Attributes:
      step: after which it was made.
      values: of each setting that was left, by its place in the sweep: higher is better.
      kept: places of the settings that went on, in the sweep's order.
    """

    step: int
    values: dict[int, float]
    kept: tuple[int, ...]


class Halved(NamedTuple):
    """The settings that were never dropped, and what they learned.

    Attributes:
      configs: the surviving settings, in the sweep's order.
      members: of them, as `sweep.fit` would have trained them.
      cuts: in order.
    """

    configs: tuple[Any, ...]
    members: Members
    cuts: tuple[Cut, ...]


class _Waiting(NamedTuple):
    """A team between two cuts; nothing of it is on the device.

    Attributes:
      team: the members that are left.
      diverged: of each, the step at which it did.
      loss: of each, mean since the cut before; NaN if it diverged or took no step.
      step: taken so far.
      states: stacked, in the host's memory; None before the first step.
      batches: where its iterators are; None before the first step.
    """

    team: Team
    diverged: Int[np.ndarray, "m"]
    loss: Float[np.ndarray, "m"]
    step: int = 0
    states: State | None = None
    batches: dict[str, Any] | None = None


def halve(
    detector: Detector,
    configs: Sequence[Any],
    pretrained: PyTree,
    data: Data | Sequence[Data],
    keys: Array,
    at: Sequence[int],
    score: Score | None = None,
    *,
    at_once: int | None = None,
    workers: int = 0,
    cache: Cache = None,
    memory: int | None = None,
    writer: Writer | None = None,
) -> Halved:
    """As `fit`, but after each of the steps `at` the worse half of the settings is dropped.

    A setting counts by the mean over its seeds; one with a member that diverged is the worst. What
    survives is what an unpruned sweep finds for it: nothing of a member depends on the others.
    Teams take turns on the device, and wait in the host's memory for the others to reach a cut.

    Args:
      detector: the method.
      configs: as `fit`'s.
      pretrained: as `fit`'s.
      data: as `fit`'s.
      keys: as `fit`'s.
      at: steps, rising, before the last.
      score: (cfg, pretrained, state) -> how good a member is, higher is better; the state is not
        yet calibrated. By default the mean training loss since the cut before, negated, which
        compares only settings that have the same loss. A score on test pictures would be a
        selection on test data.
      at_once: as `fit`'s.
      workers: as `fit`'s.
      cache: as `fit`'s.
      memory: as `fit`'s.
      writer: as `fit`'s; members keep their numbers when others are dropped.

    Raises:
      ValueError: as `fit`; or `at` is not rising from 1 to before the fewest steps.
    """
    last = min((cfg.steps for cfg in configs), default=0)
    rising = all(one < other for one, other in zip([0, *at], [*at, last], strict=True))
    if configs and not rising:
        raise ValueError(f"at={list(at)}: expected rising steps from 1 to {last - 1}")
    several = checked(detector, configs, data, keys)
    task = Task(detector, pretrained, Sets(detector, pretrained, cache, memory, workers), workers)
    waiting = [
        _Waiting(team, np.full(len(team.places), NEVER), np.full(len(team.places), np.nan))
        for team in planned(task, configs, several, keys, at_once)
    ]
    kept, cuts, told = tuple(range(len(configs))), [], careful(writer)
    told.begin()
    for step in at:
        for i, one in enumerate(waiting):
            waiting[i] = _advanced(task, one, step, told, len(keys))
        values = _values(waiting, pretrained, score)
        best = sorted(kept, key=lambda place: -values[place])[: (len(kept) + 1) // 2]
        kept = tuple(sorted(best))
        cuts.append(Cut(step, values, kept))
        log.info("step %d: settings %s go on", step, list(kept))
        waiting = [_cut(one, kept) for one in waiting if set(kept) & _settings(one.team)]

    found: dict[Place, State] = {}
    steps = np.full((len(kept), len(keys)), NEVER)
    for one in waiting:
        done = _advanced(task, one, one.team.configs[0].steps, told, len(keys))
        states = teams.calibrated(task, done.team, _on_device(done.states), done.diverged)
        for (s, k), state in on_host(done.team, states).items():
            found[kept.index(s), k] = state
        for (s, k), step in zip(done.team.places, done.diverged, strict=True):
            steps[kept.index(s), k] = step
    left = tuple(configs[place] for place in kept)
    return Halved(left, Members(grouped(found, groups(left), len(keys)), steps), tuple(cuts))


def _advanced(task: Task, one: _Waiting, last: int, writer: Writer, seeds: int) -> _Waiting:
    """The team after the step `last`."""
    team = one.team
    progress = TeamProgress(team.configs[0], one.diverged, one.step, writer, numbers(team, seeds))
    with contextlib.closing(SideBySide(task, team)) as batches:
        if one.batches is None:
            states = teams.new_states(task, team)
        else:
            states = _on_device(one.states)
            batches.set_state(one.batches)
        states = loop(teams.advance(task, team), states, batches, one.step, last, progress)
        place = batches.get_state()
    progress.check(last, states)
    return _Waiting(team, progress.diverged, progress.mean_loss, last, mesh.fetched(states), place)


def _values(
    waiting: Sequence[_Waiting], pretrained: PyTree, score: Score | None
) -> dict[int, float]:
    """Of each setting, the mean over its seeds; -inf if one diverged."""
    found: dict[int, dict[int, float]] = {}  # by setting and seed: a member may come twice
    for one in waiting:
        for i, (place, seed) in enumerate(one.team.places):
            value = -one.loss[i]
            if score is not None and one.diverged[i] == NEVER:
                state = jax.device_put(stacked.nth(one.states, i))
                value = score(one.team.configs[i], pretrained, state)
            found.setdefault(place, {})[seed] = float(value)
    means = {place: float(np.mean(list(values.values()))) for place, values in found.items()}
    return {place: mean if np.isfinite(mean) else float("-inf") for place, mean in means.items()}


def _on_device(states: State | None) -> State:
    """States that waited in the host's memory, where they train."""
    assert states is not None  # a team that waits has taken steps
    return mesh.put(states, member=True)


def _settings(team: Team) -> set[int]:
    return {setting for setting, _ in team.places}


def _cut(one: _Waiting, kept: Sequence[int]) -> _Waiting:
    """Without the members of dropped settings."""
    left = {at: i for i, at in reversed(list(enumerate(one.team.places))) if at[0] in kept}
    stay = filled(sorted(left.values()))
    states = jax.tree.map(lambda x: x[stay], one.states)
    return one._replace(team=one.team.taken(stay), diverged=one.diverged[stay], states=states)
