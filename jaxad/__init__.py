"""Image anomaly detection as pure functions on JAX."""

import importlib
from typing import Any

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

# Imported when first used: data pipelines and checkpoints take seconds to import.
_LATER = {
    "DETECTORS": "methods",
    "Data": "data.source",
    "evaluate": "evaluation.evaluate",
    "fit": "training",
    "load_pretrained": "weights.store",
    "run": "training",
}

__all__ = [
    "DETECTORS",
    "Data",
    "Detector",
    "Pictures",
    "Prediction",
    "State",
    "Stream",
    "config",
    "evaluate",
    "fit",
    "load_pretrained",
    "override",
    "run",
    "scalar",
    "static",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'jaxad' has no attribute {name!r}")
    return getattr(importlib.import_module(f"jaxad.{_LATER[name]}"), name)
