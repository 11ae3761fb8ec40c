"""Whether `jaxad predict` stays small over many files, and loses nothing when it is killed.

    python experiments/predict_many.py [OUT.json] [--files 20000 --kills 5]

Many links to a few rendered pictures are predicted by a tiny autoencoder, with masks written too:

1. In one go. The resident memory of the process is read all the time: the mean of its last quarter
   is to be that of its second quarter.
2. Killed with SIGKILL at moments that are spread over the files, and started again each time. Its
   rows are to be those of the first, each once, and every row has its mask.

For Linux, which tells the memory of a process in /proc. Minutes on two cores.
"""

import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

from jaxad.cli import script
from jaxad.cli.options import asked, expected, leading
from jaxad.data.workpieces import Workpieces
from jaxad.decision.journal import ROWS
from jaxad.detector import config, static
from jaxad.sweep.table import circumstances
from jaxad.training.record import write_json

TINY = ("--size", "64", "--widths", "4,8", "--steps", "2", "--batch-size", "4")
PICTURES = 8  # different ones


@config
class Options:
    """Settings of the trial."""

    files: int = static(20_000, 8)
    kills: int = static(5, 0)


def main(words: Sequence[str]) -> None:
    """Runs both, prints, stores."""
    places, rest = leading(words)
    usage = "python experiments/predict_many.py [OUT.json]"
    (options,) = asked(rest, usage, __doc__, trial=Options())
    outs = expected(places, "OUT.json") if places else []
    with tempfile.TemporaryDirectory() as place:
        found = trial(pathlib.Path(place), options)
    print(
        f"{options.files} files in {found['seconds']:.0f} s; resident memory by quarter: "
        f"{', '.join(f'{quarter / 1e6:.0f} MB' for quarter in found['resident'])}; last over "
        f"second {found['last_over_second']:.3f}\n"
        f"killed at {', '.join(map(str, found['killed_at']))} rows: {found['lost']} lost, "
        f"{found['repeated']} repeated, {found['different']} different, "
        f"{found['without_mask']} without a mask"
    )
    if outs:
        write_json(pathlib.Path(outs[0]), {**circumstances(), "options": vars(options), **found})


def trial(folder: pathlib.Path, options: Options) -> dict[str, Any]:
    """Both runs: seconds, memory in bytes, and what is wrong with the second one's rows."""
    pictures = linked(folder / "pictures", options.files)
    run = folder / "run"
    train = ("train", "autoencoder", str(run), "--normal", str(folder / "learn"), *TINY)
    subprocess.run([sys.executable, "-m", "jaxad", *train], check=True, stdout=subprocess.DEVNULL)
    begun, resident = time.monotonic(), []
    predict(run, pictures, folder / "one", lambda process: resident.append(memory(process.pid)))
    seconds, quarter = time.monotonic() - begun, len(resident) // 4
    quarters = [statistics.fmean(resident[i * quarter :][:quarter]) for i in range(4)]
    killed_at = []
    for number in range(1, options.kills + 1):
        moment = number * options.files // (options.kills + 1)

        def kill(process: subprocess.Popen, number: int = number, moment: int = moment) -> None:
            # Once: one that was killed may be found alive for a moment yet.
            if len(killed_at) < number and (rows := lines(folder / "two")) >= moment:
                killed_at.append(rows)
                process.send_signal(signal.SIGKILL)

        predict(run, pictures, folder / "two", kill)
    predict(run, pictures, folder / "two", lambda process: None)
    right, rows = known(folder / "one"), known(folder / "two")
    done = {row["path"]: row for row in rows}
    return {
        "seconds": seconds,
        "resident": quarters,
        "last_over_second": quarters[3] / quarters[1],
        "killed_at": killed_at,
        "lost": len({row["path"] for row in right} - done.keys()),
        "repeated": len(rows) - len(done),
        "different": sum(done.get(row["path"]) != row for row in right),
        "without_mask": sum(
            not (folder / "two" / "masks" / f"{pathlib.Path(path).name}.png").exists()
            for path in done
        ),
    }


def linked(folder: pathlib.Path, count: int) -> pathlib.Path:
    """A folder of links to a few pictures; beside it `learn`, with others to learn from."""
    folder.mkdir()
    for split, place in (("train", folder.parent / "learn"), ("test", folder.parent / "few")):
        place.mkdir()
        source = Workpieces("plate", split, good=PICTURES, size=64)
        for index in range(PICTURES):
            Image.fromarray(source[index]["image"]).save(place / f"{index}.png")
    few = sorted((folder.parent / "few").iterdir())
    for index in range(count):
        os.symlink(few[index % PICTURES], folder / f"{index:06d}.png")
    return folder


def predict(
    run: pathlib.Path,
    pictures: pathlib.Path,
    out: pathlib.Path,
    look: Callable[[subprocess.Popen], None],
) -> None:
    """Runs the command until it ends, and looks at it ten times a second.

    Raises:
      RuntimeError: it failed on its own account.
    """
    words = ["predict", str(run), str(pictures), "--out", str(out), "--masks", "true"]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "jaxad", *words], stdout=subprocess.DEVNULL, stderr=errors
        )
        while process.poll() is None:
            if lines(out):  # what it takes to start does not count
                look(process)
            time.sleep(0.1)
        if process.returncode not in (0, -signal.SIGKILL):
            errors.seek(0)
            raise RuntimeError(f"predict ended with {process.returncode}: {errors.read()}")


def memory(process: int) -> int:
    """Resident bytes of a process; 0 of one that has ended."""
    try:
        pages = pathlib.Path(f"/proc/{process}/statm").read_text().split()[1]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def lines(out: pathlib.Path) -> int:
    """How many rows there are."""
    file = out / ROWS
    return file.read_bytes().count(b"\n") if file.exists() else 0


def known(out: pathlib.Path) -> list[dict[str, Any]]:
    """The rows, without the seconds that they took."""
    found = [json.loads(line) for line in (out / ROWS).read_text(encoding="utf-8").splitlines()]
    for row in found:
        del row["seconds"]
    return found


if __name__ == "__main__":
    script.run(main)
