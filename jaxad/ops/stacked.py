"""Members of a sweep or an ensemble: trees that have an axis of members in front."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree


def stack(trees: Sequence[PyTree]) -> PyTree:
    """Trees of one structure as one, whose leaves have an axis of members in front.

    Raises:
      ValueError: there are none, or their structures, shapes or static settings differ.
    """
    if len(trees) == 0:
        raise ValueError("nothing to stack: there are no members")
    first = trees[0]
    for i, tree in enumerate(trees):
        if jax.tree.structure(tree) != jax.tree.structure(first):
            raise ValueError(
                f"member {i} cannot be stacked with member 0: their structures or static settings "
                f"differ: {jax.tree.structure(tree)} and {jax.tree.structure(first)}"
            )
        leaves = zip(jax.tree_util.tree_leaves_with_path(first), jax.tree.leaves(tree), strict=True)
        for (path, one), other in leaves:
            if jnp.shape(one) != jnp.shape(other):
                raise ValueError(
                    f"member {i} cannot be stacked with member 0: {jax.tree_util.keystr(path)} has "
                    f"the shapes {jnp.shape(other)} and {jnp.shape(one)}"
                )
    return jax.tree.map(lambda *x: jnp.stack(x), *trees)


def stack_on_host(trees: Sequence[PyTree]) -> PyTree:
    """As `stack`, of trees in the host's memory, where the result stays."""
    return jax.tree.map(lambda *x: np.stack(x), *trees)


def nth(tree: PyTree, index: int) -> PyTree:
    """One member of a stacked tree."""
    return jax.tree.map(lambda x: x[index], tree)


def apart(tree: PyTree, count: int) -> list[PyTree]:
    """The members of a stacked tree."""
    return [nth(tree, i) for i in range(count)]
