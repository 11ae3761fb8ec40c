"""Values of settings as text, and whether they are of their field's type."""

import types
import typing
from typing import Any

import numpy as np
from jaxtyping import Array


def parsed(name: str, text: str, hint: Any) -> Any:
    """The value that `text` gives a field `name` of type `hint`; ValueError if it is no such."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        words = [word for word in text.split(",") if word]
        kinds = arguments[:1] * len(words) if arguments[-1] is Ellipsis else arguments
        if len(kinds) != len(words):
            raise ValueError(f"{name}={text}: expected {len(kinds)} values separated by commas")
        return tuple(parsed(name, word, kind) for word, kind in zip(words, kinds, strict=True))
    if origin in (typing.Union, types.UnionType):
        if type(None) in arguments and text.lower() == "none":
            return None
        hint = next(kind for kind in arguments if kind is not type(None))
    if origin is typing.Literal:
        if text not in arguments:
            raise ValueError(f"{name}={text}: expected {described(hint)}")
        return text
    if hint is bool:
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if text.lower() not in words:
            raise ValueError(f"{name}={text}: expected true or false")
        return words[text.lower()]
    try:
        return hint(text)
    except ValueError:
        raise ValueError(f"{name}={text}: expected {described(hint)}") from None


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
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
