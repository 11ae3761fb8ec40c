"""An autoencoder of images, whose way from encoder to decoder may lead through memories.

The encoder is DCGAN's (Radford et al., ICLR 2016, arXiv:1511.06434): strided convolutions, batch
norm, leaky rectifiers. What Hou et al., ICCV 2021 (arXiv:2107.13118), do not tell is our choice.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxad.nets.layers import Conv
from jaxad.nets.memory import Memory, Similarity
from jaxad.nets.norms import BatchNorm

SLOPE = 0.2  # of leaky rectifiers below zero: DCGAN, section 3; MemAE's code

Map = Float[Array, "B _ _ _"]


class ImageAutoencoder(nn.Module):
    """Encoder, memories, decoder; no map reaches the decoder's finer levels but by a memory.

    Attributes:
      widths: channels of the encoder's levels, finest first; each halves the sides.
      rates: blocks along each side at each level. 0 is no memory: the last level is then handed
        over as it is, any other is not handed over at all.
      items: of the memory of each level.
      kernel: side of the encoder's convolutions, 3 or 4.
      similarity: of the memories.
      key_channels: of the memories.
    """

    widths: tuple[int, ...]
    rates: tuple[int, ...]
    items: tuple[int, ...]
    kernel: int = 4
    similarity: Similarity = "cosine"
    key_channels: int | None = None

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B H W 3"],
        temperature: float | Array = 1.0,
        threshold: float | Array = 0.0,
        train: bool = False,
    ) -> tuple[Float[Array, "B H W 3"], dict[str, Float[Array, "B _ _"]]]:
        """The reconstruction, without a function at its end, and the weights of each memory.

        Args:
          x: images in [-1, 1]; their sides are multiples of 2 ** len(widths).
          temperature: of the memories.
          threshold: of the memories.
          train: batch norm takes the moments of this batch; apply with `mutable=["batch_stats"]`.
        """
        maps = list(Encoder(self.widths, self.kernel, name="encoder")(x, train))
        weights = {}
        for i, (rate, items) in enumerate(zip(self.rates, self.items, strict=True)):
            if rate:
                name = f"memory{i + 1}"
                memory = Memory(items, (rate, rate), self.similarity, self.key_channels, name=name)
                maps[i], weights[name] = memory(maps[i], temperature, threshold)
        *finer, last = maps
        skips = [map_ if rate else None for map_, rate in zip(finer, self.rates[:-1], strict=True)]
        return Decoder(self.widths, name="decoder")(last, skips, train), weights


class Encoder(nn.Module):
    """Convolutions of stride 2 with batch norm.

    Attributes:
      widths: channels of the levels.
      kernel: side of the convolutions: 4 is DCGAN's, 3 MemAE's.
    """

    widths: tuple[int, ...]
    kernel: int = 4

    @nn.compact
    def __call__(self, x: Float[Array, "B H W 3"], train: bool = False) -> tuple[Map, ...]:
        """The map of each level, finest first."""
        maps = []
        for i, width in enumerate(self.widths, start=1):
            # Without a bias: the norm would take it away.
            x = Conv(width, self.kernel, 2, 1, use_bias=False, name=f"conv{i}")(x)
            x = nn.leaky_relu(BatchNorm(name=f"norm{i}")(x, train), SLOPE)
            maps.append(x)
        return tuple(maps)


class Decoder(nn.Module):
    """Nearest-neighbour enlargement and a 3x3 convolution for each level of the encoder.

    Differs from the reference: MemAE and DCGAN enlarge by transposed convolutions, which leave
    chequered patterns (Odena et al., Distill 2016) that a reconstruction error would see.

    Attributes:
      widths: of the encoder.
    """

    widths: tuple[int, ...]

    @nn.compact
    def __call__(
        self, x: Map, skips: Sequence[Map | None], train: bool = False
    ) -> Float[Array, "B H W 3"]:
        """An image from the last map, joined on the way by those of the finer ones that are there.

        Args:
          x: the encoder's last map.
          skips: its others, finest first; None for one that is not handed over.
          train: as the autoencoder's.
        """
        for i in range(len(self.widths) - 1, 0, -1):
            x, skip = enlarged(x), skips[i - 1]
            x = x if skip is None else jnp.concatenate([x, skip], -1)
            x = Conv(self.widths[i - 1], 3, 1, 1, use_bias=False, name=f"conv{i}")(x)
            x = nn.leaky_relu(BatchNorm(name=f"norm{i}")(x, train), SLOPE)
        return Conv(3, 3, 1, 1, name="output")(enlarged(x))


def enlarged(x: Float[Array, "B h w C"]) -> Float[Array, "B H W C"]:
    """Each cell as 2 x 2 cells."""
    batch, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (batch, height, 2, width, 2, channels))
    return x.reshape(batch, 2 * height, 2 * width, channels)
