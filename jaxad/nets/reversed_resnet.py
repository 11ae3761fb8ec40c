"""A residual network backwards: several maps become one small code, and maps again.

Deng & Li, CVPR 2022 (arXiv:2201.10703). Names of layers are those of their code, hq-deng/RD4AD.
"""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxad.nets.resnet import Block, conv, norm

# torch's default for transposed convolutions, whose "fan-in" counts outputs.
transposed_kernel = nn.initializers.variance_scaling(
    1 / 3, "fan_in", "uniform", in_axis=-1, out_axis=0
)

Maps = Sequence[Float[Array, "B _ _ _"]]


class OneClassBottleneck(nn.Module):
    """Multi-scale fusion and the one-class embedding, half as large as the coarsest map.

    Attributes:
      strides: cells of each map from one cell of the next to another: 2 for a ResNet's.
      units: residual blocks of the embedding.
      bottleneck: whether they are of 1x1, 3x3, 1x1 convolutions.
      base_width: of the 3x3 ones, as `ResNet`'s: 64 is a quarter of a block's output.
    """

    strides: tuple[int, ...] = (2, 2)
    units: int = 2
    bottleneck: bool = False
    base_width: int = 64

    @nn.compact
    def __call__(self, maps: Maps, train: bool = False) -> Float[Array, "B h w C"]:
        """Twice as many channels as the last of `maps`, which come finest first."""
        channels = [x.shape[-1] for x in maps]
        fused = []
        for i, x in enumerate(maps):
            for j in range(i, len(maps) - 1):
                x = conv(channels[j + 1], 3, self.strides[j], name=f"conv{i}_{j}")(x)
                x = nn.relu(norm(f"bn{i}_{j}")(x, train))
            fused.append(x)
        x = jnp.concatenate(fused, -1)
        features = 2 * channels[-1]
        width = _width(features, self.bottleneck, self.base_width)
        for i in range(self.units):
            block = Block(width, features, 1 if i else 2, self.bottleneck, name=f"unit{i}")
            x = block(x, train)
        return x


class Decoder(nn.Module):
    """A reversed residual network: each stage enlarges first.

    Attributes:
      channels: of the maps to restore, finest first.
      strides: as `OneClassBottleneck`'s.
      units: residual blocks of each stage, that of the coarsest map first.
      bottleneck: whether they are of 1x1, 3x3, 1x1 convolutions.
      base_width: of the 3x3 ones.
      signed: which maps may have negative values: they are taken before the last rectifier of their
        stage. None for no one.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...] = (2, 2)
    units: tuple[int, ...] = (2, 2, 2)
    bottleneck: bool = False
    base_width: int = 64
    signed: tuple[bool, ...] | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "B h w C"], train: bool = False
    ) -> tuple[Float[Array, "B _ _ _"], ...]:
        """Maps of so many channels, finest first."""
        maps = []
        scales = (*self.strides, 2)  # the last one undoes the embedding's own
        signed = self.signed or (False,) * len(self.channels)
        stages = zip(self.channels[::-1], scales[::-1], self.units, signed[::-1], strict=True)
        for stage, (features, scale, units, sign) in enumerate(stages, start=1):
            width = _width(features, self.bottleneck, self.base_width)
            for i in range(units):
                block = ReversedBlock(
                    width, features, 1 if i else scale, self.bottleneck, name=f"layer{stage}_{i}"
                )
                restored = block(x, train)
                x = nn.relu(restored)
            maps.append(restored if sign else x)
        return tuple(maps[::-1])


class ReversedResNet(NamedTuple):
    """Bottleneck and decoder as one network: an encoder's maps -> maps of the same shapes."""

    bottleneck: OneClassBottleneck
    decoder: Decoder

    def init(self, key: Array, maps: Maps) -> PyTree:
        """New variables; parameters and statistics have a part for each of the two."""
        keys = jax.random.split(key)
        code, first = self.bottleneck.init_with_output(keys[0], maps)
        both = {"bottleneck": first, "decoder": self.decoder.init(keys[1], code)}
        return {
            kind: {name: variables[kind] for name, variables in both.items()}
            for kind in ("params", "batch_stats")
        }

    def restored(self, params: PyTree, stats: PyTree, maps: Maps, train: bool = False) -> tuple:
        """What becomes of the maps, and the running statistics after it."""
        moved = {}
        for name, module in zip(self._fields, self, strict=True):
            variables = {"params": params[name], "batch_stats": stats[name]}
            maps, changed = module.apply(variables, maps, train, mutable=["batch_stats"])
            moved[name] = changed["batch_stats"]
        return maps, moved


def reversed_resnet(
    channels: tuple[int, ...],
    strides: tuple[int, ...] = (2, 2),
    units: tuple[int, ...] = (2, 2, 2),
    bottleneck: bool = False,
    base_width: int = 64,
    signed: tuple[bool, ...] | None = None,
) -> ReversedResNet:
    """For maps of so many channels; see `Decoder`.

    The embedding is the encoder's last stage, which has as many blocks as its first.
    """
    kind = bottleneck, base_width
    return ReversedResNet(
        OneClassBottleneck(strides, units[0], *kind),
        Decoder(channels, strides, units, *kind, signed),
    )


class ReversedBlock(nn.Module):
    """A residual block that may enlarge `scale` times, in main path and shortcut."""

    width: int
    features: int
    scale: int
    bottleneck: bool

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"], train: bool = False) -> Float[Array, "B H W D"]:
        """The block's output, before its last rectifier."""
        if self.bottleneck:
            y = nn.relu(norm("bn1")(conv(self.width, 1, name="conv1")(x), train))
            y = nn.relu(norm("bn2")(_enlarging(self.width, self.scale, "conv2")(y), train))
            y = norm("bn3")(conv(self.features, 1, name="conv3")(y), train)
        else:
            y = nn.relu(norm("bn1")(_enlarging(self.width, self.scale, "conv1")(x), train))
            y = norm("bn2")(conv(self.features, 3, name="conv2")(y), train)
        if self.scale != 1:
            x = norm("upsample_bn")(
                TransposedConv(self.features, self.scale, name="upsample_conv")(x), train
            )
        elif x.shape[-1] != self.features:
            x = norm("upsample_bn")(conv(self.features, 1, name="upsample_conv")(x), train)
        return x + y


class TransposedConv(nn.Module):
    """A transposed convolution whose kernel is as wide as its stride: no two cells overlap.

    As a product of matrices, which is what it is.

    Attributes:
      features: channels of the output.
      scale: kernel and stride.
    """

    features: int
    scale: int

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B H W D"]:
        """`scale` times as large: y[s i + a, s j + b] = x[i, j] @ kernel[:, a, b]."""
        batch, height, width, channels = x.shape
        scale = self.scale
        kernel = self.param("kernel", transposed_kernel, (channels, scale, scale, self.features))
        y = jax.lax.dot_general(x, kernel, (((3,), (0,)), ((), ())))  # B h w a b D
        y = y.transpose(0, 1, 3, 2, 4, 5)
        return y.reshape(batch, height * scale, width * scale, self.features)


def _width(features: int, bottleneck: bool, base_width: int) -> int:
    """Channels of the 3x3 convolutions in a block of so many at its end."""
    return features // 4 * base_width // 64 if bottleneck else features


def _enlarging(features: int, scale: int, name: str) -> nn.Module:
    """A 3x3 convolution, or a transposed one where the output is larger."""
    return (
        conv(features, 3, name=name) if scale == 1 else TransposedConv(features, scale, name=name)
    )
