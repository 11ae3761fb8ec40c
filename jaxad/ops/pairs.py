"""Two batches through a network in one call, as pairs.

One after the other in one batch would move half of the pictures to other devices, where several
share a batch; side by side each picture stays where it is.
"""

import jax.numpy as jnp
from jaxtyping import Array, Shaped


def joined(one: Shaped[Array, "B *P"], other: Shaped[Array, "B *P"]) -> Shaped[Array, "2*B *P"]:
    """Both as one batch: the first of one, the first of the other, the second of one, ..."""
    return jnp.stack([one, other], 1).reshape(-1, *one.shape[1:])


def apart(both: Shaped[Array, "N *P"]) -> tuple[Shaped[Array, "N//2 *P"], Shaped[Array, "N//2 *P"]]:
    """The two of `joined`, or what a network made of them."""
    pairs = both.reshape(-1, 2, *both.shape[1:])
    return pairs[:, 0], pairs[:, 1]
