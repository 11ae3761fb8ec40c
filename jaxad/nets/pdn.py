"""The patch description network: 33 x 33 pixels in, one descriptor out, every four pixels.

Batzner, Heckler & Koenig, WACV 2024 (arXiv:2303.14535), tables 6 and 7.
"""

from flax import linen as nn
from jaxtyping import Array, Float, PyTree

from jaxad.nets.layers import Conv, imagenet_normalise, pad

RECEPTIVE_FIELD = 33  # pixels a side
STRIDE = 4


class PDN(nn.Module):
    """PDN-S or PDN-M.

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
    def __call__(self, images: Float[Array, "B H W 3"]) -> Float[Array, "B h w C"]:
        """Descriptors of images in [0, 1]."""
        width = self.width or (256 if self.medium else 128)
        outputs = self.outputs or self.channels
        on = int(self.padding)

        x = imagenet_normalise(images)
        x = pool(nn.relu(Conv(width, 4, padding=3 * on, name="conv1")(x)), on)
        x = pool(nn.relu(Conv(2 * width, 4, padding=3 * on, name="conv2")(x)), on)
        if not self.medium:
            x = nn.relu(Conv(2 * width, 3, padding=on, name="conv3")(x))
            return Conv(outputs, 4, name="conv4")(x)
        x = nn.relu(Conv(2 * width, 1, name="conv3")(x))
        x = nn.relu(Conv(2 * width, 3, padding=on, name="conv4")(x))
        x = nn.relu(Conv(self.channels, 4, name="conv5")(x))
        return Conv(outputs, 1, name="conv6")(x)


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
