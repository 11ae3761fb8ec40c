"""Images as they travel, uint8, and as functions want them, in [0, 1]: converted in one place."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree


@functools.cache  # always the same object for the same function, which so is compiled once
def taking(function: Callable, place: int, convert: Callable[[Any], Any]) -> Callable:
    """A function with `convert` applied to its argument at `place`, given by place or by name."""

    @functools.wraps(function)
    def taking(*arguments: Any, **named: Any) -> Any:
        bound = inspect.signature(function).bind(*arguments, **named)
        given = list(bound.args)
        given[place] = convert(given[place])
        return function(*given, **bound.kwargs)

    return taking


def unit(images: Any, name: str = "images") -> Any:
    """uint8 images as float32 in [0, 1]; floats, which are to lie there already, keep their values.

    Args:
      images: an array of NumPy or JAX.
      name: what an error calls them.

    Raises:
      TypeError: they are of another type.
    """
    if images.dtype == np.uint8:
        return jnp.asarray(images, jnp.float32) / 255
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(f"{name}: expected uint8, or floats in [0, 1], not {images.dtype}")
    return jnp.asarray(images)


def unit_batch(batch: dict[str, PyTree]) -> dict[str, PyTree]:
    """A batch whose images and streams are as `unit` makes them.

    Raises:
      TypeError: one of them is of another type.
    """
    pictures = {
        name: jax.tree.map(functools.partial(unit, name=f"batch[{name!r}]"), entry)
        for name, entry in batch.items()
        if name not in ("index", "features")
    }
    return {**batch, **pictures}


def checked(pictures: Any) -> Any:
    """Pictures as they are, looked at where they are an array.

    Of others `compile.over_set` looks at each slice.

    Raises:
      TypeError: they are neither uint8 nor floats.
    """
    if hasattr(pictures, "dtype"):
        unit(pictures[:0], "pictures")
    return pictures
