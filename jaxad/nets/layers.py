"""Convolution, batch norm and resizing as every network here uses them."""

from collections.abc import Callable
from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Vector = Float[Array | np.ndarray, "C"]
Sides = tuple[tuple[int, int], tuple[int, int]]  # cells before and after, of rows and of columns

# torch's default for convolutions: U(-1/sqrt(fan_in), 1/sqrt(fan_in)), a variance of 1/(3 fan_in).
torch_kernel = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
# He et al., ICCV 2015 (arXiv:1502.01852), by outputs: torchvision's for residual networks.
he_kernel = nn.initializers.variance_scaling(2, "fan_out", "normal")


def torch_bias(fan_in: int) -> Callable[..., Array]:
    """Initialiser of a bias as torch draws it: U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""

    def draw(key: Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -1, 1) / jnp.sqrt(jnp.asarray(fan_in, dtype))

    return draw


class Conv(nn.Module):
    """A convolution that starts from torch's initial weights.

    XLA's CPU backend computes the weight gradient of a convolution whose output is larger than its
    input 100 times slower when the padding is left to the convolution, so zeros are then laid
    around it beforehand; the values are the same.

    Attributes:
      features: channels of the output.
      kernel: its side.
      stride: cells from one output to the next.
      padding: cells on each side, or (before, after) of rows and of columns.
      use_bias: whether there is one.
      groups: of channels that do not see each other; as many as channels for a depthwise one.
      dilation: cells from one tap of the kernel to the next.
      kernel_init: initialiser of the kernel.
    """

    features: int
    kernel: int
    stride: int = 1
    padding: int | Sides = 0
    use_bias: bool = True
    groups: int = 1
    dilation: int = 1
    kernel_init: Callable[..., Array] = torch_kernel

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
        """The convolution of `x`."""
        fan_in = self.kernel * self.kernel * x.shape[-1] // self.groups
        sides = _sides(self.padding)
        reach = self.dilation * (self.kernel - 1)
        if max(before + after for before, after in sides) > reach:
            x, sides = pad(x, sides), ((0, 0), (0, 0))
        return nn.Conv(
            self.features,
            (self.kernel, self.kernel),
            strides=self.stride,
            padding=sides,
            kernel_dilation=self.dilation,
            feature_group_count=self.groups,
            use_bias=self.use_bias,
            kernel_init=self.kernel_init,
            bias_init=torch_bias(fan_in),
            name="conv",
        )(x)


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
    # One sum over all cells would be merged again and, on a CPU, left to a single core.
    return jax.lax.optimization_barrier(x.mean(2)).mean((0, 1))


def _wide(vector: Vector) -> Float[Array | np.ndarray, "1 1 1 C"]:
    return vector[None, None, None]


def max_pool(
    x: Float[Array, "B H W C"], window: int, stride: int = 2, padding: int = 0
) -> Float[Array, "B h w C"]:
    """The largest of each window's cells; of equal ones the first takes the gradient.

    As `nn.max_pool`, whose gradient takes several times as long on a CPU.
    """
    for axis in (2, 1):  # columns first, so that of equals the first in reading order remains
        x = _largest_along(x, axis, window, stride, padding)
    return x


def _largest_along(
    x: Float[Array, "B H W C"], axis: int, window: int, stride: int, padding: int
) -> Float[Array, "B h w C"]:
    """The largest of each window along one axis."""
    side = x.shape[axis]
    count = (side + 2 * padding - window) // stride + 1
    strides = -(-side // stride)
    x = _reaching(x, axis, 0, strides * stride)
    phases = x.reshape(*x.shape[:axis], strides, stride, *x.shape[axis + 1 :])
    cells = []
    for start in range(-padding, window - padding):
        phase = jax.lax.index_in_dim(phases, start % stride, axis + 1, keepdims=False)
        cells.append(_reaching(phase, axis, start // stride, start // stride + count))
    return reduce(lambda a, b: jnp.where((b > a) | jnp.isnan(b), b, a), cells)


def _reaching(x: Array, axis: int, start: int, stop: int) -> Array:
    """Cells from `start` to `stop` along an axis; those outside of `x` are -inf."""
    side = x.shape[axis]
    x = jax.lax.slice_in_dim(x, max(start, 0), min(stop, side), axis=axis)
    outside = [(0, 0)] * x.ndim
    outside[axis] = (max(-start, 0), max(stop - side, 0))
    return jnp.pad(x, outside, constant_values=-jnp.inf) if any(outside[axis]) else x


def pad(
    x: Float[Array, "B H W C"], width: int | Sides, value: float = 0.0
) -> Float[Array, "B H2 W2 C"]:
    """`x` with a border of `width` cells: on each side, or (before, after) of rows and columns."""
    rows, columns = _sides(width)
    if (rows, columns) == ((0, 0), (0, 0)):
        return x
    return jnp.pad(x, ((0, 0), rows, columns, (0, 0)), constant_values=value)


def _sides(width: int | Sides) -> Sides:
    """One width on each side, or what is given."""
    return ((width, width), (width, width)) if isinstance(width, int) else width


def same_padding(height: int, width: int, kernel: int, stride: int) -> Sides:
    """TensorFlow's "SAME": ceil(side / stride) outputs, the odd cell of the border goes last."""

    def along(side: int) -> tuple[int, int]:
        missing = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        return missing // 2, missing - missing // 2

    return along(height), along(width)


def imagenet_normalise(images: Float[Array, "B H W 3"]) -> Float[Array, "B H W 3"]:
    """Images in [0, 1] as networks trained on ImageNet expect them: zero mean, unit variance."""
    mean, std = (jnp.array(x)[None, None, None] for x in (IMAGENET_MEAN, IMAGENET_STD))
    return (images - mean) / std


def signed(images: Float[Array, "B H W 3"]) -> Float[Array, "B H W 3"]:
    """Images in [0, 1] as TensorFlow's networks expect them: in [-1, 1]."""
    return 2 * images - 1
