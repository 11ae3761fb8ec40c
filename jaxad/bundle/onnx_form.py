"""A traced program in the form that jax2onnx converts: plain operators that every runtime has.

jax2onnx (0.17) knows JAX's primitives but for some, and some of them not for batches of any size.
So the program of `predict` is gone through once, equation by equation. What does not depend on the
images is computed: noise of a fixed key, weights of interpolation. Calls are written out, and so
are loops whose number of turns is then known; and the primitives in `onnx_rules` are computed by
others. Results are the same but for rounding.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr
from jaxtyping import Array

from jaxad.bundle.onnx_rules import RULES, depends
from jaxad.compile.equations import bound, results

TURNS = 64  # of a loop that is written out, at most
LARGE = 2**20  # numbers: a constant of so many is not made by repeating smaller ones


def written_out(program: ClosedJaxpr) -> Callable[..., list[Array]]:
    """The program as a function of its arguments, to be traced by jax2onnx."""
    return lambda *arguments: _computed(program, arguments)


def _computed(program: ClosedJaxpr | Jaxpr, arguments: Sequence[Any]) -> list[Any]:
    return results(program, arguments, lambda x: x, _equation)


def _equation(equation: Any, values: Sequence[Any]) -> Sequence[Any]:
    name, parameters = equation.primitive.name, equation.params
    if not any(map(depends, values)) and _may_be_computed(equation):
        with jax.ensure_compile_time_eval():
            return bound(equation, values)
    if name in LOOPS and (found := LOOPS[name](parameters, values)) is not None:
        return found
    if name in RULES and (result := RULES[name](parameters, *values)) is not None:
        return [result]
    return bound(equation, values)


def _may_be_computed(equation: Any) -> bool:
    """Whether results have a known shape, and are no large repetition of something small."""
    shapes = [x.aval.shape for x in equation.outvars]
    if not all(isinstance(side, int) for shape in shapes for side in shape):
        return False
    return equation.primitive is not lax.broadcast_in_dim_p or math.prod(shapes[0]) < LARGE


def _scan(parameters: dict[str, Any], values: Sequence[Any]) -> list[Any] | None:
    """A loop of a fixed number of turns; None if they are too many."""
    if parameters["length"] > TURNS:
        return None
    constants, carried = parameters["num_consts"], parameters["num_carry"]
    fixed, state = values[:constants], list(values[constants : constants + carried])
    rows, collected = values[constants + carried :], []
    turns = range(parameters["length"])
    for turn in reversed(turns) if parameters["reverse"] else turns:
        found = _computed(parameters["jaxpr"], [*fixed, *state, *(row[turn] for row in rows)])
        state = found[:carried]
        collected.append(found[carried:])
    if parameters["reverse"]:
        collected.reverse()
    return [*state, *(jnp.stack(column) for column in zip(*collected, strict=True))]


def _while(parameters: dict[str, Any], values: Sequence[Any]) -> list[Any] | None:
    """A loop whose end does not depend on the images; None of others, or if turns are too many."""
    of_condition, of_body = parameters["cond_nconsts"], parameters["body_nconsts"]
    condition, body = values[:of_condition], values[of_condition : of_condition + of_body]
    state = list(values[of_condition + of_body :])
    for _ in range(TURNS + 1):
        (goes_on,) = _computed(parameters["cond_jaxpr"], [*condition, *state])
        if depends(goes_on):
            return None
        if not goes_on:
            return state
        state = _computed(parameters["body_jaxpr"], [*body, *state])
    return None


LOOPS = {"scan": _scan, "while": _while}
