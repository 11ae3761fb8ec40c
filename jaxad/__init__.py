"""Image anomaly detection as pure functions on JAX.

What is named here and in the reference of the documentation is the public interface: it changes
only as CHANGELOG.md says. Everything is imported when it is first used, so that the command is
quick to answer.
"""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxad.data.source import Data
    from jaxad.decision.predictor import Predictor
    from jaxad.detector import (
        Detector,
        Pictures,
        Prediction,
        State,
        Stream,
        config,
        override,
        scalar,
        static,
    )
    from jaxad.evaluation.evaluate import evaluate
    from jaxad.methods import DETECTORS
    from jaxad.training import Finished, finished, fit, run
    from jaxad.weights.store import load_pretrained

_PLACES = {
    "DETECTORS": "methods",
    "Data": "data.source",
    "Detector": "detector",
    "Finished": "training",
    "Pictures": "detector",
    "Prediction": "detector",
    "Predictor": "decision.predictor",
    "State": "detector",
    "Stream": "detector",
    "config": "detector",
    "evaluate": "evaluation.evaluate",
    "finished": "training",
    "fit": "training",
    "load_pretrained": "weights.store",
    "override": "detector",
    "run": "training",
    "scalar": "detector",
    "static": "detector",
}

__all__ = [
    "DETECTORS",
    "Data",
    "Detector",
    "Finished",
    "Pictures",
    "Prediction",
    "Predictor",
    "State",
    "Stream",
    "config",
    "evaluate",
    "finished",
    "fit",
    "load_pretrained",
    "override",
    "run",
    "scalar",
    "static",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.metadata.version("jaxad")
    if name not in _PLACES:
        raise AttributeError(f"module 'jaxad' has no attribute {name!r}")
    return getattr(importlib.import_module(f"jaxad.{_PLACES[name]}"), name)
