"""Training of one run: in memory (`fit`) or in a folder, resumable (`run`)."""

import contextlib
import importlib.metadata
import json
import logging
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import grain
import jax
import numpy as np
from jaxtyping import Array, PyTree

from jaxad import compile, mesh
from jaxad.data import pipeline, preprocessing
from jaxad.data.pictures import Resized
from jaxad.data.source import Data
from jaxad.detector import Detector, Pictures, State, check_settings, unchanged
from jaxad.mesh import hosts
from jaxad.mesh.axes import check_batch
from jaxad.training import checkpoint, contents
from jaxad.training import record as records
from jaxad.training.features import Cache, frozen_features
from jaxad.training.loop import Advance, loop, loop_in_folder
from jaxad.training.memory import Budget
from jaxad.training.progress import Progress
from jaxad.training.selection import LOOKS, Keeper, Select, heldout_loss, keeper
from jaxad.training.writers import Writer, careful

log = logging.getLogger(__name__)


class Sets(NamedTuple):
    """The pictures of a run.

    Attributes:
      train: what is measured and learned from.
      heldout: what is calibrated on, and what may select a state.
      batches: of what is learned from, in the order that belongs to the run's key.
    """

    train: Pictures
    heldout: Pictures
    batches: grain.DatasetIterator


def fit(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    data: Data,
    key: Array,
    *,
    workers: int = 0,
    cache: Cache = None,
    memory: int | None = None,
    select: Select = "last",
    looks: int = LOOKS,
    writer: Writer | None = None,
) -> State:
    """Measures, trains and calibrates in memory.

    Args:
      detector: the method.
      cfg: its settings.
      pretrained: {name: tree} for `cfg.weights`.
      data: what to learn from; `data.test` is not read.
      key: of everything random, the order of the pictures included.
      workers: processes that read pictures; 0 reads in threads.
      cache: where the frozen features of the training set are kept in half precision: "memory", or
        a folder for later runs too; None computes them in every step. See `features`.
      memory: bytes of resized pictures that are kept, by this process and all workers together, 1
        GiB by default; sets that do not fit are read whenever they are needed.
      select: "last", or "heldout" for the state whose held-out loss is lowest.
      looks: at the held-out loss, evenly spaced over the steps.
      writer: told the metrics, at their steps; see `writers`. It is begun here, and closed by the
        caller. If it fails after that, a warning says so once, and the training goes on.

    Raises:
      ValueError: settings that cannot work, or data missing for them.
      FloatingPointError: the loss or the state is not finite.
      MemoryError: pictures or features would take more than half of this machine's memory.

    >>> import jax
    >>> from jaxad.data import workpieces
    >>> from jaxad.methods import autoencoder
    >>> cfg = autoencoder.Config(size=64, batch_size=2, steps=2, widths=(4, 8))
    >>> data = workpieces.load("plate", size=64, train=4, heldout=2, test=(2, 1))
    >>> state = fit(autoencoder.DETECTOR, cfg, {}, data, jax.random.key(0))
    >>> int(state.step)
    2
    """
    check_settings(detector, cfg)
    check_data(detector, data, select)
    check_batch(cfg.batch_size if cfg.steps else 0)
    pretrained = mesh.placed(pretrained)  # once, not for every step
    init_key, step_key, data_key = run_keys(key)
    with opened(detector, cfg, pretrained, data, data_key, workers, cache, memory) as sets:
        keeps = _keeper(detector, cfg, pretrained, sets, select, looks)
        state = begun(detector, cfg, pretrained, sets.train, init_key)
        keeps.begin(state)
        advance, told = _advance(detector, cfg, pretrained, step_key), careful(writer)
        told.begin()
        state = loop(advance, state, sets.batches, 0, cfg.steps, Progress(cfg, told), keeps)
        return detector.calibrate(cfg, pretrained, keeps.kept(state), sets.heldout)


