"""A team: the members of a sweep that train at once, and what they train with."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from jaxad import compile, mesh
from jaxad.data.source import Data
from jaxad.detector import Detector, State
from jaxad.sweep.sets import Sets
from jaxad.training import checkpoint, fitting
from jaxad.training.loop import Advance
from jaxad.training.selection import Keeper, Select, heldout_loss, keeper

NEVER = -1  # the step at which a member diverged that did not


class Team(NamedTuple):
    """Members of equal static settings.

    Attributes:
      configs: of each member.
      places: of each member, its setting and its seed.
      keys: of each member, as of a run alone.
      data: of each member.
      orders: of each member, the name of the order in which it sees pictures; members with one data
        set and one seed have the same.
    """

    configs: tuple[Any, ...]
    places: tuple[tuple[int, int], ...]
    keys: tuple[Array, ...]
    data: tuple[Data, ...]
    orders: tuple[str, ...]

    def taken(self, kept: Sequence[int]) -> "Team":
        """Only these members; one may come several times."""
        return Team._make(tuple(row[i] for i in kept) for row in self)


class Task(NamedTuple):
    """What all teams of a sweep have in common.

    Attributes:
      detector: the method.
      pretrained: {name: tree}, one for all members.
      sets: pictures and frozen features.
      workers: processes that read pictures.
      select: see `training.fit`.
      looks: see `training.fit`.
    """

    detector: Detector
    pretrained: PyTree
    sets: Sets
    workers: int = 0
    select: Select = "last"
    looks: int = 1


def filled(kept: Sequence[int]) -> list[int]:
    """Members that divide by the mesh's axis "member": the last one comes again until they do.

    What the copies learn is what it learns.
    """
    return [*kept, *[kept[-1]] * (-len(kept) % mesh.size("member"))]


def new_states(task: Task, team: Team) -> State:
    """The members' states before the first step, stacked, as runs alone begin."""
    states = []
    for cfg, key, data in zip(team.configs, team.keys, team.data, strict=True):
        init_key, _, _ = fitting.run_keys(key)
        pictures = task.sets.training(cfg, data)
        states.append(fitting.begun(task.detector, cfg, task.pretrained, pictures, init_key))
    return compile.together(states)


def abstract_states(task: Task, team: Team) -> State:
    """Shapes and types of a team's states, stacked, without computing them."""
    one = checkpoint.abstract_state(task.detector, team.configs[0], task.pretrained)
    many = len(team.configs)
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((many, *x.shape), x.dtype, sharding=mesh.of_members(x)), one
    )


def advance(task: Task, team: Team) -> Advance:
    """(stacked states, batches) -> (stacked states, metrics by step and member)."""
    keys = [fitting.run_keys(key)[1] for key in team.keys]

    def take(states: State, batches: Iterable) -> tuple[State, dict[str, Array]]:
        return compile.steps_of_many(
            task.detector, team.configs, task.pretrained, states, batches, keys
        )

    return take


def keeper_of(task: Task, team: Team) -> Keeper:
    """What keeps each member's state, as `task.select` says."""

    def losses(states: State) -> Float[Array, "m"]:
        rows = zip(team.configs, compile.apart(states, len(team.configs)), team.data, strict=True)
        return jnp.stack(
            [
                heldout_loss(
                    task.detector, cfg, task.pretrained, state,
                    task.sets.pictures(data.heldout, cfg.size),
                )
                for cfg, state, data in rows
            ]
        )  # fmt: skip

    return keeper(task.detector, team.configs[0], task.select, losses, task.looks)


def calibrated(task: Task, team: Team, states: State, diverged: Int[np.ndarray, "m"]) -> State:
    """The states after calibration; those of members that diverged as they are."""
    several = compile.apart(states, len(team.configs))
    for i, (cfg, data) in enumerate(zip(team.configs, team.data, strict=True)):
        if diverged[i] == NEVER:
            heldout = task.sets.pictures(data.heldout, cfg.size)
            several[i] = task.detector.calibrate(cfg, task.pretrained, several[i], heldout)
    return compile.together(several)
