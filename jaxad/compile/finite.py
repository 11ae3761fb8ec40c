"""Whether all numbers of a state are finite: one program, one answer, whatever it holds."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, PyTree

from jaxad import mesh


def check_finite(tree: PyTree) -> None:
    """Raises FloatingPointError that names the first leaf with NaN or infinity."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    fine = mesh.fetched(_finite([leaf for _, leaf in leaves], 0))
    if not fine.all():
        path = jax.tree_util.keystr(leaves[int(np.argmin(fine))][0])
        raise FloatingPointError(f"{path} has values that are not finite")


def finite_members(states: PyTree) -> Bool[np.ndarray, "m"]:
    """Which members of stacked states have finite numbers only."""
    fine = mesh.fetched(_finite(jax.tree.leaves(states), 1))
    return np.asarray(fine.all(0))


@functools.partial(jax.jit, static_argnums=1)
def _finite(leaves: list[Array], axes: int) -> Bool[Array, "leaves *members"]:
    """Of each leaf, whether all is finite; the first `axes` axes stay."""
    return jnp.stack([jnp.isfinite(x).all(range(axes, jnp.ndim(x))) for x in leaves])
