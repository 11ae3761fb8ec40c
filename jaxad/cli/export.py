"""`jaxad export RUN BUNDLE`: a trained model as a folder that goes elsewhere."""

import pathlib
from collections.abc import Sequence
from typing import Any

import jax

from jaxad.bundle import check, onnx
from jaxad.bundle.check import Difference
from jaxad.bundle.warm import warmed
from jaxad.bundle.write import PLATFORMS, Choice, Kind, Place, consistent, written
from jaxad.cli.errors import Usage
from jaxad.cli.measuring import Asked, PictureOptions, data_of
from jaxad.cli.options import asked, given, leading, option
from jaxad.cli.run_options import Device, folder_of
from jaxad.cli.script import prepare
from jaxad.data.preprocessing import stored
from jaxad.data.source import Source
from jaxad.decision import card as cards
from jaxad.detector import config, static
from jaxad.export import Precision
from jaxad.export.manifest import is_bundle
from jaxad.export.opened import platform
from jaxad.report.pages import Style
from jaxad.training.restore import Finished, finished

USAGE = "jaxad export RUN BUNDLE [DATA]"
DESCRIPTION = """Writes a trained model as a bundle: a folder with its program, its weights, its
card, and what they ask for. `predict`, `evaluate`, `report`, `drift` and `serve` take a bundle
where they take a run; example.py in it uses it without jaxad. The run stays as it is.

RUN: the folder of a run.
BUNDLE: a folder that is not there yet.
DATA: pictures to compare the bundle with the run on; by default those that the run was given.

--to stablehlo: for JAX, on CPUs, NVIDIA's GPUs and TPUs. --to onnx: for ONNX Runtime and OpenVINO;
it asks for a Python environment of its own, and tells how to make that."""


@config
class ExportOptions:
    """The bundle."""

    to: Kind = static("stablehlo")  # for JAX; or for ONNX Runtime and OpenVINO
    platforms: tuple[str, ...] = static(PLATFORMS)  # that a StableHLO program is for
    weights: Place = static("beside")  # as safetensors beside the program; or inside it
    precision: Precision = static("float32")  # of layers of networks; statistics stay float32
    resize: bool = static(False)  # the program takes pictures of any size, and resizes them
    data_licence: str = static("not stated")  # of the pictures that the run learned from
    pictures: int = static(100, 1)  # to compare bundle and run on, at most
    cache: tuple[int, ...] = static((), 1)  # batch sizes: add what is compiled for these here
    device: Device | None = static(None)  # what computes; none: the best there is
    onnx_python: str | None = static(None)  # Python of the environment that converts to ONNX


def main(words: Sequence[str]) -> None:
    """The verb."""
    places, rest = leading(words)
    if not places and not rest:
        rest = ["--help"]
    options, chosen = asked(
        rest, USAGE, DESCRIPTION, bundle=ExportOptions(), pictures=PictureOptions()
    )
    if len(places) not in (2, 3):
        raise Usage(f"expected the folder of a run, that of a bundle and perhaps DATA: {USAGE}")
    choice = _choice(options, rest)
    prepare(options.device)
    if options.cache and platform() not in choice.platforms:
        raise Usage(
            f"--cache compiles for {platform()}, and --platforms {','.join(choice.platforms)} "
            "leaves it out"
        )
    folder, place = folder_of(places[0]), folder_of(places[1])
    if is_bundle(folder):
        raise Usage(f"{folder} is a bundle: export the run that it was made of")
    if choice.to == "onnx":
        print(f"converts with {onnx.interpreter(choice.python)}")
    run = finished(folder)
    card = cards.of_run(folder, run.model)
    source = _source(run, Asked(USAGE, [places[0], *places[2:]], None, chosen, Style()), folder)
    checked: dict[str, Difference] = {}

    def look(part: pathlib.Path) -> dict[str, Any]:
        checked.update(_compared(run, part, card, source, options, choice))
        return {name: one.as_dict() for name, one in checked.items()}

    content = written(run, folder, place, choice, look)
    if options.cache:
        warmed(place, options.cache, jax.default_backend())
    _say(place, content, checked)


def _choice(options: ExportOptions, words: Sequence[str]) -> Choice:
    """The options of the bundle itself.

    Raises:
      Usage: one belongs to a bundle of the other kind.
      ValueError: they exclude each other.
    """
    theirs = {"onnx": ("platforms", "weights", "cache"), "stablehlo": ("onnx_python",)}
    for name in theirs[options.to]:
        if given(words, name):
            raise Usage(f"{option(name)} does not go with --to {options.to}")
    names = ("to", "platforms", "weights", "precision", "resize", "data_licence")
    chosen = {name: getattr(options, name) for name in names}
    choice = Choice(**chosen, python=options.onnx_python)
    consistent(choice)
    return choice


def _source(run: Finished, command: Asked, folder: pathlib.Path) -> Source | None:
    """Pictures to compare on: to test on, or else held-out ones; None where there are none."""
    reading = lambda category: command.reading(stored(folder), category)
    try:
        several = data_of(run, command, reading, folder, True)
    except (FileNotFoundError, Usage) as error:
        if command.places[1:] or command.chosen.normal is not None:
            raise
        print(f"compared on noise, for pictures are not at hand: {error}")
        return None
    data = next(iter(several.values()))
    return data.heldout if data.test is None else data.test


def _compared(
    run: Finished,
    part: pathlib.Path,
    card: cards.Card,
    source: Source | None,
    options: ExportOptions,
    choice: Choice,
) -> dict[str, Difference]:
    """What the bundle's programs say beside what the run says, by what computes them."""
    if choice.to == "stablehlo":
        if platform() not in choice.platforms:
            print(f"not compared: the bundle is not for {platform()}, which this process has")
            return {}
        if source is None:
            return {"JAX": check.on_noise(run, part, card)}
        return {"JAX": check.against(run, part, card, source, options.pictures)}
    model, size = run[:4], run.cfg.size
    images = check.noise(size) if source is None else check.squares(source, options.pictures, model)
    native = check.said(model, images)
    found = onnx.compared(part / "model.onnx", onnx.interpreter(choice.python), images)
    return {name: check.between(native, one, card) for name, one in found.items()}


def _say(place: pathlib.Path, content: dict[str, Any], checked: dict[str, Difference]) -> None:
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    print(f"{content['method']}, {content['to']}, {content['precision']}: {size / 1e6:.1f} MB")
    if facts := content.get("onnx"):
        print(", ".join(f"{name} {value}" for name, value in facts.items()))
    else:
        print(f"for {', '.join(content['programs'])}; weights {content['weights']}")
    for name, one in checked.items():
        print(f"{name} beside the run on {one}")
    for name, terms in content["licences"]["weights"].items():
        print(f"licence of the weights {name}: {terms}")
    print(f"licence of the data: {content['licences']['data']}")
    print(f"bundle: {place}")
