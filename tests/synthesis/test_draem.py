"""DRAEM's synthesis."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad.synthesis.draem import draem

COUNT, SIDE = 120, 32


@pytest.fixture(scope="module")
def made():
    """Picture, texture, and many versions of the picture with their damage."""
    image, texture = jax.random.uniform(jax.random.key(0), (2, SIDE, SIDE, 3))
    keys = jax.random.split(jax.random.key(1), COUNT)
    apply = jax.jit(jax.vmap(draem, (0, None, None, None)))
    return image, apply(keys, image, texture, 1.0)


def test_three_of_ten_images_are_turned(made):
    image, (base, _) = made
    turned = (jnp.abs(base - image[None]).max((1, 2, 3)) > 1e-6).mean()
    assert 0.15 < turned < 0.45


def test_damage_lies_anywhere_on_what_is_to_be_reconstructed(made):
    _, (base, damaged) = made
    changed = np.abs(damaged.image - base).max(-1) > 1e-6
    assert not changed[np.asarray(damaged.mask) == 0].any()
    assert set(np.unique(damaged.mask)) == {0, 1}
    np.testing.assert_array_equal(damaged.label, damaged.mask.any((1, 2)))
    assert damaged.mask.max(0).mean() > 0.8


def test_one_mask_is_drawn_so_some_are_empty(made):
    _, (_, damaged) = made
    assert 0.02 < float((damaged.label == 0).mean()) < 0.6
