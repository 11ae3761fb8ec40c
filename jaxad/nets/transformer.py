"""Transformer layers over a grid of tokens: post-norm, positions added to queries and keys only.

Vaswani et al., NeurIPS 2017 (arXiv:1706.03762); the layer-wise query decoder and the neighbour mask
are UniAD's (You et al., NeurIPS 2022, arXiv:2206.03687, section 3).
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from jaxad.nets import cpu

EPSILON = 1e-5  # torch's layer norm
TEMPERATURE = 10_000  # of the sine positions, Vaswani et al., section 3.5
LEVELS = 256  # values of the random byte that decides whether a number is dropped

Tokens = Float[Array, "B T D"]
Positions = Float[Array, "T D"]
Mask = Bool[np.ndarray, "T T"]

xavier = nn.initializers.xavier_uniform()


class Attention(nn.Module):
    """Multi-head attention whose three input projections are one matrix, as torch packs them.

    Their initial range follows from the shape of the packed matrix.
    """

    heads: int

    @nn.compact
    def __call__(
        self,
        queries: Tokens,
        keys: Tokens,
        values: Tokens,
        masked: Mask | None = None,
        dropout: float | Array | None = None,
    ) -> Tokens:
        """What each query gathers from the values.

        Args:
          queries: what asks.
          keys: what is compared with the queries.
          values: what is gathered, one for each key.
          masked: [query, key] that must not see each other; each query needs a key left.
          dropout: probability that a weight is dropped, drawn with a "dropout" key; None: never.
        """
        D = queries.shape[-1]
        kernel = self.param("in_kernel", xavier, (D, 3 * D))
        bias = self.param("in_bias", nn.initializers.zeros, (3 * D,))
        q_bias, k_bias, v_bias = jnp.split(bias, 3)
        # Differs from the reference: it stays 0. It adds the same to all logits of a query, which
        # softmax ignores: its gradient is rounding, which Adam would enlarge to steps of full size.
        k_bias = jax.lax.stop_gradient(k_bias)
        inputs = (queries, keys, values), jnp.split(kernel, 3, 1), (q_bias, k_bias, v_bias)
        q, k, v = (self._by_head(x @ w + b[None, None]) for x, w, b in zip(*inputs, strict=True))

        logits = jnp.einsum("bqhd,bkhd->bhqk", q * (D // self.heads) ** -0.5, k)
        if masked is not None:
            logits = jnp.where(jnp.asarray(masked)[None, None], -jnp.inf, logits)
        gathered = cpu.gathered(logits, v, lambda weights: _drop(self, weights, dropout))
        return _dense(D, "out")(gathered.reshape(queries.shape))

    def _by_head(self, x: Tokens) -> Float[Array, "B T h d"]:
        return x.reshape(*x.shape[:2], self.heads, -1)


class EncoderLayer(nn.Module):
    """Attention among the tokens, then two dense layers; each with dropout, sum and norm."""

    heads: int
    ffn: int

    @nn.compact
    def __call__(
        self,
        x: Tokens,
        positions: Positions,
        masked: Mask | None = None,
        dropout: float | Array | None = None,
    ) -> Tokens:
        """The layer's output; `masked` and `dropout` as in `Attention`."""
        at = x + positions[None]
        gathered = Attention(self.heads, name="attention")(at, at, x, masked, dropout)
        x = _norm("norm")(x + _drop(self, gathered, dropout))
        return _FeedForward(self.ffn, name="ffn")(x, dropout)


class DecoderLayer(nn.Module):
    """Two attentions, then two dense layers; each with dropout, sum and norm.

    A layer of UniAD's layer-wise query decoder asks with a table of learned queries: first the
    encoder's output, then the layer before. A plain layer asks with its input (the first one with a
    table): first the asking tokens themselves, then the encoder's output.

    Attributes:
      layer_wise: of a layer-wise query decoder.
      learned: asks with a table of its own; always true in a layer-wise query decoder.
    """

    heads: int
    ffn: int
    layer_wise: bool
    learned: bool

    @nn.compact
    def __call__(
        self,
        x: Tokens,
        memory: Tokens,
        positions: Positions,
        masked: tuple[Mask | None, Mask | None] = (None, None),
        dropout: float | Array | None = None,
    ) -> Tokens:
        """The layer's output.

        Args:
          x: output of the layer before; `memory` in the first one.
          memory: output of the encoder.
          positions: added to queries and keys.
          masked: of the first and of the second attention; see `Attention`.
          dropout: see `Attention`.
        """
        y = x
        if self.learned:
            table = self.param("queries", nn.initializers.normal(1.0), x.shape[1:])
            y = jnp.broadcast_to(table[None], x.shape)
        sources = (memory, x) if self.layer_wise else (y, memory)
        at = positions[None]
        for i, (source, hidden) in enumerate(zip(sources, masked, strict=True), start=1):
            attention = Attention(self.heads, name=f"attention{i}")
            gathered = attention(y + at, source + at, source, hidden, dropout)
            y = _norm(f"norm{i}")(y + _drop(self, gathered, dropout))
        return _FeedForward(self.ffn, name="ffn")(y, dropout)


