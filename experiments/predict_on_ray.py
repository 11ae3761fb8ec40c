"""Whether `jaxad predict --on ray` gives what one machine gives, and loses nothing with a worker.

    python experiments/predict_on_ray.py [OUT.json] [--files 5000 --workers 2]

Many links to a few rendered pictures, and a file that is none, are predicted by a tiny autoencoder,
with masks written too:

1. On this machine, in one process.
2. By workers on Ray, of which one is killed with SIGKILL when a third of the rows are there. Its
   rows are to be those of the first, each once, in the Parquet table as well, and every row has its
   mask.

For Linux, which tells the processes of a machine in /proc. Minutes on two cores; of the times, most
is what processes take to start and to compile.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

from predict_many import TINY, lines, linked

from jaxad.cli import script
from jaxad.cli.options import asked, expected, leading
from jaxad.decision.journal import ROWS
from jaxad.decision.parquet import FILE
from jaxad.detector import config, static
from jaxad.sweep.table import circumstances
from jaxad.training.record import write_json

BROKEN = 7  # which file is none


@config
class Options:
    """Settings of the trial."""

    files: int = static(5_000, 16)
    workers: int = static(2, 1)


def main(words: Sequence[str]) -> None:
    """Runs both, prints, stores."""
    places, rest = leading(words)
    usage = "python experiments/predict_on_ray.py [OUT.json]"
    (options,) = asked(rest, usage, __doc__, trial=Options())
    outs = expected(places, "OUT.json") if places else []
    with tempfile.TemporaryDirectory() as place:
        found = trial(pathlib.Path(place), options)
    print(
        f"{options.files} files: {found['seconds_here']:.0f} s here, {found['seconds_on_ray']:.0f} "
        f"s on Ray with {options.workers} workers, one killed at {found['killed_at']} rows: "
        f"{found['lost']} lost, {found['repeated']} repeated, {found['different']} different, "
        f"{found['different_in_table']} different in the table, {found['without_mask']} without a "
        "mask"
    )
    if outs:
        write_json(pathlib.Path(outs[0]), {**circumstances(), "options": vars(options), **found})


def trial(folder: pathlib.Path, options: Options) -> dict[str, Any]:
    """Both runs: seconds, and what is wrong with the second one's rows."""
    pictures = linked(folder / "pictures", options.files)
    (pictures / f"{BROKEN:06d}.png").unlink()
    (pictures / f"{BROKEN:06d}.png").write_bytes(b"no picture")
    run = folder / "run"
    train = ("train", "autoencoder", str(run), "--normal", str(folder / "learn"), *TINY)
    subprocess.run([sys.executable, "-m", "jaxad", *train], check=True, stdout=subprocess.DEVNULL)
    words = ("predict", str(run), str(pictures), "--masks", "--out")
    here, there = folder / "here", folder / "there"
    begun = time.monotonic()
    watched((*words, str(here)), lambda process: None)
    between = time.monotonic()
    killed: list[int] = []

    def kill(process: subprocess.Popen) -> None:
        if not killed and (rows := lines(there)) >= options.files // 3:
            os.kill(workers(process.pid)[0], signal.SIGKILL)
            killed.append(rows)

    on_ray = ("--on", "ray", "--address", "local", "--workers", str(options.workers))
    said = watched((*words, str(there), *on_ray), kill)
    seconds = time.monotonic() - between
    right, rows, table = known(here), known(there), in_table(there / FILE)
    done = {row["path"]: row for row in rows}
    return {
        "ray_version": version("ray"),
        "seconds_here": between - begun,
        "seconds_on_ray": seconds,
        "killed_at": killed[0],
        "told": "a worker was lost" in said,
        "unusable": sum("error" in row for row in rows),
        "lost": len({row["path"] for row in right} - done.keys()),
        "repeated": len(rows) - len(done),
        "different": sum(done.get(row["path"]) != row for row in right),
        "different_in_table": abs(len(table) - len(rows))
        + sum(table.get(row["path"]) != (row.get("score"), row.get("label")) for row in rows),
        "without_mask": sum(
            not (there / "masks" / f"{pathlib.Path(row['path']).name}.png").exists()
            for row in rows
            if "error" not in row
        ),
    }


def watched(words: Sequence[str], look: Callable[[subprocess.Popen], None]) -> str:
    """Runs the command until it ends, and looks at it twenty times a second; what it has told.

    Raises:
      RuntimeError: it failed.
    """
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "jaxad", *words], stdout=subprocess.DEVNULL, stderr=errors
        )
        while process.poll() is None:
            look(process)
            time.sleep(0.05)
        errors.seek(0)
        said = errors.read()
        if process.returncode:
            raise RuntimeError(f"predict ended with {process.returncode}: {said}")
    return said


def workers(driver: int) -> list[int]:
    """The processes of Ray's workers that a command has started, by way of others."""
    above, names = {}, {}
    for place in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            names[int(place.name)] = (place / "cmdline").read_bytes()
        except OSError:  # it has ended
            continue
        above[int(place.name)] = int(fields[1])

    def descends(process: int) -> bool:
        return process == driver or (process in above and descends(above[process]))

    return [x for x, name in names.items() if b"MapWorker" in name and descends(x)]


def known(out: pathlib.Path) -> list[dict[str, Any]]:
    """The rows, without the seconds that they took."""
    found = [json.loads(line) for line in (out / ROWS).read_text(encoding="utf-8").splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in found]


def in_table(file: pathlib.Path) -> dict[str, tuple[float | None, str | None]]:
    """Score and label of each path in a Parquet table.

    Raises:
      RuntimeError: a path comes twice.
    """
    from pyarrow import parquet

    rows = parquet.read_table(file, columns=["path", "score", "label"]).to_pylist()
    found = {row["path"]: (row["score"], row["label"]) for row in rows}
    if len(found) < len(rows):
        raise RuntimeError(f"{len(rows) - len(found)} paths come twice in {file}")
    return found


if __name__ == "__main__":
    script.run(main)
