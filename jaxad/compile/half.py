"""Programs whose convolutions and products with learned weights are of half precision."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Var
from jax.typing import DTypeLike
from jaxtyping import Array, PyTree

PRODUCTS = ("conv_general_dilated", "dot_general")
# Calls whose body is computed in their place; loops and branches stay as they are.
BODIES = {
    "jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "remat": "jaxpr",
    "checkpoint": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr",
}  # fmt: skip


def half(function: Callable[..., PyTree], dtype: DTypeLike) -> Callable[..., PyTree]:
    """The function, with each product of weights and other numbers computed in `dtype`.

    Products are matrix products and convolutions where one side depends on the weights alone, and
    the other on more: layers of networks. Their operands are rounded to `dtype`, their results are
    float32 again. All else is computed as before: statistics, distances to stored features,
    attention between tokens, norms.

    Args:
      function: (weights, *arguments) -> a tree; of arrays.
      dtype: "bfloat16" or "float16".
    """

    def halved(weights: PyTree, *arguments: PyTree) -> PyTree:
        closed, shape = jax.make_jaxpr(function, return_shape=True)(weights, *arguments)
        leaves = [(x, True) for x in jax.tree.leaves(weights)]
        leaves += [(x, False) for x in jax.tree.leaves(arguments)]
        found = _computed(closed.jaxpr, closed.consts, leaves, dtype)
        return jax.tree.unflatten(jax.tree.structure(shape), [value for value, _ in found])

    return halved


Known = tuple[Any, bool | None]  # a value; whether it depends on weights alone; None: on nothing


def _computed(
    jaxpr: Jaxpr, constants: Sequence[Any], arguments: Sequence[Known], dtype: DTypeLike
) -> list[Known]:
    """The results of a jaxpr, equation by equation."""
    known: dict[Var, Known] = {}
    known |= {x: (value, None) for x, value in zip(jaxpr.constvars, constants, strict=True)}
    known |= dict(zip(jaxpr.invars, arguments, strict=True))
    read = lambda x: (x.val, None) if isinstance(x, Literal) else known[x]
    for equation in jaxpr.eqns:
        inputs = [read(x) for x in equation.invars]
        values, kinds = [x for x, _ in inputs], {kind for _, kind in inputs} - {None}
        name = equation.primitive.name
        if name in BODIES:
            outputs = _called(equation.params[BODIES[name]], inputs, dtype)
        elif name in PRODUCTS and kinds == {True, False}:
            outputs = [(_product(equation, values, dtype), False)]
        else:
            found = equation.primitive.bind(*values, **equation.params)
            several = found if equation.primitive.multiple_results else [found]
            outputs = [(x, kinds == {True} if kinds else None) for x in several]
        known |= dict(zip(equation.outvars, outputs, strict=True))
    return [read(x) for x in jaxpr.outvars]


def _called(body: ClosedJaxpr | Jaxpr, inputs: Sequence[Known], dtype: DTypeLike) -> list[Known]:
    if isinstance(body, ClosedJaxpr):
        return _computed(body.jaxpr, body.consts, inputs, dtype)
    return _computed(body, (), inputs, dtype)


def _product(equation: Any, values: Sequence[Array], dtype: DTypeLike) -> Array:
    (result,) = (x.aval.dtype for x in equation.outvars)
    if result != jnp.float32:  # of whole numbers, say
        return equation.primitive.bind(*values, **equation.params)
    parameters = equation.params | {"preferred_element_type": jnp.dtype(dtype), "precision": None}
    rounded = [value.astype(dtype) for value in values]
    return equation.primitive.bind(*rounded, **parameters).astype(jnp.float32)
