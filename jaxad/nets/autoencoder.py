"""EfficientAD's autoencoder: no skips, a bottleneck of 64 numbers, the teacher's features out.

Batzner, Heckler & Koenig, WACV 2024 (arXiv:2303.14535), table 8.
"""

import jax
from flax import linen as nn
from jaxtyping import Array, Float

from jaxad.nets.layers import Conv, imagenet_normalise

DROPOUT = 0.2  # table 8


class Autoencoder(nn.Module):
    """Table 8 for 256 x 256 images; other sizes scale the decoder's steps.

    Attributes:
      channels: of the output: the teacher's.
      cells: rows and columns of the output: the student's.
      width: channels of the first two layers; the others have twice as many.
      kernel: side of the last encoder convolution, 8 in the paper; a side of 32 * kernel pixels
        is the smallest possible and gives a bottleneck of one cell.
    """

    channels: int = 384
    cells: tuple[int, int] = (56, 56)
    width: int = 32
    kernel: int = 8

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W 3"], dropout: bool = False
    ) -> Float[Array, "B h w C"]:
        """Features of `images`, in [0, 1]; `dropout` asks for a "dropout" key."""
        height, width = images.shape[1:3]
        x = imagenet_normalise(images)
        for i, features in enumerate((1, 1, 2, 2, 2), start=1):
            x = nn.relu(Conv(features * self.width, 4, stride=2, padding=1, name=f"enconv{i}")(x))
        x = Conv(2 * self.width, self.kernel, name="enconv6")(x)

        for i, shape in enumerate(zip(steps(height), steps(width), strict=True), start=1):
            x = nn.relu(Conv(2 * self.width, 4, padding=2, name=f"deconv{i}")(resize(x, shape)))
            x = nn.Dropout(DROPOUT, deterministic=not dropout)(x)
        x = nn.relu(Conv(2 * self.width, 3, padding=1, name="deconv7")(resize(x, self.cells)))
        return Conv(self.channels, 3, padding=1, name="deconv8")(x)


def steps(side: int) -> tuple[int, ...]:
    """What the decoder enlarges to on its way to an image side: 3, 8, 15, 32, 63, 127 for 256.

    The paper has 256 only; for other sides the rule is anomalib's (its `Decoder.forward`).
    """
    sizes = (side // 64 - 1, side // 32, side // 16 - 1, side // 8, side // 4 - 1, side // 2 - 1)
    return tuple(max(size, 1) for size in sizes)


def resize(x: Float[Array, "B h w C"], shape: tuple[int, int]) -> Float[Array, "B H W C"]:
    """Bilinear, half-pixel centres, no antialiasing even where it shrinks."""
    return jax.image.resize(x, (x.shape[0], *shape, x.shape[-1]), "bilinear", antialias=False)
