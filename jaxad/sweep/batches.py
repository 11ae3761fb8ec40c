"""The batches of a team: one data order for all members that share it."""

from collections.abc import Mapping
from typing import Any

import grain
from jaxtyping import PyTree

from jaxad.sweep.team import Task, Team
from jaxad.training import fitting


class SideBySide(grain.DatasetIterator):
    """The batches of each member, in the orders of runs alone.

    Its state is by the names of the orders, so that it fits a team with fewer members too.
    """

    def __init__(self, task: Task, team: Team):
        """Starts at the first batches."""
        super().__init__()
        self._orders, sets = team.orders, task.sets
        self._iterators: dict[str, grain.DatasetIterator] = {}
        rows = zip(team.configs, team.keys, team.data, team.orders, strict=True)
        for cfg, key, data, order in rows:
            if order in self._iterators:
                continue
            features, images = sets.features(cfg, data), sets.training(cfg, data)
            memory = sets.left // len(set(team.orders))
            batches = fitting.train_batches(
                task.detector, cfg, data, fitting.run_keys(key)[2], task.workers, features, images,
                memory,
            )  # fmt: skip
            self._iterators[order] = iter(batches)

    def __next__(self) -> list[dict[str, PyTree]]:
        """One batch for each member, the same object for those that share it."""
        batches = {order: next(iterator) for order, iterator in self._iterators.items()}
        return [batches[order] for order in self._orders]

    def get_state(self) -> dict[str, Any]:
        """The places of all iterators."""
        return {order: iterator.get_state() for order, iterator in self._iterators.items()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Moves all iterators."""
        for order, iterator in self._iterators.items():
            iterator.set_state(state[order])

    def close(self) -> None:
        """Ends what reads ahead."""
        for iterator in self._iterators.values():
            iterator.close()
