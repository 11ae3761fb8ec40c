"""Detectors by their names: those of methods, and of wrappers around them."""

import difflib

from jaxad.detector import Detector
from jaxad.methods import DETECTORS
from jaxad.wrappers import WRAPPERS


def detector(name: str) -> Detector:
    """The detector of a name such as "efficientad" or "flipped(efficientad)".

    Raises:
      ValueError: there is no such method or wrapper; the message has the nearest names.

    >>> detector("tiled(stfpm)").name
    'tiled(stfpm)'
    """
    wrapper, parenthesis, rest = name.partition("(")
    if parenthesis and rest.endswith(")"):
        if wrapper not in WRAPPERS:
            raise ValueError(f"there is no wrapper {wrapper!r}{_nearest(wrapper, WRAPPERS)}")
        return WRAPPERS[wrapper](detector(rest[:-1]))
    if name not in DETECTORS:
        raise ValueError(f"there is no method {name!r}{_nearest(name, DETECTORS)}")
    return DETECTORS[name]


def _nearest(name: str, known: dict) -> str:
    close = difflib.get_close_matches(name.lower(), known, n=2, cutoff=0.5)
    hint = f": did you mean {' or '.join(close)}?" if close else ":"
    return f"{hint} there are {', '.join(known)}"
