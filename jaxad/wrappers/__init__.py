"""Detectors made of detectors: tiles of large images, flips when predicting, ensembles.

A wrapper keeps the contract, so what it gives can be trained, swept, exported, and wrapped again.
Its config holds the config of the detector inside, and a few static settings more; a setting of the
one inside is found there: `cfg.lr` is `cfg.inside.lr`.
"""

from collections.abc import Callable

from jaxad.detector import Detector
from jaxad.wrappers.ensemble import ensemble
from jaxad.wrappers.flipped import flipped
from jaxad.wrappers.tiled import Tiles, tiled, tiles_of, together

__all__ = ["WRAPPERS", "Tiles", "ensemble", "flipped", "tiled", "tiles_of", "together"]

WRAPPERS: dict[str, Callable[[Detector], Detector]] = {
    "ensemble": ensemble,
    "flipped": flipped,
    "tiled": tiled,
}
