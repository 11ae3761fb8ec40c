"""Convolution, padding and batch norm against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxad.nets.layers import (
    BatchNorm,
    Conv,
    batch_normalised,
    max_pool,
    pad,
    same_padding,
)


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


@pytest.fixture
def drawn():
    """Images of two channels and a batch norm's variables."""
    rng = np.random.default_rng(1)
    scale, bias, mean, var = rng.uniform(0.5, 1.5, (4, 2)).astype(np.float32)
    variables = {
        "params": {"scale": scale, "bias": bias},
        "batch_stats": {"mean": mean, "var": var},
    }
    return jnp.asarray(3 + rng.normal(size=(2, 2, 3, 2)), jnp.float32), variables


def test_frozen_batch_norm_uses_the_running_statistics(drawn):
    x, variables = drawn
    params, stats = variables["params"], variables["batch_stats"]
    want = (np.asarray(x) - stats["mean"]) / np.sqrt(stats["var"] + 1e-5) * params[
        "scale"
    ] + params["bias"]
    np.testing.assert_allclose(BatchNorm().apply(variables, x), want, rtol=1e-5)


def test_training_batch_norm_uses_the_batch_and_moves_the_running_statistics_as_torch_does(drawn):
    x, variables = drawn
    y, moved = BatchNorm().apply(variables, x, train=True, mutable=["batch_stats"])
    params, old, new = variables["params"], variables["batch_stats"], moved["batch_stats"]
    flat = np.asarray(x).reshape(-1, 2)
    normal = (np.asarray(x) - flat.mean(0)) / np.sqrt(flat.var(0) + 1e-5)
    np.testing.assert_allclose(y, normal * params["scale"] + params["bias"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(new["mean"], 0.9 * old["mean"] + 0.1 * flat.mean(0), rtol=1e-5)
    np.testing.assert_allclose(new["var"], 0.9 * old["var"] + 0.1 * flat.var(0, ddof=1), rtol=1e-5)


def test_the_gradient_of_training_batch_norm_is_that_of_its_definition():
    keys = jax.random.split(jax.random.key(0), 5)
    x, weight = (jax.random.normal(k, (3, 4, 5, 2)) * 3 + 1 for k in keys[:2])
    scale, bias, other = (jax.random.normal(k, (2,)) for k in keys[2:])

    def defined(x, scale, bias):
        mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
        wide = lambda v: v[None, None, None]
        return (x - wide(mean)) / wide(jnp.sqrt(var + 1e-5)) * wide(scale) + wide(bias), mean, var

    def loss(norm):
        def of(*arguments):
            y, mean, var = norm(*arguments)
            return (jnp.square(y) * weight).sum() + (mean * other).sum() + (var * other).sum()

        return jax.jit(jax.value_and_grad(of, (0, 1, 2)))(x, scale, bias)

    want = loss(defined)
    found = loss(lambda *arguments: batch_normalised(*arguments, 1e-5))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), found, want)


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


def test_initialising_batch_norm_leaves_the_running_statistics_alone(drawn, key):
    x, _ = drawn
    stats = BatchNorm().init(key, x, train=True)["batch_stats"]
    np.testing.assert_array_equal(stats["mean"], np.zeros(2))
    np.testing.assert_array_equal(stats["var"], np.ones(2))
