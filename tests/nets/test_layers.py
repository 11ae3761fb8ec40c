"""Convolution and padding against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad.nets.layers import Conv, pad, same_padding


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
