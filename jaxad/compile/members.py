"""Members put together and taken apart outside of programs.

Compiled, so that a tree of many shapes costs one small program and not one for each shape.
"""

import functools
from collections.abc import Callable, Sequence

from jaxtyping import PyTree

from jaxad import mesh
from jaxad.compile.programs import jit
from jaxad.ops import stacked


def together(trees: Sequence[PyTree]) -> PyTree:
    """As `stacked.stack`, as one program; where a mesh has "member", by way of the host's memory.

    Raises:
      ValueError: as `stacked.stack`.
    """
    if mesh.size("member") > 1:  # no device has room for all
        return mesh.placed(stacked.stack_on_host(mesh.fetched(list(trees))), member=True)
    return jit(stacked.stack)(list(trees))


def apart(tree: PyTree, count: int) -> list[PyTree]:
    """As `stacked.apart`, as one program; where a mesh has "member", in the host's memory."""
    if mesh.size("member") > 1:
        return stacked.apart(mesh.fetched(tree), count)
    return jit(_apart(count))(tree)


@functools.cache
def _apart(count: int) -> Callable[[PyTree], list[PyTree]]:
    return functools.partial(stacked.apart, count=count)
