"""How far ONNX files are from the runs that they were made of: every detector, in two runtimes.

    python experiments/bench_onnx.py [OUT.json] [--methods patchcore,stfpm] [--python PYTHON]

Each detector learns rendered plates as in bench_export.py and is converted as by `jaxad export RUN
BUNDLE --to onnx`. Then the run, and ONNX Runtime and OpenVINO with the file, are asked about the
same 100 pictures, half of them with defects, in batches of 1, 3 and 16: how far maps and scores are
apart, as shares of the maps' range, how many pictures' maps are within a ten-thousandth of it, and
how many labels differ. What is not converted is there with the reason. A quarter of an hour on two
cores. PYTHON is that of the environment that converts, see `jaxad export --help`.
"""

import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bench_export import Options as Learning
from bench_export import learned

from jaxad.bundle import check, onnx
from jaxad.bundle.check import Given, Model
from jaxad.bundle.onnx_python import versions
from jaxad.cli import script
from jaxad.cli.options import asked, expected, leading
from jaxad.decision import card as cards
from jaxad.detector import config, static
from jaxad.methods import DETECTORS
from jaxad.sweep.table import circumstances
from jaxad.training.record import write_json

CLOSE = 1e-4  # of the range of a run's maps

Answer = tuple[dict[str, Any], dict[str, Given]]  # what conversion said, and answers by runtime


@config
class Options:
    """Settings of the benchmark."""

    methods: tuple[str, ...] = static(tuple(DETECTORS))
    steps: int = static(20, 1)  # of each training, at most
    pictures: tuple[int, int] = static((50, 5), 1)  # good, of each of ten types of defect
    python: str | None = static(None)  # of the environment that converts


def main(words: Sequence[str]) -> None:
    """Compares, prints, stores."""
    places, rest = leading(words)
    usage = "python experiments/bench_onnx.py [OUT.json]"
    (options,) = asked(rest, usage, __doc__, benchmark=Options())
    outs = expected(places, "OUT.json") if places else []
    script.prepare()
    python = onnx.interpreter(options.python)
    with tempfile.TemporaryDirectory() as place:
        rows = differences(options, python, pathlib.Path(place))
    for name, row in rows.items():
        print(f"{name}: {row}")
    if outs:
        made_with = {**circumstances(), "environment": versions(python)}
        write_json(pathlib.Path(outs[0]), {"made_with": made_with, "methods": rows})


def differences(
    options: Options, python: pathlib.Path, folder: pathlib.Path
) -> dict[str, dict[str, Any]]:
    """For each detector what conversion said, and how far each runtime is from its run.

    Args:
      options: of the benchmark.
      python: that converts.
      folder: for runs and files.
    """
    models: dict[str, tuple[Model, np.ndarray]] = {}
    natives: dict[str, tuple[Given, cards.Card]] = {}
    learning = Learning(steps=options.steps, pictures=options.pictures)
    for name in options.methods:
        run, test = learned(name, folder / name, learning)
        images = check.squares(test, len(test), run[:4])
        models[name] = run[:4], images
        natives[name] = check.said(run[:4], images), cards.of_run(folder / name, run.model)
        print(f"{name} has learned", flush=True)
    rows = {}
    for name, (said, found) in answers(models, python, folder).items():
        native, card = natives[name]
        beside = {
            runtime: {**check.between(native, one, card).as_dict(), "close": close(native, one)}
            for runtime, one in found.items()
        }
        rows[name] = {**said, "runtimes": beside}
    return rows


def answers(
    models: Mapping[str, tuple[Model, np.ndarray]], python: pathlib.Path, folder: pathlib.Path
) -> dict[str, Answer]:
    """Converts models and asks the runtimes about pictures, all in one process.

    Args:
      models: {name: (detector, config, weights, state; pictures)}.
      python: that converts.
      folder: for files.
    """
    conversions, comparisons = [], []
    for name, (model, images) in models.items():
        place = folder / f"{name}-onnx"
        place.mkdir(parents=True)
        conversions.append(onnx.conversion(*model, place / "model.onnx", place))
        comparisons.append(onnx.comparison(place / "model.onnx", images, place))
    several = onnx.worked(python, [*conversions, *comparisons])
    found = {}
    for name, comparison, said, compared in zip(
        models, comparisons, several, several[len(models) :], strict=False
    ):
        failed = next((one["error"] for one in (said, compared) if "error" in one), None)
        if failed is None:
            found[name] = said["found"], onnx.answers(comparison, compared)
        else:
            found[name] = {"error": failed}, {}
    return found


def close(native: Given, other: Given) -> int:
    """How many pictures' maps are within `CLOSE` of the range of all, at every pixel."""
    apart = np.abs(native[0] - other[0]).max((1, 2))
    return int((apart <= CLOSE * np.ptp(native[0])).sum())


if __name__ == "__main__":
    script.run(main)
