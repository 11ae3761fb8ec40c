"""Successive halving: settings that fall behind stop early and free their memory.

Karnin et al., ICML 2013; Jamieson & Talwalkar, AISTATS 2016 (arXiv:1502.07943).
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, PyTree

from jaxad import members, train
from jaxad.detector import Data, Detector, State
from jaxad.features import Cache
from jaxad.sweep import team as teams
from jaxad.sweep.fitting import Members, grouped, planned
from jaxad.sweep.settings import groups
from jaxad.sweep.team import NEVER, Sets, SideBySide, Team, TeamProgress

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


class _Running(NamedTuple):
    team: Team
    states: State
    batches: SideBySide
    progress: TeamProgress


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
) -> Halved:
    """As `fit`, but after each of the steps `at` the worse half of the settings is dropped.

    A setting counts by the mean over its seeds; one with a member that diverged is the worst. What
    survives is what an unpruned sweep finds for it: nothing of a member depends on the others.

    Args:
      at: steps, rising, before the last.
      score: (cfg, pretrained, state) -> how good a member is, higher is better; the state is not
        yet calibrated. By default the mean training loss since the cut before, negated, which
        compares only settings that have the same loss. A score on test pictures would be a
        selection on test data.

    Raises:
      ValueError: as `fit`; or `at` is not rising from 1 to before the fewest steps.
    """
    last = min((cfg.steps for cfg in configs), default=0)
    rising = all(one < other for one, other in zip([0, *at], [*at, last], strict=True))
    if configs and not rising:
        raise ValueError(f"at={list(at)}: expected rising steps from 1 to {last - 1}")
    sets = Sets(detector, pretrained, cache)
    running = [
        _started(detector, team, pretrained, sets, workers)
        for team in planned(detector, configs, pretrained, data, keys, at_once)
    ]
    kept, cuts = tuple(range(len(configs))), []
    for before, step in zip([0, *at], at, strict=False):
        running = [_advanced(detector, pretrained, one, before, step) for one in running]
        values = _values(running, pretrained, score)
        best = sorted(kept, key=lambda place: -values[place])[: (len(kept) + 1) // 2]
        kept = tuple(sorted(best))
        cuts.append(Cut(step, values, kept))
        log.info("step %d: settings %s go on", step, list(kept))
        running = [one for one in (_cut(one, kept) for one in running) if one is not None]

    found, diverged = {}, {}
    for one in running:
        end = one.team.configs[0].steps
        done = _advanced(detector, pretrained, one, at[-1] if at else 0, end)
        one.batches.close()
        arguments = (pretrained, done.states, done.progress.diverged, sets)
        states = teams.calibrated(detector, done.team, *arguments)
        done.progress.check(end, states)
        found |= zip(done.team.places, members.apart(states, len(done.team.places)), strict=True)
        diverged |= zip(done.team.places, done.progress.diverged, strict=True)
    left = tuple(configs[place] for place in kept)
    moved = {(kept.index(s), k): state for (s, k), state in found.items()}
    steps = np.array([[diverged[s, k] for k in range(len(keys))] for s in kept])
    return Halved(left, Members(grouped(moved, groups(left), len(keys)), steps), tuple(cuts))


def _started(
    detector: Detector, team: Team, pretrained: PyTree, sets: Sets, workers: int
) -> _Running:
    states = teams.new_states(detector, team, pretrained, sets)
    batches = SideBySide(detector, team, sets, workers)
    return _Running(team, states, batches, TeamProgress(team.configs[0], len(team.configs)))


def _advanced(
    detector: Detector, pretrained: PyTree, one: _Running, step: int, last: int
) -> _Running:
    progress = one.progress.from_step(step)
    advance = teams.advance(detector, one.team, pretrained)
    states = train.loop(advance, one.states, one.batches, step, last, progress)
    return one._replace(states=states, progress=progress)


def _values(
    running: Sequence[_Running], pretrained: PyTree, score: Score | None
) -> dict[int, float]:
    """Of each setting, the mean over its seeds; -inf if one diverged."""
    found: dict[int, list[float]] = {}
    for one in running:
        values = -one.progress.mean_loss
        if score is not None:
            states = members.apart(one.states, len(one.team.configs))
            rows = zip(one.team.configs, states, one.progress.diverged, strict=True)
            values = np.array(
                [score(c, pretrained, s) if d == NEVER else np.nan for c, s, d in rows], np.float64
            )
        for (place, _), value in zip(one.team.places, values, strict=True):
            found.setdefault(place, []).append(float(value))
    means = {place: float(np.mean(values)) for place, values in found.items()}
    return {place: mean if np.isfinite(mean) else float("-inf") for place, mean in means.items()}


def _cut(one: _Running, kept: Sequence[int]) -> _Running | None:
    """Without the members of dropped settings; None if none is left."""
    stay = [i for i, (place, _) in enumerate(one.team.places) if place in kept]
    if not stay:
        one.batches.close()
        return None
    states = members.apart(one.states, len(one.team.configs))
    return _Running(
        one.team.taken(stay),
        members.stack([states[i] for i in stay]),
        one.batches.taken(stay),
        one.progress.taken(stay),
    )
