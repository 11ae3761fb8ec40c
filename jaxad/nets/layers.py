"""Convolution and resizing as every network here uses them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# torch's default for convolutions: U(-1/sqrt(fan_in), 1/sqrt(fan_in)), a variance of 1/(3 fan_in).
torch_kernel = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def torch_bias(fan_in: int) -> Callable[..., Array]:
    """Initialiser of a bias as torch draws it: U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""

    def draw(key: Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -1, 1) / jnp.sqrt(jnp.asarray(fan_in, dtype))

    return draw


class Conv(nn.Module):
    """A convolution that pads with zeros explicitly and starts from torch's initial weights.

    XLA's CPU backend computes the weight gradient of a convolution whose output is larger than its
    input 100 times slower when the padding is left to the convolution; the values are the same.
    """

    features: int
    kernel: int
    stride: int = 1
    padding: int = 0
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
        """The convolution of `x`."""
        fan_in = self.kernel * self.kernel * x.shape[-1]
        return nn.Conv(
            self.features,
            (self.kernel, self.kernel),
            strides=self.stride,
            padding="VALID",
            use_bias=self.use_bias,
            kernel_init=torch_kernel,
            bias_init=torch_bias(fan_in),
            name="conv",
        )(pad(x, self.padding))


def pad(x: Float[Array, "B H W C"], width: int, value: float = 0.0) -> Float[Array, "B H2 W2 C"]:
    """`x` with a border of `width` cells on each side."""
    if width == 0:
        return x
    return jnp.pad(x, ((0, 0), (width, width), (width, width), (0, 0)), constant_values=value)


def imagenet_normalise(images: Float[Array, "B H W 3"]) -> Float[Array, "B H W 3"]:
    """Images in [0, 1] as networks trained on ImageNet expect them: zero mean, unit variance."""
    mean, std = (jnp.array(x)[None, None, None] for x in (IMAGENET_MEAN, IMAGENET_STD))
    return (images - mean) / std
