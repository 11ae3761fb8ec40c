"""Batch norm and group norm as every network here uses them."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

Vector = Float[Array | np.ndarray, "C"]


class BatchNorm(nn.Module):
    """Batch norm as torch defines it: Flax's running variance follows the biased variance.

    Attributes:
      epsilon: added to the variance.
      momentum: what the running statistics keep of themselves at each step.
    """

    epsilon: float = 1e-5
    momentum: float = 0.9

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], train: bool = False) -> Float[Array, "B H W C"]:
        """`x` normalised with the running statistics or, in training, with its own.

        In training the running ones move: apply with `mutable=["batch_stats"]`. They are means over
        the whole batch, whatever devices hold it.
        """
        channels = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels)
        if not train:
            mean, var = running_mean.value, running_var.value
            factor = jax.lax.rsqrt(var + self.epsilon) * scale
            return (x - _wide(mean)) * _wide(factor) + _wide(bias)
        y, mean, var = batch_normalised(x, scale, bias, self.epsilon)
        if not self.is_initializing():
            count = x.size // x.shape[-1]
            unbiased = var * (count / max(count - 1, 1))
            for running, new in ((running_mean, mean), (running_var, unbiased)):
                running.value = self.momentum * running.value + (1 - self.momentum) * new
        return y


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def batch_normalised(
    x: Float[Array, "B H W C"], scale: Vector, bias: Vector, epsilon: float
) -> tuple[Float[Array, "B H W C"], Float[Array, "C"], Float[Array, "C"]]:
    """`x` of mean 0 and variance 1 per channel, times scale, plus bias; its mean and variance.

    The gradient is written out: JAX's own passes over `x` several times as often, which is most of
    the time that it takes.
    """
    return _forward(x, scale, bias, epsilon)[0]


def _forward(x: Array, scale: Vector, bias: Vector, epsilon: float) -> tuple[tuple, tuple]:
    mean = _channel_mean(x)
    centred = x - _wide(mean)
    var = _channel_mean(jnp.square(centred))
    rate = jax.lax.rsqrt(var + epsilon)
    y = centred * _wide(rate * scale) + _wide(bias)
    return (y, mean, var), (x, scale, mean, rate)


def _backward(epsilon: float, kept: tuple, gradients: tuple) -> tuple[Array, Array, Array]:
    x, scale, mean, rate = kept
    of_y, of_mean, of_var = gradients
    count, factor = x.size // x.shape[-1], rate * scale
    centred = x - _wide(mean)
    of_bias = _channel_mean(of_y)  # these two are divided by the count
    of_scale = _channel_mean(of_y * centred) * rate
    slope = 2 * of_var / count - factor * rate * of_scale
    offset = of_mean / count - factor * of_bias
    of_x = _wide(factor) * of_y + _wide(slope) * centred + _wide(offset)
    return of_x, count * of_scale, count * of_bias


batch_normalised.defvjp(_forward, _backward)


def _channel_mean(x: Float[Array, "B H W C"]) -> Float[Array, "C"]:
    # A CPU sums over cells at a quarter of its memory's rate. Adding quarters of a map to one
    # another is as fast as that, and so is a matrix product with ones.
    count, height, width, channels = x.shape
    parts = math.gcd(height * width, 4)
    x = x.reshape(count, parts, height * width // parts, channels)
    x = sum(x[:, i] for i in range(parts)).reshape(-1, channels)
    ones = jnp.full((1, len(x)), 1 / (parts * len(x)), x.dtype)
    return jnp.dot(ones, x, precision="highest")[0]


def _wide(vector: Vector) -> Float[Array | np.ndarray, "1 1 1 C"]:
    return vector[None, None, None]


class GroupNorm(nn.Module):
    """Group norm, computed in float32: mean 0 and variance 1 within each group of channels.

    Values are Flax's `GroupNorm(use_fast_variance=False)`. Its sums go over a part of the channels,
    which a CPU takes more than twice as long for: here over cells first, then over channels.

    Attributes:
      groups: of neighbouring channels; their number is a multiple of it.
      epsilon: added to the variance.
    """

    groups: int
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        """`x` normalised, of its type."""
        channels = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        scale, bias, wide = (leaf.astype(jnp.float32) for leaf in (scale, bias, x))
        centred = wide - _group_mean(wide, self.groups)
        var = _group_mean(jnp.square(centred), self.groups)
        rate = jax.lax.rsqrt(var + self.epsilon)
        return (centred * (rate * _wide(scale)) + _wide(bias)).astype(x.dtype)


def _group_mean(x: Float[Array, "B H W C"], groups: int) -> Float[Array, "B 1 1 C"]:
    """For each channel the mean over cells and over the channels of its group."""
    count, channels = x.shape[0], x.shape[-1]
    of_channels = x.mean((1, 2)).reshape(count, groups, channels // groups)
    of_groups = of_channels.mean(-1, keepdims=True)
    return jnp.broadcast_to(of_groups, of_channels.shape).reshape(count, 1, 1, channels)
