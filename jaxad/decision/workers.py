"""Decisions about many files by workers on a cluster, as plain rows.

    with cluster.connected("auto") as team:
        for row in workers.rows(team, functools.partial(workers.load, run), paths):
            ...

A worker is a process with a `Predictor` of its own, on a device of its own. Ray Data hands it some
pictures at once; if it ends, or its machine does, these are handed to another.
"""

import contextlib
import importlib
import json
import logging
import pathlib
import pickle
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from jaxad.data.files import counted
from jaxad.data.reading import OnBadImage
from jaxad.decision import bulk, cluster
from jaxad.decision.bulk import Row, Write
from jaxad.decision.cluster import Team
from jaxad.decision.predictor import Path, Predictor

log = logging.getLogger(__name__)

STARTS = 5  # of a batch, each of which took its worker down
AT_ONCE = 128  # pictures


def load(run: Path, **options: Any) -> Predictor:
    """As `Predictor.load`, but sent to workers by its name: a method goes with all of its class."""
    return Predictor.load(run, **options)


def rows(
    team: Team,
    load: Callable[[], Predictor],
    paths: Sequence[pathlib.Path],
    on_bad_image: OnBadImage = "skip",
    write: Write | None = None,
    at_once: int = AT_ONCE,
) -> Iterator[Row]:
    """A row for each file, as `bulk.rows` gives it, in the order in which they are done.

    Args:
      team: of `connected`.
      load: called in each worker; such as `functools.partial(workers.load, run)`, with a folder
        that all machines have. It and `write` are sent to the workers, so they have to be
        picklable.
      paths: of the files, which all machines have.
      on_bad_image: as for `bulk.rows`; with "error" rows of pictures before it may be missing.
      write: as for `bulk.rows`; called in the workers, again for pictures of a lost one.
      at_once: pictures that a worker is given at a time, at most: what is done again if it is lost.

    Raises:
      RuntimeError: some pictures have taken several workers down, one after the other.
      Exception: what is raised in a worker is raised here.
    """
    if not paths:
        return
    ray = cluster.library()
    data = importlib.import_module("ray.data")
    size = min(at_once, -(-len(paths) // team.size))
    batches = [
        {"number": number, "paths": json.dumps([*map(str, paths[start : start + size])])}
        for number, start in enumerate(range(0, len(paths), size))
    ]
    starts = ray.remote(Starts).options(num_cpus=0, max_restarts=-1, max_task_retries=-1).remote()
    devices = {"num_cpus": 1} if team.device == "cpu" else {"num_cpus": 0, "num_gpus": 1}
    with _quiet(data):
        # Not `read_images`: pictures are read as everywhere here, by `Predictor.see`, with their
        # orientation, bits, limits and reasons. Actors are restarted, and their tasks given out
        # again, as often as it takes: Ray Data's default, which later versions do not let be set.
        done = data.from_items(batches, override_num_blocks=len(batches)).map_batches(
            Worker,
            fn_constructor_args=(load, on_bad_image, write, starts),
            compute=data.ActorPoolStrategy(size=min(team.size, len(batches))),
            batch_size=None,
            batch_format="pyarrow",
            **devices,
        )
        for table in done.iter_batches(batch_size=None, batch_format="pyarrow"):
            for content in table["done"].to_pylist():
                yield from _told(pickle.loads(content))


class Done(NamedTuple):
    """What has become of some pictures.

    Attributes:
      rows: of those that are done.
      error: that ended it; None for none.
      start: how often they were begun with, this time included.
    """

    rows: list[Row]
    error: Exception | None
    start: int


class Worker:
    """An actor with one compiled program; called with some pictures it gives their `Done`."""

    def __init__(
        self,
        load: Callable[[], Predictor],
        on_bad_image: OnBadImage,
        write: Write | None,
        starts: Any,
    ) -> None:
        self._load, self._write, self._starts = load, write, starts
        self._on_bad_image: OnBadImage = on_bad_image
        self._predictor: Predictor | None = None

    def __call__(self, batch: Any) -> Any:
        """A table with one `Done`, pickled."""
        import pyarrow

        number, text = batch["number"][0].as_py(), batch["paths"][0].as_py()
        start: Any = cluster.library().get(self._starts.begin.remote(number))
        done = self._done([pathlib.Path(path) for path in json.loads(text)], start)
        return pyarrow.table({"done": pyarrow.array([pickle.dumps(done)], pyarrow.binary())})

    def _done(self, paths: list[pathlib.Path], start: int) -> Done:
        found: list[Row] = []
        try:
            if start > STARTS:
                several = counted(len(paths), "picture")
                raise RuntimeError(
                    f"{STARTS} workers ended, one after the other, at {several} from {paths[0]} to "
                    f"{paths[-1]}: they may want more memory than there is"
                )
            # Here, not when the actor is made: Ray makes one again and again that cannot be made.
            self._predictor = self._predictor or self._load()
            found.extend(bulk.rows(self._predictor, paths, self._on_bad_image, self._write))
        except Exception as error:  # told as it is: Ray would wrap it in a story of its own
            error.add_note(traceback.format_exc())
            return Done(found, error, start)
        return Done(found, None, start)


class Starts:
    """An actor that counts how often each batch was begun with."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def begin(self, number: int) -> int:
        """How often a batch was begun with, now included."""
        self._counts[number] += 1
        return self._counts[number]


def _told(done: Done) -> Iterator[Row]:
    """The rows; raises what has ended them."""
    if done.start > 1 and done.error is None:
        said = counted(len(done.rows), "picture")
        log.warning("a worker was lost: another one has done its %s", said)
    yield from done.rows
    if done.error is not None:
        raise done.error


@contextlib.contextmanager
def _quiet(data: Any) -> Iterator[None]:
    """Within it Ray Data tells of errors alone."""
    context, logger = data.DataContext.get_current(), logging.getLogger("ray.data")
    before = context.enable_progress_bars, logger.level
    context.enable_progress_bars = False
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars = before[0]
        logger.setLevel(before[1])
