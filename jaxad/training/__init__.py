"""Training: one loop for every detector, in memory (`fit`) or in a folder, resumable (`run`).

`finished` reads back what a run learned, `detector` finds a method by its name.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxad.training.fitting import fit, run
    from jaxad.training.named import detector
    from jaxad.training.restore import Finished, finished

# Imported when first used: a help text wants `named` alone, and the rest takes a second.
_PLACES = {
    "Finished": "restore",
    "detector": "named",
    "finished": "restore",
    "fit": "fitting",
    "run": "fitting",
}

__all__ = ["Finished", "detector", "finished", "fit", "run"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'jaxad.training' has no attribute {name!r}")
    return getattr(importlib.import_module(f"jaxad.training.{_PLACES[name]}"), name)