def run(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    data: Data,
    key: Array,
    workdir: str | os.PathLike,
    *,
    save_every: int = 500,
    keep: int = 2,
    workers: int = 0,
    cache: Cache = None,
    memory: int | None = None,
    select: Select = "last",
    looks: int = LOOKS,
    at_save: Callable[[int, State], None] | None = None,
    about: dict | None = None,
    writer: Writer | None = None,
) -> State:
    """As `fit`, in a folder: started again after an interruption it continues bit for bit.

    A run that is complete goes on if more steps are asked for; a schedule over `cfg.steps` is from
    there on that of the longer run. Signals that would end the process (Ctrl-C, SIGTERM, a closed
    terminal) wait until the state is saved.

    Args:
      detector: the method.
      cfg: its settings.
      pretrained: {name: tree} for `cfg.weights`.
      data: what to learn from; `data.test` is not read.
      key: of everything random.
      workdir: the run's folder; see `checkpoint`.
      save_every: steps between checkpoints.
      keep: how many checkpoints stay.
      workers: processes that read pictures; 0 reads in threads.
      cache: as `fit`'s; whether there is one belongs to the run, where it lies does not.
      memory: as `fit`'s.
      select: as `fit`'s.
      looks: as `fit`'s.
      at_save: called with step and state whenever a checkpoint is saved: to draw a curve. What it
        finds must not decide which state is kept.
      about: what else `run.json` is to tell a person, as plain JSON; nothing depends on it.
      writer: as `fit`'s; a run that goes on may have another. Of a run that is complete it is told
        nothing.

    Raises:
      ValueError: settings that cannot work, data missing for them, or another run's folder.
      FloatingPointError: the loss or the state is not finite; the checkpoints before are kept.
      BlockingIOError: another process trains in the folder.
      OSError: the folder cannot be written.
      MemoryError: as `fit`.

    >>> import jax, tempfile
    >>> from jaxad.data import workpieces
    >>> from jaxad.methods import autoencoder
    >>> cfg = autoencoder.Config(size=64, batch_size=2, steps=2, widths=(4, 8))
    >>> data = workpieces.load("plate", size=64, train=4, heldout=2, test=(2, 1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     state = run(autoencoder.DETECTOR, cfg, {}, data, jax.random.key(0), folder)
    >>> int(state.step)
    2
    """
    check_settings(detector, cfg)
    check_data(detector, data, select)
    check_batch(cfg.batch_size if cfg.steps else 0)
    pretrained = mesh.placed(pretrained)
    init_key, step_key, data_key = run_keys(key)
    record = {
        **records.settings(detector, cfg),
        "key": np.asarray(jax.random.key_data(key)).tolist(),
        "data": described(data),
        **circumstances(pretrained, workers, cache, select, looks),
    }
    agreed([record], [data])
    folder = checkpoint.RunFolder(workdir, keep)
    folder.check(record)
    contents.check(folder.path, [data])
    template = checkpoint.abstract_state(detector, cfg, pretrained)
    if folder.is_complete(record):
        log.info("%s is complete; taking its model", folder.path)
        return folder.restore_model(template)
    with (
        folder,
        opened(detector, cfg, pretrained, data, data_key, workers, cache, memory) as sets,
        contextlib.ExitStack() as ending,
    ):
        keeps = _keeper(detector, cfg, pretrained, sets, select, looks)
        told = careful(writer)
        told.begin()
        folder.claim(record, about)  # now that nothing is missing
        ending.enter_context(contents.kept(folder.path, [data]))
        first = lambda: begun(detector, cfg, pretrained, sets.train, init_key)
        advance = _advance(detector, cfg, pretrained, step_key)
        state = loop_in_folder(
            folder, template, first, advance, sets.batches, cfg.steps, Progress(cfg, told),
            keeps, save_every, at_save,
        )  # fmt: skip
        state = detector.calibrate(cfg, pretrained, state, sets.heldout)
        compile.check_finite(state)
        folder.save_model(state)
    return state


def check_data(detector: Detector, data: Data, select: Select = "last") -> None:
    """Looks at whether there are pictures for all that a run does.

    Raises:
      ValueError: there are none to learn from; or none are held out, but the detector is calibrated
        on such pictures, or a state is selected by them.
    """
    if len(data.train) == 0:
        raise ValueError(f"no pictures to learn from: {data.train!r} is empty")
    if len(data.heldout):
        return
    few = f"{len(data.train)} to learn from, none held out; give two normal pictures or more"
    if detector.calibrate is not unchanged:
        raise ValueError(f"{detector.name} is calibrated on held-out normal pictures: {few}")
    if select == "heldout":
        raise ValueError(f"select='heldout' looks at held-out normal pictures: {few}")


