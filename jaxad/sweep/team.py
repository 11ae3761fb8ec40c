"""A team: the members of a sweep that train at once, one data order for those that share it."""

import json
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import grain
import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxad import checkpoint, compile, members, train
from jaxad.data import pipeline
from jaxad.data.source import Source
from jaxad.detector import Data, Detector, ImageSet, State
from jaxad.features import Cache, frozen_features
from jaxad.progress import Progress
from jaxad.sweep.settings import static_settings

log = logging.getLogger(__name__)

NEVER = -1


class Team(NamedTuple):
    """Members of equal static settings.

    Attributes:
      configs: of each member.
      places: of each member, its setting and its seed.
      keys: of each member, as of a run alone.
      data: of each member.
    """

    configs: tuple[Any, ...]
    places: tuple[tuple[int, int], ...]
    keys: tuple[Array, ...]
    data: tuple[Data, ...]

    def taken(self, kept: Sequence[int]) -> "Team":
        """Only these members."""
        return Team(*(tuple(row[i] for i in kept) for row in self))


class SideBySide(grain.DatasetIterator):
    """The batches of each member; members with one data set and one key share an iterator."""

    def __init__(self, detector: Detector, team: Team, sets: "Sets", workers: int = 0):
        """Starts at the first batches, in the orders of runs alone."""
        super().__init__()
        orders: dict[tuple, int] = {}
        self._iterators, self._which = [], []
        for cfg, (_, seed), key, data in zip(*team, strict=True):
            order = id(data), seed
            if order not in orders:
                orders[order] = len(self._iterators)
                _, _, data_key = train.run_keys(key)
                features, images = sets.features(cfg, data), sets.images(data.train, cfg.size)
                batches = train.train_batches(
                    detector, cfg, data, data_key, workers, features, images
                )
                self._iterators.append(iter(batches))
            self._which.append(orders[order])

    def __next__(self) -> list[dict[str, PyTree]]:
        """One batch for each member, the same object for those that share it."""
        batches = [next(iterator) for iterator in self._iterators]
        return [batches[i] for i in self._which]

    def get_state(self) -> dict[str, Any]:
        """The places of all iterators."""
        return {str(i): iterator.get_state() for i, iterator in enumerate(self._iterators)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Moves all iterators."""
        for i, iterator in enumerate(self._iterators):
            iterator.set_state(state[str(i)])

    def taken(self, kept: Sequence[int]) -> "SideBySide":
        """Only these members' batches, from here on; what no one shares any more is closed."""
        which = [self._which[i] for i in kept]
        for i, iterator in enumerate(self._iterators):
            if i not in which:
                iterator.close()
        left = sorted(set(which))
        self._iterators = [self._iterators[i] for i in left]
        self._which = [left.index(i) for i in which]
        return self

    def close(self) -> None:
        """Ends what reads ahead."""
        for iterator in self._iterators:
            iterator.close()


class TeamProgress(Progress):
    """Marks members that diverge; stops when all have.

    Attributes:
      diverged: of each member, the step at which its loss was first not finite.
    """

    def __init__(self, cfg: Any, count: int):
        """Of a team of `count` members."""
        super().__init__(cfg)
        self.diverged = np.full(count, NEVER)
        self._losses, self._taken = np.zeros(count), 0

    def from_step(self, step: int) -> "TeamProgress":
        """The same members from `step` on, with sums of their own."""
        progress = TeamProgress(self._cfg, len(self.diverged))
        progress.diverged, progress._step = self.diverged, step
        return progress

    def taken(self, kept: Sequence[int]) -> "TeamProgress":
        """Only these members."""
        progress = TeamProgress(self._cfg, len(kept))
        progress.diverged = self.diverged[list(kept)]
        return progress

    def _take_up(self, lines: list[str]) -> None:
        super()._take_up(lines)
        if lines:  # what the interrupted run marked stays marked
            self.diverged = np.array(json.loads(lines[-1])["diverged"])

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
            means = {name: _plain(series.mean(0)) for name, series in values.items()}
        self._write({"step": step, **means, "diverged": self.diverged.tolist()})
        alive = loss[:, self.diverged == NEVER]
        self._show(step, float(alive.mean()) if alive.size else float("nan"))

    def check(self, step: int, state: State) -> None:
        """Marks members whose state is not finite after `step`."""
        bad = ~finite_members(state)
        self._mark(np.full(len(bad), step), bad)

    def _mark(self, step: Int[np.ndarray, "m"], bad: Bool[np.ndarray, "m"]) -> None:
        new = bad & (self.diverged == NEVER)
        for member in np.flatnonzero(new):
            log.warning(
                "member %d of %d diverged at step %d: its learning rate may be too high; the "
                "others go on", member, len(bad), step[member],
            )  # fmt: skip
        self.diverged = np.where(new, step, self.diverged)


class Sets:
    """The image sets and frozen features of a sweep, each made a single time."""

    def __init__(self, detector: Detector, pretrained: PyTree, cache: Cache):
        """For `cache` see `train.fit`."""
        self._detector, self._pretrained, self._cache = detector, pretrained, cache
        self._images: dict[tuple, ImageSet] = {}
        self._features: dict[tuple, PyTree] = {}

    def keep(self, teams: Sequence[Team]) -> None:
        """Lets go of all that these teams do not need."""
        sources = [source for team in teams for x in team.data for source in (x.train, x.heldout)]
        needed = {id(source) for source in sources}
        for made in (self._images, self._features):
            for key in [key for key in made if key[0] not in needed]:
                del made[key]

    def images(self, source: Source, size: int) -> ImageSet:
        """As `pipeline.image_set`."""
        key = id(source), size
        if key not in self._images:
            self._images[key] = pipeline.image_set(source, size)
        return self._images[key]

    def features(self, cfg: Any, data: Data) -> PyTree | None:
        """Of the training set; None where none are kept."""
        key = id(data.train), static_settings(cfg)
        if key not in self._features:
            images = self.images(data.train, cfg.size)
            self._features[key] = frozen_features(
                self._detector, cfg, self._pretrained, images, self._cache
            )
        return self._features[key]


def new_states(detector: Detector, team: Team, pretrained: PyTree, sets: Sets) -> State:
    """The members' states before the first step, stacked, as runs alone begin."""
    states = []
    for cfg, _, key, data in zip(*team, strict=True):
        init_key, _, _ = train.run_keys(key)
        states.append(detector.init(cfg, pretrained, sets.images(data.train, cfg.size), init_key))
    return members.stack(states)


def abstract_states(detector: Detector, team: Team, pretrained: PyTree) -> State:
    """Shapes and types of a team's states, stacked, without computing them."""
    one = checkpoint.abstract_state(detector, team.configs[0], pretrained, team.keys[0])
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((len(team.configs), *x.shape), x.dtype, sharding=x.sharding),
        one,
    )


