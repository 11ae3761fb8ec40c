"""Convolution, pooling and padding as every network here uses them."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxad.nets import cpu

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Sides = tuple[tuple[int, int], tuple[int, int]]  # cells before and after, of rows and of columns

# torch's default for convolutions: U(-1/sqrt(fan_in), 1/sqrt(fan_in)), a variance of 1/(3 fan_in).
torch_kernel = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
# He et al., ICCV 2015 (arXiv:1502.01852), by outputs: torchvision's for residual networks.
he_kernel = nn.initializers.variance_scaling(2, "fan_out", "normal")


def torch_bias(fan_in: int) -> Callable[..., Array]:
    """Initialiser of a bias as torch draws it: U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""
    return functools.partial(_torch_uniform, fan_in)


def _torch_uniform(fan_in: int, key: Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
    return jax.random.uniform(key, shape, dtype, -1, 1) / jnp.sqrt(jnp.asarray(fan_in, dtype))


class Conv(nn.Module):
    """A convolution that starts from torch's initial weights.

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
        depthwise = 1 < self.groups == x.shape[-1] == self.features
        return nn.Conv(
            self.features,
            (self.kernel, self.kernel),
            strides=self.stride,
            padding=_sides(self.padding),
            kernel_dilation=self.dilation,
            feature_group_count=self.groups,
            use_bias=self.use_bias,
            kernel_init=self.kernel_init,
            bias_init=torch_bias(fan_in),
            conv_general_dilated_cls=lambda: cpu.depthwise if depthwise else cpu.conv,
            name="conv",
        )(x)


def max_pool(
    x: Float[Array, "B H W C"], window: int, stride: int = 2, padding: int = 0
) -> Float[Array, "B h w C"]:
    """The largest of each window's cells; of equal ones the first takes the gradient."""
    return cpu.max_pool(x, window, stride, padding)


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
