"""Options of a command line: one syntax, `--lr 3e-4`, for settings and for all else."""

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any

import tyro

from jaxad.cli.errors import Usage
from jaxad.detector import check_fields, values
from jaxad.detector import settings as settings_of
from jaxad.detector.types import read


def leading(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words before the first option, and the rest."""
    first = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    return list(words[:first]), list(words[first:])


def asked(
    words: Sequence[str], usage: str, description: str = "", **configs: Any
) -> tuple[Any, ...]:
    """Several configs with the values that options give them.

    Args:
      words: such as "--lr", "3e-4"; each option goes to the config that has a field of its name.
        One that is yes or no may stand alone: "--watch".
      usage: the command without its options, for the help.
      description: of the command, for the help.
      configs: options of a command, and settings of a detector, under the titles that the help
        gives them; no two have a field of one name.

    Raises:
      ValueError: no config has such a field, or a value is of another type or out of its range.
      SystemExit: help was asked for, and has been printed.
    """
    _check_syntax(words)
    whole = dataclasses.make_dataclass(
        "Command",
        [
            (title, _unprefixed(cfg), dataclasses.field(default=cfg))
            for title, cfg in configs.items()
        ],
    )
    found = read(whole(), _with_true(words, configs), prog=usage, description=description)
    given = tuple(getattr(found, title) for title in configs)
    for cfg in given:
        check_fields(cfg)
    return given


def option(name: str) -> str:
    """How a setting is written in a command line: "batch_size" as "--batch-size"."""
    return "--" + name.replace("_", "-")


def field(word: str) -> str | None:
    """The name of the field that a word such as "--batch-size=8" is the option of; None if none."""
    match = re.fullmatch(r"--([A-Za-z][\w.-]*)(=.*)?", word, re.DOTALL)
    return match[1].replace("-", "_") if match else None


def given(words: Sequence[str], name: str) -> bool:
    """Whether a command line has an option of this name."""
    return any(field(word) == name for word in words)


def grouped(words: Sequence[str]) -> list[list[str]]:
    """Each option with the words that follow it."""
    groups: list[list[str]] = []
    for word in words:
        if field(word) is not None or word == "-h" or not groups:
            groups.append([])
        groups[-1].append(word)
    return groups


def parted(words: Sequence[str], names: Collection[str]) -> tuple[list[str], list[str]]:
    """The words of the options that have one of these names, and those of the others."""
    theirs: list[str] = []
    others: list[str] = []
    for group in grouped(words):
        (theirs if field(group[0]) in names else others).extend(group)
    return theirs, others


def expected(places: Sequence[str], *names: str) -> list[str]:
    """The words before the options, if there is one for each name.

    Raises:
      Usage: there are more or fewer.
    """
    if len(places) != len(names):
        found = repr(" ".join(places)) if places else "nothing"
        raise Usage(f"expected {' '.join(names)} before the options, found {found}")
    return list(places)


def _unprefixed(cfg: Any) -> Any:
    """The type of a config, whose fields are options by their own names.

    Where configs inside one another have a field of one name, those inside keep their path.
    """
    if any("." in name for name in settings_of(cfg)):
        return Annotated[type(cfg), tyro.conf.arg(name="")]
    return tyro.conf.OmitArgPrefixes[type(cfg)]


def _with_true(words: Sequence[str], configs: Mapping[str, Any]) -> list[str]:
    """The words, with "true" after an option that is yes or no and stands alone."""
    settings = {name: x for cfg in configs.values() for name, x in values(cfg).items()}
    whole: list[str] = []
    for group in grouped(words):
        alone = len(group) == 1 and "=" not in group[0]
        yes = alone and isinstance(settings.get(field(group[0]) or ""), bool)
        whole += [*group, "true"] if yes else group
    return whole


def _check_syntax(words: Sequence[str]) -> None:
    """Raises Usage for a word such as "lr=3e-4", which belongs to Python."""
    for before, word in zip(["", *words], words, strict=False):
        is_value = field(before) is not None and "=" not in before
        if not is_value and re.match(r"[a-z]\w*=", word):
            name, _, value = word.partition("=")
            raise Usage(f"{word!r}: write it as {option(name)} {value}")
