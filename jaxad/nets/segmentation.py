"""The segmentation U-Net of DRAEM: an image and its reconstruction to what is anomalous.

Zavrtanik et al., ICCV 2021 (arXiv:2108.07610), discriminative sub-network; DiffusionAD (Zhang et
al., arXiv:2303.08730) uses it with 64 channels.
"""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxad.nets.layers import Conv
from jaxad.nets.norms import BatchNorm
from jaxad.ops import maps

MULTIPLIERS = (1, 2, 4, 8, 8, 8)  # DRAEM's

Features = Float[Array, "B H W C"]
Output = Float[Array, "B h w D"]


class SegmentationUNet(nn.Module):
    """Two images, in six channels, to the logit of each pixel.

    Sides have to be multiples of 2 ** (levels - 1). Batch statistics are in the collection
    `batch_stats`.

    Attributes:
      width: channels of the first level.
      multipliers: of `width`, one for each level on the way down; each level halves the side. On
        the way up a level has as many channels as the one above it on the way down.
    """

    width: int = 64
    multipliers: tuple[int, ...] = MULTIPLIERS

    @nn.compact
    def __call__(self, x: Float[Array, "B H W 6"], train: bool = False) -> Float[Array, "B H W"]:
        """Logits; with `train` the batch norms use the batch, else their running statistics."""
        kept = []
        for level, multiple in enumerate(self.multipliers):
            x = x if level == 0 else _pooled(x)
            x = _Block(multiple * self.width, name=f"encoder_{level}")(x, train)
            kept.append(x)
        kept.pop()
        for level in range(len(self.multipliers) - 2, -1, -1):
            channels = self.multipliers[max(level - 1, 0)] * self.width
            x = maps.resize_aligned(x, (2 * x.shape[1], 2 * x.shape[2]))
            x = _ConvNorm(channels, name=f"up_{level}")(x, train)
            x = jnp.concatenate([x, kept.pop()], -1)
            x = _Block(channels, name=f"decoder_{level}")(x, train)
        return Conv(1, 3, padding=1, name="output")(x)[..., 0]


class _ConvNorm(nn.Module):
    """Convolution, batch norm, rectifier."""

    channels: int

    @nn.compact
    def __call__(self, x: Features, train: bool) -> Output:
        # Differs from the reference: no bias, which the norm takes away; its gradient would be
        # rounding alone. A published one is subtracted from the running mean.
        x = Conv(self.channels, 3, padding=1, use_bias=False, name="conv")(x)
        return nn.relu(BatchNorm(name="norm")(x, train))


class _Block(nn.Module):
    """Twice convolution, batch norm and rectifier."""

    channels: int

    @nn.compact
    def __call__(self, x: Features, train: bool) -> Output:
        x = _ConvNorm(self.channels, name="first")(x, train)
        return _ConvNorm(self.channels, name="second")(x, train)


def _pooled(x: Features) -> Output:
    """The largest of 2 x 2 cells.

    Compared in pairs: the gradient of a maximum over an axis divides by how many values equal it,
    which may be none where the compiler computes them anew in other roundings.
    """
    count, height, width, channels = x.shape
    x = x.reshape(count, height // 2, 2, width // 2, 2, channels)
    larger = lambda a, b: jnp.where(a > b, a, b)
    x = larger(x[:, :, 0], x[:, :, 1])
    return larger(x[:, :, :, 0], x[:, :, :, 1])
