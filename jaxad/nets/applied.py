"""Networks as functions of their variables."""

from typing import Any

from flax import linen as nn
from jaxtyping import PyTree


def output(network: nn.Module, variables: PyTree, *inputs: Any, **options: Any) -> Any:
    """What the network returns, where nothing in it moves: `apply` without `mutable`."""
    return network.apply(variables, *inputs, **options)
