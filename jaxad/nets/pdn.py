"""The patch description network: 33 x 33 pixels in, one descriptor out, every four pixels.

Batzner, Heckler & Koenig, WACV 2024 (arXiv:2303.14535), tables 6 and 7.
"""

from flax import linen as nn
from jaxtyping import Array, Float, PyTree

from jaxad.nets.layers import Conv, imagenet_normalise, pad

RECEPTIVE_FIELD = 33  # pixels a side
STRIDE = 4
STRIDES = {"pool1": 2, "pool2": 4, "conv3": 4, "conv4": 4}  # of PDN-S's maps


class Layers(nn.Module):
    """The layers of PDN-S or PDN-M.

    Without padding, cell (i, j) sees rows 4i .. 4i + 32 of the input and a side of H gives
    H / 4 - 8 cells; with padding it gives H / 4. The weights are the same either way: the
    teacher is distilled with padding and used without (section 3.1).

    Attributes:
      medium: PDN-M (table 7) instead of PDN-S (table 6).
      channels: of the last layer(s): C for a teacher, 2 C for the student.
      outputs: how many channels to return, all by default. The parameters of the last layer have
        this many too: `part` cuts them out of a student's, which saves the other half's work.
      width: channels of the first layer, 128 for S and 256 for M when None.
      padding: whether convolutions and pools pad.
    """

    medium: bool = False
    channels: int = 384
    outputs: int | None = None
    width: int | None = None
    padding: bool = False

    @nn.compact
    def maps(self, images: Float[Array, "B H W 3"]) -> dict[str, Float[Array, "B h w C"]]:
        """The descriptors and what comes before them: "pool1", "pool2", "conv3", "conv4", ...

        "conv" maps are after their rectifier, which the last one does not have.
        """
        width = self.width or (256 if self.medium else 128)
        outputs = self.outputs or self.channels
        on = int(self.padding)

        maps = {}
        x = imagenet_normalise(images)
        x = maps["pool1"] = pool(nn.relu(Conv(width, 4, padding=3 * on, name="conv1")(x)), on)
        x = maps["pool2"] = pool(nn.relu(Conv(2 * width, 4, padding=3 * on, name="conv2")(x)), on)
        if not self.medium:
            x = maps["conv3"] = nn.relu(Conv(2 * width, 3, padding=on, name="conv3")(x))
            maps["conv4"] = Conv(outputs, 4, name="conv4")(x)
            return maps
        x = maps["conv3"] = nn.relu(Conv(2 * width, 1, name="conv3")(x))
        x = maps["conv4"] = nn.relu(Conv(2 * width, 3, padding=on, name="conv4")(x))
        x = maps["conv5"] = nn.relu(Conv(self.channels, 4, name="conv5")(x))
        maps["conv6"] = Conv(outputs, 1, name="conv6")(x)
        return maps


class PDN(Layers):
    """PDN-S or PDN-M, whose fields `Layers` describes."""

    def __call__(self, images: Float[Array, "B H W 3"]) -> Float[Array, "B h w C"]:
        """Descriptors of images in [0, 1]."""
        return self.maps(images)["conv6" if self.medium else "conv4"]


class PDNLayers(Layers):
    """A padded PDN-S that returns all its maps: one of stride s has side / s cells."""

    padding: bool = True

    def __call__(self, images: Float[Array, "B H W 3"]) -> dict[str, Float[Array, "B h w C"]]:
        """All maps of images in [0, 1], without the cells outside the image."""
        maps = self.maps(images)
        height, width = images.shape[1:3]
        return {
            layer: inside(x, height // STRIDES[layer], width // STRIDES[layer])
            for layer, x in maps.items()
        }


def inside(x: Float[Array, "B H W C"], height: int, width: int) -> Float[Array, "B h w C"]:
    """The middle of `x`; an odd cell too many is taken off before it.

    Padded by 3 for kernels of 4, a PDN's inner maps have 2 or 3 cells more than their stride says,
    and cell i of what is left is centred on pixel i * stride, at most 2 further.
    """
    top, left = (x.shape[1] - height + 1) // 2, (x.shape[2] - width + 1) // 2
    return x[:, top : top + height, left : left + width]


def pool(x: Float[Array, "B H W C"], padding: int) -> Float[Array, "B h w C"]:
    """2 x 2 mean; padded zeros count in it."""
    return nn.avg_pool(pad(x, padding), window_shape=(2, 2), strides=(2, 2))


def cells(side: int) -> int:
    """Rows or columns of the unpadded PDN's output for an image side: side / 4 - 8."""
    for shrink in (3, None, 3, None, 2, 3):
        side = side // 2 if shrink is None else side - shrink
    return side


def part(params: PyTree, channels: slice) -> PyTree:
    """A PDN's parameters with some channels of its last layer only."""
    last = max(params)
    conv = params[last]["conv"]
    kept = {"kernel": conv["kernel"][..., channels], "bias": conv["bias"][channels]}
    return {**params, last: {"conv": kept}}
