"""The contract that every method keeps, and its settings; imports nothing of the rest of jaxad."""

from jaxad.detector.contract import (
    Detector,
    Images,
    ImageSet,
    Pictures,
    Prediction,
    Sample,
    Scalar,
    State,
    Stream,
    no_features,
    no_rules,
    no_streams,
    takes_no_steps,
    unchanged,
)
from jaxad.detector.fields import Range, config, scalar, static
from jaxad.detector.settings import (
    check_settings,
    override,
    replace,
    settings,
    static_settings,
    values,
)

__all__ = [
    "Detector",
    "ImageSet",
    "Images",
    "Pictures",
    "Prediction",
    "Range",
    "Sample",
    "Scalar",
    "State",
    "Stream",
    "check_settings",
    "config",
    "no_features",
    "no_rules",
    "no_streams",
    "override",
    "replace",
    "scalar",
    "settings",
    "static",
    "static_settings",
    "takes_no_steps",
    "unchanged",
    "values",
]
