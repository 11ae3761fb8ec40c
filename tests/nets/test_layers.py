"""Convolution, padding and pooling against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxad.nets.layers import Conv, max_pool, pad, same_padding


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(8, 7), (9, 6), (1, 2)])
def test_same_padding_is_what_xla_calls_same(kernel, stride, shape):
    sides = same_padding(*shape, kernel, stride)
    expected = jax.lax.padtype_to_pads(shape, (kernel, kernel), (stride, stride), "SAME")
    assert sides == tuple(tuple(pair) for pair in expected)


def test_pad_takes_one_width_or_four():
    x = jnp.ones((1, 2, 2, 1))
    assert pad(x, 0) is x
    assert pad(x, 1).shape == pad(x, ((1, 1), (1, 1))).shape == (1, 4, 4, 1)
    padded = pad(x, ((0, 1), (2, 0)), -1.0)[0, :, :, 0]
    np.testing.assert_array_equal(padded, [[-1, -1, 1, 1], [-1, -1, 1, 1], [-1, -1, -1, -1]])


@pytest.mark.parametrize(("groups", "inside"), [(1, 4), (2, 2), (4, 1)])
def test_convolution_in_groups_is_torchs(plain_conv, groups, inside):
    rng = np.random.default_rng(0)
    weight, x = rng.normal(size=(8, inside, 3, 3)), rng.normal(size=(4, 7, 6))
    layer = Conv(8, 3, stride=2, padding=((1, 0), (1, 0)), use_bias=False, groups=groups)
    params = {"conv": {"kernel": jnp.asarray(weight.transpose(2, 3, 1, 0), jnp.float32)}}
    y = layer.apply({"params": params}, jnp.asarray(x.transpose(1, 2, 0), jnp.float32)[None])
    want = plain_conv(x, weight, stride=2, before=1, groups=groups)
    np.testing.assert_allclose(y[0].transpose(2, 0, 1), want, atol=1e-5)


def of_pool(pool, x):
    """A maximum pool's values, and its gradient."""
    weigh = lambda x: (pool(x) * (1 + jnp.arange(pool(x).size).reshape(pool(x).shape))).sum()
    return jax.jit(pool)(x), jax.jit(jax.grad(weigh))(x)


@pytest.mark.parametrize(
    ("window", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 2, 0), (3, 1, 1), (2, 3, 0)]
)
@pytest.mark.parametrize("shape", [(8, 7), (9, 6)])
def test_maximum_pool_is_flaxs_with_many_equal_cells(window, stride, padding, shape):
    x = jnp.round(2 * jax.random.normal(jax.random.key(0), (2, *shape, 3)))

    def flaxs(x):
        padded = pad(x, padding, -jnp.inf)
        return nn.max_pool(padded, window_shape=(window, window), strides=(stride, stride))

    ours = of_pool(lambda x: max_pool(x, window, stride, padding), x)
    for found, want in zip(ours, of_pool(flaxs, x), strict=True):
        np.testing.assert_array_equal(found, want)


def test_maximum_pool_lets_no_nan_disappear():
    x = jnp.zeros((1, 4, 4, 1)).at[0, 1, 2].set(jnp.nan).at[0, 3, 0].set(1.0)
    np.testing.assert_array_equal(max_pool(x, 2)[0, :, :, 0], [[0, jnp.nan], [1, 0]])
