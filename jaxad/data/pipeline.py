"""From sources to batches of one size, uint8 until the device."""

import logging
import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grain
import jax
import numpy as np
from jaxtyping import Int, PyTree, UInt8
from PIL import Image

from jaxad.data.source import Source
from jaxad.detector import Data, Detector, Stream

MEMORY = 4 * 2**30  # bytes of resized pictures to keep instead of reading them again
EPOCHS = 2**31  # no end; Grain fails at lengths that float64 rounds beyond 2^63
THREADS = min(16, os.cpu_count() or 1)


def resized(
    image: UInt8[np.ndarray, "H W 3"], size: int, zoom: int = 1
) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """The centre of a picture that is resized to a square of `zoom * size`; aspect ignored.

    Bilinear with antialiasing, as Pillow does it; the part that is cut off is not computed.
    """
    height, width = image.shape[:2]
    whole = zoom * size
    low = (whole - size) // 2
    box = [edge * side / whole for edge in (low, low + size) for side in (width, height)]
    centre = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR, tuple(box))
    return np.asarray(centre)


def image_set(
    source: Source, size: int, zoom: int = 1, limit: int | None = None
) -> UInt8[np.ndarray, "N {size} {size} 3"]:
    """The pictures of a source in memory, at one size.

    Args:
      source: read once, in threads.
      size: side in pixels.
      zoom: see `resized`.
      limit: take this many at most, spread evenly over the source.

    Raises:
      ValueError: there are none, or one cannot be read.
    """
    count = len(source) if limit is None else min(limit, len(source))
    if count < 1:
        raise ValueError(f"no pictures to take from {source!r}")
    indices = np.linspace(0, len(source) - 1, count).round().astype(int).tolist()
    pictures = np.empty((count, size, size, 3), np.uint8)

    def read(place: int) -> None:
        pictures[place] = resized(source[indices[place]]["image"], size, zoom)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(read, range(count)))
    return pictures


def test_batches(
    source: Source, size: int, batch_size: int
) -> Iterator[tuple[Int[np.ndarray, "B"], UInt8[np.ndarray, "B {size} {size} 3"]]]:
    """Indices and pictures, each once and in order; the last batch may be smaller."""
    batches = grain.MapDataset.source(_Resized(source, size)).batch(batch_size)
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
    images: UInt8[np.ndarray, "N S S 3"] | None = None,
) -> grain.IterDataset:
    """Endless batches {"image", "index", one entry for each stream, perhaps "features"}.

    Pictures come in a new order in every epoch; a batch may hold the end of one epoch and the
    start of the next. Each stream has an order of its own, and gives each image one picture; a
    paired one gives it the picture of its own index. The iterator's state is exact, and belongs to
    one number of `workers`; the batches do not depend on it. With workers a script must guard its
    start by `if __name__ == "__main__"`, and `close()` the iterator.

    Args:
      detector: says which streams it wants.
      cfg: `size` and `batch_size` are read.
      data: `train`, and what the streams are named after.
      seed: of all orders, not negative.
      workers: processes that read; 0 reads in threads.
      memory: bytes; a set of pictures that fits, resized, into what the sets before it left is
        read once only (by each worker).
      features: rows for each training picture, by its index.
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
        known = images if name == "image" and not workers else None
        cost = len(source) * cfg.size**2 * 3 * max(workers, 1) if known is None else 0
        keep = cost <= memory
        memory -= cost if keep else 0
        kept = {} if known is None else dict(enumerate(known))
        pictures[name] = _Resized(source, cfg.size, zoom, kept if keep else None)
        order = grain.MapDataset.source(pictures[name]).shuffle(seed=_seed(seed, name))
        orders[name] = order.repeat(EPOCHS)
    if len(data.train) < cfg.batch_size:
        logging.getLogger(__name__).warning(
            "%d training pictures are fewer than a batch of %d: batches repeat pictures",
            len(data.train),
            cfg.batch_size,
        )
    paired = {stream.name: pictures[stream.name] for stream in streams if stream.paired}
    examples = orders.pop("image").map_with_index(_WithStreams(orders, paired))
    if features is not None:
        examples = examples.map(_WithFeatures(features))
    return _read_ahead(examples.batch(cfg.batch_size), workers)


class _Resized:
    """A source at one size, for Grain."""

    def __init__(
        self, source: Source, size: int, zoom: int = 1, kept: dict[int, np.ndarray] | None = None
    ) -> None:
        self._source, self._size, self._zoom, self._kept = source, size, zoom, kept

    def __len__(self) -> int:
        return len(self._source)

    def __repr__(self) -> str:
        return f"_Resized({self._source!r}, {self._size}, {self._zoom})"

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        image = self._kept.get(index) if self._kept is not None else None
        if image is None:
            image = resized(self._source[index]["image"], self._size, self._zoom)
            if self._kept is not None:
                self._kept[index] = image
        return {"image": image, "index": np.asarray(index, np.int32)}


class _WithStreams(grain.transforms.MapWithIndex):
    """Adds to each example the picture at the same place of every stream, or of the same index."""

    def __init__(self, streams: dict[str, grain.MapDataset], paired: dict[str, _Resized]) -> None:
        self._streams = {name: order for name, order in streams.items() if name not in paired}
        self._paired = paired

    def map_with_index(self, index: int, element: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        own = int(element["index"])
        element = element | {name: x[index]["image"] for name, x in self._streams.items()}
        return element | {name: x[own]["image"] for name, x in self._paired.items()}


class _WithFeatures(grain.transforms.Map):
    """Adds to each example the features of its picture."""

    def __init__(self, features: PyTree) -> None:
        self._features = features

    def map(self, element: dict[str, np.ndarray]) -> dict[str, PyTree]:
        index = int(element["index"])
        return element | {"features": jax.tree.map(lambda rows: rows[index], self._features)}


def _wanted(stream: Stream, data: Data) -> Source:
    source = getattr(data, stream.name, None)
    if source is None:
        such_as = "foreground.load(FOLDER, data.train)" if stream.paired else (
            "folder.photographs(FOLDER)"
        )  # fmt: skip
        raise ValueError(
            f"the detector wants the stream {stream.name!r}, but data.{stream.name} is None; give "
            f"it pictures, such as data._replace({stream.name}={such_as})"
        )
    if stream.paired and len(source) != len(data.train):
        raise ValueError(
            f"data.{stream.name} has {len(source)} pictures, but belongs to the "
            f"{len(data.train)} of data.train: give one for each, in the same order"
        )
    return source


def _seed(seed: int, name: str) -> int:
    # Grain's epochs count up from the seed: neighbouring seeds would share orders.
    return int(np.random.SeedSequence([seed, zlib.crc32(name.encode())]).generate_state(1)[0])


def _read_ahead(batches: grain.MapDataset, workers: int = 0) -> grain.IterDataset:
    """Reads some batches ahead, in threads or in worker processes."""
    threads = max(1, THREADS // max(workers, 1))
    ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(4, threads))
    dataset = batches.to_iter_dataset(ahead)
    if workers == 0:
        return dataset
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # Grain reads a flag, which fails in a program without absl
    return dataset.mp_prefetch(grain.MultiprocessingOptions(workers, per_worker_buffer_size=4))
