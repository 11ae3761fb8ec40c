"""The pictures and frozen features of a sweep, each made a single time."""

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jaxad.data.pictures import Resized
from jaxad.data.source import Data, Source
from jaxad.detector import Detector, Pictures
from jaxad.sweep.settings import static_values
from jaxad.training.features import Cache, frozen_features
from jaxad.training.memory import Budget


class Sets:
    """Pictures within a limit of memory, and features; shared by all members."""

    def __init__(
        self,
        detector: Detector,
        pretrained: PyTree,
        cache: Cache,
        memory: int | None = None,
        workers: int = 0,
    ):
        """For `cache`, `memory` and `workers` see `training.fit`."""
        self._detector, self._pretrained, self._cache = detector, pretrained, cache
        self._budget, self._workers = Budget(memory), workers
        self._pictures: dict[tuple, Pictures] = {}
        self._features: dict[tuple, PyTree] = {}

    @property
    def left(self) -> int:
        """Bytes that may still be kept."""
        return self._budget.left

    def keep(self, several: Iterable[Data]) -> None:
        """Lets go of all that these data sets do not need."""
        needed = {id(source) for data in several for source in (data.train, data.heldout)}
        for made in (self._pictures, self._features):
            for key in [key for key in made if key[0] not in needed]:
                gone = made.pop(key)
                if made is self._pictures and isinstance(gone, np.ndarray):
                    self._budget.left += gone.nbytes

    def pictures(self, source: Source, size: int) -> Pictures:
        """Of a source; in memory if they fit."""
        key = id(source), size
        if key not in self._pictures:
            self._pictures[key] = self._budget.pictures(source, size)
        return self._pictures[key]

    def training(self, cfg: Any, data: Data) -> Pictures:
        """To learn from; workers keep pictures of their own."""
        if self._workers:
            return Resized(data.train, cfg.size)
        return self.pictures(data.train, cfg.size)

    def features(self, cfg: Any, data: Data) -> PyTree | None:
        """Of the training set; None where none are kept."""
        key = id(data.train), static_values(cfg)
        if key not in self._features:
            others = sum(x.nbytes for made in self._features.values() for x in _arrays(made))
            self._features[key] = frozen_features(
                self._detector, cfg, self._pretrained, self.training(cfg, data), self._cache,
                self._budget.limit + others,
            )  # fmt: skip
        return self._features[key]


def _arrays(tree: PyTree) -> list[np.ndarray]:
    return [x for x in jax.tree.leaves(tree) if isinstance(x, np.ndarray)]
