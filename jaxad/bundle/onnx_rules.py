"""Primitives of JAX that jax2onnx (0.17) does not convert, or not for every runtime, by others.

A rule takes the parameters of the primitive and its operands, and returns None where it does not
apply. It is called while jax2onnx traces, which knows the functions of JAX and Flax that are called
here, by their names.
"""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax
from jax.core import Tracer
from jaxtyping import Array

Parameters = dict[str, Any]
Operand = Any  # an array of JAX, or one of NumPy where it is known
ROWS, COLUMNS = 2, 3  # in the order of axes of a convolution that JAX calls NCHW


def depends(value: Any) -> bool:
    """Whether a value depends on the images, so that it is not known while a program is traced."""
    return isinstance(value, Tracer)


# Converted for a batch of a fixed size alone, and without cells in between.
def _pad(parameters: Parameters, x: Operand, value: Any) -> Array | None:
    config = [[*map(int, one)] for one in parameters["padding_config"]]
    if depends(value):
        return None
    for axis, (_, _, between) in enumerate(config):
        if between:
            side = x.shape[axis]
            wide = _around(jnp.expand_dims(x, axis + 1), {axis + 1: (0, between)}, value)
            x = wide.reshape(*x.shape[:axis], side * (between + 1), *x.shape[axis + 1 :])
            x = lax.slice_in_dim(x, 0, side * (between + 1) - between, axis=axis)
    return _around(x, {axis: (low, high) for axis, (low, high, _) in enumerate(config)}, value)


def _around(x: Operand, sides: Mapping[int, tuple[int, int]], value: Any) -> Array:
    """`x` with so many cells before and after it along some axes; negative ones are cut off."""
    for axis, (low, high) in sides.items():
        if low < 0 or high < 0:
            x = lax.slice_in_dim(x, max(-low, 0), x.shape[axis] + min(high, 0), axis=axis)
    widths = [sides.get(axis, (0, 0)) for axis in range(x.ndim)]
    widths = [(max(low, 0), max(high, 0)) for low, high in widths]
    return jnp.pad(x, widths, constant_values=value) if np.any(widths) else x


# Not converted where it is but a part that lies at a known place.
def _gather(parameters: Parameters, x: Operand, places: Operand) -> Array | None:
    numbers, sizes = parameters["dimension_numbers"], parameters["slice_sizes"]
    several = numbers.collapsed_slice_dims or numbers.operand_batching_dims or places.ndim != 1
    if several or depends(places) or parameters["mode"] == lax.GatherScatterMode.FILL_OR_DROP:
        return None
    for axis, place in zip(numbers.start_index_map, places.tolist(), strict=True):
        start = min(max(place, 0), x.shape[axis] - sizes[axis])
        x = lax.slice_in_dim(x, start, start + sizes[axis], axis=axis)
    return x


# Converted to operators with more axes than OpenVINO has, or for images whose channels come first.
def _window_sum(parameters: Parameters, x: Operand) -> Array | None:
    windows = _windows(parameters, x)
    if windows is None:
        return None
    sides, strides, padding = windows
    mean = nn.avg_pool(_around(x, padding, 0.0), window_shape=sides, strides=strides)
    return mean * np.float32(np.prod(sides))


def _window_max(parameters: Parameters, x: Operand) -> Array | None:
    windows = _windows(parameters, x)
    if windows is None:
        return None
    sides, strides, padding = windows
    return nn.max_pool(_around(x, padding, -np.inf), window_shape=sides, strides=strides)


def _of_images(rule: Callable[..., Array | None]) -> Callable[..., Array | None]:
    """The rule for images with several axes before those of one, as `jax.vmap` makes them."""

    def of_several(parameters: Parameters, *operands: Operand) -> Array | None:
        leading = operands[0].ndim - 3
        if leading <= 1 or {*parameters["window_dimensions"][:leading]} != {1}:
            return rule(parameters, *operands)
        each = {n: x[leading - 1 :] for n, x in parameters.items() if isinstance(x, tuple)}
        result = rule(each, *(x.reshape(-1, *x.shape[leading:]) for x in operands))
        if result is None:
            return None
        return result.reshape(*operands[0].shape[:leading], *result.shape[1:])

    return of_several


def _windows(
    parameters: Parameters, x: Operand
) -> tuple[Sequence[int], Sequence[int], Mapping[int, tuple[int, int]]] | None:
    """Sides, strides and padding of windows over rows and columns of images; None of others."""
    window, strides = parameters["window_dimensions"], parameters["window_strides"]
    padding = [(int(low), int(high)) for low, high in parameters["padding"]]
    simple = [x.ndim == 4, x.dtype == jnp.float32]
    simple += [one[i] == 1 for one in (window, strides) for i in (0, -1)]
    simple += [set(parameters.get(f"{of}_dilation", (1,))) == {1} for of in ("base", "window")]
    simple += [padding[i] == (0, 0) for i in (0, -1)]
    if not all(simple):
        return None
    return window[1:-1], strides[1:-1], dict(enumerate(padding))


