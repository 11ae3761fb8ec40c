"""Values of settings as text, and whether they are of their field's type.

Text is read by tyro, in the command line and in `override` by the same rules: a tuple is one word
with commas, "none" is None, and a number that a sweep may vary is a number.
"""

import contextlib
import functools
import io
import re
import types
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import tyro
from jaxtyping import Array
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

T = TypeVar("T")

REGISTRY = ConstructorRegistry()
BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@REGISTRY.primitive_rule
def _boolean(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    if info.type is not bool:
        return None
    is_bool = lambda value: isinstance(value, bool)
    return PrimitiveConstructorSpec(1, "{true,false}", _read_boolean, is_bool, lambda x: [shown(x)])


def _read_boolean(words: list[str]) -> bool:
    if words[0].lower() not in BOOLEANS:
        raise ValueError(f"expected true or false, not {words[0]!r}")
    return BOOLEANS[words[0].lower()]


@REGISTRY.primitive_rule
def _union(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """None in lower case, and `Scalar`, of which text can only be the number."""
    kinds = typing.get_args(info.type)
    if info.type_origin not in (typing.Union, types.UnionType):
        return None
    of_text = [_spec(kind) for kind in kinds if kind not in (type(None), Array)]
    metavar = "|".join([spec.metavar for spec in of_text] + ["none"] * (type(None) in kinds))
    read_one = functools.partial(_read_one, info.type, of_text)
    is_one = lambda value: is_of(value, info.type)
    words = lambda value: ["none" if value is None else shown(value)]
    return PrimitiveConstructorSpec(1, metavar, read_one, is_one, words)


def _read_one(hint: Any, of_text: list[PrimitiveConstructorSpec], words: list[str]) -> Any:
    if type(None) in typing.get_args(hint) and words[0].lower() == "none":
        return None
    for spec in of_text:
        with contextlib.suppress(ValueError):
            return _value(spec, words[0])
    raise ValueError(f"expected {described(hint)}, not {words[0]!r}")


@REGISTRY.primitive_rule
def _tuple(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    if info.type_origin is not tuple:
        return None
    kinds = typing.get_args(info.type)
    several = kinds[-1] is Ellipsis
    specs = [_spec(kind) for kind in kinds if kind is not Ellipsis]
    metavar = f"{specs[0].metavar},..." if several else ",".join(x.metavar for x in specs)
    read_several = functools.partial(_read_several, specs, several)
    is_one = lambda value: is_of(value, info.type)
    return PrimitiveConstructorSpec(1, metavar, read_several, is_one, lambda value: [shown(value)])


def _read_several(
    specs: list[PrimitiveConstructorSpec], any_number: bool, words: list[str]
) -> tuple:
    parts = [part for part in words[0].split(",") if part]
    each = specs * len(parts) if any_number else specs
    if len(each) != len(parts):
        raise ValueError(f"expected {len(each)} values separated by commas, not {words[0]!r}")
    return tuple(_value(spec, part) for spec, part in zip(each, parts, strict=True))


def parsed(name: str, text: str, hint: Any) -> Any:
    """The value that `text` gives a field `name` of type `hint`; ValueError if it is no such."""
    try:
        return _value(_spec(hint), text)
    except ValueError as error:
        own = str(error) if str(error).startswith("expected") else f"expected {described(hint)}"
        raise ValueError(f"{name}={text}: {own.partition(', not ')[0]}") from None


def read(default: T, words: Sequence[str], **shown: Any) -> T:
    """A dataclass with the values that words such as "--lr", "3e-4" give its fields.

    Args:
      default: what has the values of fields that are not named.
      words: of a command line.
      shown: how `tyro.cli` describes it in its help.

    Raises:
      ValueError: there is no such field, or a value is not of its type.
      SystemExit: help was asked for, and has been printed.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(
                type(default), default=default, args=list(words), registry=REGISTRY,
                config=(tyro.conf.FlagConversionOff, tyro.conf.SuppressFixed), **shown,
            )  # fmt: skip
    except SystemExit as end:
        if not end.code:
            raise
        raise ValueError(_sentence(said.getvalue())) from None


def _sentence(box: str) -> str:
    """What is said in the first part of a frame drawn by tyro, and its suggestion, as one line.

    The frame is of other characters where the terminal's encoding lacks these.
    """
    lines = [line.strip("│ ") for line in box.splitlines()[1:]]
    parts = [part for part in re.split(r"\s*[─-]{5,}\s*", " ".join(lines)) if part]
    said = parts[0].removeprefix("Error parsing ").strip().rstrip(".")
    near = re.findall(r"--[\w.-]+", parts[1]) if len(parts) > 1 and "meant" in parts[1] else []
    return f"{said} (did you mean {' or '.join(near[:2])}?)" if near else said


def _spec(hint: Any) -> PrimitiveConstructorSpec:
    with REGISTRY:
        found = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(hint, set()))
    if not isinstance(found, PrimitiveConstructorSpec):
        raise TypeError(f"settings cannot be of type {hint}")
    return found


def _value(spec: PrimitiveConstructorSpec, text: str) -> Any:
    if spec.choices and text not in spec.choices:
        raise ValueError(f"expected one of {', '.join(spec.choices)}, not {text!r}")
    return spec.instance_from_str([text])


def is_of(value: Any, hint: Any) -> bool:
    """Whether a value is of a field's type; hints that are not understood fit all."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(is_of(value, kind) for kind in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        pairs = zip(value, kinds, strict=False)
        return len(kinds) == len(value) and all(is_of(*pair) for pair in pairs)
    if hint is float:
        return isinstance(value, int | float | np.generic) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint) if isinstance(hint, type) else True


def described(hint: Any) -> str:
    """A type in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin in (typing.Union, types.UnionType):
        kinds = [described(kind) for kind in arguments if kind is not Array]
        return " or ".join(kinds)
    if origin is tuple:
        return f"a tuple, each {described(arguments[0])}"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return names.get(hint, "none" if hint is type(None) else str(hint))


def shown(value: Any) -> str:
    """A value as it is written in a setting."""
    if isinstance(value, tuple):
        return ",".join(map(shown, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
