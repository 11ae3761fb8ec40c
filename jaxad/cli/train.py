"""`jaxad train METHOD DATA RUN`: learn from normal pictures, then evaluate and show."""

import inspect
import pathlib
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from jaxad.cli.errors import Usage, told
from jaxad.cli.options import asked, given, leading
from jaxad.cli.run_options import DataOptions, DeviceOptions, HostOptions, RunOptions, folder_of
from jaxad.data.reading import Reading
from jaxad.detector import Detector, check_settings
from jaxad.training.named import detector as named
from jaxad.training.writers import check

HELP = """usage: jaxad train METHOD DATA RUN [--lr 3e-4 ...]

Learns from normal pictures; where there are test pictures, measures and shows what was learned.

  METHOD  {methods}
          or a wrapper around one, such as "flipped(stfpm)"
  DATA    a folder laid out like MVTec AD, MVTec LOCO, VisA or DAGM; several as A,B, or a folder of
          such folders: a model for each, or with --unified true one for all; "workpieces", rendered
          pictures, or one category of them, "workpieces/plate"; what `jaxad pack` made of a folder;
          or, in its place, plain folders: --normal A [--test B [--masks C]] [--test-normal D]
  RUN     the folder to write to; the same command again goes on there, with more --steps too

`jaxad train METHOD --help` tells the options and the settings of a method."""


def main(words: Sequence[str]) -> None:
    """The verb."""
    if not words or words[0] in ("-h", "--help"):
        from jaxad.methods import DETECTORS

        print(HELP.format(methods=", ".join(DETECTORS)))
        return
    detector = named(words[0])
    train(detector, detector.Config(), words[1:], usage=f"jaxad train {words[0]} DATA RUN")


def recipe(
    detector: Detector,
    cfg: Any,
    run: RunOptions = RunOptions(),  # noqa: B008, frozen
    data: DataOptions = DataOptions(),  # noqa: B008
    reading: Reading = Reading(),  # noqa: B008
) -> None:
    """`jaxad train` as a script, with these settings where the command line gives no others."""
    usage = f"python {sys.argv[0]} DATA RUN"
    command = lambda words: train(detector, cfg, words, run, data, reading, usage)
    sys.exit(told(command, sys.argv[1:]))


def train(
    detector: Detector,
    cfg: Any,
    words: Sequence[str],
    run: RunOptions = RunOptions(),  # noqa: B008
    data: DataOptions = DataOptions(),  # noqa: B008
    reading: Reading = Reading(),  # noqa: B008
    usage: str = "",
) -> None:
    """Trains, evaluates and reports what a command line says.

    Args:
      detector: the method.
      cfg: its settings where the command line gives none.
      words: DATA, RUN and options.
      run: options of the run where the command line gives none.
      data: options of the data where the command line gives none.
      reading: how files become pictures where the command line does not say.
      usage: for messages and the help.

    Raises:
      ValueError: something in the words, the settings or the data is not as it should be.
    """
    places, rest = leading(words)
    if given(rest, "steps") and given(rest, "epochs"):
        raise Usage("--steps and --epochs: say one of the two")
    about = inspect.getdoc(inspect.getmodule(detector.init)) or ""
    run, data, reading, devices, others, cfg = asked(
        rest, usage, about.partition("\n")[0], run=run, data=data, reading=reading,
        devices=DeviceOptions(), hosts=HostOptions(), settings=cfg,
    )  # fmt: skip
    place, workdir = _places(places, data, usage)
    epochs = None if given(rest, "steps") else run.epochs
    check_settings(detector, cfg)
    check(run.log)
    # Imported now that the words are known to be right: a help text need not wait for it.
    from jaxad.cli.learn import learn

    typed = shlex.join([*usage.removesuffix(" DATA RUN").split(), *words])
    learn(detector, cfg, place, workdir, run, data, reading, epochs, devices, others, typed)


def _places(places: list[str], data: DataOptions, usage: str) -> tuple[str | None, pathlib.Path]:
    """DATA, or None where --normal takes its place, and RUN.

    Raises:
      Usage: one is missing, there are too many, or a setting stands in the place of one.
    """
    names = ["DATA", "RUN"] if data.normal is None else ["RUN"]
    for word in places:
        if "=" in word and not pathlib.Path(word).exists():
            name, _, value = word.partition("=")
            raise Usage(f"{word!r} stands where a folder was expected: write --{name} {value}")
    if len(places) < len(names):
        missing = names[len(places)]
        what = {"DATA": "the folder of pictures, DATA,", "RUN": "the folder to write to, RUN,"}
        raise Usage(f"{what[missing]} is missing: {usage} [--option value ...]")
    if len(places) > len(names):
        raise Usage(
            f"{' '.join(places[len(names) :])!r}: expected options after {' '.join(names)}; "
            "several folders are written A,B"
        )
    return places[0] if data.normal is None else None, folder_of(places[-1])
