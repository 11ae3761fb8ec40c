"""Trained detectors as programs that run elsewhere, and such programs as detectors.

`serialize` and `deserialize` are for code; folders with all that predicting asks for, which
`jaxad.bundle` writes, are read here.
"""

from jaxad.export.program import (
    Fit,
    Precision,
    arrays,
    deserialize,
    function,
    rounded,
    serialize,
)

__all__ = ["Fit", "Precision", "arrays", "deserialize", "function", "rounded", "serialize"]
