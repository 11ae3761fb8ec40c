"""A traced program gone through equation by equation, each computed as a caller likes."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Var

# Calls whose body is gone through in their place; loops and branches are equations.
BODIES = {
    "jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "remat": "jaxpr",
    "checkpoint": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr",
}  # fmt: skip
T = TypeVar("T")


def results(
    program: ClosedJaxpr | Jaxpr,
    arguments: Sequence[T],
    constant: Callable[[Any], T],
    computed: Callable[[Any, list[T]], Sequence[T]],
) -> list[T]:
    """What a program gives.

    Args:
      program: as `jax.make_jaxpr` traces it.
      arguments: whatever stands for its arguments, one for each.
      constant: makes of a constant's value what stands for it.
      computed: of an equation and what stands for its inputs, what stands for its outputs.
    """
    closed = isinstance(program, ClosedJaxpr)
    jaxpr: Jaxpr = program.jaxpr if closed else program
    constants = [constant(x) for x in (program.consts if closed else ())]
    known: dict[Var, T] = dict(zip(jaxpr.constvars, constants, strict=True))
    known |= dict(zip(jaxpr.invars, arguments, strict=True))
    read = lambda x: constant(x.val) if isinstance(x, Literal) else known[x]
    for equation in jaxpr.eqns:
        inputs, name = [read(x) for x in equation.invars], equation.primitive.name
        if name in BODIES:
            outputs = results(equation.params[BODIES[name]], inputs, constant, computed)
        else:
            outputs = computed(equation, inputs)
        known |= dict(zip(equation.outvars, outputs, strict=True))
    return [read(x) for x in jaxpr.outvars]


def bound(equation: Any, values: Sequence[Any]) -> Sequence[Any]:
    """The results of an equation as JAX computes it."""
    found = equation.primitive.bind(*values, **equation.params)
    return found if equation.primitive.multiple_results else [found]
