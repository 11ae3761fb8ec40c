"""A trained detector as an ONNX file: converted by jax2onnx elsewhere, computed by ONNX Runtime.

The conversion is a subprocess in an environment of its own (`onnx_python`), which is given settings
and weights in a folder, and traces the same `predict` that evaluation uses.
"""

import json
import os
import pathlib
import subprocess
import tempfile
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from jaxtyping import PyTree

from jaxad.bundle.onnx_python import interpreter, versions
from jaxad.detector import Detector, State
from jaxad.export.onnx import Answers, Images
from jaxad.training.record import settings

__all__ = ["compared", "convert", "interpreter"]

WORKER = pathlib.Path(__file__).with_name("onnx_worker.py")
LARGEST = 2**31  # bytes of an ONNX file that has its weights inside
TOLD = 5  # lines of the worker's output that an error repeats


def convert(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    state: State,
    place: pathlib.Path,
    python: pathlib.Path,
) -> dict[str, Any]:
    """Writes `predict` with its weights as an ONNX file; nothing is changed by it.

    The file takes `images`, uint8 `B size size 3`, and gives `map`, float32 `B size size`, and
    `score`, float32 `B`.

    Args:
      detector: the method.
      cfg: its settings.
      pretrained: {name: tree} for `cfg.weights`.
      state: trained and calibrated; its optimiser is left out.
      place: of the file.
      python: what `interpreter` gave.

    Returns:
      opset; batch, "any" or a number, and then why; and the versions of what converted.

    Raises:
      ValueError: the method cannot be converted with these settings, and why; or the weights are
        too large for an ONNX file.
      RuntimeError: the conversion ended without an answer.
    """
    with tempfile.TemporaryDirectory() as folder:
        work = conversion(detector, cfg, pretrained, state, place, pathlib.Path(folder))
        (answer,) = worked(python, [work])
    if "error" in answer:
        raise ValueError(f"{detector.name} cannot be converted to ONNX: {answer['error']}")
    there = versions(python)
    names = ("jax2onnx", "jax", "onnx", "python")
    return {**answer["found"], **{n: there[n] for n in names}, "interpreter": str(python)}


def compared(place: pathlib.Path, python: pathlib.Path, images: Images) -> dict[str, Answers]:
    """What runtimes in the environment that converts say of pictures, in batches of several sizes.

    Args:
      place: of the ONNX file.
      python: what `interpreter` gave.
      images: as the file takes them.

    Returns:
      {name and version of a runtime: maps and scores}: ONNX Runtime and OpenVINO, on a CPU.

    Raises:
      ValueError: one cannot compute the file.
      RuntimeError: the comparison ended without an answer.
    """
    with tempfile.TemporaryDirectory() as folder:
        work = comparison(place, images, pathlib.Path(folder))
        (answer,) = worked(python, [work])
        if "error" in answer:
            raise ValueError(f"{place} cannot be computed: {answer['error']}")
        return answers(work, answer)


def conversion(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    state: State,
    place: pathlib.Path,
    folder: pathlib.Path,
) -> dict[str, str]:
    """The work of converting, for `worked`, whose model is written to an empty folder.

    Raises:
      ValueError: the weights are too large for an ONNX file.
    """
    named = flatten_dict(pretrained)
    leaves = [*named.values(), *jax.tree.leaves(state._replace(opt=()))]
    arrays = [np.asarray(leaf) for leaf in leaves]
    if (size := sum(array.nbytes for array in arrays)) >= LARGEST:
        raise ValueError(
            f"{detector.name} has {size / 1e9:.1f} GB of weights, and an ONNX file holds 2.1: "
            "export it --to stablehlo"
        )
    types = {"types": [str(x.dtype) for x in arrays], "pretrained": [list(path) for path in named]}
    np.savez(folder / "arrays.npz", *arrays)
    about = json.dumps({**settings(detector, cfg), **types})
    (folder / "model.json").write_text(about, encoding="utf-8")
    place = place.absolute()
    return {"do": "convert", "name": detector.name, "model": str(folder), "place": str(place)}


def comparison(place: pathlib.Path, images: Images, folder: pathlib.Path) -> dict[str, str]:
    """The work of comparing, for `worked`; pictures and answers lie in the folder."""
    np.save(folder / "images.npy", images)
    work = {"do": "compare", "name": place.name, "place": str(place.absolute())}
    return {**work, "images": str(folder / "images.npy"), "found": str(folder / "found")}


def answers(work: dict[str, str], answer: dict[str, Any]) -> dict[str, Answers]:
    """What `compared` returns, read from where `comparison` had it written."""
    found = {}
    for i, name in enumerate(answer["found"]["names"]):
        with np.load(f"{work['found']}-{i}.npz", allow_pickle=False) as file:
            found[name] = (file["map"], file["score"])
    return found


def worked(python: pathlib.Path, work: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
    """Has pieces of work done in the environment that converts, one after the other.

    Returns:
      for each {"found": what it gave} or {"error": why there is none}.

    Raises:
      RuntimeError: it ended before the last one; its whole output is in the file that is named.
    """
    # Flags and devices of this process may be none of the other's.
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    environment["JAX_PLATFORMS"] = "cpu"
    number, log = tempfile.mkstemp(prefix="jaxad-onnx-", suffix=".log")
    with tempfile.TemporaryDirectory() as folder, open(number, "w") as output:
        request, done = pathlib.Path(folder, "request.json"), pathlib.Path(folder, "answers.json")
        package = str(WORKER.parents[1])
        asked = {"package": package, "work": list(work), "answers": str(done)}
        request.write_text(json.dumps(asked), encoding="utf-8")
        ended = subprocess.run(
            [str(python), "-I", str(WORKER), str(request)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment,
        )  # fmt: skip
        found = json.loads(done.read_text(encoding="utf-8")) if done.exists() else None
    text = pathlib.Path(log).read_text(encoding="utf-8", errors="replace").strip()
    if found is None:
        last = " / ".join(text.splitlines()[-TOLD:])
        raise RuntimeError(
            f"{python} ended with status {ended.returncode} and gave no answer; the last it said: "
            f"{last}; all of it: {log}"
        )
    failed = [answer for answer in found if "error" in answer]
    for answer in failed:
        answer["error"] += f" (all that was said: {log})"
    if not failed:
        os.unlink(log)
    return found