def run_keys(key: Array) -> tuple[Array, Array, Array]:
    """The keys of a run's parts: initial state, steps, order of the pictures."""
    return tuple(jax.random.split(key, 3))


def begun(
    detector: Detector, cfg: Any, pretrained: PyTree, pictures: Pictures, key: Array
) -> State:
    """The state before the first step: new, and measured over the training pictures.

    Raises:
      FloatingPointError: it is not finite.
    """
    state = compile.init(detector)(cfg, pretrained, key)
    state = mesh.placed(detector.measure(cfg, pretrained, state, pictures))
    compile.check_finite(state)
    return state


@contextlib.contextmanager
def opened(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    data: Data,
    key: Array,
    workers: int,
    cache: Cache,
    memory: int | None,
) -> Iterator[Sets]:
    """The pictures of a run, which are let go of at the end however it ends; see `fit`."""
    budget = Budget(memory)
    heldout = budget.pictures(data.heldout, cfg.size)  # before hours of training, not after
    # Workers keep pictures of their own.
    read = Resized if workers else budget.pictures
    train = read(data.train, cfg.size)
    kept = cache if cfg.steps else None  # nothing else reads them
    features = frozen_features(detector, cfg, pretrained, train, kept, budget.limit)
    batches = iter(train_batches(detector, cfg, data, key, workers, features, train, budget.left))
    with contextlib.closing(batches):
        yield Sets(train, heldout, batches)


def train_batches(
    detector: Detector,
    cfg: Any,
    data: Data,
    key: Array,
    workers: int = 0,
    features: PyTree | None = None,
    images: Pictures | None = None,
    memory: int = pipeline.MEMORY,
) -> grain.IterDataset:
    """The batches of a run, in the order that belongs to `key`; see `pipeline.train_batches`."""
    seed = int(jax.random.randint(key, (), 0, 2**31 - 1))
    return pipeline.train_batches(
        detector, cfg, data, seed, workers, memory, features=features, images=images
    )


def circumstances(
    pretrained: PyTree, workers: int, cache: Cache, select: Select, looks: int
) -> dict:
    """Beside settings, key and data, what the numbers of a run depend on, as plain JSON."""
    return {
        "workers": workers,
        "cached_features": cache is not None,
        "select": f"{select}, {looks} looks" if select == "heldout" else select,
        "pretrained": {name: records.fingerprint(x) for name, x in pretrained.items()},
    }


def agreed(record: Sequence[dict], several: Sequence[Data]) -> None:
    """Looks at whether all hosts are to learn the same from the same files, in one software.

    Raises:
      ValueError: one is not; see `mesh.hosts.same`.
    """
    versions = {name: importlib.metadata.version(name) for name in ("jaxad", "jax", "jaxlib")}
    whole = {
        **{str(place): one for place, one in enumerate(record)},
        "names and sizes of files": contents.listing(several),
        "versions": {**versions, "python": platform.python_version()},
        "mesh": dict(used.shape) if (used := mesh.current()) else {},
    }
    hosts.same(json.loads(json.dumps(whole)), records.differences)


def described(data: Data) -> dict:
    """What is learned from, as plain JSON."""
    return {
        "categories": sorted({record.category for record in data.train.records}),
        "preprocessing": preprocessing.described(data.preprocessing),
        "train": repr(data.train),
        "heldout": repr(data.heldout),
        "streams": {name: repr(source) for name, source in data.streams.items()},
    }


def _keeper(
    detector: Detector, cfg: Any, pretrained: PyTree, sets: Sets, select: Select, looks: int
) -> Keeper:
    losses = lambda state: heldout_loss(detector, cfg, pretrained, state, sets.heldout)
    return keeper(detector, cfg, select, losses, looks)


def _advance(detector: Detector, cfg: Any, pretrained: PyTree, key: Array) -> Advance:
    def advance(state: State, batches: Iterable) -> tuple[State, dict[str, Array]]:
        return compile.steps(detector, cfg, pretrained, state, batches, key)

    return advance
