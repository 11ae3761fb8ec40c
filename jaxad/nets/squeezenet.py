"""SqueezeNet 1.0 without its classifier, as a feature extractor.

Iandola et al., 2016 (arXiv:1602.07360), table 1.
"""

from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxad.nets.layers import Conv, imagenet_normalise, pad

CAFFE_MEAN = (104.0, 117.0, 123.0)  # blue, green, red
FIRE = {  # squeezed channels; each of the two expansions has four times as many
    "fire2": 16, "fire3": 16, "fire4": 32, "fire5": 32,
    "fire6": 48, "fire7": 48, "fire8": 64, "fire9": 64,
}  # fmt: skip
POOLED = ("conv1", "fire4", "fire8")  # followed by a maximum pool of stride 2


class SqueezeNet(nn.Module):
    """SqueezeNet 1.0 up to its last fire module.

    Attributes:
      normalisation: of the input: "caffe" as published, or "imagenet" as in torchvision.
    """

    normalisation: Literal["caffe", "imagenet"] = "caffe"

    @nn.compact
    def __call__(self, images: Float[Array, "B H W 3"]) -> dict[str, Float[Array, "B h w C"]]:
        """The maps "conv1" and "fire2" to "fire9" of images in [0, 1].

        "conv1", "fire4" and "fire8" are what the three pools take, "fire9" is the end.
        """
        caffe = self.normalisation == "caffe"
        x = caffe_normalise(images) if caffe else imagenet_normalise(images)
        x = nn.relu(Conv(96, 7, stride=2, name="conv1")(x))
        maps = {"conv1": x}
        for name, squeezed in FIRE.items():
            if list(maps)[-1] in POOLED:
                x = pool(x)
            x = maps[name] = Fire(squeezed, name=name)(x)
        return maps


class Fire(nn.Module):
    """Squeeze by a 1x1 convolution, expand by 1x1 and by 3x3, side by side."""

    squeezed: int

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W D"]:
        """D = 8 * squeezed channels, those of the 1x1 convolution first."""
        x = nn.relu(Conv(self.squeezed, 1, name="squeeze1x1")(x))
        one = Conv(4 * self.squeezed, 1, name="expand1x1")(x)
        three = Conv(4 * self.squeezed, 3, padding=1, name="expand3x3")(x)
        return nn.relu(jnp.concatenate([one, three], -1))


def pool(x: Float[Array, "B H W C"]) -> Float[Array, "B h w C"]:
    """3 x 3 maximum of stride 2; a last window that reaches over the edge counts, as in Caffe."""
    rows, columns = (1 - side % 2 for side in x.shape[1:3])
    x = pad(x, ((0, rows), (0, columns)), -jnp.inf)
    return nn.max_pool(x, window_shape=(3, 3), strides=(2, 2))


def caffe_normalise(images: Float[Array, "B H W 3"]) -> Float[Array, "B H W 3"]:
    """RGB in [0, 1] as Caffe's networks expect it: blue first, in [0, 255], minus the means."""
    return 255 * images[..., ::-1] - jnp.array(CAFFE_MEAN)[None, None, None]


def strides() -> dict[str, int]:
    """{name of a map: image pixels from one of its cells to the next}."""
    result, stride = {"conv1": 2}, 2
    for name in FIRE:
        stride *= 2 if list(result)[-1] in POOLED else 1
        result[name] = stride
    return result
