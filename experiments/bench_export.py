"""How far bundles are from the runs that they were made of: every detector, on the same pictures.

    python experiments/bench_export.py [OUT.json] [--methods patchcore,stfpm]

Each detector learns rendered plates with the tiny settings of tests/tiny_settings.py. Its run
becomes a bundle in each way that `jaxad export` has, and run and bundle are asked about the same
100 pictures, half of them with defects: how far maps and scores are apart, as shares of the maps'
range, how many labels differ, and AUROC. StableHLO, on the devices of this process; bench_onnx.py
does the same for ONNX. A quarter of an hour on two cores.
"""

import pathlib
import sys
import tempfile
from collections.abc import Sequence

import jax

from jaxad.bundle.check import Difference, against
from jaxad.bundle.write import Choice, written
from jaxad.cli import script
from jaxad.cli.data import pictures
from jaxad.cli.options import asked, expected, leading
from jaxad.cli.run_options import DataOptions
from jaxad.cli.streams import with_streams
from jaxad.data.images import PLAIN
from jaxad.data.source import Source
from jaxad.decision import card as cards
from jaxad.decision import normals
from jaxad.detector import config, replace, static
from jaxad.methods import DETECTORS
from jaxad.sweep.table import circumstances
from jaxad.training import record as records
from jaxad.training import run as run_in_folder
from jaxad.training.record import write_json
from jaxad.training.restore import Finished

sys.path.append(str(pathlib.Path(__file__).parents[1] / "tests"))

from tiny_settings import TINY

WAYS = {
    "weights beside": Choice(),
    "weights inside": Choice(weights="inside"),
    "resizing inside": Choice(resize=True),
    "bfloat16": Choice(precision="bfloat16"),
    "float16": Choice(precision="float16"),
}


@config
class Options:
    """Settings of the benchmark."""

    methods: tuple[str, ...] = static(tuple(DETECTORS))
    steps: int = static(20, 1)  # of each training, at most
    pictures: tuple[int, int] = static((50, 5), 1)  # good, of each of ten types of defect


def main(words: Sequence[str]) -> None:
    """Compares, prints, stores."""
    places, rest = leading(words)
    usage = "python experiments/bench_export.py [OUT.json]"
    (options,) = asked(rest, usage, __doc__, benchmark=Options())
    outs = expected(places, "OUT.json") if places else []
    script.prepare()
    rows = {}
    for name in options.methods:
        with tempfile.TemporaryDirectory() as place:
            found = differences(name, pathlib.Path(place), options)
        for way, one in found.items():
            print(f"{name}, {way}: {one}", flush=True)
        rows[name] = {way: one.as_dict() for way, one in found.items()}
    if outs:
        write_json(pathlib.Path(outs[0]), {**circumstances(), "methods": rows})


def differences(
    name: str, place: pathlib.Path, options: Options, ways: Sequence[str] = tuple(WAYS)
) -> dict[str, Difference]:
    """How far bundles of a detector are from its run, by how they are made.

    Args:
      name: of the detector.
      place: a folder for the run and its bundles.
      options: of the benchmark.
      ways: of `WAYS`.
    """
    run, test = learned(name, place / "run", options)
    card = cards.of_run(place / "run", run.model)
    found: dict[str, Difference] = {}
    for way in ways:

        def compare(part: pathlib.Path, way: str = way) -> dict:
            found[way] = against(run, part, card, test, len(test))
            return {}

        written(run, place / "run", place / way.replace(" ", "-"), WAYS[way], compare)
    return found


def learned(name: str, folder: pathlib.Path, options: Options) -> tuple[Finished, Source]:
    """A detector that has learned rendered plates for a moment, and its test pictures."""
    detector, tiny = DETECTORS[name], TINY[name]()
    cfg = replace(tiny.cfg, steps=min(tiny.cfg.steps, options.steps))
    pretrained = tiny.pretrained(jax.random.key(7))
    data = DataOptions(rendered=24, rendered_test=options.pictures)
    (one,) = pictures("workpieces/plate", max(cfg.size, 64), data, 0, lambda _: PLAIN).values()
    one = with_streams(detector, cfg, one, data, PLAIN, folder)
    key = jax.random.key(0)
    state = run_in_folder(detector, cfg, pretrained, one, key, folder)._replace(opt=())
    card = normals.of_run(detector, cfg, pretrained, state, one, key, needed=99, folds=0)
    cards.write(folder / cards.FILE, card)
    record = records.read(folder) or {}
    assert one.test is not None
    return Finished(detector, cfg, pretrained, state, record), one.test


if __name__ == "__main__":
    script.run(main)
