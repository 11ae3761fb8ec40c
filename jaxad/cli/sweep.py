"""`jaxad sweep METHOD DATA OUT`: several settings and seeds trained together and compared."""

import itertools
from collections.abc import Sequence
from typing import Any

from jaxad.cli.errors import Usage
from jaxad.cli.options import asked, field, given, grouped, leading
from jaxad.cli.run_options import DataOptions, DeviceOptions, HostOptions, folder_of
from jaxad.data.reading import Reading
from jaxad.detector import check_settings, config, override, static
from jaxad.detector import settings as settings_of
from jaxad.training.named import detector as named
from jaxad.training.selection import Select
from jaxad.training.writers import Log, check

HELP = """usage: jaxad sweep METHOD DATA OUT [--lr 1e-4 3e-4 ...] [--seeds 3]

Trains every combination of the values that settings are given, each with every seed, as one
program; seeds are shared, so that differences are paired. Where there are test pictures, compares.
METHOD and DATA as for `jaxad train`. A setting that has several numbers takes them with commas.

  jaxad sweep efficientad workpieces/plate runs/sweep --lr 3e-4 1e-3 --p-hard 0.9 0.99 --seeds 3

OUT gets index.html, sweep.csv, sweep.jsonl, summary.txt and a plot for each swept setting.
Interrupted, the same command goes on. `jaxad sweep METHOD --help` tells the options and the
settings of a method."""


@config
class SweepOptions:
    """How it is trained."""

    seeds: int = static(3, 1)  # how many
    epochs: float | None = static(None, above=0)  # in place of --steps: passes over the pictures
    at_once: int | None = static(None, 1)  # members that train at once; none: as many as fit
    save_every: int = static(500, 1)  # steps between checkpoints
    select: Select = static("last")  # the result: the last state, or that of least held-out loss
    cache: str = static("none")  # frozen features: "memory", a folder, or "none": in every step
    workers: int = static(0, 0)  # processes that read pictures; 0 reads in threads
    log: Log = static("none")  # the metrics go there too: OUT/tensorboard, or Weights & Biases


def main(words: Sequence[str]) -> None:
    """The verb."""
    if not words or words[0] in ("-h", "--help"):
        print(HELP)
        return
    detector = named(words[0])
    usage = f"jaxad sweep {words[0]} DATA OUT"
    places, rest = leading(words[1:])
    rest, swept = separated(rest, detector.Config())
    options, data, reading, devices, others, base = asked(
        rest, usage, "Several values of a setting are compared: --lr 1e-4 3e-4",
        sweep=SweepOptions(), data=DataOptions(), reading=Reading(), devices=DeviceOptions(),
        hosts=HostOptions(), settings=detector.Config(),
    )  # fmt: skip
    wanted = 2 if data.normal is None else 1
    if len(places) != wanted:
        raise Usage(f"expected {'DATA and OUT' if wanted == 2 else 'OUT'}: {usage} [--option ...]")
    if given(rest, "epochs") and (given(rest, "steps") or "steps" in swept):
        raise Usage("--steps and --epochs: say one of the two")
    for cfg in grid(base, swept):
        check_settings(detector, cfg)
    check(options.log)
    # Imported now that the words are known to be right: a help text need not wait for it.
    from jaxad.cli.sweeping import run_sweep

    place = places[0] if wanted == 2 else None
    out = folder_of(places[-1])
    run_sweep(detector, base, swept, place, out, options, data, reading, devices, others)


def separated(words: Sequence[str], cfg: Any) -> tuple[list[str], dict[str, list[str]]]:
    """The words without settings that have several values, and these values by setting.

    Raises:
      Usage: an option that is no setting has several values.
    """
    rest: list[str] = []
    swept: dict[str, list[str]] = {}
    names = settings_of(cfg)
    for first, *others in grouped(words):
        name = field(first) or ""
        _, equals, value = first.partition("=")
        values = [value] * bool(equals) + others
        if len(values) < 2:
            rest += [first, *others]
        elif name in names:
            swept[name] = values
        else:
            raise Usage(f"{first} is no setting: expected one value, not {' '.join(values)}")
    return rest, swept


def grid(base: Any, swept: dict[str, list[str]]) -> tuple[Any, ...]:
    """The settings with every combination of the values; the last one varies fastest.

    Raises:
      ValueError: a value is not of its setting's type.
    """
    rows = itertools.product(*([f"{name}={value}" for value in swept[name]] for name in swept))
    return tuple(override(base, row) for row in rows)
