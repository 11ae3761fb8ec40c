"""MobileNetV2 without its classifier, as a feature extractor.

Sandler et al., CVPR 2018 (arXiv:1801.04381), table 2.
"""

from typing import Literal

import flax.linen as nn
from jaxtyping import Array, Float

from jaxad.nets.layers import Conv, Sides, imagenet_normalise, same_padding, signed
from jaxad.nets.mbconv import MBConv
from jaxad.nets.norms import BatchNorm

EPSILON = 1e-5  # torchvision's batch norm
STAGES = (  # expansion, channels, blocks, stride of the first block
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
BLOCKS = sum(blocks for _, _, blocks, _ in STAGES)


class MobileNetV2(nn.Module):
    """MobileNetV2 of width 1 up to its last convolution.

    Attributes:
      padding: "symmetric", one cell on each side as in torchvision, or TensorFlow's "same", which
        differs at stride 2.
      normalisation: of the input: "imagenet" mean and variance as in torchvision, or "signed", to
        [-1, 1] as in TensorFlow.
    """

    padding: Literal["symmetric", "same"] = "symmetric"
    normalisation: Literal["imagenet", "signed"] = "imagenet"

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W 3"], train: bool = False
    ) -> dict[str, Float[Array, "B h w C"]]:
        """The maps "stem", "block1" to "block17" and "head" of images in [0, 1].

        In training the norms use the batch's statistics and move their running ones: apply with
        `mutable=["batch_stats"]`.
        """
        x = imagenet_normalise(images) if self.normalisation == "imagenet" else signed(images)
        x = Conv(32, 3, 2, self.sides(x, 2), use_bias=False, name="stem_conv")(x)
        x = nn.relu6(BatchNorm(EPSILON, name="stem_bn")(x, train))
        maps = {"stem": x}
        for expansion, channels, blocks, first_stride in STAGES:
            for i in range(blocks):
                stride, name = first_stride if i == 0 else 1, f"block{len(maps)}"
                sides = self.sides(x, stride)
                block = MBConv(channels, 3, stride, sides, expansion, nn.relu6, EPSILON, name=name)
                x = maps[name] = block(x, train)
        x = Conv(1280, 1, use_bias=False, name="head_conv")(x)
        maps["head"] = nn.relu6(BatchNorm(EPSILON, name="head_bn")(x, train))
        return maps

    def sides(self, x: Float[Array, "B H W C"], stride: int) -> Sides:
        """The padding of a 3x3 convolution of `x`."""
        if self.padding == "same":
            return same_padding(x.shape[1], x.shape[2], 3, stride)
        return ((1, 1), (1, 1))


def strides() -> dict[str, int]:
    """{name of a map: image pixels from one of its cells to the next}."""
    result, stride = {"stem": 2}, 2
    for _, _, blocks, first_stride in STAGES:
        stride *= first_stride
        result |= {f"block{len(result) + i}": stride for i in range(blocks)}
    return {**result, "head": stride}
