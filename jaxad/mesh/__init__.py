"""Many devices and many hosts, by JAX's own means.

    with mesh.use("data:8"):
        state = jaxad.fit(detector, cfg, pretrained, data, key)

Within `use`, what is compiled runs over all devices of the mesh: batches are split along the axis
"data", members of a sweep along "member", large parameters along "model". Methods know nothing of
it: a train step sees the whole batch, whichever devices hold its parts.
"""

from jaxad.mesh.axes import chosen, current, make, parse, size, use
from jaxad.mesh.placement import (
    RULES,
    SETS,
    Rule,
    batch,
    by_rules,
    constrained,
    divisible,
    fetched,
    members,
    of_members,
    parts,
    placed,
    put,
    rows,
    shardings,
    spread,
)

__all__ = [
    "RULES",
    "SETS",
    "Rule",
    "batch",
    "by_rules",
    "chosen",
    "constrained",
    "current",
    "divisible",
    "fetched",
    "make",
    "members",
    "of_members",
    "parse",
    "parts",
    "placed",
    "put",
    "rows",
    "shardings",
    "size",
    "spread",
    "use",
]
