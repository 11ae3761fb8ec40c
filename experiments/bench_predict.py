"""How long `jaxad predict` takes, beside the slowest of its parts alone.

    python experiments/bench_predict.py [OUT.json] [--pictures 100 --methods efficientad,patchcore]

Pictures are rendered into files and a model is made of some of them. Then, for each method:

1. The parts alone, each with all of the machine: reading and shrinking files, computing, and making
   rows of what was computed; and, apart, drawing and writing overlays.
2. Start-up: the whole command on one picture, in a process of its own.
3. The whole command on all pictures: its seconds beside start-up and the slowest part together. 1.0
   would be perfect overlap. And once more with overlays.

Everything takes turns, and the fastest time of each counts. Minutes on two cores; look at `uptime`
first.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
from PIL import Image

from jaxad.cli import script
from jaxad.cli.options import asked, expected, leading
from jaxad.data.pictures import THREADS
from jaxad.data.workpieces import Workpieces
from jaxad.decision import bulk
from jaxad.decision.predictor import Predictor
from jaxad.detector import config, static
from jaxad.report import outputs
from jaxad.sweep.table import circumstances
from jaxad.training.record import write_json

SETTINGS = {"efficientad": ("--steps", "1")}  # what the command says beside the defaults


@config
class Options:
    """Settings of the benchmark."""

    pictures: int = static(100, 2)  # to predict
    side: int = static(512, 64)  # of them, in pixels
    methods: tuple[str, ...] = static(("efficientad", "patchcore"))
    rounds: int = static(2, 1)


def main(words: Sequence[str]) -> None:
    """Measures, prints, stores."""
    places, rest = leading(words)
    usage = "python experiments/bench_predict.py [OUT.json]"
    (options,) = asked(rest, usage, __doc__, benchmark=Options())
    outs = expected(places, "OUT.json") if places else []
    load = os.getloadavg()
    print(f"jax {jax.__version__} on {jax.default_backend()}, load {load[0]:.1f}")
    script.prepare()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        paths = rendered(folder / "pictures", options)
        for method in options.methods:
            run = folder / method
            command("train", method, str(folder / "pictures"), str(run), *SETTINGS.get(method, ()))
            found[method] = measured(run, paths, options.rounds)
            print(said(method, found[method]))
    if outs:
        about = {**circumstances(), "load": load, "options": vars(options)}
        write_json(pathlib.Path(outs[0]), {**about, "methods": found})


def rendered(folder: pathlib.Path, options: Options) -> list[pathlib.Path]:
    """Writes pictures to learn from and pictures to predict; the paths of the latter."""
    for split, count in (("train", 24), ("test", options.pictures)):
        source = Workpieces("plate", split, good=count, size=options.side)
        place = folder / split / "good"
        place.mkdir(parents=True)
        for index in range(count):
            Image.fromarray(source[index]["image"]).save(place / f"{index:04d}.png")
    return sorted((folder / "test" / "good").iterdir())


def measured(run: pathlib.Path, paths: Sequence[pathlib.Path], rounds: int) -> dict[str, float]:
    """Seconds of the parts alone, and of the whole."""
    predictor = Predictor.load(run)
    with ThreadPoolExecutor(THREADS) as pool:
        seen = list(pool.map(lambda path: predictor.see(path, keep=True), paths))
        raw = [pair[1] for pair in predictor.computed(seen)]
        findings = list(pool.map(predictor.finding, seen, raw))
        whole = ["predict", str(run), str(paths[0].parent)]
        to_folder = lambda: ["--out", tempfile.mkdtemp(dir=run), "--overlays", "true"]

        def drawn(one: Any, finding: Any) -> None:
            place = run / "drawn"
            name, scale = one.source.name, predictor.card.scale
            outputs.write(place, name, one.image, finding, scale, ("overlays",))

        tasks: dict[str, Callable[[], Any]] = {
            "reading": lambda: list(pool.map(predictor.see, paths)),
            "computing": lambda: list(predictor.computed(seen)),
            "rows": lambda: list(pool.map(lambda *x: row(predictor, *x), seen, raw)),
            "overlays": lambda: list(pool.map(drawn, seen, findings)),
            "start": lambda: command("predict", str(run), str(paths[0])),
            "whole": lambda: command(*whole),
            "whole with overlays": lambda: command(*whole, *to_folder()),
        }
        tasks["start"]()  # not counted: it compiles
        best: dict[str, float] = {}
        for _ in range(rounds):
            for name, task in tasks.items():
                begun = time.perf_counter()
                task()
                seconds = time.perf_counter() - begun
                best[name] = min(best.get(name, seconds), seconds)
    return {"pictures": len(paths), **best}


def row(predictor: Predictor, seen: Any, raw: Any) -> str:
    """The line that is printed of a picture."""
    return json.dumps(bulk.row(seen, predictor.finding(seen, raw), 0.0))


def command(*words: str) -> None:
    """Runs the command in a process of its own; what it prints is thrown away.

    Raises:
      RuntimeError: it failed.
    """
    done = subprocess.run([sys.executable, "-m", "jaxad", *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"jaxad {' '.join(words)}: {done.stderr}")


def said(method: str, found: dict[str, float]) -> str:
    """The seconds of a method, in words."""
    parts = {name: found[name] for name in ("reading", "computing", "rows")}
    floor = found["start"] + max(parts.values())
    drawn = found["start"] + max(*parts.values(), found["overlays"])
    each = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in found.items() if name[0] != "p")
    return (
        f"{method}, {found['pictures']} pictures: {each}\n"
        f"  whole over start and slowest part: {found['whole'] / floor:.2f}; with overlays "
        f"{found['whole with overlays'] / drawn:.2f}"
    )


if __name__ == "__main__":
    script.run(main)
