"""The eight ways to turn and mirror a square picture, by number.

View 2 t + m is the picture turned t times by a right angle, counterclockwise, then, for m = 1,
mirrored left to right.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

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


def place(row: int, column: int, view: int, side: int) -> tuple[int, int]:
    """Where the cell (row, column) of a view lies in the picture itself, of `side` cells."""
    if view % 2:
        column = side - 1 - column
    for _ in range(view // 2):
        row, column = column, side - 1 - row
    return row, column
