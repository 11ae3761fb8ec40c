"""Small networks that describe a patch of 17, 33 or 65 pixels by one vector, for every pixel.

Bergmann et al., CVPR 2020 (arXiv:1911.02357). It came without code; the layers for 17 pixels are
those of denguir/student-teacher-anomaly-detection.
"""

from typing import Literal, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxad.nets import cpu
from jaxad.nets.layers import Conv, Sides, imagenet_normalise, max_pool
from jaxad.nets.pdn import PDN, RECEPTIVE_FIELD, STRIDE

SLOPE = 5e-3  # of the leaky rectifiers
SMALLEST = 17  # alone, its third convolution has 4 x 4 outputs, fewer than its kernel's 5 x 5


class Layer(NamedTuple):
    """A convolution.

    Attributes:
      kernel: its side.
      widths: channels, as a multiple of the first layer's; None in the last layer.
      pooled: whether a 2 x 2 maximum of stride 2 follows.
    """

    kernel: int
    widths: int | None
    pooled: bool = False


LAYERS = {
    17: (Layer(6, 1), Layer(5, 2), Layer(5, 2), Layer(4, None)),
    33: (Layer(5, 1, True), Layer(5, 2, True), Layer(2, 2), Layer(4, None)),
    65: (Layer(5, 1, True), Layer(5, 1, True), Layer(5, 2, True), Layer(4, 2), Layer(1, None)),
}


class PatchNetwork(nn.Module):
    """Descriptors of the patches inside an image, one for every pixel or for every few.

    Every pixel: each pool keeps all its cells, and what follows is dilated twice as much, so that
    each cell is what the patch alone would give. Otherwise pools halve, and cells are 1, 4 or 8
    pixels apart for patches of 17, 33 and 65 pixels. Parameters are the same.

    Attributes:
      patch: its side in pixels: 17, 33 or 65.
      channels: of a descriptor.
      width: channels of the first layer, 128 in the paper.
      dense: whether there is a descriptor for every pixel.
      rectified: whether descriptors end with the leaky rectifier; so it is in the code above.
      normalisation: of the input: "imagenet" mean and variance, or "none".
    """

    patch: int = 33
    channels: int = 128
    width: int = 128
    dense: bool = True
    rectified: bool = False
    normalisation: Literal["imagenet", "none"] = "imagenet"

    def __call__(self, images: Float[Array, "B H W 3"]) -> Float[Array, "B h w C"]:
        """Cell (i, j) describes the patch whose first pixel is (s i, s j), s pixels apart.

        Raises:
          ValueError: the image is smaller than the patch.
        """
        sides = images.shape[1:3]
        if min(sides) < self.patch:
            raise ValueError(f"an image of {sides} pixels is smaller than a patch of {self.patch}")
        x = imagenet_normalise(images) if self.normalisation == "imagenet" else images
        alone = self.patch == SMALLEST == min(sides)
        x = cpu.smallest(self._layers, x) if alone else self._layers(x)
        # The layers need less than the patch where a pool drops a row: cells at the end would
        # belong to patches that reach over the edge.
        step = 1 if self.dense else stride(self.patch)
        height, width = ((side - self.patch) // step + 1 for side in sides)
        return x[:, :height, :width]

    @nn.compact
    def _layers(self, x: Float[Array, "B H W 3"]) -> Float[Array, "B h w C"]:
        layers, dilation = LAYERS[self.patch], 1
        for i, layer in enumerate(layers, start=1):
            channels = layer.widths * self.width if layer.widths else self.channels
            x = Conv(channels, layer.kernel, dilation=dilation, name=f"conv{i}")(x)
            if i < len(layers) or self.rectified:
                x = nn.leaky_relu(x, SLOPE)
            if layer.pooled and self.dense:
                x, dilation = sliding_max(x, dilation), 2 * dilation
            elif layer.pooled:
                x = max_pool(x, 2)
        return x


def sliding_max(x: Float[Array, "B H W C"], apart: int) -> Float[Array, "B h w C"]:
    """2 x 2 maximum of stride 1 over cells that are so far apart."""
    x = jnp.maximum(x[:, :-apart], x[:, apart:])
    return jnp.maximum(x[:, :, :-apart], x[:, :, apart:])


def stride(patch: int) -> int:
    """Pixels between cells where pools halve."""
    return 2 ** sum(layer.pooled for layer in LAYERS[patch])


def frame(patch: int, step: int) -> Sides:
    """Pixels around an image for which it has side / step cells, each in its patch's middle."""
    before = patch // 2 - step // 2
    around = (before, patch - step - before)
    return around, around


class Geometry(NamedTuple):
    """A network that describes patches.

    Attributes:
      network: images in [0, 1] -> descriptors of the patches inside.
      patch: its side in pixels.
      stride: pixels from one cell to the next.
    """

    network: nn.Module
    patch: int
    stride: int


def geometry(variables: PyTree, dense: bool) -> Geometry:
    """The network that `variables` belong to: a patch network, or a PDN-S, which is never dense.

    Raises:
      ValueError: no such network has a first convolution like that.
    """
    params = variables.get("params", {})
    kernels = [params[name]["conv"]["kernel"].shape for name in sorted(params) if "conv" in name]
    if not kernels or kernels[0][0] not in (4, 5, 6):
        raise ValueError(
            "these weights are of no network of patches: expected those of a PDN-S, or of a patch "
            "network for 17, 33 or 65 pixels, as `params/conv1` tells"
        )
    side, width, channels = kernels[0][0], kernels[0][-1], kernels[-1][-1]
    if side == 4:
        return Geometry(PDN(channels=channels, width=width), RECEPTIVE_FIELD, STRIDE)
    patch = 17 if side == 6 else 33 if len(kernels) == 4 else 65
    network = PatchNetwork(patch, channels, width, dense)
    return Geometry(network, patch, 1 if dense else stride(patch))
