"""EfficientNet without its head, as a feature extractor.

Tan & Le, ICML 2019 (arXiv:1905.11946).
"""

import math
from typing import NamedTuple

import flax.linen as nn
from jaxtyping import Array, Float

from jaxad.nets.layers import Conv, Sides, imagenet_normalise, same_padding
from jaxad.nets.mbconv import MBConv
from jaxad.nets.norms import BatchNorm

EPSILON = 1e-3  # the authors' batch norm


class Stage(NamedTuple):
    """A row of table 1; `stride` is its first block's."""

    expansion: int
    channels: int
    blocks: int
    kernel: int
    stride: int


STAGES = (
    Stage(1, 16, 1, 3, 1),
    Stage(6, 24, 2, 3, 2),
    Stage(6, 40, 2, 5, 2),
    Stage(6, 80, 3, 3, 2),
    Stage(6, 112, 3, 5, 1),
    Stage(6, 192, 4, 5, 2),
    Stage(6, 320, 1, 3, 1),
)
STEM = 32  # channels
SCALING = {  # width and depth, as multiples of B0's, and the side of the images trained on
    "b0": (1.0, 1.0, 224),
    "b1": (1.0, 1.1, 240),
    "b2": (1.1, 1.2, 260),
    "b3": (1.2, 1.4, 300),
    "b4": (1.4, 1.8, 380),
}


class EfficientNet(nn.Module):
    """EfficientNet up to its last block.

    Attributes:
      width: channels of each stage, as a multiple of B0's.
      depth: blocks of each stage, as a multiple of B0's.
      padded_for: image side for which the padding is computed, whatever the images are: what
        lukemelas/EfficientNet-PyTorch does with the side that a variant was trained on. None pads
        for the images at hand ("SAME"), as TensorFlow and timm's `tf_` networks do.
    """

    width: float = 1.0
    depth: float = 1.0
    padded_for: int | None = None

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W 3"], train: bool = False
    ) -> dict[str, Float[Array, "B h w C"]]:
        """The maps "stem", "block0", "block1", ... of images in [0, 1]: whole blocks' outputs.

        In training the norms use the batch's statistics and move their running ones: apply with
        `mutable=["batch_stats"]`.
        """
        side = self.padded_for

        def padding(x: Array, kernel: int, stride: int) -> Sides:
            height, width = (side, side) if side else x.shape[1:3]
            return same_padding(height, width, kernel, stride)

        x = imagenet_normalise(images)
        x = Conv(
            scaled(STEM, self.width), 3, 2, padding(x, 3, 2), use_bias=False, name="stem_conv"
        )(x)
        x = nn.swish(BatchNorm(EPSILON, name="stem_bn")(x, train))
        side = side and math.ceil(side / 2)
        maps = {"stem": x}
        for i, block in enumerate(blocks(self.width, self.depth)):
            x = MBConv(
                block.channels, block.kernel, block.stride, padding(x, block.kernel, block.stride),
                block.expansion, nn.swish, EPSILON, squeezed=x.shape[-1] // 4, name=f"block{i}",
            )(x, train)  # fmt: skip
            side = side and math.ceil(side / block.stride)
            maps[f"block{i}"] = x
        return maps


def efficientnet(variant: str, published_padding: bool = True) -> EfficientNet:
    """B0 to B4: `variant` "b0" to "b4"; with padding for the side it was trained on, or "SAME"."""
    width, depth, side = SCALING[variant]
    return EfficientNet(width, depth, side if published_padding else None)


def blocks(width: float, depth: float) -> list[Stage]:
    """Every block in order, as a stage of one block."""
    rows = []
    for stage in STAGES:
        channels = scaled(stage.channels, width)
        for i in range(math.ceil(stage.blocks * depth)):
            stride = stage.stride if i == 0 else 1
            rows.append(stage._replace(channels=channels, blocks=1, stride=stride))
    return rows


def scaled(channels: int, width: float) -> int:
    """Channels times `width`, to the nearest multiple of 8 that keeps at least nine tenths."""
    wanted = channels * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * wanted else rounded + 8


def strides(width: float, depth: float) -> dict[str, int]:
    """{name of a map: image pixels from one of its cells to the next}."""
    result, stride = {"stem": 2}, 2
    for i, block in enumerate(blocks(width, depth)):
        stride *= block.stride
        result[f"block{i}"] = stride
    return result
