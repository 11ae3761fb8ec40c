"""An ONNX file as a function, computed by ONNX Runtime."""

import importlib
import pathlib
from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray as NpArray

Images = UInt8[NpArray, "B size size 3"]
Answers = tuple[Float32[NpArray, "B size size"], Float32[NpArray, "B"]]  # map and score


def runner(place: pathlib.Path) -> Callable[[Images], Answers]:
    """The function of an ONNX file, computed by ONNX Runtime on the CPU in this process.

    It takes any number of images. A file for batches of a fixed size is asked as often as need be,
    the last time with the last image repeated.

    Raises:
      ModuleNotFoundError: ONNX Runtime is not installed.
      ValueError: it cannot read the file.
    """
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise  # it is installed, but something that it needs is not
        text = f"{place} needs ONNX Runtime: pip install 'jaxad[onnx]'"
        raise ModuleNotFoundError(text, name=error.name) from None
    try:
        session = onnxruntime.InferenceSession(str(place), providers=["CPUExecutionProvider"])
    except Exception as error:  # of a type of its own for each reason
        raise ValueError(f"{place} cannot be read by ONNX Runtime: {error}") from error
    fixed = session.get_inputs()[0].shape[0]
    run = lambda images: tuple(session.run(["map", "score"], {"images": images}))

    def runs(images: Images) -> Answers:
        if not isinstance(fixed, int):
            return run(images)
        starts = range(0, max(len(images), 1), fixed)
        rows = [np.minimum(np.arange(start, start + fixed), len(images) - 1) for start in starts]
        maps, scores = zip(*(run(images[some]) for some in rows), strict=True)
        return np.concatenate(maps)[: len(images)], np.concatenate(scores)[: len(images)]

    return runs
