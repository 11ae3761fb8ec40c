"""Image anomaly detection as pure functions on JAX."""

import importlib
from typing import Any

from jaxad.detector import Data, Detector, Prediction, State, Stream, config, override, static

# Imported when first used: data pipelines and checkpoints take seconds to import.
_LATER = {
    "DETECTORS": "methods",
    "fit": "train",
    "load_pretrained": "pretrained",
    "run": "train",
}

__all__ = [
    "DETECTORS",
    "Data",
    "Detector",
    "Prediction",
    "State",
    "Stream",
    "config",
    "fit",
    "load_pretrained",
    "override",
    "run",
    "static",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'jaxad' has no attribute {name!r}")
    return getattr(importlib.import_module(f"jaxad.{_LATER[name]}"), name)
