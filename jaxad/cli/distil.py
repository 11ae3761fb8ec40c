"""What the scripts share that distil a small teacher from a large network: pictures, run, error."""

import contextlib
import os
import pathlib
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, UInt8

from jaxad import optim
from jaxad.data import images, walk
from jaxad.detector import State
from jaxad.training import checkpoint
from jaxad.training.loop import loop_in_folder
from jaxad.training.progress import Progress
from jaxad.training.selection import Keeper

# One picture in so many measures the error and is not learned from: a hundred of two thousand.
HELD_OUT = 20
WARM_UP = 200  # steps in which Adam's averages settle before the rate is above the paper's
SAVE_EVERY = 250
MEASURE_EVERY = 500


class Photographs:
    """Pictures at their own size, decoded once."""

    def __init__(self, paths: list[pathlib.Path]):
        self.paths = paths
        self._pixels: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "H W 3"]:
        if index not in self._pixels:
            self._pixels[index] = images.read_image(self.paths[index])
        return self._pixels[index]

    def __repr__(self) -> str:
        return f"Photographs({len(self.paths)} from {self.paths[0].parent})"


class Pictures(NamedTuple):
    """Photographs in two parts.

    Attributes:
      train: to learn from.
      heldout: to measure the error on.
      record: how many, and a checksum of their names and sizes.
    """

    train: list[pathlib.Path]
    heldout: list[pathlib.Path]
    record: dict


def pictures(folders: Sequence[str]) -> Pictures:
    """The pictures below all folders, some of them held out; no matter where the folders lie.

    Raises:
      ValueError: there are too few to hold some out.
    """
    names, paths = listed(folders)
    order = np.random.default_rng(0).permutation(len(paths))
    heldout, train = (
        [paths[i] for i in part] for part in np.split(order, [len(paths) // HELD_OUT])
    )
    sized = [f"{name} {path.stat().st_size}" for name, path in zip(names, paths, strict=True)]
    checksum = zlib.crc32("\n".join(sized).encode())
    return Pictures(train, heldout, {"count": len(paths), "names": f"{checksum:08x}"})


def listed(folders: Sequence[str]) -> tuple[list[str], list[pathlib.Path]]:
    """The pictures of all folders: names below their folder, and paths.

    Folder by folder and sorted by name, so that the order does not depend on where they lie.

    Raises:
      ValueError: there are too few to hold some out.
    """
    found = []
    for folder in folders:
        inside = walk.list_images(folder, recursive=True)
        found += sorted((path.relative_to(folder), path) for path in inside)
    if len(found) < HELD_OUT:
        raise ValueError(
            f"{len(found)} pictures in {', '.join(folders)}: expected {HELD_OUT} or more, since "
            f"one in {HELD_OUT} is held out"
        )
    return [name.as_posix() for name, _ in found], [path for _, path in found]


def batches(
    paths: list[pathlib.Path], view: Callable[..., dict], seed: int, size: int
) -> grain.MapDataset:
    """Endless shuffled batches of `size`; `view` is (pixels, numpy generator) -> arrays by name."""
    photographs = grain.MapDataset.source(Photographs(paths)).seed(seed).shuffle().repeat(2**31)
    return photographs.random_map(view).batch(size)


def optimizer(cfg: Any) -> optax.GradientTransformation:
    """Adam with decay added to the gradient; `cfg.cosine`: warm-up, then down to zero."""
    if cfg.cosine:
        share = optax.warmup_cosine_decay_schedule(0, 1, WARM_UP, cfg.steps)
        return optim.adam_l2(lambda step: cfg.lr * share(step), cfg.weight_decay)
    return optim.adam_l2(cfg.lr, cfg.weight_decay)


def distil(
    cfg: Any,
    workdir: str | os.PathLike,
    record: dict,
    new_state: Callable[[], State],
    step: Callable[[State, dict], tuple[State, dict[str, Array]]],
    pictures: grain.MapDataset,
    error: Callable[[State], float],
) -> tuple[State, float]:
    """Takes `cfg.steps` steps in a folder; started again after an interruption it continues.

    Args:
      cfg: `steps` and `batch_size` are read.
      workdir: the run's folder.
      record: what the folder must have been made with to be continued.
      new_state: the state before the first step.
      step: compiled; its metrics have "loss".
      pictures: batches to learn from.
      error: on held-out pictures, relative to that of the mean; printed now and then.

    Returns:
      the last state and its error.

    Raises:
      ValueError: the folder belongs to another run.
      BlockingIOError: another process trains in it.
    """
    folder = checkpoint.RunFolder(workdir)
    state = new_state()

    def advance(state: State, batches: Iterable) -> tuple[State, dict[str, Array]]:
        metrics = []
        for batch in batches:
            state, values = step(state, batch)
            metrics.append(values)
        return state, jax.tree.map(lambda *x: jnp.stack(x), *metrics)

    def measure(n: int, state: State) -> None:
        if n % MEASURE_EVERY == 0 and n < cfg.steps:
            print(f"step {n}: held-out error {error(state):.4f} of that of the mean", flush=True)

    with folder, contextlib.closing(iter(pictures.to_iter_dataset())) as iterator:
        folder.claim(record)
        state = loop_in_folder(
            folder, jax.tree.map(_abstract, state), lambda: state, advance, iterator, cfg.steps,
            Progress(cfg), Keeper(None, 1, cfg.steps), SAVE_EVERY, measure,
        )  # fmt: skip
    last = error(state)
    print(f"step {cfg.steps}: held-out error {last:.4f} of that of the mean")
    return state, last


def relative_error(measure: Callable[[dict], tuple[Array, Array]], batches: list[dict]) -> float:
    """Mean error over batches relative to the mean error of answering the mean.

    Args:
      measure: batch -> (error, error of the mean).
      batches: of held-out pictures.
    """
    error, of_mean = np.mean([jax.device_get(measure(batch)) for batch in batches], 0)
    return float(error / of_mean)


def _abstract(x: Array) -> jax.ShapeDtypeStruct:
    """Shape, type and place of an array."""
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
