"""EfficientNet-Lite up to the convolution before its classifier, as a feature extractor.

The variants of EfficientNet for phones and microcontrollers: no squeeze-and-excitation, ReLU6, and
stem, head and the first and last stage the same in all sizes (Liu, "Higher accuracy on vision
models with EfficientNet-Lite", 2020; tensorflow/tpu, models/official/efficientnet/lite).
"""

import math

import flax.linen as nn
from jaxtyping import Array, Float

from jaxad.nets.efficientnet import EPSILON, STAGES, STEM, Stage, scaled
from jaxad.nets.layers import Conv, Sides, same_padding
from jaxad.nets.mbconv import MBConv
from jaxad.nets.norms import BatchNorm

HEAD = 1280  # channels
SCALING = {  # width and depth, as multiples of Lite0's, and the side of the images trained on
    "lite0": (1.0, 1.0, 224),
    "lite1": (1.0, 1.1, 240),
    "lite2": (1.1, 1.2, 260),
    "lite3": (1.2, 1.4, 280),
    "lite4": (1.4, 1.8, 300),
}


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite up to its last convolution.

    Attributes:
      width: channels of the stages, as a multiple of Lite0's.
      depth: blocks of stages 2 to 6, as a multiple of Lite0's.
      padded_for: image side for which the padding is computed, whatever the images are: what the
        PyTorch package `efficientnet-lite-pytorch` does. None pads for the images at hand ("SAME"),
        which is how the weights were trained, and works for every size.
    """

    width: float = 1.0
    depth: float = 1.0
    padded_for: int | None = None

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W 3"], train: bool = False
    ) -> dict[str, Float[Array, "B h w C"]]:
        """The maps "stem", "stage1" to "stage7" and "head" of images in [0, 1].

        Stages end with a linear layer; stem and head with ReLU6. In training the norms use the
        batch's statistics and move their running ones: apply with `mutable=["batch_stats"]`.
        """
        side = self.padded_for

        def padding(x: Array, kernel: int, stride: int) -> Sides:
            height, width = (side, side) if side else x.shape[1:3]
            return same_padding(height, width, kernel, stride)

        x = scaled_input(images)
        x = Conv(STEM, 3, 2, padding(x, 3, 2), use_bias=False, name="stem_conv")(x)
        x = nn.relu6(BatchNorm(EPSILON, name="stem_bn")(x, train))
        side = side and math.ceil(side / 2)
        maps = {"stem": x}
        i = 0
        for number, stage in enumerate(stages(self.width, self.depth), 1):
            for stride in [stage.stride] + [1] * (stage.blocks - 1):
                x = MBConv(
                    stage.channels, stage.kernel, stride, padding(x, stage.kernel, stride),
                    stage.expansion, nn.relu6, EPSILON, name=f"block{i}",
                )(x, train)  # fmt: skip
                side = side and math.ceil(side / stride)
                i += 1
            maps[f"stage{number}"] = x
        x = Conv(HEAD, 1, use_bias=False, name="head_conv")(x)
        maps["head"] = nn.relu6(BatchNorm(EPSILON, name="head_bn")(x, train))
        return maps


def efficientnet_lite(variant: str, published_padding: bool = False) -> EfficientNetLite:
    """Lite0 to Lite4: `variant` "lite0" to "lite4"; see `EfficientNetLite.padded_for`."""
    width, depth, side = SCALING[variant]
    return EfficientNetLite(width, depth, side if published_padding else None)


def scaled_input(images: Float[Array, "B H W 3"]) -> Float[Array, "B H W 3"]:
    """Images in [0, 1] as the weights were trained on: (255 x - 127) / 128."""
    return (255 * images - 127) / 128


def stages(width: float, depth: float) -> tuple[Stage, ...]:
    """The seven stages of a variant: as EfficientNet's, but the first and last keep one block."""
    last = len(STAGES) - 1
    return tuple(
        stage._replace(
            channels=scaled(stage.channels, width),
            blocks=stage.blocks if i in (0, last) else math.ceil(stage.blocks * depth),
        )
        for i, stage in enumerate(STAGES)
    )


def strides() -> dict[str, int]:
    """{name of a map: image pixels from one of its cells to the next}."""
    result, stride = {"stem": 2}, 2
    for number, stage in enumerate(STAGES, 1):
        stride *= stage.stride
        result[f"stage{number}"] = stride
    return {**result, "head": stride}
