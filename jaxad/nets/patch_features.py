"""Two layers of a classifier as one descriptor per patch: what a PDN is distilled from.

Roth et al., CVPR 2022 (arXiv:2106.08265);
Batzner et al., WACV 2024 (arXiv:2303.14535), algorithm 3.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from jaxad.nets.layers import pad
from jaxad.ops import maps


def local_average(
    shallow: Float[Array, "B H W C"], deep: Float[Array, "B h w D"]
) -> Float[Array, "B H W E"]:
    """3x3 means (zero padded) of two layers side by side, E = C + D, the deeper one enlarged.

    For backbones whose two layers have the target's width together (ResNet-18: 128 + 256 = 384).
    """
    # Differs from the reference: means, where algorithm 3 pools whole neighbourhoods over channels.
    shallow, deep = (nn.avg_pool(pad(x, 1), window_shape=(3, 3)) for x in (shallow, deep))
    return jnp.concatenate([shallow, enlarge(deep, maps.sides(shallow))], -1)


def patchcore(
    shallow: Float[Array, "B H W C"],
    deep: Float[Array, "B h w D"],
    channels: int = 384,  # algorithm 3 of EfficientAD
    pretrain_channels: int = 1024,  # PatchCore, section 3.1
) -> Float[Array, "B H W E"]:
    """PatchCore's embedding: 3x3 neighbourhoods, pooled over channels to E = `channels`.

    Each layer's 3x3 neighbourhood (channel outermost) is pooled to `pretrain_channels`, the two are
    stacked and pooled again. Nothing is learned or random.
    """
    parts = [neighbourhood(shallow), enlarge(neighbourhood(deep), maps.sides(shallow))]
    parts = [adaptive_average(x, pretrain_channels) for x in parts]
    return adaptive_average(jnp.concatenate(parts, -1), channels)


def neighbourhood(x: Float[Array, "B H W C"]) -> Float[Array, "B H W D"]:
    """The 3x3 cells around each cell, zero padded: D = 9 C; channel outermost, then row, column."""
    height, width = x.shape[1:3]
    padded = pad(x, 1)
    cells = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
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
