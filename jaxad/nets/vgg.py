"""VGG-16 without its classifier, as a feature extractor.

Simonyan & Zisserman, ICLR 2015 (arXiv:1409.1556), configuration D.
"""

from typing import Literal

import flax.linen as nn
from jaxtyping import Array, Float

from jaxad.nets.layers import Conv, imagenet_normalise

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG(nn.Module):
    """3x3 convolutions with rectifiers; a maximum pool of stride 2 after each stage.

    Attributes:
      stages: channels of the convolutions.
      normalisation: of the input: "imagenet" mean and variance, or "none": images in [0, 1] as
        they are.
    """

    stages: tuple[tuple[int, ...], ...] = STAGES
    normalisation: Literal["imagenet", "none"] = "imagenet"

    @nn.compact
    def __call__(self, images: Float[Array, "B H W 3"]) -> dict[str, Float[Array, "B h w C"]]:
        """The maps "relu1_1", "relu1_2", "pool1", "relu2_1", ..., "pool5" of images in [0, 1]."""
        x = imagenet_normalise(images) if self.normalisation == "imagenet" else images
        maps = {}
        for stage, widths in enumerate(self.stages, start=1):
            for i, channels in enumerate(widths, start=1):
                conv = Conv(channels, 3, padding=1, name=f"conv{stage}_{i}")
                x = maps[f"relu{stage}_{i}"] = nn.relu(conv(x))
            x = maps[f"pool{stage}"] = nn.max_pool(x, window_shape=(2, 2), strides=(2, 2))
        return maps


def strides(stages: tuple[tuple[int, ...], ...] = STAGES) -> dict[str, int]:
    """{name of a map: image pixels from one of its cells to the next}."""
    result = {}
    for stage, widths in enumerate(stages, start=1):
        result |= {f"relu{stage}_{i}": 2 ** (stage - 1) for i in range(1, len(widths) + 1)}
        result[f"pool{stage}"] = 2**stage
    return result
