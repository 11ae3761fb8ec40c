"""Layers of a classifier as one descriptor per patch: what is remembered, or distilled.

Roth et al., CVPR 2022 (arXiv:2106.08265);
Batzner et al., WACV 2024 (arXiv:2303.14535), algorithm 3.
"""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from jaxad.nets.layers import pad
from jaxad.ops import maps

Maps = Sequence[Float[Array, "B _ _ _"]]  # of several layers


def local_average(layers: Maps, patch: int = 3) -> Float[Array, "B H W E"]:
    """Means over `patch` x `patch` cells (zeros beyond the border count) of layers, side by side.

    They lie on the grid of the finest one; E is the sum of the layers' channels.
    """
    # Differs from the reference: means, where the authors' code, and algorithm 3 of EfficientAD,
    # pool whole neighbourhoods over channels; see `patchcore`.
    means = [nn.avg_pool(pad(x, patch // 2), window_shape=(patch, patch)) for x in layers]
    return side_by_side(means, "bilinear")


def side_by_side(layers: Maps, enlarged: Literal["bilinear", "nearest"]) -> Float[Array, "B H W E"]:
    """Layers on the grid of the finest one; E is the sum of their channels."""
    shape = max(maps.sides(x) for x in layers)
    to = {"bilinear": enlarge, "nearest": repeat}[enlarged]
    return jnp.concatenate([x if maps.sides(x) == shape else to(x, shape) for x in layers], -1)


def patchcore(
    layers: Maps,
    channels: int = 1024,
    pretrain_channels: int = 1024,
    patch: int = 3,
) -> Float[Array, "B H W E"]:
    """The PatchCore authors' embedding: neighbourhoods pooled over channels to E = `channels`.

    Each layer's `patch` x `patch` neighbourhood (channel outermost) is pooled to
    `pretrain_channels`, the layers are put one after the other and pooled again. Nothing is learned
    or random.

    Source: Roth et al., section 3.1, and their code, whose commands have 1024 and 1024.
    """
    shape = max(maps.sides(x) for x in layers)
    parts = [neighbourhood(x, patch) for x in layers]
    parts = [x if maps.sides(x) == shape else enlarge(x, shape) for x in parts]
    parts = [adaptive_average(x, pretrain_channels) for x in parts]
    return adaptive_average(jnp.concatenate(parts, -1), channels)


def neighbourhood(x: Float[Array, "B H W C"], patch: int = 3) -> Float[Array, "B H W D"]:
    """The cells around each cell, zero padded: D = patch^2 C; channel outermost, row, column."""
    height, width = x.shape[1:3]
    padded, taps = pad(x, patch // 2), range(patch)
    cells = [padded[:, i : i + height, j : j + width] for i in taps for j in taps]
    return jnp.stack(cells, -1).reshape(*x.shape[:3], -1)


def adaptive_average(x: Float[Array, "*shape C"], bins: int) -> Float[Array, "*shape D"]:
    """Mean over `bins` windows of the last axis: window i is floor(i n / m) .. ceil((i + 1) n / m).

    Differences of a running sum would lose digits over thousands of channels, so it is a product
    with a fixed matrix.
    """
    n = x.shape[-1]
    index = np.arange(bins)
    start, end = index * n // bins, -(-(index + 1) * n // bins)
    at = np.arange(n)[:, None]
    weight = ((at >= start) & (at < end)) / (end - start)
    return x @ jnp.asarray(weight, x.dtype)


def enlarge(x: Float[Array, "B h w C"], shape: tuple[int, int]) -> Float[Array, "B H W C"]:
    """Bilinear, half-pixel centres."""
    return jax.image.resize(x, (x.shape[0], *shape, x.shape[-1]), "bilinear")


def repeat(x: Float[Array, "B h w C"], shape: tuple[int, int]) -> Float[Array, "B H W C"]:
    """Nearest neighbour, as torch's default: cell i is cell floor(i n / m)."""
    rows, columns = (
        np.arange(new) * old // new for old, new in zip(maps.sides(x), shape, strict=True)
    )
    return x[:, rows][:, :, columns]