def advance(detector: Detector, team: Team, pretrained: PyTree) -> train.Advance:
    """(stacked states, batches) -> (stacked states, metrics by step and member)."""
    keys = [train.run_keys(key)[1] for key in team.keys]

    def take(states: State, batches: list) -> tuple[State, dict[str, Array]]:
        return compile.steps_of_many(detector, team.configs, pretrained, states, batches, keys)

    return take


def calibrated(
    detector: Detector,
    team: Team,
    pretrained: PyTree,
    states: State,
    diverged: Int[np.ndarray, "m"],
    sets: Sets,
) -> State:
    """The states after calibration; those of members that diverged as they are."""
    several = members.apart(states, len(team.configs))
    for i, (cfg, data) in enumerate(zip(team.configs, team.data, strict=True)):
        if diverged[i] == NEVER:
            heldout = sets.images(data.heldout, cfg.size)
            several[i] = detector.calibrate(cfg, pretrained, several[i], heldout)
    return members.stack(several)


def finite_members(states: PyTree) -> Bool[np.ndarray, "m"]:
    """Which members of stacked states have finite numbers only."""
    found = [
        np.isfinite(leaf).reshape(len(leaf), -1).all(1)
        for leaf in jax.device_get(jax.tree.leaves(states))
    ]
    return np.all(found, 0)


def _plain(values: Float[np.ndarray, "m"]) -> list[float | None]:
    return [float(x) if np.isfinite(x) else None for x in values]
