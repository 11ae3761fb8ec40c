"""The contract: what a detector is, as data and pure functions.

Arguments come in order of lifetime: chosen (`cfg`), downloaded (`pretrained`), learned (`state`),
streamed (`batch`, `images`), drawn (`key`). Training, evaluation, export and everything else
outside `jaxad.methods` know only what is in this file.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree, Shaped

from jaxad.data.source import Source

Scalar = float | Array  # a number that a sweep may vary
Images = Float[Array, "B H W 3"]  # RGB in [0, 1]
ImageSet = Shaped[Array | np.ndarray, "N H W 3"]  # as they travel: uint8 (or already in [0, 1])

T = TypeVar("T")


class State(NamedTuple):
    """Everything a run learns: saved, donated and stacked as one pytree.

    Attributes:
      step: train steps taken.
      params: moved by gradients.
      stats: set from data without gradients: feature moments, batch-norm averages, map range.
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


class Stream(NamedTuple):
    """A batch entry that a detector wants besides `image` and `index`.

    Attributes:
      name: of the batch entry and of the field of `Data` that fills it.
      zoom: its pictures are resized to `zoom` times the image size, of which the centre is kept.
      paired: whether an image gets the picture of its own index, such as its mask; else any.
    """

    name: str
    zoom: int = 1
    paired: bool = False


class Data(NamedTuple):
    """What a data module's `load` gives.

    Attributes:
      train: normal images to learn from.
      heldout: normal images for `calibrate`; never from `test`.
      test: normal and anomalous images with labels and, perhaps, masks.
      aux: pictures of anything else, for streams of this name.
      foreground: masks of the objects in `train`, in its order, for streams of this name.
    """

    train: Source
    heldout: Source
    test: Source | None = None
    aux: Source | None = None
    foreground: Source | None = None


def check_finite(tree: PyTree) -> None:
    """Raises FloatingPointError that names the first leaf with NaN or infinity."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not jnp.isfinite(leaf).all():
            raise FloatingPointError(f"{jax.tree_util.keystr(path)} has values that are not finite")


def no_features(cfg: Any, pretrained: PyTree, images: Images) -> PyTree:
    """The `embed` of a detector that computes no frozen features apart."""
    return ()


class Detector(NamedTuple):
    """A method: a config type and a few pure functions.

    Attributes:
      Config: a `config` class; always has static size, batch_size, steps and weights.
      init: (cfg, pretrained, images, key) -> State; `images` is the training set.
      train_step: (cfg, pretrained, state, batch, key) -> (State, {name: scalar}).
      calibrate: (cfg, pretrained, state, images) -> State, after training, on the held-out set.
      predict: (cfg, pretrained, state, images) -> Prediction.
      embed: (cfg, pretrained, images) -> PyTree: frozen, keyless, reads static fields only, so
        that it may be cached; its result is `batch["features"]`.
      streams: (cfg) -> the batch entries wanted besides `image` and `index`.
      check: (cfg) -> None; raises ValueError for settings that cannot work.
    """

    Config: type
    init: Callable[..., State]
    train_step: Callable[..., tuple[State, dict[str, Array]]]
    calibrate: Callable[..., State]
    predict: Callable[..., Prediction]
    embed: Callable[..., PyTree] = no_features
    streams: Callable[[Any], tuple[Stream, ...]] = lambda cfg: ()
    check: Callable[[Any], None] = lambda cfg: None


def config(cls: type[T]) -> type[T]:
    """Makes a class a frozen, keyword-only dataclass and a pytree of its sweepable fields."""
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True, kw_only=True)(cls))


def static(default: Any) -> Any:
    """A field that is part of the compiled program, not of its data: shapes, step counts."""
    return dataclasses.field(default=default, metadata={"static": True})


def method_name(cfg: Any) -> str:
    """The name of the method that `cfg` belongs to: its key in `DETECTORS`."""
    return type(cfg).__module__.rpartition(".")[2]


def override(cfg: T, settings: Sequence[str] | str) -> T:
    """`cfg` with settings such as "lr=3e-4" or "weights=pdn_small,mine" applied.

    Raises:
      ValueError: a setting is not of the form name=value, names no field, or has a value of
        another type than the field's; the message lists what there is.
    """
    settings = [settings] if isinstance(settings, str) else settings
    hints = typing.get_type_hints(type(cfg))
    changes = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"{setting!r} is not a setting: write name=value, such as steps=1000")
        if name not in hints:
            close = difflib.get_close_matches(name, hints, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ValueError(
                f"{method_name(cfg)} has no setting {name!r}; {hint}"
                f"settings are: {', '.join(hints)}"
            )
        changes[name] = _parse(name, text, hints[name])
    return dataclasses.replace(cfg, **changes)


def _parse(name: str, text: str, hint: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        words = [word for word in text.split(",") if word]
        kinds = arguments[:1] * len(words) if arguments[-1] is Ellipsis else arguments
        if len(kinds) != len(words):
            raise ValueError(f"{name}={text}: expected {len(kinds)} values separated by commas")
        return tuple(_parse(name, word, kind) for word, kind in zip(words, kinds, strict=True))
    if origin in (typing.Union, types.UnionType):
        if type(None) in arguments and text.lower() == "none":
            return None
        hint = next(kind for kind in arguments if kind is not type(None))
    if origin is typing.Literal:
        if text not in arguments:
            raise ValueError(f"{name}={text}: expected one of {', '.join(map(str, arguments))}")
        return text
    if hint is bool:
        values = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if text.lower() not in values:
            raise ValueError(f"{name}={text}: expected true or false")
        return values[text.lower()]
    try:
        return hint(text)
    except ValueError:
        expected = {int: "a whole number", float: "a number"}.get(hint, str(hint))
        raise ValueError(f"{name}={text}: expected {expected}") from None
