"""The denoising U-Net of guided diffusion: residual blocks told the timestep, with attention.

Dhariwal & Nichol, 2021 (arXiv:2105.05233), without their scale-shift norm; as DiffusionAD (Zhang
et al., arXiv:2303.08730) uses it.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from jaxad.nets.layers import Conv, pad, torch_bias, torch_kernel
from jaxad.nets.norms import GroupNorm

Features = Float[Array, "B H W C"]
Output = Float[Array, "B h w D"]
Resample = Literal["down", "up"] | None


class UNet(nn.Module):
    """Images and timesteps to the noise in the images.

    Sides have to be multiples of 2 ** (levels - 1). The last convolution of every residual block
    and attention starts at zero, and so does the output: at first the network estimates 0.

    Attributes:
      width: channels of the first level.
      multipliers: of `width`, one for each level; each level halves the side.
      blocks: residual blocks on each level of the way down, one more on the way up.
      attention: the levels that have it, 0 is the first.
      heads: of attention.
      groups: of channels that are normalised together.
      skips: whether the way up sees the way down; without, it is an autoencoder.
      remat: whether blocks are computed again for gradients, to save memory.
    """

    width: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4, 4)
    blocks: int = 2
    attention: tuple[int, ...] = (3, 4, 5)
    heads: int = 4
    groups: int = 32
    skips: bool = True
    remat: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B H W 3"], t: Int[Array, "B"]) -> Float[Array, "B H W 3"]:
        """The noise in `x`, of the type of `x`; group norms compute in float32."""
        block, attention = _Residual, _Attention
        if self.remat:
            block, attention = nn.remat(_Residual), nn.remat(_Attention)
        time = _Time(self.width, name="time")(t).astype(x.dtype)

        def residual(x: Features, level: int, name: str, resample: Resample = None) -> Output:
            channels = self.width * self.multipliers[level]
            return block(channels, self.groups, resample, name=name)(x, time)

        def attend(x: Features, level: int, name: str) -> Output:
            if level not in self.attention:
                return x
            return attention(self.heads, self.groups, name=f"{name}_attention")(x)

        x = Conv(self.width, 3, padding=1, name="input")(x)
        kept, last, count = [x], len(self.multipliers) - 1, 0
        for level in range(last + 1):
            for _ in range(self.blocks):
                name, count = f"down_{count}", count + 1
                x = attend(residual(x, level, name), level, name)
                kept.append(x)
            if level < last:
                name, count = f"down_{count}", count + 1
                x = residual(x, level, name, "down")
                kept.append(x)

        x = residual(x, last, "middle_0")
        x = attention(self.heads, self.groups, name="middle_attention")(x)
        x = residual(x, last, "middle_1")

        count = 0
        for level in range(last, -1, -1):
            for _ in range(self.blocks + 1):
                name, count = f"up_{count}", count + 1
                if self.skips:
                    x = jnp.concatenate([x, kept.pop()], -1)
                x = attend(residual(x, level, name), level, name)
            if level > 0:
                x = residual(x, level, f"up_{count - 1}_resample", "up")
        x = nn.silu(GroupNorm(self.groups, name="norm")(x))
        return _ZeroConv(3, name="output")(x)


def time_embedding(t: Int[Array, "B"], width: int) -> Float[Array, "B {width}"]:
    """Sines, then cosines, of t times width / 2 frequencies from 1 down to nearly 1 / 10 000.

    Source: Vaswani et al., 2017 (arXiv:1706.03762), as guided diffusion arranges it.
    """
    half = width // 2
    frequency = jnp.exp(-jnp.log(10_000.0) * jnp.arange(half) / half)
    angle = t[:, None].astype(jnp.float32) * frequency[None]
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], -1)


class _Time(nn.Module):
    """Timesteps as features of 4 * width channels."""

    width: int

    @nn.compact
    def __call__(self, t: Int[Array, "B"]) -> Float[Array, "B T"]:
        x = _dense(4 * self.width, self.width, "dense1")(time_embedding(t, self.width))
        return _dense(4 * self.width, 4 * self.width, "dense2")(nn.silu(x))


class _Residual(nn.Module):
    """Norm, activation, perhaps halving or doubling, convolution, time added; again; plus input."""

    channels: int
    groups: int
    resample: Resample = None

    @nn.compact
    def __call__(self, x: Features, time: Float[Array, "B T"]) -> Output:
        h = nn.silu(GroupNorm(self.groups, name="norm1")(x))
        if self.resample == "down":
            h, x = _halved(h), _halved(x)
        elif self.resample == "up":
            h, x = _doubled(h), _doubled(x)
        h = Conv(self.channels, 3, padding=1, name="conv1")(h)
        time = _dense(self.channels, time.shape[-1], "time")(nn.silu(time))
        h = h + time[:, None, None]
        h = _ZeroConv(self.channels, name="conv2")(nn.silu(GroupNorm(self.groups, name="norm2")(h)))
        if x.shape[-1] != self.channels:
            x = Conv(self.channels, 1, name="skip")(x)
        return x + h


class _Attention(nn.Module):
    """Every cell asks every cell; plus input."""

    heads: int
    groups: int

    @nn.compact
    def __call__(self, x: Features) -> Output:
        count, height, width, channels = x.shape
        packed = _dense(3 * channels, channels, "qkv")(GroupNorm(self.groups, name="norm")(x))
        # Heads first, then q, k, v within a head: the order of published weights.
        packed = packed.reshape(count, height * width, self.heads, 3, channels // self.heads)
        q, k, v = jnp.moveaxis(packed, 3, 0)
        scale = (channels // self.heads) ** -0.25  # on both: in few bits better than one product
        weights = jnp.einsum("bthd,bshd->bhts", q * scale, k * scale)
        wide = jnp.promote_types(x.dtype, jnp.float32)
        weights = jax.nn.softmax(weights.astype(wide), -1).astype(x.dtype)
        h = jnp.einsum("bhts,bshd->bthd", weights, v).reshape(x.shape)
        zeros = nn.initializers.zeros
        return x + nn.Dense(channels, kernel_init=zeros, name="output")(h)


class _ZeroConv(nn.Module):
    """A 3 x 3 convolution that starts at zero."""

    features: int

    @nn.compact
    def __call__(self, x: Features) -> Output:
        zeros = nn.initializers.zeros
        conv = nn.Conv(self.features, (3, 3), padding="VALID", kernel_init=zeros, name="conv")
        return conv(pad(x, 1))


def _dense(features: int, inputs: int, name: str) -> nn.Dense:
    bias = torch_bias(inputs)
    return nn.Dense(features, kernel_init=torch_kernel, bias_init=bias, name=name)


def _halved(x: Features) -> Output:
    """Means of 2 x 2 cells."""
    count, height, width, channels = x.shape
    return x.reshape(count, height // 2, 2, width // 2, 2, channels).mean((2, 4))


def _doubled(x: Features) -> Output:
    """Each cell four times."""
    count, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (count, height, 2, width, 2, channels))
    return x.reshape(count, 2 * height, 2 * width, channels)
