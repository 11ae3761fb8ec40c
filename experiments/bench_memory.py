"""How much memory a run takes that learns from many pictures.

    python experiments/bench_memory.py [OUT.json] [--pictures 50000 --files 300 --side 128 ...]

Makes a folder in MVTec AD layout whose training pictures are links to a few hundred files, trains a
small autoencoder on it, in a process of its own, and prints that process's largest resident memory.
What it keeps in memory is limited (`memory` of `training.fit`, 1 GiB by default); the rest is read
whenever it is needed. Takes a minute.
"""

import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import jax
import numpy as np
from PIL import Image

from jaxad import training
from jaxad.cli import script
from jaxad.cli.options import asked, expected, leading
from jaxad.data import layouts
from jaxad.detector import config, static
from jaxad.methods import autoencoder
from jaxad.sweep.table import circumstances
from jaxad.training.record import write_json


@config
class Options:
    """Settings of the benchmark."""

    pictures: int = static(50_000, 20)  # normal ones, a tenth of which is held out
    files: int = static(300, 1)  # that they are links to
    side: int = static(128, 8)  # of a picture on disk, in pixels


SMALL = autoencoder.Config(
    size=64, batch_size=8, steps=50, widths=(8, 16, 32), smoothing=1.0, lr=1e-3
)


def main(words: Sequence[str]) -> None:
    """Makes the folder, measures in another process, prints and stores."""
    places, rest = leading(words)
    usage = "python experiments/bench_memory.py [OUT.json]"
    options, cfg = asked(rest, usage, __doc__, script=Options(), settings=SMALL)
    if places[:1] == ["measure"]:
        return measure(places[1], cfg)
    outs = expected(places, "OUT.json") if places else []
    with tempfile.TemporaryDirectory() as place:
        folder = make(pathlib.Path(place) / "many", options)
        child = [sys.executable, __file__, "measure", str(folder), *rest]
        done = subprocess.run(child, capture_output=True, text=True, check=True)
    found = {**vars(options), "config": repr(cfg), **json.loads(done.stdout.splitlines()[-1])}
    print(f"{options.pictures} pictures at {cfg.size} px: {found['resident_gb']:.2f} GB at most")
    for name, seconds in found["seconds"].items():
        print(f"  {name}: {seconds:.1f} s")
    for out in outs:
        write_json(pathlib.Path(out), found | {"made_with": circumstances()})


def make(folder: pathlib.Path, options: Options) -> pathlib.Path:
    """A category whose pictures are links to a few files."""
    good, originals = folder / "train" / "good", folder / "files"
    for place in (good, originals):
        place.mkdir(parents=True)
    rng, side = np.random.default_rng(0), options.side
    for i in range(options.files):
        coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
        smooth = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
        smooth.save(originals / f"{i}.png")
    for i in range(options.pictures):
        (good / f"{i:06d}.png").symlink_to(originals / f"{i % options.files}.png")
    return folder


def measure(folder: str, cfg: autoencoder.Config) -> None:
    """Trains, and prints the largest resident memory and what took how long as JSON."""
    seconds, start = {}, time.monotonic()
    data = layouts.load(folder)
    seconds["opening"] = time.monotonic() - start
    start = time.monotonic()
    training.fit(autoencoder.DETECTOR, cfg, {}, data, jax.random.key(0))
    seconds["training"] = time.monotonic() - start
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # Linux: KiB
    print(json.dumps({"resident_gb": resident, "seconds": seconds}))


if __name__ == "__main__":
    script.run(main)
