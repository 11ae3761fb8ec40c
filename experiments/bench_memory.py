"""How much memory a run takes that learns from many pictures.

    python experiments/bench_memory.py [pictures=50000] [files=300] [side=128] [OUT.json]
                                       [key=value ...]

Makes a folder in MVTec AD layout whose training pictures are links to a few hundred files, trains a
small autoencoder on it, in a process of its own, and prints that process's largest resident memory.
Settings are the autoencoder's too: `size=256 batch_size=16 steps=100`. What it keeps in memory is
limited (`memory` of `training.fit`, 1 GiB by default); the rest is read whenever it is needed.
"""

import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np
from PIL import Image

from jaxad import training
from jaxad.cli import script
from jaxad.data import layouts
from jaxad.detector import config, static
from jaxad.methods import autoencoder
from jaxad.sweep.table import circumstances


@config
class Options:
    """This script's settings."""

    pictures: int = static(50_000, least=20)  # normal ones, a tenth of which is held out
    files: int = static(300, least=1)  # that they are links to
    side: int = static(128, least=8)  # of a picture on disk, in pixels


SMALL = autoencoder.Config(
    size=64, batch_size=8, steps=50, widths=(8, 16, 32), smoothing=1.0, lr=1e-3
)


def main(*arguments: str) -> None:
    """Makes the folder, measures in another process, prints and stores."""
    settings = [a for a in arguments if "=" in a]
    out = [a for a in arguments if "=" not in a]
    options, cfg = script.parsed(settings, Options(), SMALL)
    with tempfile.TemporaryDirectory() as place:
        folder = make(pathlib.Path(place) / "many", options)
        child = [sys.executable, __file__, "--measure", str(folder), *settings]
        done = subprocess.run(child, capture_output=True, text=True, check=True)
    found = {**vars(options), "config": repr(cfg), **json.loads(done.stdout.splitlines()[-1])}
    print(f"{options.pictures} pictures at {cfg.size} px: {found['resident_gb']:.2f} GB at most")
    for name, seconds in found["seconds"].items():
        print(f"  {name}: {seconds:.1f} s")
    if out:
        text = json.dumps(found | {"made_with": circumstances()}, indent=1)
        pathlib.Path(out[0]).write_text(text + "\n", encoding="utf-8")


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


def measure(folder: str, *settings: str) -> None:
    """Trains, and prints the largest resident memory and what took how long as JSON."""
    _, cfg = script.parsed(settings, Options(), SMALL)
    seconds, start = {}, time.monotonic()
    data = layouts.load(folder)
    seconds["opening"] = time.monotonic() - start
    start = time.monotonic()
    training.fit(autoencoder.DETECTOR, cfg, {}, data, jax.random.key(0))
    seconds["training"] = time.monotonic() - start
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # Linux: KiB
    print(json.dumps({"resident_gb": resident, "seconds": seconds}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
