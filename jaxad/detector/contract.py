"""The contract: what a detector is, as data and pure functions.

Arguments come in order of lifetime: chosen (`cfg`), downloaded (`pretrained`), learned (`state`),
streamed (`batch`, `images`, `pictures`), drawn (`key`). Training, evaluation, export and everything
else outside `jaxad.methods` know only what is here.
"""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float, Int, PyTree, Shaped

from jaxad.detector import pixels

log = logging.getLogger(__name__)

Scalar = float | Array  # a number that a sweep may vary
Images = Float[Array, "B H W 3"]  # RGB in [0, 1]
ImageSet = Shaped[Array | np.ndarray, "N H W 3"]  # as they travel: uint8 (or already in [0, 1])


class State(NamedTuple):
    """Everything a run learns: saved, donated and stacked as one pytree.

    Its shapes follow from the config and the shapes of the weights, never from pictures.

    Attributes:
      step: train steps taken.
      params: moved by gradients.
      stats: set from data without gradients: feature moments, memory bank and its count, batch-norm
        averages, map range.
      opt: optimiser state; `predict` does not read it and export drops it.
    """

    step: Int[Array, ""]
    params: PyTree
    stats: PyTree
    opt: PyTree


class Prediction(NamedTuple):
    """What a detector says of a batch of images.

    Attributes:
      map: how anomalous each pixel is: unscaled, higher is more anomalous.
      score: how anomalous each image is.
      parts: what the method is made of, for looking at: local and global map, reconstruction.
    """

    map: Float[Array, "B H W"]
    score: Float[Array, "B"]
    parts: dict[str, Array] = {}


class Nearest(NamedTuple):
    """Of a batch of images the most anomalous place, and the normal one that is nearest to it.

    Places are top, left, bottom and right, in parts of the picture's sides.

    Attributes:
      at: the place in the image.
      distance: between the two, in the method's own units.
      picture: which training picture, by its number among those that `measure` got.
      place: where in it.
    """

    at: Float[Array, "B 4"]
    distance: Float[Array, "B"]
    picture: Int[Array, "B"]
    place: Float[Array, "B 4"]


class Stream(NamedTuple):
    """A batch entry that a detector wants besides `image` and `index`.

    Attributes:
      name: of the batch entry, and of the source in `Data.streams` that fills it.
      zoom: its pictures are resized to `zoom` times the image size, of which the centre is kept.
      paired: whether an image gets the picture of its own index, such as its mask; else any.
    """

    name: str
    zoom: int = 1
    paired: bool = False


