"""What tests of methods on frozen features share: a small random extractor, and pictures."""

import jax
import jax.numpy as jnp
import pytest


@pytest.fixture(scope="module")
def pretrained():
    from jaxad.nets.pdn import PDN

    params = jax.jit(PDN(channels=6, width=4).init)(jax.random.key(7), jnp.zeros((1, 33, 33, 3)))
    return {"tiny": params}


@pytest.fixture(scope="module")
def images():
    return jax.random.uniform(jax.random.key(8), (2, 32, 32, 3))
