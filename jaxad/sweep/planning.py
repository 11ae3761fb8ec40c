"""Which members of a sweep train at once."""

import logging
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxad.data.source import Data
from jaxad.detector import Detector, check_settings
from jaxad.mesh.axes import check_batch
from jaxad.sweep.batches import SideBySide
from jaxad.sweep.memory import members_at_once
from jaxad.sweep.settings import dividing, groups
from jaxad.sweep.team import Task, Team, filled
from jaxad.training.fitting import check_data
from jaxad.training.selection import Select

log = logging.getLogger(__name__)


def checked(
    detector: Detector,
    configs: Sequence[Any],
    data: Data | Sequence[Data],
    keys: Array,
    select: Select = "last",
) -> list[Data]:
    """The data of each setting.

    Raises:
      ValueError: keys are missing, a setting cannot work, data sets are not one for each, or one
        lacks pictures that are needed.
    """
    typed = isinstance(keys, jax.Array) and jnp.issubdtype(keys.dtype, jax.dtypes.prng_key)
    if not typed or keys.ndim != 1 or len(keys) == 0:
        raise ValueError(
            "keys: expected an array of one key for each seed, such as "
            "jax.random.split(jax.random.key(0), 8)"
        )
    for cfg in configs:
        check_settings(detector, cfg)
        check_batch(cfg.batch_size if cfg.steps else 0)
    several = [data] if isinstance(data, Data) else list(data)
    for one in several:
        check_data(detector, one, select)
    if isinstance(data, Data):
        return several * len(configs)
    if len(several) != len(configs):
        raise ValueError(
            f"{len(several)} data sets for {len(configs)} settings: expected one for all, or one "
            "each"
        )
    return several


def planned(
    task: Task,
    configs: Sequence[Any],
    several: Sequence[Data],
    keys: Array,
    at_once: int | None,
    sizes: Sequence[int] | None = None,
) -> list[Team]:
    """The members of a sweep in teams that train one after the other.

    Args:
      task: what they have in common.
      configs: the settings.
      several: the data of each.
      keys: of each seed.
      at_once: members of a team, if the user says so.
      sizes: of the teams, if they were planned before.
    """
    chunks, apart = [], groups(configs)
    if len(apart) > 1:
        log.info(
            "%s: %d groups of settings, each with a compiled step of its own",
            ", ".join(dividing(configs)), len(apart),
        )  # fmt: skip
    for group in apart:
        # Seed by seed, so that members of a team share their batches.
        left = [(s, k) for k in range(len(keys)) for s in group]
        size = None
        while left:
            if sizes is not None and len(chunks) < len(sizes):
                size = sizes[len(chunks)]
            elif size is None:
                one = team_of(left[:1], configs, several, keys)
                batch = lambda one=one: _some_batch(task, one)
                cfg = configs[group[0]]
                size = members_at_once(
                    task.detector, cfg, task.pretrained, batch, len(left), at_once
                )
            chunks.append(left[:size])
            left = left[size:]
    several_teams = [team_of(chunk, configs, several, keys) for chunk in chunks]
    return [team.taken(filled(range(len(team.places)))) for team in several_teams]


def team_of(
    places: Sequence[tuple[int, int]],
    configs: Sequence[Any],
    several: Sequence[Data],
    keys: Array,
) -> Team:
    """The members with these settings and seeds."""
    first = {id(data): place for place, data in reversed(list(enumerate(several)))}
    return Team(
        configs=tuple(configs[s] for s, _ in places),
        places=tuple(places),
        keys=tuple(keys[k] for _, k in places),
        data=tuple(several[s] for s, _ in places),
        orders=tuple(f"data {first[id(several[s])]}, seed {k}" for s, k in places),
    )


def _some_batch(task: Task, team: Team) -> dict:
    batches = SideBySide(task, team)
    try:
        return next(batches)[0]
    finally:
        batches.close()
