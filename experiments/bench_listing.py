"""How long it takes to list a folder of many pictures, and to look at all their headers.

    python experiments/bench_listing.py [OUT.json] [--pictures 10000 --side 256]

Makes a category in MVTec AD layout, half of it PNG and half JPEG files of their own, and loads it:
every file is opened, its header and its end are looked at, and nothing may be left out. Beside
it stands the least that could be done: the names alone, and each file opened and closed.
"""

import pathlib
import tempfile
import time
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from jaxad.cli import script
from jaxad.cli.options import asked, expected, leading
from jaxad.data import layouts, walk
from jaxad.detector import config, static
from jaxad.sweep.table import circumstances
from jaxad.training.record import write_json


@config
class Options:
    """Settings of the benchmark."""

    pictures: int = static(10_000, 20)  # normal ones
    side: int = static(256, 8)  # in pixels
    repeats: int = static(3, 1)  # of which the fastest counts


def main(words: Sequence[str]) -> None:
    """Makes the folder, measures, prints and stores."""
    places, rest = leading(words)
    usage = "python experiments/bench_listing.py [OUT.json]"
    (options,) = asked(rest, usage, __doc__, script=Options())
    outs = expected(places, "OUT.json") if places else []
    with tempfile.TemporaryDirectory() as place:
        folder = make(pathlib.Path(place) / "many", options)
        seconds = {
            "names": fastest(lambda: walk.list_images(folder, recursive=True), options.repeats),
            "opened": fastest(lambda: opened(folder), options.repeats),
            "loaded": fastest(lambda: layouts.load(folder), options.repeats),
        }
        data = layouts.load(folder)
        assert len(data.train) + len(data.heldout) == options.pictures
    print(f"{options.pictures} pictures of {options.side} x {options.side} pixels")
    for name, value in seconds.items():
        print(f"  {name}: {value:.2f} s")
    for out in outs:
        found = {**vars(options), "seconds": seconds, "made_with": circumstances()}
        write_json(pathlib.Path(out), found)


def make(folder: pathlib.Path, options: Options) -> pathlib.Path:
    """A category of pictures that differ."""
    good = folder / "train" / "good"
    good.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(options.pictures):
        coarse = rng.integers(0, 256, (4, 4, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((options.side, options.side))
        picture.save(good / f"{i:06d}.{('png', 'jpg')[i % 2]}", compress_level=1)
    return folder


def opened(folder: pathlib.Path) -> None:
    """Opens and closes each file."""
    for path in walk.list_images(folder, recursive=True):
        path.open("rb").close()


def fastest(function: Callable[[], object], repeats: int) -> float:
    """Seconds that a function takes."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return min(taken)


if __name__ == "__main__":
    script.run(main)
