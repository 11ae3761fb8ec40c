"""Programs whose convolutions and products with learned weights are of half precision."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, PyTree

from jaxad.compile.equations import bound, results

PRODUCTS = ("conv_general_dilated", "dot_general")


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
        found = results(closed, leaves, lambda x: (x, None), functools.partial(_computed, dtype))
        return jax.tree.unflatten(jax.tree.structure(shape), [value for value, _ in found])

    return halved


Known = tuple[Any, bool | None]  # a value; whether it depends on weights alone; None: on nothing


def _computed(dtype: DTypeLike, equation: Any, inputs: list[Known]) -> list[Known]:
    values, kinds = [x for x, _ in inputs], {kind for _, kind in inputs} - {None}
    if equation.primitive.name in PRODUCTS and kinds == {True, False}:
        return [(_product(equation, values, dtype), False)]
    return [(x, kinds == {True} if kinds else None) for x in bound(equation, values)]


def _product(equation: Any, values: Sequence[Array], dtype: DTypeLike) -> Array:
    (result,) = (x.aval.dtype for x in equation.outvars)
    if result != jnp.float32:  # of whole numbers, say
        return equation.primitive.bind(*values, **equation.params)
    parameters = equation.params | {"preferred_element_type": jnp.dtype(dtype), "precision": None}
    rounded = [value.astype(dtype) for value in values]
    return equation.primitive.bind(*rounded, **parameters).astype(jnp.float32)
