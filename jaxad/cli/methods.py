"""`jaxad methods`: what there is to train."""

import inspect
import re
from collections.abc import Sequence

from jaxad.cli.errors import Usage
from jaxad.methods import DETECTORS
from jaxad.weights import packages, store
from jaxad.wrappers import WRAPPERS

HELP = """usage: jaxad methods

Lists what can be trained: the paper, the settings' default size and steps, the pictures it wants
beside the normal ones (streams), the weights it begins with and whether they are found here."""


def main(words: Sequence[str]) -> None:
    """The verb."""
    if words and words[0] in ("-h", "--help"):
        print(HELP)
        return
    if words:
        raise Usage(f"unexpected {' '.join(words)!r}: `jaxad methods` takes nothing")
    there = store.available()
    for name, detector in DETECTORS.items():
        cfg = detector.Config()
        streams = ", ".join(stream.name for stream in detector.streams(cfg)) or "none"
        weights = ", ".join(
            f"{one} ({'found' if one in there else 'not found'})" for one in cfg.weights
        )
        print(f"{name}\n  {summary(name)}")
        for source in sources(name):
            print(f"  {source}")
        wants = f"streams: {streams}; weights: {weights or 'none'}"
        print(f"  {cfg.size} px, {cfg.steps} steps; {wants}")
    if missing := sorted(packages.PACKAGES.keys() - there.keys()):
        print(f"\n{', '.join(missing)}: pip install '{packages.EXTRA}'")
    wrappers = ", ".join(f"{wrapper}(METHOD)" for wrapper in WRAPPERS)
    print(f"\nAround any method: {wrappers}. Settings: `jaxad train METHOD --help`")


def summary(name: str) -> str:
    """What a method is, in the first line of its file."""
    return _text(name).partition("\n")[0]


def sources(name: str) -> list[str]:
    """The papers that a method's file names: sentences with a year or an arXiv number."""
    paragraphs = [" ".join(part.split()) for part in _text(name).split("\n\n")[1:]]
    ends = r"(?<=[^.A-Z]\.)\s+(?=[A-Z])"
    sentences = [sentence for part in paragraphs for sentence in re.split(ends, part)]
    return [one for one in sentences if re.search(r"\b(19|20)\d\d\b|arXiv:", one)]


def _text(name: str) -> str:
    return inspect.getdoc(inspect.getmodule(DETECTORS[name].init)) or ""
