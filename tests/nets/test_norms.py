"""Batch norm and group norm against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxad.nets.norms import BatchNorm, GroupNorm


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


def test_initialising_batch_norm_leaves_the_running_statistics_alone(drawn, key):
    x, _ = drawn
    stats = BatchNorm().init(key, x, train=True)["batch_stats"]
    np.testing.assert_array_equal(stats["mean"], np.zeros(2))
    np.testing.assert_array_equal(stats["var"], np.ones(2))


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm_and_its_gradient_are_flaxs(groups, key):
    keys = jax.random.split(key, 4)
    x = (
        jax.random.normal(keys[0], (2, 5, 3, 6)) * 3 + 100
    )  # of variances by squares nothing is left
    weight = jax.random.normal(keys[1], x.shape)
    scale, bias = jax.random.normal(keys[2], (2, 6))
    variables = {"params": {"scale": scale, "bias": bias}}
    flaxs = nn.GroupNorm(groups, epsilon=1e-5, use_fast_variance=False)

    def of(norm):
        loss = lambda variables, x: (jnp.square(norm.apply(variables, x)) * weight).sum()
        return jax.jit(jax.value_and_grad(loss, (0, 1)))(variables, x)

    compare = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)
    jax.tree.map(compare, of(GroupNorm(groups)), of(flaxs))


def test_group_norm_keeps_the_type_and_computes_in_float32(key):
    x = (100 + jax.random.normal(key, (1, 16, 16, 4))).astype(jnp.bfloat16)
    variables = GroupNorm(2).init(key, x)
    y = GroupNorm(2).apply(variables, x)
    assert y.dtype == jnp.bfloat16
    want = GroupNorm(2).apply(variables, x.astype(jnp.float32))
    np.testing.assert_array_equal(y, want.astype(jnp.bfloat16))