class LearnedPositions(nn.Module):
    """A table of columns, in the first half of the channels, and one of rows in the second."""

    grid: tuple[int, int]
    channels: int

    @nn.compact
    def __call__(self) -> Positions:
        """The position of each cell, row by row."""
        (h, w), half = self.grid, self.channels // 2
        rows = self.param("rows", nn.initializers.uniform(1.0), (h, half))
        columns = self.param("columns", nn.initializers.uniform(1.0), (w, half))
        return _by_cell(columns[None], rows[:, None], self.grid)


def sine_positions(grid: tuple[int, int], channels: int) -> Positions:
    """Sines and cosines of the row, in the first half of the channels, and of the column.

    Rows and columns are counted from 1; the last one is at 2 pi.

    Source: Carion et al., ECCV 2020 (arXiv:2005.12872), and its code.
    """
    half = channels // 2
    wavelengths = TEMPERATURE ** (2 * (np.arange(half) // 2) / half)

    def waves(count: int) -> np.ndarray:
        angles = np.linspace(0, 2 * np.pi, count + 1)[1:, None] / wavelengths[None]
        values = np.where(np.arange(half)[None] % 2 == 0, np.sin(angles), np.cos(angles))
        return values.astype(np.float32)

    return _by_cell(waves(grid[0])[:, None], waves(grid[1])[None], grid)


def neighbours(grid: tuple[int, int], size: tuple[int, int]) -> Mask:
    """Whether [query, key] are at most size // 2 rows and columns apart; cells row by row.

    An even size is like the odd one above it, as in the code of You et al.
    """
    rows, columns = (x.reshape(-1) for x in np.indices(grid))
    near_rows = np.abs(rows[:, None] - rows[None]) <= size[0] // 2
    return near_rows & (np.abs(columns[:, None] - columns[None]) <= size[1] // 2)


def dropped(
    x: Float[Array, "*shape"], probability: float | Array, key: Array
) -> Float[Array, "*shape"]:
    """`x` with numbers set to 0 at random and the others enlarged, so that the mean stays.

    Args:
      x: any numbers.
      probability: in [0, 1), rounded to a multiple of 1/256: one random byte decides for each
        number, since drawing them is a large part of a training step on a CPU.
      key: of the random bytes.
    """
    # Differs from the reference: a probability of 0.1 is 26/256 = 0.1016. So on every backend:
    # another way to draw would drop others.
    threshold = jnp.round(jnp.asarray(probability) * LEVELS)
    words = jax.random.bits(key, (-(-x.size // 4),), jnp.uint32)
    numbers = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(-1)[: x.size].reshape(x.shape)
    return jnp.where(numbers >= threshold, x * (LEVELS / (LEVELS - threshold)), 0.0)


class _FeedForward(nn.Module):
    """Two dense layers with a rectifier between, then dropout, sum and norm."""

    width: int

    @nn.compact
    def __call__(self, x: Tokens, dropout: float | Array | None) -> Tokens:
        y = _drop(self, nn.relu(_dense(self.width, "dense1")(x)), dropout)
        y = _dense(x.shape[-1], "dense2")(y)
        return _norm("norm")(x + _drop(self, y, dropout))


def _by_cell(
    first: Float[Array | np.ndarray, "h1 w1 C"],
    second: Float[Array | np.ndarray, "h2 w2 C"],
    grid: tuple[int, int],
) -> Positions:
    halves = [jnp.broadcast_to(x, (*grid, x.shape[-1])) for x in (first, second)]
    return jnp.concatenate(halves, -1).reshape(grid[0] * grid[1], -1)


def _drop(layer: nn.Module, x: Array, probability: float | Array | None) -> Array:
    return x if probability is None else dropped(x, probability, layer.make_rng("dropout"))


def _dense(features: int, name: str) -> nn.Dense:
    return nn.Dense(features, kernel_init=xavier, name=name)


def _norm(name: str) -> nn.LayerNorm:
    return nn.LayerNorm(epsilon=EPSILON, name=name)
