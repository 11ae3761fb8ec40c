"""Residual networks up to their third stage, as feature extractors.

He et al., CVPR 2016 (arXiv:1512.03385); Zagoruyko & Komodakis, 2016 (arXiv:1605.07146).
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxad.nets.layers import Conv, imagenet_normalise, pad

EPSILON = 1e-5  # torchvision's batch norm


class ResNet(nn.Module):
    """ResNet without its last stage and classifier: returns stem and stages 1 to 3.

    Attributes:
      blocks: residual blocks of each stage.
      bottleneck: blocks of 1x1, 3x3, 1x1 convolutions instead of two 3x3.
      base_width: channels of the 3x3 convolutions in stage 1; 128 makes a wide bottleneck network.
    """

    blocks: tuple[int, ...] = (2, 2, 2)
    bottleneck: bool = False
    base_width: int = 64

    @nn.compact
    def __call__(self, images: Float[Array, "B H W 3"]) -> dict[str, Float[Array, "B h w C"]]:
        """The maps "stem", "layer1", "layer2" and "layer3" of images in [0, 1]."""
        x = Conv(64, 7, stride=2, padding=3, use_bias=False, name="conv1")(
            imagenet_normalise(images)
        )
        x = nn.relu(norm("bn1")(x))
        x = nn.max_pool(pad(x, 1, -jnp.inf), window_shape=(3, 3), strides=(2, 2))
        maps = {"stem": x}
        for stage, blocks in enumerate(self.blocks, start=1):
            for block in range(blocks):
                stride = 2 if stage > 1 and block == 0 else 1
                width = self.base_width * 2 ** (stage - 1)
                features = 64 * 2 ** (stage - 1) * (4 if self.bottleneck else 1)
                x = Block(width, features, stride, self.bottleneck, name=f"layer{stage}_{block}")(x)
            maps[f"layer{stage}"] = x
        return maps


class Block(nn.Module):
    """One residual block; its shortcut is a 1x1 convolution where shapes differ."""

    width: int
    features: int
    stride: int
    bottleneck: bool

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
        """The block's output."""
        if self.bottleneck:
            y = nn.relu(norm("bn1")(Conv(self.width, 1, use_bias=False, name="conv1")(x)))
            y = Conv(self.width, 3, self.stride, padding=1, use_bias=False, name="conv2")(y)
            y = Conv(self.features, 1, use_bias=False, name="conv3")(nn.relu(norm("bn2")(y)))
            y = norm("bn3")(y)
        else:
            y = Conv(self.width, 3, self.stride, padding=1, use_bias=False, name="conv1")(x)
            y = Conv(self.features, 3, padding=1, use_bias=False, name="conv2")(
                nn.relu(norm("bn1")(y))
            )
            y = norm("bn2")(y)
        if self.stride != 1 or x.shape[-1] != self.features:
            x = Conv(self.features, 1, self.stride, use_bias=False, name="downsample_conv")(x)
            x = norm("downsample_bn")(x)
        return nn.relu(x + y)


def norm(name: str) -> nn.BatchNorm:
    """Batch norm with its stored statistics: these networks are used frozen."""
    return nn.BatchNorm(use_running_average=True, epsilon=EPSILON, name=name)


def resnet18() -> ResNet:
    """ResNet-18: 128 and 256 channels in stages 2 and 3."""
    return ResNet()


def wide_resnet101_2() -> ResNet:
    """WideResNet-101-2: 512 and 1024 channels in stages 2 and 3."""
    return ResNet((3, 4, 23), bottleneck=True, base_width=128)
