"""Half precision: which products it is for, and that they are rounded as they should be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxad.compile.half import half

RNG = np.random.default_rng(0)
W, X, S = (jnp.asarray(RNG.normal(size=(8, 8)), jnp.float32) for _ in range(3))


def rounded(x, dtype):
    return x.astype(dtype).astype(jnp.float32)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_products_with_weights_are_of_rounded_numbers(dtype):
    found = half(lambda w, x: x @ w, dtype)(W, X)
    expected = jnp.matmul(X.astype(dtype), W.astype(dtype)).astype(jnp.float32)
    np.testing.assert_allclose(found, expected, rtol=1e-2)
    assert found.dtype == jnp.float32
    assert not np.array_equal(found, X @ W)


def test_other_products_stay_as_they_are():
    def function(w, x, s):
        return {"stored": x @ s, "tokens": x @ x.T, "weights": w @ w, "sum": x + w}

    found = half(function, "bfloat16")(W, X, S)
    for name, expected in function(W, X, S).items():
        np.testing.assert_array_equal(found[name], expected)


def test_what_follows_from_weights_alone_is_a_weight():
    scaled = lambda w, x: x @ (2 * jnp.tanh(w).T)
    found = half(scaled, "bfloat16")(W, X)
    kernel = rounded(2 * jnp.tanh(W).T, jnp.bfloat16)
    np.testing.assert_allclose(found, rounded(X, jnp.bfloat16) @ kernel, rtol=2e-2, atol=2e-2)
    assert not np.array_equal(found, scaled(W, X))


def test_layers_within_calls_are_found():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = jax.nn.relu(nn.Conv(4, (3, 3))(x))  # relu is a call with a rule of its own
            return jax.checkpoint(lambda x: nn.gelu(x))(nn.Conv(2, (1, 1))(x))

    x = jnp.asarray(RNG.normal(size=(2, 8, 8, 3)), jnp.float32)
    weights = Net().init(jax.random.key(0), x)
    text = str(jax.make_jaxpr(half(Net().apply, "bfloat16"))(weights, x))
    assert text.count("conv_general_dilated") == 2
    assert text.count("preferred_element_type=bfloat16") == 2
    found = jax.jit(half(Net().apply, "bfloat16"))(weights, x)
    np.testing.assert_allclose(found, Net().apply(weights, x), atol=3e-2)


def test_whole_numbers_stay_whole():
    count = jnp.arange(4)
    found = half(lambda w, x: x @ w, "float16")(count, count)
    assert found == 14
    assert found.dtype == count.dtype
