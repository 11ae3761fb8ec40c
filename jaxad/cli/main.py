"""The command: finds the verb, and says what there is."""

import difflib
import importlib
import importlib.metadata
import sys
from collections.abc import Sequence

from jaxad.cli.errors import Usage, told

VERBS = {
    "quickstart": "learn and find defects in rendered pictures, in a few minutes",
    "inspect": "look through a folder of pictures before anything is trained on it",
    "pack": "put a folder of pictures into a few large files, which train as it does",
    "train": "learn from normal pictures, then evaluate where there are test pictures",
    "evaluate": "measure a trained model again, on its own or on other test pictures",
    "report": "make the page about a run anew, in one file or with pictures of full size",
    "predict": "decide about new pictures: normal or anomalous, and where",
    "compare": "score the same pictures with several runs, and show where verdicts differ",
    "calibrate": "make a new decision card from normal pictures, without training",
    "drift": "tell whether new pictures still score as the card's normal ones did",
    "export": "write a trained model as a folder that works elsewhere, without jaxad too",
    "serve": "answer pictures over HTTP, with a page to try them",
    "sweep": "train several settings and seeds together, and compare them",
    "methods": "what there is to train: paper, what it reads, weights",
    "weights": "list the networks found here and their licences, or convert a published file",
    "doctor": "look at this installation, and train and predict for a moment",
}

HELP = """usage: jaxad VERB ...

Image anomaly detection: learns from normal pictures, then says of a new one whether, where and how
strongly it departs from them.

{verbs}

  jaxad quickstart
  jaxad train efficientad FOLDER RUN --steps 2000
  jaxad evaluate RUN

`jaxad VERB --help` tells the options of a verb, `jaxad train METHOD --help` those of a method.
--version prints the version; --debug shows where an error comes from."""


def main(words: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      words: of the command line, `sys.argv[1:]` by default.

    Returns:
      the exit status: 0; 2 for wrong use, 1 for a failure, 130 for an interruption.
    """
    return told(_run, sys.argv[1:] if words is None else words)


def _run(words: Sequence[str]) -> None:
    verb, *rest = words or ["--help"]
    if verb in ("-h", "--help", "help"):
        width = max(map(len, VERBS))
        print(HELP.format(verbs="\n".join(f"  {v:<{width}}  {VERBS[v]}" for v in VERBS)))
    elif verb == "--version":
        print(f"jaxad {importlib.metadata.version('jaxad')}")
    elif verb in VERBS:
        importlib.import_module(f"jaxad.cli.{verb}").main(rest)
    else:
        close = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise Usage(f"there is no verb {verb!r}; {hint}verbs are {', '.join(VERBS)}")
