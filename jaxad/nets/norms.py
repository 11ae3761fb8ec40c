"""Batch norm and group norm as every network here uses them."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from jaxad.nets import cpu

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
        y, mean, var = cpu.batch_norm(x, scale, bias, self.epsilon)
        if not self.is_initializing():
            count = x.size // x.shape[-1]
            unbiased = var * (count / max(count - 1, 1))
            for running, new in ((running_mean, mean), (running_var, unbiased)):
                running.value = self.momentum * running.value + (1 - self.momentum) * new
        return y


class GroupNorm(nn.Module):
    """Group norm: mean 0 and variance 1 within each group of channels, computed in float32.

    In float64 where `x` is of it.

    Values are Flax's `GroupNorm(use_fast_variance=False)`.

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
        dtype = jnp.promote_types(x.dtype, jnp.float32)
        scale, bias, wide = (leaf.astype(dtype) for leaf in (scale, bias, x))
        centred = wide - cpu.group_mean(wide, self.groups)
        var = cpu.group_mean(jnp.square(centred), self.groups)
        rate = jax.lax.rsqrt(var + self.epsilon)
        return (centred * (rate * _wide(scale)) + _wide(bias)).astype(x.dtype)


def _wide(vector: Vector) -> Float[Array | np.ndarray, "1 1 1 C"]:
    return vector[None, None, None]
