"""A finished run as a bundle."""

import importlib.metadata
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from jaxad import export, whole
from jaxad.bundle import carried, onnx, words
from jaxad.decision import card as cards
from jaxad.export import Precision, manifest
from jaxad.export.opened import WEIGHTS
from jaxad.training import record as records
from jaxad.training.restore import Finished
from jaxad.weights.files import write_safetensors

Kind = Literal["stablehlo", "onnx"]
Place = Literal["beside", "inside"]
HERE = pathlib.Path(__file__).parent
PLATFORMS = ("cpu", "cuda", "tpu")
ABOUT = {
    "program.cpu.stablehlo": "the program for CPUs, as `jax.export` writes it",
    "program.accelerator.stablehlo": "the program for GPUs and TPUs",
    "model.onnx": "program and weights",
    WEIGHTS: "the weights, the program's first argument",
    "card.json": "what scores mean: the limits, and what normal pictures score",
    "preprocessing.json": "how files become pictures, as jaxad reads it",
    "run.json": "method and settings",
    "example.py": "scores pictures with this bundle, without jaxad",
    manifest.FILE: "all of this for machines, and checksums",
}
USE = {
    "stablehlo": "pip install jax numpy flatbuffers\npython example.py PICTURES.npy",
    "onnx": "pip install onnxruntime numpy pillow\npython example.py PICTURE.png",
}


class Choice(NamedTuple):
    """How a bundle is made.

    Attributes:
      to: what the program is written as.
      platforms: that a StableHLO program is for.
      weights: "inside" a StableHLO program or "beside" it; in ONNX they are always inside.
      precision: of products with learned weights.
      resize: whether the program takes pictures of any size.
      data_licence: what is known of the licence of the pictures that it learned from.
      python: of the environment that converts to ONNX; None for where that is by default.
    """

    to: Kind = "stablehlo"
    platforms: tuple[str, ...] = PLATFORMS
    weights: Place = "beside"
    precision: Precision = "float32"
    resize: bool = False
    data_licence: str = "not stated"
    python: str | None = None


def written(
    run: Finished,
    folder: pathlib.Path,
    place: pathlib.Path,
    choice: Choice,
    checked: Callable[[pathlib.Path], dict[str, Any]],
) -> dict[str, Any]:
    """Makes a bundle of a run, whole or not at all; the run stays as it is.

    Args:
      run: what the folder holds.
      folder: of the run, whose cards and preprocessing go with it.
      place: of the bundle, where nothing is yet.
      choice: how it is made.
      checked: looks at the bundle, in a folder that is not yet its own, and says what it found.

    Returns:
      the manifest, with what `checked` found.

    Raises:
      FileExistsError: something is at the place.
      FileNotFoundError: the run has no card.
      ValueError: a choice does not fit the run, or another; or the method cannot be converted.
      OSError: the bundle cannot be written.
    """
    if place.exists():
        raise FileExistsError(f"{place} is there already: name a folder that is not")
    card = cards.of_run(folder, run.model)
    several = carried.readings(folder, list(card.normals))
    fit = carried.fit(several) if choice.resize else None
    consistent(choice)
    whole.ready(place.parent)
    part = pathlib.Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    try:
        programs = _programs(run, part, choice, fit)
        carried.copied(run, folder, part)
        example = "example_onnx.py.txt" if choice.to == "onnx" else "example.py.txt"
        shutil.copyfile(HERE / example, part / "example.py")
        content = _content(run, choice, several, programs)
        names = {path.name: ABOUT.get(path.name, "") for path in sorted(part.iterdir())}
        text = {"contents": {**names, manifest.FILE: ABOUT[manifest.FILE]}, "use": USE[choice.to]}
        (part / "README.md").write_text(words.readme(content | text), encoding="utf-8")
        manifest.write(part, content)
        content["checked"] = checked(part)
        manifest.write(part, content)
        part.chmod(0o755)
        part.rename(place)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return content


def consistent(choice: Choice) -> None:
    """Raises ValueError where choices exclude each other."""
    if unknown := [name for name in choice.platforms if name not in PLATFORMS]:
        raise ValueError(
            f"platform {', '.join(unknown)} (--platforms): expected some of {', '.join(PLATFORMS)}"
        )
    if not choice.platforms:
        raise ValueError(f"no platform (--platforms): expected some of {', '.join(PLATFORMS)}")
    if choice.to == "onnx" and (choice.precision != "float32" or choice.resize):
        raise ValueError(
            "--to onnx goes with neither --precision nor --resize: it is float32, and takes squares"
        )


def _programs(
    run: Finished, part: pathlib.Path, choice: Choice, fit: export.Fit | None
) -> dict[str, Any]:
    """Writes program and weights; what the manifest says of them."""
    detector, cfg, pretrained, state, _ = run
    if choice.to == "onnx":
        python = onnx.interpreter(choice.python)
        facts = onnx.convert(detector, cfg, pretrained, state, part / "model.onnx", python)
        facts.pop("interpreter")  # a place on this machine
        return {"programs": {"onnx": "model.onnx"}, "weights": "inside", "onnx": facts}
    names = {"cpu": "program.cpu.stablehlo"}
    programs = {x: names.get(x, "program.accelerator.stablehlo") for x in choice.platforms}
    for name in sorted(set(programs.values())):
        platforms = [x for x in choice.platforms if programs[x] == name]
        program = export.serialize(
            detector, cfg, pretrained, state, platforms, weights=choice.weights,
            precision=choice.precision, fit=fit,
        )  # fmt: skip
        (part / name).write_bytes(program)
    if choice.weights == "beside":
        arrays = export.rounded(export.arrays(pretrained, state), choice.precision)
        write_safetensors(part / WEIGHTS, {n: np.asarray(x) for n, x in arrays.items()})
    return {"programs": programs, "weights": choice.weights}


def _content(
    run: Finished,
    choice: Choice,
    several: Mapping[str, Mapping[str, Any]],
    programs: Mapping[str, Any],
) -> dict[str, Any]:
    """What the manifest says beside format and files."""
    size, sides = run.cfg.size, ["height", "width"] if choice.resize else [run.cfg.size] * 2
    read = {
        name: {**one, "steps": words.steps(one, size, choice.resize)}
        for name, one in several.items()
    }
    batch = programs.get("onnx", {}).get("batch", "any")
    about = run.record.get(records.ABOUT, {})
    return {
        "jaxad": importlib.metadata.version("jaxad"),
        "jax": jax.__version__,
        "method": run.detector.name,
        "model": run.model,
        "to": choice.to,
        **programs,
        "precision": choice.precision,
        "size": size,
        "batch_size": run.cfg.batch_size,
        "input": {
            "name": "images", "type": "uint8", "range": [0, 255], "channels": "RGB",
            "shape": ["batch" if batch == "any" else batch, *sides, 3],
        },
        "output": {
            "map": {"type": "float32", "shape": ["batch", size, size]},
            "score": {"type": "float32", "shape": ["batch"]},
        },
        "preprocessing": read,
        "licences": {"weights": about.get("weights", {}), "data": choice.data_licence},
    }  # fmt: skip
