"""Computations that XLA's CPU backend is slow at, in the form that it is fast at.

All that networks do for a CPU's sake is here: on a CPU a `Form` runs as `cpu`, elsewhere as
`plain`, which is as its library has it. Both give the same values and gradients but for rounding.
experiments/bench_cpu_forms.py times the two and says which forms this jaxlib no longer needs; below
each is the line that then replaces it.

Elsewhere, and the same on every backend: dropout by random bytes (`transformer.dropped`), whose
probabilities are a documented departure and whose draws would be others; a transposed convolution
without overlap as a product of matrices (`reversed_resnet.TransposedConv`), which is what it is;
maxima of 2 x 2 cells in pairs (`segmentation`), which are for the gradient's sake.
"""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from jaxad.ops.terms import total

Features = Float[Array, "B H W C"]
Pooled = Float[Array, "B h w C"]
Vector = Float[Array | np.ndarray, "C"]
Normalised = tuple[Features, Float[Array, "C"], Float[Array, "C"]]
Layers = Callable[[Array], Array]


class Form(NamedTuple):
    """One computation in two forms, chosen while a program is traced.

    Attributes:
      plain: as the library has it.
      cpu: the same but for rounding, and faster on a CPU.
    """

    plain: Callable
    cpu: Callable

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The value, computed as suits the backend that the program is for."""
        return (self.cpu if on_cpu() else self.plain)(*args, **kwargs)


_CPU: ContextVar[bool | None] = ContextVar("for a CPU", default=None)


def on_cpu() -> bool:
    """Whether networks run on a CPU: the one switch of all forms."""
    told = _CPU.get()
    return jax.default_backend() == "cpu" if told is None else told


@contextlib.contextmanager
def traced_for(cpu: bool) -> Iterator[None]:
    """Within it, programs are traced to run on a CPU, or elsewhere, whatever this process has."""
    before = _CPU.set(cpu)
    try:
        yield
    finally:
        _CPU.reset(before)


# The weight gradient of a convolution whose output is larger than its input takes XLA up to 260
# times as long when the padding is left to the convolution: 55 s for 0.21 s at 66 x 66 x 128 -> 256
# channels, kernel 4, padding 3, 8 pictures.
def _padded_before(
    x: Features,
    kernel: Float[Array, "k l _ D"],
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    *,
    rhs_dilation: Sequence[int] = (1, 1),
    **options: Any,
) -> Float[Array, "B h w D"]:
    reaches = [apart * (side - 1) for apart, side in zip(rhs_dilation, kernel.shape, strict=False)]
    if any(sum(sides) > reach for sides, reach in zip(padding, reaches, strict=True)):
        x, padding = jnp.pad(x, ((0, 0), *padding, (0, 0))), ((0, 0), (0, 0))
    return lax.conv_general_dilated(
        x, kernel, strides, padding, rhs_dilation=rhs_dilation, **options
    )


conv = Form(plain=lax.conv_general_dilated, cpu=_padded_before)
# Delete: conv = lax.conv_general_dilated


# A depthwise convolution takes XLA 10 to 40 times as long as the sum of shifted products that it
# is, which becomes one loop: 182 ms for 5 ms at 8 x 64 x 64 x 192, kernel 5. Its gradient takes 8
# to 20 times as long as below, where that by the input is such a sum again.
Spans = tuple[tuple[int, int], ...]


def _shifted_products(
    x: Features,
    kernel: Float[Array, "k l 1 C"],
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    *,
    rhs_dilation: Sequence[int] = (1, 1),
    **options: Any,
) -> Pooled:
    sides = tuple((before, after) for before, after in padding)
    return _depthwise(x, kernel, tuple(strides), sides, tuple(rhs_dilation))


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _depthwise(
    x: Features,
    kernel: Float[Array, "k l 1 C"],
    strides: tuple[int, ...],
    padding: Spans,
    apart: tuple[int, ...],
) -> Pooled:
    taps = _taps(x, kernel, strides, padding, apart)
    return total(x * _wide(kernel[i, j, 0]) for (i, j), x in taps)


def _taps(
    x: Features, kernel: Array, strides: Sequence[int], padding: Spans, apart: Sequence[int]
) -> Iterator[tuple[tuple[int, int], Pooled]]:
    """Of each tap of the kernel its place and the cells that it is multiplied with."""
    borders = [(0, 0, 0), *((*sides, 0) for sides in padding), (0, 0, 0)]  # negative ones cut off
    x = lax.pad(x, jnp.zeros((), x.dtype), borders)
    sides = zip(x.shape[1:3], kernel.shape[:2], strides, apart, strict=True)
    rows, columns = (_spans(*one) for one in sides)
    for i, j in itertools.product(range(len(rows)), range(len(columns))):
        yield (i, j), x[:, rows[i], columns[j]]


def _spans(side: int, taps: int, stride: int, apart: int) -> list[slice]:
    """Of each tap of a kernel, the cells along one axis that it is multiplied with."""
    last = (side - apart * (taps - 1) - 1) // stride * stride
    return [slice(start, start + last + 1, stride) for start in range(0, apart * taps, apart)]


def _depthwise_forward(
    x: Features, kernel: Array, strides: tuple[int, ...], padding: Spans, apart: tuple[int, ...]
) -> tuple[Pooled, tuple[Array, Array]]:
    return _depthwise(x, kernel, strides, padding, apart), (x, kernel)


def _depthwise_backward(
    strides: tuple[int, ...],
    padding: Spans,
    apart: tuple[int, ...],
    kept: tuple[Array, Array],
    of_y: Pooled,
) -> tuple[Array, Array]:
    x, kernel = kept
    cells = of_y.size // of_y.shape[-1]
    sums = [cells * _channel_mean(x * of_y) for _, x in _taps(x, kernel, strides, padding, apart)]
    of_kernel = jnp.stack(sums).reshape(kernel.shape)

    gaps = [(0, 0, 0), *((0, 0, stride - 1) for stride in strides), (0, 0, 0)]
    spread = lax.pad(of_y, jnp.zeros((), of_y.dtype), gaps)
    reaches = [distance * (side - 1) for distance, side in zip(apart, kernel.shape, strict=False)]
    borders = tuple(
        (reach - before, old + before - new)
        for reach, (before, _), old, new in zip(
            reaches, padding, x.shape[1:3], spread.shape[1:3], strict=True
        )
    )
    turned = kernel[::-1, ::-1]
    return _depthwise(spread, turned, (1, 1), borders, apart), of_kernel


_depthwise.defvjp(_depthwise_forward, _depthwise_backward)


depthwise = Form(plain=lax.conv_general_dilated, cpu=_shifted_products)
# Delete: depthwise = lax.conv_general_dilated


# The gradient of `nn.max_pool` takes 2 to 16 times as long as that of comparisons between strided
# parts, its values 1.5 to 4 times. In both NaN stays NaN, and of equal cells the first takes the
# gradient; where there is NaN in a window, which cell does may differ.
def _max_pool(x: Features, window: int, stride: int, padding: int) -> Pooled:
    sides = ((padding, padding), (padding, padding))
    # Flax declares no type of the padding, whose default is text.
    return nn.max_pool(x, (window, window), (stride, stride), sides)  # pyright: ignore[reportArgumentType]


def _max_pool_by_phases(x: Features, window: int, stride: int, padding: int) -> Pooled:
    for axis in (2, 1):  # columns first, so that of equals the first in reading order remains
        x = _largest_along(x, axis, window, stride, padding)
    return x


def _largest_along(x: Features, axis: int, window: int, stride: int, padding: int) -> Pooled:
    """The largest of each window along one axis."""
    side = x.shape[axis]
    count = (side + 2 * padding - window) // stride + 1
    strides = -(-side // stride)
    x = _reaching(x, axis, 0, strides * stride)
    phases = x.reshape(*x.shape[:axis], strides, stride, *x.shape[axis + 1 :])
    cells = []
    for start in range(-padding, window - padding):
        phase = lax.index_in_dim(phases, start % stride, axis + 1, keepdims=False)
        cells.append(_reaching(phase, axis, start // stride, start // stride + count))
    return reduce(lambda a, b: jnp.where((b > a) | jnp.isnan(b), b, a), cells)


def _reaching(x: Array, axis: int, start: int, stop: int) -> Array:
    """Cells from `start` to `stop` along an axis; those outside of `x` are -inf."""
    side = x.shape[axis]
    x = lax.slice_in_dim(x, max(start, 0), min(stop, side), axis=axis)
    outside = [(0, 0)] * x.ndim
    outside[axis] = (max(-start, 0), max(stop - side, 0))
    return jnp.pad(x, outside, constant_values=-jnp.inf) if any(outside[axis]) else x


max_pool = Form(plain=_max_pool, cpu=_max_pool_by_phases)
# Delete: max_pool = _max_pool


# Batch norm in training by JAX's sums and the gradient that it derives takes 6 to 15 times as long:
# it passes over `x` more often, and sums over cells at a quarter of the memory's rate.
def _batch_norm(x: Features, scale: Vector, bias: Vector, epsilon: float) -> Normalised:
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    factor = lax.rsqrt(var + epsilon) * scale
    return (x - _wide(mean)) * _wide(factor) + _wide(bias), mean, var


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _batch_norm_written_out(x: Features, scale: Vector, bias: Vector, epsilon: float) -> Normalised:
    return _forward(x, scale, bias, epsilon)[0]


def _forward(x: Array, scale: Vector, bias: Vector, epsilon: float) -> tuple[tuple, tuple]:
    mean = _channel_mean(x)
    centred = x - _wide(mean)
    var = _channel_mean(jnp.square(centred))
    rate = lax.rsqrt(var + epsilon)
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


_batch_norm_written_out.defvjp(_forward, _backward)


def _channel_mean(x: Features) -> Float[Array, "C"]:
    # Adding quarters of a map to one another runs at the memory's rate, and so does a matrix
    # product with ones.
    count, height, width, channels = x.shape
    parts = math.gcd(height * width, 4)
    x = x.reshape(count, parts, height * width // parts, channels)
    x = total(x[:, i] for i in range(parts)).reshape(-1, channels)
    ones = jnp.full((1, len(x)), 1 / (parts * len(x)), x.dtype)
    return jnp.dot(ones, x, precision="highest")[0]


def _wide(vector: Vector) -> Float[Array | np.ndarray, "1 1 1 C"]:
    return vector[None, None, None]


batch_norm = Form(plain=_batch_norm, cpu=_batch_norm_written_out)
# Delete: batch_norm = _batch_norm


# Sums over cells and a part of the channels took more than twice as long as sums over cells first,
# then over channels. With jaxlib 0.10.2 they no longer do (0.5 to 0.9 of the time): kept so that
# results on a CPU stay the same to the bit, until a change that moves them anyway.
def _group_mean(x: Features, groups: int) -> Float[Array, "B 1 1 C"]:
    count, height, width, channels = x.shape
    by_group = x.reshape(count, height, width, groups, channels // groups)
    of_groups = by_group.mean((1, 2, 4))
    return jnp.repeat(of_groups, channels // groups, axis=-1)[:, None, None]


def _group_mean_cells_first(x: Features, groups: int) -> Float[Array, "B 1 1 C"]:
    count, channels = x.shape[0], x.shape[-1]
    of_channels = x.mean((1, 2)).reshape(count, groups, channels // groups)
    of_groups = of_channels.mean(-1, keepdims=True)
    return jnp.broadcast_to(of_groups, of_channels.shape).reshape(count, 1, 1, channels)


group_mean = Form(plain=_group_mean, cpu=_group_mean_cells_first)
# Delete: group_mean = _group_mean


# Softmax with its division left for after the sum over values, which saves a pass over all pairs of
# tokens: up to half of the gradient's time, on a busy machine none; with dropout, `drop`, none.
def _gathered(
    logits: Float[Array, "B h T S"], values: Float[Array, "B S h d"], drop: Layers
) -> Float[Array, "B T h d"]:
    return jnp.einsum("bhqk,bkhd->bqhd", drop(jax.nn.softmax(logits)), values)


def _gathered_then_divided(
    logits: Float[Array, "B h T S"], values: Float[Array, "B S h d"], drop: Layers
) -> Float[Array, "B T h d"]:
    weights = jnp.exp(logits - lax.stop_gradient(logits.max(-1, keepdims=True)))
    total = jnp.einsum("bhqk->bqh", weights)[..., None]
    return jnp.einsum("bhqk,bkhd->bqhd", drop(weights), values) / total


gathered = Form(plain=_gathered, cpu=_gathered_then_divided)
# Delete: gathered = _gathered


# The gradient of a convolution with fewer outputs along a side than its kernel has taps takes 10
# times as long as with a row and a column more, whose outputs are cut off again: for layers of
# stride 1. Their values alone take 1.5 times as long so.
def _as_it_is(layers: Layers, x: Features) -> Float[Array, "B h w D"]:
    return layers(x)


def _with_room(layers: Layers, x: Features) -> Float[Array, "B h w D"]:
    return layers(jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0))))[:, :-1, :-1]


smallest = Form(plain=_as_it_is, cpu=_with_room)
# Delete: smallest = _as_it_is


FORMS = {  # by name, for the benchmark and the tests
    "conv": conv,
    "depthwise": depthwise,
    "max_pool": max_pool,
    "batch_norm": batch_norm,
    "group_mean": group_mean,
    "gathered": gathered,
    "smallest": smallest,
}
