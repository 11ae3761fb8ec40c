"""Tells images from reconstructions.

Radford et al., ICLR 2016 (arXiv:1511.06434): DCGAN's discriminator.
"""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxad.nets.layers import Conv, torch_bias, torch_kernel
from jaxad.nets.norms import BatchNorm

SLOPE = 0.2  # of leaky rectifiers below zero: section 3


class Discriminator(nn.Module):
    """4x4 convolutions of stride 2 with batch norm but in the first, then one number.

    Attributes:
      widths: channels of the convolutions; the sides of images are multiples of 2 ** len(widths).
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W 3"], train: bool = False
    ) -> tuple[Float[Array, "B h w C"], Float[Array, "B"]]:
        """The last convolution's features, and the logit that each is an image, not made.

        Args:
          x: in [-1, 1].
          train: as `nets.norms.BatchNorm`.
        """
        for i, width in enumerate(self.widths, start=1):
            first = i == 1
            x = Conv(width, 4, 2, 1, use_bias=first, name=f"conv{i}")(x)
            x = nn.leaky_relu(x if first else BatchNorm(name=f"norm{i}")(x, train), SLOPE)
        batch, height, width, channels = x.shape
        size = height * width * channels
        # The 4x4 convolution to a single cell that ends DCGAN's, for maps of any side.
        logit = nn.Dense(1, kernel_init=torch_kernel, bias_init=torch_bias(size), name="output")
        return x, jnp.squeeze(logit(x.reshape(batch, size)), -1)