# Not converted: the gradient of a maximum over windows, which the first of equal cells takes.
def _max_gradient(parameters: Parameters, gradient: Operand, x: Operand) -> Array | None:
    windows = _windows(parameters, x)
    if windows is None:
        return None
    sides, strides, padding = windows
    x, result = _around(x, padding, -np.inf), jnp.zeros_like(x)
    cells, counts = {}, gradient.shape[1:3]
    for place in itertools.product(*map(range, sides)):
        cell = x
        for axis, first, stride, count in zip((1, 2), place, strides, counts, strict=True):
            cell = lax.slice_in_dim(cell, first, first + stride * (count - 1) + 1, stride, axis)
        cells[place] = cell
    largest, taken = functools.reduce(jnp.maximum, cells.values()), None
    for place, cell in cells.items():
        first = cell == largest if taken is None else (cell == largest) & ~taken
        taken = first if taken is None else taken | first
        config = [
            (0, 0, 0),
            *(
                (before - low, side - before + low - stride * (count - 1) - 1, stride - 1)
                for before, (low, _), side, stride, count in zip(
                    place, (padding[1], padding[2]), result.shape[1:3], strides, counts, strict=True
                )
            ),
            (0, 0, 0),
        ]
        one = _pad({"padding_config": config}, jnp.where(first, gradient, 0.0), 0.0)
        assert one is not None
        result = result + one
    return result


# Converted for few orders of axes, and not where a border is cut off: a gradient has both.
def _conv(parameters: Parameters, x: Operand, kernel: Operand) -> Array | None:
    numbers = parameters["dimension_numbers"]
    if x.ndim != 4 or parameters["batch_group_count"] != 1:
        return None
    channels_last = lambda spec: (spec[0], spec[ROWS], spec[COLUMNS], spec[1])
    out, into, *sides = numbers.rhs_spec
    x = lax.transpose(x, channels_last(numbers.lhs_spec))
    kernel = _changed(kernel, lambda kernel: lax.transpose(kernel, (*sides, into, out)))
    apart, padding = parameters["lhs_dilation"], [*parameters["padding"]]
    if any(cells < 0 for both in padding for cells in both):
        cut = [(min(a, 0), min(b, 0), d - 1) for (a, b), d in zip(padding, apart, strict=True)]
        spread = _pad({"padding_config": [(0, 0, 0), *cut, (0, 0, 0)]}, x, 0.0)
        x, apart = x if spread is None else spread, (1, 1)
        padding = [(max(a, 0), max(b, 0)) for a, b in padding]
    y = lax.conv_general_dilated(
        x, kernel, parameters["window_strides"], padding, apart, parameters["rhs_dilation"],
        ("NHWC", "HWIO", "NHWC"), parameters["feature_group_count"],
    )  # fmt: skip
    order = np.argsort(channels_last(numbers.out_spec))
    return lax.transpose(y, tuple(int(axis) for axis in order))


# Converted to a product of operands of one type.
def _product(parameters: Parameters, x: Operand, y: Operand) -> Array | None:
    kind = parameters["preferred_element_type"]
    if kind != jnp.float32 or x.dtype == y.dtype == kind:
        return None
    x, y = (_changed(one, lambda one: lax.convert_element_type(one, kind)) for one in (x, y))
    return lax.dot_general(x, y, parameters["dimension_numbers"], preferred_element_type=kind)


def _changed(x: Operand, change: Callable[[Operand], Array]) -> Array:
    """`change(x)`, computed at once where `x` is known."""
    if depends(x):
        return change(x)
    with jax.ensure_compile_time_eval():
        return change(x)


# Converted step by step of the substitution: thousands of operators for a hundred rows.
def _triangular_solve(parameters: Parameters, a: Operand, b: Operand) -> Array | None:
    if depends(a) or parameters["unit_diagonal"]:
        return None
    whole = np.asarray(a, np.float64)
    inverse = np.linalg.inv(np.tril(whole) if parameters["lower"] else np.triu(whole))
    if parameters["transpose_a"]:
        inverse = np.swapaxes(inverse, -1, -2)
    known = jnp.asarray(inverse.astype(np.float32))
    left, right = (known, b) if parameters["left_side"] else (b, known)
    return lax.batch_matmul(left, right)


RULES: dict[str, Callable[..., Array | None]] = {
    "pad": _pad,
    "gather": _gather,
    "reduce_window_sum": _of_images(_window_sum),
    "reduce_window_max": _of_images(_window_max),
    "select_and_scatter_add": _of_images(_max_gradient),
    "conv_general_dilated": _conv,
    "dot_general": _product,
    "triangular_solve": _triangular_solve,
}
