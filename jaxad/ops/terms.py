"""Sums and products of several arrays."""

import math
from collections.abc import Iterable

import jax.numpy as jnp
from jaxtyping import Array


def total(terms: Iterable[Array]) -> Array:
    """Their sum; 0 of none."""
    return jnp.asarray(sum(terms))


def product(factors: Iterable[Array]) -> Array:
    """Their product; 1 of none."""
    return jnp.asarray(math.prod(factors))
