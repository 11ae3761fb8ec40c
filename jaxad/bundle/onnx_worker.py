"""What runs in the environment that converts to ONNX: `python -I onnx_worker.py REQUEST.json`.

Started by `jaxad.bundle.onnx`, which writes the request. jaxad is not installed here: the request
names the folder of its package. Each piece of work is done by itself; what went wrong with one is
its answer, in a sentence, and the traceback goes to the output.
"""

import functools
import importlib
import importlib.util
import json
import pathlib
import sys
import traceback
from collections.abc import Callable
from typing import Any

OPSET = 18  # of the file: the first one whose reductions all take their axes as data
SIZES = (1, 3, 16)  # of batches, for comparison: one after the other, the last for all that is left


def main(request: str) -> None:
    """Does the work and writes the answers."""
    asked = json.loads(pathlib.Path(request).read_text(encoding="utf-8"))
    find(pathlib.Path(asked["package"]))
    import jax

    jax.config.update("jax_disable_most_optimizations", True)  # all that is computed here is small
    answers = []
    for work in asked["work"]:
        print(f"{work['do']} {work['name']}", flush=True)
        try:
            answers.append({"found": WORK[work["do"]](work)})
        except Exception as error:
            traceback.print_exc()
            answers.append({"error": sentence(error)})
    pathlib.Path(asked["answers"]).write_text(json.dumps(answers), encoding="utf-8")


def find(package: pathlib.Path) -> None:
    """Makes the package in this folder importable, and nothing else that lies beside it."""
    spec = importlib.util.spec_from_file_location(
        package.name, package / "__init__.py", submodule_search_locations=[str(package)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"there is no package in {package}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[package.name] = module
    spec.loader.exec_module(module)


def sentence(error: Exception) -> str:
    """An error in a line."""
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def convert(work: dict) -> dict:
    """Writes a detector's `predict` as ONNX: for any number of images or, if need be, for one."""
    detector, cfg, pretrained, state = model(pathlib.Path(work["model"]))
    predict = lambda images: tuple(detector.predict(cfg, pretrained, state, images)[:2])
    write = functools.partial(written, predict, cfg.size, detector.name, work["place"])
    try:
        write("any")
        return {"opset": OPSET, "batch": "any"}
    except Exception as error:
        traceback.print_exc()
        print("once more, for batches of one", flush=True)
        write(1)
        return {"opset": OPSET, "batch": 1, "why": sentence(error)}


def written(
    predict: Callable[..., Any], size: int, name: str, place: str, batch: int | str
) -> None:
    """Traces, converts and checks."""
    import jax

    from jaxad.bundle.onnx_form import written_out
    from jaxad.nets.cpu import traced_for

    count = jax.export.symbolic_shape("batch")[0] if batch == "any" else batch
    images = jax.ShapeDtypeStruct((count, size, size, 3), "uint8")
    with traced_for(cpu=False):  # layers as layers, not in the form that XLA is fast at on CPUs
        program = jax.make_jaxpr(predict)(images)
    importlib.import_module("jax2onnx").to_onnx(
        written_out(program), [images], model_name=name, opset=OPSET,
        return_mode="file", output_path=place, export_mode="web",  # all in one file
        input_names=["images"], output_names=["map", "score"],
    )  # fmt: skip
    importlib.import_module("onnx").checker.check_model(place)


def model(folder: pathlib.Path) -> tuple[Any, Any, Any, Any]:
    """Detector, config, weights and state, as `onnx.stored` wrote them."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from flax.traverse_util import unflatten_dict

    from jaxad.detector import replace
    from jaxad.training.named import detector as named

    about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    detector = named(about["method"])
    settings = {n: tuple(x) if isinstance(x, list) else x for n, x in about["settings"].items()}
    cfg = replace(detector.Config(), **settings)
    with np.load(folder / "arrays.npz", allow_pickle=False) as file:
        leaves = [jnp.asarray(file[f"arr_{i}"].view(kind)) for i, kind in enumerate(about["types"])]
    paths = [tuple(path) for path in about["pretrained"]]
    pretrained = unflatten_dict(dict(zip(paths, leaves[: len(paths)], strict=True)))
    init = functools.partial(detector.init, cfg, pretrained)
    structure = jax.tree.structure(jax.eval_shape(init, jax.random.key(0))._replace(opt=()))
    return detector, cfg, pretrained, jax.tree.unflatten(structure, leaves[len(paths) :])


def compare(work: dict) -> dict:
    """What each runtime says of pictures, in batches of several sizes where the file allows it."""
    import numpy as np

    images, names = np.load(work["images"], allow_pickle=False), []
    for name, run, batch in runtimes(work["place"]):
        parts, start, sizes = [], 0, iter(SIZES)
        while start < len(images):
            size = batch or next(sizes, SIZES[-1])
            parts.append(run(images[start : start + size]))
            start += size
        maps, scores = (np.concatenate(several) for several in zip(*parts, strict=True))
        np.savez(f"{work['found']}-{len(names)}.npz", map=maps, score=scores)
        names.append(name)
    return {"names": names}


def runtimes(place: str) -> list[tuple[str, Callable[..., Any], int | None]]:
    """Name and version, what runs the file, and its batch; None for one of any size."""
    onnxruntime, openvino = map(importlib.import_module, ("onnxruntime", "openvino"))
    session = onnxruntime.InferenceSession(place, providers=["CPUExecutionProvider"])
    batch = session.get_inputs()[0].shape[0]
    compiled = openvino.Core().compile_model(place, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    of_openvino = lambda images: [compiled(images)[name].copy() for name in ("map", "score")]
    of_onnxruntime = lambda images: session.run(["map", "score"], {"images": images})
    size = batch if isinstance(batch, int) else None
    return [
        (f"ONNX Runtime {onnxruntime.__version__}", of_onnxruntime, size),
        (f"OpenVINO {openvino.__version__.partition('-')[0]}", of_openvino, size),
    ]


WORK = {"convert": convert, "compare": compare}

if __name__ == "__main__":
    main(sys.argv[1])
