"""Residual networks without their classifier, as feature extractors and as students.

He et al., CVPR 2016 (arXiv:1512.03385); Zagoruyko & Komodakis, 2016 (arXiv:1605.07146).
"""

import flax.linen as nn
from jaxtyping import Array, Float

from jaxad.nets.layers import Conv, he_kernel, imagenet_normalise, max_pool
from jaxad.nets.norms import BatchNorm

EPSILON = 1e-5  # torchvision's batch norm


class ResNet(nn.Module):
    """ResNet without its classifier: returns the stem and each stage.

    Attributes:
      blocks: residual blocks of each stage; three stages leave the network's last one out.
      bottleneck: blocks of 1x1, 3x3, 1x1 convolutions instead of two 3x3.
      base_width: channels of the 3x3 convolutions in stage 1; 128 makes a wide bottleneck network.
    """

    blocks: tuple[int, ...] = (2, 2, 2)
    bottleneck: bool = False
    base_width: int = 64

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W 3"], train: bool = False
    ) -> dict[str, Float[Array, "B h w C"]]:
        """The maps "stem", "layer1", "layer2", ... of images in [0, 1].

        In training the norms use the batch's statistics and move their running ones: apply with
        `mutable=["batch_stats"]`.
        """
        x = imagenet_normalise(images)
        x = conv(64, 7, 2, name="conv1")(x)
        x = nn.relu(norm("bn1")(x, train))
        x = max_pool(x, 3, padding=1)
        maps = {"stem": x}
        for stage, blocks in enumerate(self.blocks, start=1):
            for i in range(blocks):
                stride = 2 if stage > 1 and i == 0 else 1
                width = self.base_width * 2 ** (stage - 1)
                features = 64 * 2 ** (stage - 1) * (4 if self.bottleneck else 1)
                block = Block(width, features, stride, self.bottleneck, name=f"layer{stage}_{i}")
                x = block(x, train)
            maps[f"layer{stage}"] = x
        return maps


class Block(nn.Module):
    """One residual block; its shortcut is a 1x1 convolution where shapes differ."""

    width: int
    features: int
    stride: int
    bottleneck: bool

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], train: bool = False) -> Float[Array, "B h w D"]:
        """The block's output."""
        if self.bottleneck:
            y = conv(self.width, 1, name="conv1")(x)
            y = nn.relu(norm("bn1")(y, train))
            y = conv(self.width, 3, self.stride, name="conv2")(y)
            y = nn.relu(norm("bn2")(y, train))
            y = conv(self.features, 1, name="conv3")(y)
            y = norm("bn3")(y, train)
        else:
            y = conv(self.width, 3, self.stride, name="conv1")(x)
            y = nn.relu(norm("bn1")(y, train))
            y = conv(self.features, 3, name="conv2")(y)
            y = norm("bn2")(y, train)
        if self.stride != 1 or x.shape[-1] != self.features:
            x = conv(self.features, 1, self.stride, name="downsample_conv")(x)
            x = norm("downsample_bn")(x, train)
        return nn.relu(x + y)


def conv(features: int, kernel: int, stride: int = 1, name: str | None = None) -> Conv:
    """A convolution of half the kernel's padding without bias, and torchvision's first weights."""
    return Conv(
        features, kernel, stride, kernel // 2, use_bias=False, kernel_init=he_kernel, name=name
    )


def norm(name: str) -> BatchNorm:
    """Batch norm with torchvision's epsilon."""
    return BatchNorm(EPSILON, name=name)


def resnet18(layer4: bool = False) -> ResNet:
    """ResNet-18: 64, 128, 256 and, in the last stage, 512 channels."""
    return ResNet((2, 2, 2, 2)[: 4 if layer4 else 3])


def resnet34(layer4: bool = False) -> ResNet:
    """ResNet-34: channels as ResNet-18."""
    return ResNet((3, 4, 6, 3)[: 4 if layer4 else 3])


def resnet50(layer4: bool = False) -> ResNet:
    """ResNet-50: 256, 512, 1024 and, in the last stage, 2048 channels."""
    return ResNet((3, 4, 6, 3)[: 4 if layer4 else 3], bottleneck=True)


def wide_resnet50_2(layer4: bool = False) -> ResNet:
    """WideResNet-50-2: channels as ResNet-50, twice as many inside the blocks."""
    return ResNet((3, 4, 6, 3)[: 4 if layer4 else 3], bottleneck=True, base_width=128)


def wide_resnet101_2(layer4: bool = False) -> ResNet:
    """WideResNet-101-2: channels as WideResNet-50-2, 23 blocks in stage 3."""
    return ResNet((3, 4, 23, 3)[: 4 if layer4 else 3], bottleneck=True, base_width=128)
