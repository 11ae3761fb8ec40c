"""Members put together and taken apart outside of programs.

Compiled, so that a tree of many shapes costs one small program and not one for each shape.
"""

import functools
from collections.abc import Callable, Sequence

from jaxtyping import PyTree

from jaxad.compile.programs import jit
from jaxad.ops import stacked


def together(trees: Sequence[PyTree]) -> PyTree:
    """As `stacked.stack`, as one program.

    Raises:
      ValueError: as `stacked.stack`.
    """
    return jit(stacked.stack)(list(trees))


def apart(tree: PyTree, count: int) -> list[PyTree]:
    """As `stacked.apart`, as one program."""
    return _apart(count)(tree)


@functools.cache
def _apart(count: int) -> Callable[[PyTree], list[PyTree]]:
    return jit(functools.partial(stacked.apart, count=count))
