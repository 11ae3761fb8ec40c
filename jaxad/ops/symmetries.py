"""The eight ways to turn and mirror a square picture, by number.

View 2 t + m is the picture turned t times by a right angle, counterclockwise, then, for m = 1,
mirrored left to right.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

VIEWS = {  # sets of them
    "as_is": (0,),
    "flips": (0, 1, 4, 5),  # left to right, upside down, both
    "turns": (0, 2, 4, 6),
    "all": tuple(range(8)),
}


def seen(images: Float[Array, "B S S C"], view: int) -> Float[Array, "B S S C"]:
    """The images in that view."""
    turned = jnp.rot90(images, view // 2, (1, 2))
    return turned[:, :, ::-1] if view % 2 else turned


def place(
    row: Int[Array, "*B"], column: Int[Array, "*B"], view: Int[Array, "*B"], side: int
) -> tuple[Int[Array, "*B"], Int[Array, "*B"]]:
    """Where cells (row, column) of views lie in the pictures themselves, of `side` cells a side."""
    column = jnp.where(view % 2 == 1, side - 1 - column, column)
    for turn in range(3):
        more = view // 2 > turn
        row, column = jnp.where(more, column, row), jnp.where(more, side - 1 - row, column)
    return row, column
