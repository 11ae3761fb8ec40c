"""From sources to batches of one size, uint8 until the device."""

import logging
import zlib
from collections.abc import Iterator
from typing import Any

import grain
import jax
import numpy as np
from jaxtyping import Int, PyTree, UInt8

from jaxad import mesh
from jaxad.data.pictures import THREADS, Resized, cost
from jaxad.data.source import Data, Source
from jaxad.detector import Detector, Pictures, Stream

MEMORY = 2**30  # bytes of resized pictures that are kept instead of being read again
EPOCHS = 2**31  # no end; Grain fails at lengths that float64 rounds beyond 2^63

Batches = grain.IterDataset


def test_batches(
    source: Source, size: int, batch_size: int
) -> Iterator[tuple[Int[np.ndarray, "B"], UInt8[np.ndarray, "B {size} {size} 3"]]]:
    """Indices and pictures, each once and in order; the last batch may be smaller."""
    batches = grain.MapDataset.source(_Numbered(Resized(source, size))).batch(batch_size)
    iterator = iter(_read_ahead(batches))
    try:
        for batch in iterator:
            yield batch["index"], batch["image"]
    finally:
        iterator.close()


def train_batches(
    detector: Detector,
    cfg: Any,
    data: Data,
    seed: int,
    workers: int = 0,
    memory: int = MEMORY,
    features: PyTree | None = None,
    images: Pictures | None = None,
) -> Batches:
    """Endless batches {"image", "index", one entry for each stream, perhaps "features"}.

    Pictures come in a new order in every epoch; a batch may hold the end of one epoch and the
    start of the next. Each stream has an order of its own, and gives each image one picture; a
    paired one gives it the picture of its own index. The iterator's state is exact, and belongs to
    one number of `workers`; the batches do not depend on it. With workers a script must guard its
    start by `if __name__ == "__main__"`, and `close()` the iterator.

    Args:
      detector: says which streams it wants.
      cfg: `size` and `batch_size` are read.
      data: `train`, and the streams.
      seed: of all orders, not negative.
      workers: processes that read; 0 reads in threads.
      memory: bytes; a set of pictures that fits, resized, into what the sets before it left is
        kept and not read again (by each worker, and counted for each).
      features: rows for each training picture, by its index. They stay in this process: workers
        have no copy.
      images: the training pictures at this size, if they are in memory: they are not read again.
        Not used with workers, each of which would get a copy.

    Raises:
      ValueError: a set is empty, or one that a stream wants is missing or of another length.
    """
    streams = detector.streams(cfg)
    sets = {"image": (data.train, 1)}
    sets |= {stream.name: (_wanted(stream, data), stream.zoom) for stream in streams}
    pictures, orders = {}, {}
    for name, (source, zoom) in sets.items():
        if len(source) == 0:
            raise ValueError(f"no pictures for {name!r}: {source!r} is empty")
        if name == "image" and images is not None and not workers:
            pictures[name] = images
        else:
            need = cost(source, cfg.size) * max(workers, 1)
            pictures[name] = Resized(source, cfg.size, zoom, keep=need <= memory)
            memory -= need if need <= memory else 0
        order = grain.MapDataset.source(_Numbered(pictures[name])).shuffle(seed=_seed(seed, name))
        orders[name] = order.repeat(EPOCHS)
    if cfg.steps and len(data.train) < cfg.batch_size:
        logging.getLogger(__name__).warning(
            "batches of %d repeat pictures: there are %d to learn from",
            cfg.batch_size, len(data.train),
        )  # fmt: skip
    paired = {stream.name: pictures[stream.name] for stream in streams if stream.paired}
    examples = orders.pop("image").map_with_index(_WithStreams(orders, paired))
    own = mesh.rows(cfg.batch_size) if cfg.steps else np.arange(cfg.batch_size)
    if len(own) < cfg.batch_size:  # after the shuffle: the batches are those of one host
        examples = grain.MapDataset.source(_OfHost(examples, own, cfg.batch_size))
    return _read_ahead(examples.batch(len(own)), workers, features)


class _Numbered:
    """Pictures with their numbers, for Grain."""

    def __init__(self, pictures: Pictures):
        self._pictures: Any = pictures  # each of these goes by number too

    def __len__(self) -> int:
        return len(self._pictures)

    def __repr__(self) -> str:
        return f"_Numbered({len(self)})"

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {"image": self._pictures[index], "index": np.asarray(index, np.int32)}


class _WithStreams:
    """Adds to each example the picture at the same place of every stream, or of the same index."""

    def __init__(self, streams: dict[str, Any], paired: dict[str, Any]) -> None:
        self._streams = {name: order for name, order in streams.items() if name not in paired}
        self._paired = paired

    def __call__(self, index: int, element: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        own = int(element["index"])
        element = element | {name: x[index]["image"] for name, x in self._streams.items()}
        return element | {name: x[own] for name, x in self._paired.items()}


class _OfHost:
    """Of endless examples those that are this host's part of each batch."""

    def __init__(self, examples: Any, rows: Int[np.ndarray, "n"], batch_size: int) -> None:
        self._examples, self._rows, self._batch_size = examples, rows, batch_size

    def __len__(self) -> int:
        return len(self._examples) // self._batch_size * len(self._rows)

    def __repr__(self) -> str:
        return f"_OfHost({len(self)})"

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        batch, place = divmod(index, len(self._rows))
        return self._examples[batch * self._batch_size + int(self._rows[place])]


class _WithFeatures:
    """Adds to each batch the features of its pictures."""

    def __init__(self, features: PyTree) -> None:
        self._features = features

    def __call__(self, element: dict[str, np.ndarray]) -> dict[str, PyTree]:
        places = element["index"].tolist()
        rows = lambda x: np.stack([x[place] for place in places])
        return element | {"features": jax.tree.map(rows, self._features)}


def _wanted(stream: Stream, data: Data) -> Source:
    source = data.streams.get(stream.name)
    if source is None:
        such_as = "foreground.load(FOLDER, data.train)" if stream.paired else (
            "folder.photographs(FOLDER)"
        )  # fmt: skip
        raise ValueError(
            f"the detector wants the stream {stream.name!r}, but data.streams has "
            f"{', '.join(map(repr, data.streams)) or 'none'}; give it pictures, such as "
            f"data.with_streams({stream.name}={such_as})"
        )
    if stream.paired and len(source) != len(data.train):
        raise ValueError(
            f"the stream {stream.name!r} has {len(source)} pictures, but belongs to the "
            f"{len(data.train)} of data.train: give one for each, in the same order"
        )
    return source


def _seed(seed: int, name: str) -> int:
    # Grain's epochs count up from the seed: neighbouring seeds would share orders.
    return int(np.random.SeedSequence([seed, zlib.crc32(name.encode())]).generate_state(1)[0])


def _read_ahead(
    batches: grain.MapDataset, workers: int = 0, features: PyTree | None = None
) -> Batches:
    """Reads some batches ahead, in threads or in worker processes, to which no features go."""
    threads = max(1, THREADS // max(workers, 1))
    ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(4, threads))
    join = None if features is None else _WithFeatures(features)
    if workers == 0:
        return (batches if join is None else batches.map(join)).to_iter_dataset(ahead)
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # Grain reads a flag, which fails in a program without absl
    options = grain.MultiprocessingOptions(workers, per_worker_buffer_size=4)
    read = batches.to_iter_dataset(ahead).mp_prefetch(options)
    return read if join is None else read.map(join)
