"""Networks that reconstruct features from features: a transformer, and stacks of plain layers.

Each goes from C channels to `hidden`, through its layers, and back to C.

You et al., NeurIPS 2022 (arXiv:2206.03687), section 3.
"""

from typing import Literal

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, PyTree

from jaxad.nets.layers import Conv
from jaxad.nets.transformer import (
    EPSILON,
    DecoderLayer,
    EncoderLayer,
    LearnedPositions,
    Positions,
    neighbours,
    sine_positions,
    xavier,
)

Features = Float[Array, "B h w C"]


class Transformer(nn.Module):
    """UniAD's transformer; without layer-wise queries and masks, a plain encoder and decoder.

    Attributes:
      grid: rows and columns of the features.
      hidden: channels of a token.
      heads: of each attention.
      ffn: channels between the two dense layers that end a layer.
      encoder_layers: how many.
      decoder_layers: how many.
      layer_wise_query: every decoder layer asks with a table of its own, not only the first.
      masked: whether the neighbour mask applies to the encoder's attention and to the first and the
        second of the decoder.
      mask_size: rows and columns of the window of neighbours that a token does not see.
      positions: what tells a token where it is.
    """

    grid: tuple[int, int] = (14, 14)
    hidden: int = 256
    heads: int = 8
    ffn: int = 1024
    encoder_layers: int = 4
    decoder_layers: int = 4
    layer_wise_query: bool = True
    masked: tuple[bool, bool, bool] = (True, True, True)
    mask_size: tuple[int, int] = (7, 7)
    positions: Literal["learned", "sine", "none"] = "learned"

    @nn.compact
    def __call__(self, features: Features, dropout: float | Array | None = None) -> Features:
        """The reconstruction; `dropout` is a probability that asks for a "dropout" key."""
        batch, *grid, channels = features.shape
        window = neighbours(self.grid, self.mask_size)
        encoder_mask, first, second = (window if on else None for on in self.masked)
        at = self._positions()

        x = _projection(self.hidden, "input")(features.reshape(batch, -1, channels))
        for i in range(self.encoder_layers):
            layer = EncoderLayer(self.heads, self.ffn, name=f"encoder_{i}")
            x = layer(x, at, encoder_mask, dropout)
        memory = x
        for i in range(self.decoder_layers):
            learned = self.layer_wise_query or i == 0
            layer = DecoderLayer(
                self.heads, self.ffn, self.layer_wise_query, learned, name=f"decoder_{i}"
            )
            x = layer(x, memory, at, (first, second), dropout)
        x = nn.LayerNorm(epsilon=EPSILON, name="norm")(x)
        return _projection(channels, "output")(x).reshape(batch, *grid, channels)

    def _positions(self) -> Positions:
        if self.positions == "learned":
            return LearnedPositions(self.grid, self.hidden, name="positions")()
        if self.positions == "sine":
            return sine_positions(self.grid, self.hidden)
        return jnp.zeros((self.grid[0] * self.grid[1], self.hidden))


class Stack(nn.Module):
    """Layers with rectifiers: dense ones, each token on its own, or 3x3 convolutions.

    Attributes:
      convolutions: instead of dense layers.
      hidden: channels of a layer.
      depth: layers between the projections.
    """

    convolutions: bool = False
    hidden: int = 256
    depth: int = 4

    @nn.compact
    def __call__(self, features: Features) -> Features:
        """The reconstruction."""
        x = _projection(self.hidden, "input")(features)
        for i in range(self.depth):
            if self.convolutions:
                layer = Conv(self.hidden, 3, padding=1, name=f"conv_{i}")
            else:
                layer = _projection(self.hidden, f"dense_{i}")
            x = nn.relu(layer(x))
        return _projection(features.shape[-1], "output")(x)


def with_equal_layers(params: PyTree) -> PyTree:
    """A new transformer's parameters with those equal in all layers that the reference copies.

    Its layers are copies of one prototype of which only the dense layers are drawn again: packed
    input projections and query tables start equal in all encoder and all decoder layers.
    """
    params = dict(params)
    for name in params:
        kind = name.rpartition("_")[0]
        if kind in ("encoder", "decoder"):
            params[name] = _with_copies(params[name], params[f"{kind}_0"])
    return params


def _with_copies(layer: PyTree, prototype: PyTree) -> PyTree:
    copied = {}
    for name, value in layer.items():
        if name == "queries":
            value = prototype[name]
        elif name.startswith("attention"):
            value = {**value, "in_kernel": prototype[name]["in_kernel"]}
        copied[name] = value
    return copied


def _projection(features: int, name: str) -> nn.Dense:
    return nn.Dense(features, kernel_init=xavier, name=name)
