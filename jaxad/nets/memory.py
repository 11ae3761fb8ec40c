"""Block-wise memory: a map is divided into blocks, and each is assembled anew from learned items.

Hou et al., ICCV 2021 (arXiv:2107.13118), divide into blocks. Gong et al., ICCV 2019
(arXiv:1904.02639), address single cells: the limit of one block for each. Their code, "the
reference" here, is donggong1/memae-anomaly-detection. No code of Hou et al. is public.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxad.nets.layers import torch_bias, torch_kernel
from jaxad.ops import maps

EPSILON = 1e-12  # reference: of the shrinkage, of the division by the sum and of the logarithm
SMALLEST = 1e-6  # length of a vector with a direction; keeps gradients of shorter ones finite

# Inner product, as the reference's code; the same over sqrt(D); cosine, as its paper.
Similarity = Literal["dot", "scaled_dot", "cosine"]


class Memory(nn.Module):
    """Items that replace the blocks of a map; shared by all blocks, moved by gradients alone.

    Attributes:
      items: N, how many.
      rates: blocks along rows and columns of the map: (1, 1) has a template of the whole map, as
        many as there are cells is MemAE.
      similarity: between a block and a key.
      key_channels: of learned keys that projected blocks are compared with; None takes the items
        themselves. For large blocks, whose comparison in full would be noise.
    """

    items: int
    rates: tuple[int, int]
    similarity: Similarity = "cosine"
    key_channels: int | None = None

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B H W C"],
        temperature: float | Array = 1.0,
        threshold: float | Array = 0.0,
    ) -> tuple[Float[Array, "B H W C"], Float[Array, "B n N"]]:
        """The assembled map, and the weight that each of the n blocks gives to each item.

        Raises:
          ValueError: there are no items, or the map cannot be divided so.
        """
        if self.items < 1:
            raise ValueError(f"a memory of {self.items} items: expected 1 or more")
        blocks = unfold(x, self.rates)
        size = blocks.shape[-1]
        # U(-1/sqrt(D), 1/sqrt(D)), as the reference draws a memory.
        items = self.param("items", torch_bias(size), (self.items, size))
        queries, keys = blocks, items
        if self.key_channels is not None:
            queries = nn.Dense(
                self.key_channels, use_bias=False, kernel_init=torch_kernel, name="query"
            )(blocks)
            shape = (self.items, self.key_channels)
            keys = self.param("keys", torch_bias(self.key_channels), shape)
        weights = addressing(queries, keys, self.similarity, temperature, threshold)
        return fold(weights @ items, self.rates, (x.shape[1], x.shape[2])), weights


def padding(side: int, rate: int) -> int:
    """Cells to be added after `side` cells, so that `rate` blocks of ceil(side / rate) fit.

    Raises:
      ValueError: no blocks, or one that would hold nothing but padding.
    """
    if rate < 1:
        raise ValueError(f"a division into {rate} blocks: expected 1 or more")
    block = -(-side // rate)
    missing = block * rate - side
    if missing >= block:
        raise ValueError(
            f"{side} cells do not divide into {rate} blocks: with {block} cells to a block, the "
            f"last would hold padding alone; rates without padding are {divisors(side)}"
        )
    return missing


def divisors(side: int) -> str:
    """The rates that divide `side` cells without padding, for messages."""
    return ", ".join(str(rate) for rate in range(1, side + 1) if side % rate == 0)


def unfold(x: Float[Array, "B H W C"], rates: tuple[int, int]) -> Float[Array, "B n D"]:
    """The blocks of a map as vectors, by rows of blocks; in a block by rows, columns, channels.

    A side that the rate does not divide is continued after its end by reflection about its last
    cell, by `padding` cells.

    Raises:
      ValueError: as `padding`.
    """
    batch, height, width, channels = x.shape
    below, right = padding(height, rates[0]), padding(width, rates[1])
    if below or right:
        x = jnp.pad(x, ((0, 0), (0, below), (0, right), (0, 0)), mode="reflect")
    rows, columns = (height + below) // rates[0], (width + right) // rates[1]
    x = x.reshape(batch, rates[0], rows, rates[1], columns, channels).swapaxes(2, 3)
    return x.reshape(batch, rates[0] * rates[1], rows * columns * channels)


def fold(
    blocks: Float[Array, "B n D"], rates: tuple[int, int], shape: tuple[int, int]
) -> Float[Array, "B H W C"]:
    """The map of `shape` whose blocks these are, less its padding: the inverse of `unfold`."""
    rows, columns = (
        (side + padding(side, rate)) // rate for side, rate in zip(shape, rates, strict=True)
    )
    batch, channels = blocks.shape[0], blocks.shape[-1] // (rows * columns)
    x = blocks.reshape(batch, *rates, rows, columns, channels).swapaxes(2, 3)
    x = x.reshape(batch, rates[0] * rows, rates[1] * columns, channels)
    return x[:, : shape[0], : shape[1]]


def addressing(
    queries: Float[Array, "*B D"],
    keys: Float[Array, "N D"],
    similarity: Similarity = "cosine",
    temperature: float | Array = 1.0,
    threshold: float | Array = 0.0,
) -> Float[Array, "*B N"]:
    """How much each item is worth to each query: not negative, with a sum of 1.

    Args:
      queries: blocks.
      keys: of the items.
      similarity: of which the softmax is taken.
      temperature: it is divided by; small ones choose few items.
      threshold: of `shrunk`; 0 for none.
    """
    if similarity == "cosine":
        queries, keys = (maps.unit_vectors(x, SMALLEST) for x in (queries, keys))
    scores = queries @ keys.T / temperature
    if similarity == "scaled_dot":
        scores = scores / jnp.sqrt(jnp.float32(keys.shape[-1]))
    return shrunk(jax.nn.softmax(scores), threshold)


def shrunk(weights: Float[Array, "*B N"], threshold: float | Array = 0.0) -> Float[Array, "*B N"]:
    """Weights above the threshold, divided by their sum; the others are 0.

    Source: hard shrinkage, Gong et al., 2019, section 3.3, in the continuous form of the code.
    """
    excess = weights - threshold
    kept = jax.nn.relu(excess) * weights / (jnp.abs(excess) + EPSILON)
    total = kept.sum(-1, keepdims=True)
    # Differs from the reference: a row without a weight above the threshold stays as it is; theirs
    # becomes zero, its output too, and no gradient reaches encoder and memory.
    return jnp.where(total > 0, kept / jnp.maximum(total, EPSILON), weights)


def entropy(weights: Float[Array, "*B N"]) -> Float[Array, ""]:
    """Mean entropy of the rows, in nats: 0 for one item each, log N for all of them equally."""
    return -(weights * jnp.log(weights + EPSILON)).sum(-1).mean()


def items_used(weights: Float[Array, "*B N"]) -> Float[Array, ""]:
    """How many items have the largest weight of at least one row."""
    count = weights.shape[-1]
    first = jax.nn.one_hot(weights.argmax(-1), count).reshape(-1, count)
    return first.max(0).sum()