@runtime_checkable
class Pictures(Protocol):
    """A set of pictures at the size of the config: a length, and slices as often as asked.

    `pictures[a:b]` are the pictures from a to b as uint8 `n size size 3`, as numpy slices. An array
    in memory is one; `jaxad.data.pictures.Resized`, which reads them again each time, another.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, some: slice, /) -> Any: ...


class Sample:
    """Pictures of a larger set, spread evenly over it; the whole set if it is small enough."""

    def __init__(self, pictures: Pictures, count: int):
        """Takes `count` of the pictures at most, and says so in the log if there are more.

        Args:
          pictures: the larger set.
          count: 1 or more.
        """
        self._pictures, whole = pictures, len(pictures)
        self._places = np.linspace(0, whole - 1, min(count, whole)).round().astype(int)
        if count < whole:
            log.info("measured on %d of %d pictures, spread evenly", count, whole)

    @property
    def places(self) -> Int[np.ndarray, "n"]:
        """Which pictures of the larger set these are."""
        return self._places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, some: slice) -> Any:
        if len(self) == len(self._pictures):
            return self._pictures[some]
        return np.concatenate([self._pictures[i : i + 1] for i in self._places[some].tolist()])


def takes_no_steps(
    cfg: Any, pretrained: PyTree, state: State, batch: dict[str, PyTree], key: Array
) -> tuple[State, dict[str, Array]]:
    """The `train_step` of a detector that learns all it does in `measure`.

    Raises:
      ValueError: always.
    """
    raise ValueError("this detector takes no steps: it learns in `measure`, and has steps=0")


def unchanged(cfg: Any, pretrained: PyTree, state: State, pictures: Pictures) -> State:
    """The `measure` or `calibrate` of a detector that sets nothing from pictures there."""
    return state


def no_features(cfg: Any, pretrained: PyTree, images: ImageSet) -> PyTree:
    """The `embed` of a detector that computes no frozen features apart."""
    return ()


def no_streams(cfg: Any) -> tuple[Stream, ...]:
    """The `streams` of a detector that learns from the training pictures alone."""
    return ()


def no_rules(cfg: Any) -> None:
    """The `check` of a detector whose fields do not depend on one another."""


class _Given(NamedTuple):
    """The fields of a detector, as they were given."""

    name: str
    Config: type
    init: Callable[..., State]
    predict: Callable[..., Prediction]
    train_step: Callable[..., tuple[State, dict[str, Array]]] = takes_no_steps
    measure: Callable[..., State] = unchanged
    calibrate: Callable[..., State] = unchanged
    embed: Callable[..., PyTree] = no_features
    streams: Callable[[Any], tuple[Stream, ...]] = no_streams
    check: Callable[[Any], None] = no_rules
    heldout_loss: Callable[..., Float[Array, "B"]] | None = None
    nearest: Callable[..., Nearest] | None = None
    outside: bool = False


class Detector(_Given):
    """A method: a config type and a few pure functions. Built by keyword.

    The functions that are given may count on images in [0, 1]. Those that the detector has take
    uint8 images too, as float32 in [0, 1], and refuse other whole numbers with a TypeError.

    Attributes:
      name: its key in `DETECTORS`; wrappers compose it, "flipped(efficientad)". A run's identity.
      Config: a `config` class; always has static size, batch_size, steps and weights.
      init: (cfg, pretrained, key) -> State. It sees no data, so that `jax.vmap`, `jax.jit` and
        `jax.eval_shape` work on it.
      streams: (cfg) -> the batch entries wanted besides `image` and `index`.
      check: (cfg) -> None; raises ValueError where settings do not go together. The range of one
        field belongs to the field, see `scalar` and `static`.
      outside: whether `predict` computes outside of JAX, so that it is called as it is, never
        compiled. A callback from within a program would wait for ever where the program and the
        callback's arrays want the same, only, thread.
    """

    __slots__ = ()

    @property
    def predict(self) -> Callable[..., Prediction]:
        """(cfg, pretrained, state, images) -> Prediction."""
        return _taking(super().predict, 3, pixels.unit)

    @property
    def train_step(self) -> Callable[..., tuple[State, dict[str, Array]]]:
        """(cfg, pretrained, state, batch, key) -> (State, {"loss": ..., name: scalar})."""
        return _taking(super().train_step, 3, pixels.unit_batch)

    @property
    def measure(self) -> Callable[..., State]:
        """(cfg, pretrained, state, pictures) -> State, once, before the steps.

        Over the training pictures, which it gets as they travel.
        """
        return _taking(super().measure, 3, pixels.checked)

    @property
    def calibrate(self) -> Callable[..., State]:
        """(cfg, pretrained, state, pictures) -> State, once, after the steps.

        Over held-out normal pictures, which it gets as they travel.
        """
        return _taking(super().calibrate, 3, pixels.checked)

    @property
    def embed(self) -> Callable[..., PyTree]:
        """(cfg, pretrained, images) -> PyTree: frozen, keyless, reads static fields only.

        So it may be cached; its result is `batch["features"]`.
        """
        return _taking(super().embed, 2, pixels.unit)

    @property
    def heldout_loss(self) -> Callable[..., Float[Array, "B"]] | None:
        """(cfg, pretrained, state, images) -> loss of each image, deterministic.

        What a run may select its state by. None: it has none.
        """
        return _taking(super().heldout_loss, 3, pixels.unit)

    @property
    def nearest(self) -> Callable[..., Nearest] | None:
        """(cfg, pretrained, state, images) -> Nearest, for people to look at.

        None: it remembers no pictures.
        """
        return _taking(super().nearest, 3, pixels.unit)


# What stands for a function that a detector lacks; it is asked after by `is`.
LACKING = (None, takes_no_steps, unchanged, no_features)


def _taking(function: Any, place: int, convert: Callable[[Any], Any]) -> Any:
    """A function that a detector has, its argument at `place` converted; what it lacks as it is."""
    return function if function in LACKING else pixels.taking(function, place, convert)
