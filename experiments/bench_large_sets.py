"""How long it takes, and how much memory, to open many pictures and to make a first step.

    python experiments/bench_large_sets.py [OUT.json] [--count 1000000]

Makes categories of 5000, 20 000 and, with --count, so many more pictures: links to a few small
files, in folders of 10 000. Each is measured in processes of its own:

- listing: what `jaxad train` does until its data is opened, and the memory that it takes beyond
  what the imports took;
- first step: the whole command `jaxad train autoencoder DATA RUN --steps 1` until its step is done;
- shards: `jaxad pack DATA SHARDS`, and the listing of SHARDS.

Beside the seconds stand those of processor time, which do not grow where others are busy too.

The slope from one count to the next tells the memory that a picture takes; up to 20 000 the headers
of all files are looked at, and of more those of so many. The first step includes pictures that are
kept in memory on purpose: the held-out ones, as far as they fit.

For Linux, which tells the memory of a process in /proc. A million takes some minutes on two cores,
as many links on the disk of the temporary folder, and 6 GB there for the shards.
"""

import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from jaxad.cli import script
from jaxad.cli.options import asked, expected, leading
from jaxad.detector import config, static
from jaxad.sweep.table import circumstances
from jaxad.training.record import write_json

COUNTS = (5_000, 20_000)
DIFFERENT, SIDE = 64, 64  # pictures, and their pixels
IN_FOLDER = 10_000
TINY = ("--size", "32", "--widths", "4,8", "--batch-size", "4", "--steps", "1")
OPENING = """
import json, pathlib, resource, sys, time
from jaxad.cli.data import opened
from jaxad.cli.run_options import DataOptions
from jaxad.methods import DETECTORS

detector = DETECTORS["autoencoder"]
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before, begun, busy = peak(), time.perf_counter(), time.process_time()
opened(detector, detector.Config(), sys.argv[1], DataOptions(), 0, pathlib.Path())
seconds = {"seconds": time.perf_counter() - begun, "cpu_seconds": time.process_time() - busy}
print(json.dumps({**seconds, "peak": peak(), "taken": peak() - before}))
"""


@config
class Options:
    """Settings of the benchmark."""

    count: int | None = static(None, 1)  # of a third category, beside those of 5000 and 20 000


def main(words: Sequence[str]) -> None:
    """Measures each count, prints, stores."""
    places, rest = leading(words)
    usage = "python experiments/bench_large_sets.py [OUT.json]"
    (options,) = asked(rest, usage, __doc__, benchmark=Options())
    outs = expected(places, "OUT.json") if places else []
    counts = COUNTS if options.count is None else (*COUNTS, options.count)
    rows = []
    for count in sorted(counts):
        with tempfile.TemporaryDirectory() as place:
            rows.append(measured(pathlib.Path(place), count))
        print(json.dumps(rows[-1]), flush=True)
    slopes = [slope(*pair) for pair in itertools.pairwise(rows)]
    for one in slopes:
        print(json.dumps(one))
    if outs:
        around = {**circumstances(), "cores": os.cpu_count(), "options": vars(options)}
        write_json(pathlib.Path(outs[0]), {**around, "rows": rows, "slopes": slopes})


def measured(place: pathlib.Path, count: int) -> dict[str, Any]:
    """All that is measured of so many pictures: seconds, and bytes of memory."""
    data, packed = place / "data" / "part", place / "packed"
    made = linked(data, count)
    listing = opening(data)
    first = first_step(data, place / "run")
    begun = time.perf_counter()
    words = ["pack", str(data), str(packed)]
    subprocess.run([sys.executable, "-m", "jaxad", *words], check=True, stdout=subprocess.DEVNULL)
    packing = time.perf_counter() - begun
    return {
        "pictures": count,
        "seconds_to_link": made,
        "listing": listing,
        "first_step": first,
        "seconds_to_pack": packing,
        "shards": opening(packed),
    }


def linked(folder: pathlib.Path, count: int) -> float:
    """A category of normal pictures, links to a few files; gives the seconds that it takes."""
    few = folder.parent.parent / "few"
    few.mkdir()
    rng = np.random.default_rng(0)
    for i in range(DIFFERENT):
        coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
        coarse.resize((SIDE, SIDE)).save(few / f"{i}.png")
    begun, sub = time.perf_counter(), folder
    for i in range(count):
        if i % IN_FOLDER == 0:
            sub = folder / "train" / "good" / f"{i // IN_FOLDER:04d}"
            sub.mkdir(parents=True)
        os.link(few / f"{i % DIFFERENT}.png", f"{sub}/{i:07d}.png")  # at most 65 000 to one file
    return time.perf_counter() - begun


def opening(data: pathlib.Path) -> dict[str, float]:
    """Seconds that it takes to open a data set, and bytes of memory at most: whole, and for it."""
    command = [sys.executable, "-c", OPENING, str(data)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return json.loads(lines[-1])


def first_step(data: pathlib.Path, run: pathlib.Path) -> dict[str, float]:
    """Seconds of the whole command until the first step is done, and bytes of memory at most.

    Raises:
      RuntimeError: it failed before.
    """
    command = [sys.executable, "-m", "jaxad", "train", "autoencoder", str(data), str(run), *TINY]
    begun = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    with process:
        for line in process.stderr:
            if line.startswith("step 1/1"):
                found = {
                    "seconds": time.perf_counter() - begun,
                    "cpu_seconds": busy(process.pid),
                    "peak": peak(process.pid),
                }
                process.send_signal(signal.SIGTERM)  # what comes after it is not measured
                process.communicate()
                return found
    raise RuntimeError(f"the command ended with {process.returncode} before its step")


def busy(process: int) -> float:
    """Seconds of processor time that a process has taken, which tells if others were busy too."""
    stat = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def peak(process: int) -> int:
    """Resident bytes of a process, at most so far."""
    lines = pathlib.Path(f"/proc/{process}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def slope(fewer: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Bytes of memory that one more picture takes, between two counts."""
    count = more["pictures"] - fewer["pictures"]
    beyond = {n: (more[n]["taken"] - fewer[n]["taken"]) / count for n in ("listing", "shards")}
    return {"from": fewer["pictures"], "to": more["pictures"], "bytes_per_picture": beyond}


if __name__ == "__main__":
    script.run(main)
