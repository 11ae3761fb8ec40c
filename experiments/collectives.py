"""What travels between devices in a compiled program, read from its text."""

import collections
import math
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
# A -done has no bytes of its own. Types of several results stand in parentheses, comments in them.
_OPERATION = re.compile(rf"= (\(.*?\)|\S+) ({'|'.join(KINDS)})(-start)?\(")
_ARRAY = re.compile(r"\b([a-z]+)(\d*)[a-z0-9]*\[([\d,]*)\]")
_BITS = {"pred": 8, "token": 0}


class Collective(NamedTuple):
    """One operation in which all devices take part.

    Attributes:
      kind: one of `KINDS`.
      arrays: the type of each array that a device has after it, such as "f32[8,64]".
      size: bytes of these arrays.
    """

    kind: str
    arrays: tuple[str, ...]
    size: int


def collectives(program: str) -> list[Collective]:
    """The collectives in the text of a compiled program.

    An operation within a loop counts once. Of an asynchronous one, the start counts.
    """
    found = []
    for result, kind, start in _OPERATION.findall(program):
        arrays = [match[0] for match in _ARRAY.finditer(result)]
        if start and kind in ("all-gather", "collective-permute"):
            # (what goes in, what comes out, perhaps counters)
            arrays = [array for array in arrays if array != "u32[]"]
            arrays = arrays[len(arrays) // 2 :]
        found.append(Collective(kind, tuple(arrays), sum(map(size, arrays))))
    return found


def size(array: str) -> int:
    """Bytes of an array, given its type: 2048 for "f32[8,64]"."""
    match = _ARRAY.match(array)
    assert match, array
    bits = _BITS.get(match[1], int(match[2] or 0))
    return -(-math.prod(sides(array)) * bits // 8)


def sides(array: str) -> tuple[int, ...]:
    """The shape of an array, given its type: (8, 64) for "f32[8,64]"."""
    match = _ARRAY.match(array)
    assert match, array
    return tuple(int(side) for side in match[3].split(",") if side)


def by_kind(found: Sequence[Collective]) -> dict[str, dict[str, int]]:
    """{kind: {"count", "bytes"}} of the kinds that there are."""
    return {
        kind: {
            "count": sum(one.kind == kind for one in found),
            "bytes": sum(one.size for one in found if one.kind == kind),
        }
        for kind in KINDS
        if any(one.kind == kind for one in found)
    }


def growing(few: Sequence[Collective], many: Sequence[Collective]) -> list[str]:
    """Arrays in the collectives of a program for more pictures that one for fewer has not.

    Such arrays are made of pictures. Those of parameters, of their gradients and of statistics are
    the same for any batch.
    """
    there = collections.Counter(array for one in few for array in one.arrays)
    more = collections.Counter(array for one in many for array in one.arrays)
    return sorted((more - there).elements())


def per_picture(
    found: Sequence[Collective], batch_size: int, learned: Collection[tuple[int, ...]] = ()
) -> int:
    """Bytes for each picture, in arrays of three axes or more whose first is that of the pictures.

    Args:
      found: in a program.
      batch_size: of the whole batch.
      learned: shapes that are none of pictures though they may begin with the same number.
    """
    total = 0
    for array in (array for one in found for array in one.arrays):
        shape = sides(array)
        if len(shape) >= 3 and shape[0] == batch_size and shape not in learned:
            total += size(array)
    return total // batch_size
