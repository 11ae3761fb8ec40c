"""The autoencoder of EfficientAD."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad.nets.autoencoder import Autoencoder, resize, steps


def test_the_decoder_grows_as_table_8_says():
    assert steps(256) == (3, 8, 15, 32, 63, 127)


def test_the_number_of_weights_is_the_papers():
    shapes = jax.eval_shape(Autoencoder().init, jax.random.key(0), jnp.zeros((1, 256, 256, 3)))
    assert sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes)) == 1_096_320


@pytest.mark.parametrize(("side", "kernel"), [(64, 2), (128, 4), (256, 8), (384, 8), (512, 8)])
def test_other_sizes_give_the_cells_asked_for(side, kernel):
    module = Autoencoder(5, (11, 12), width=2, kernel=kernel)
    images = jnp.zeros((1, side, side, 3))
    assert jax.eval_shape(module.init_with_output, jax.random.key(0), images)[0].shape == (
        1,
        11,
        12,
        5,
    )


def test_shrinking_skips_pixels_as_torch_does():
    x = jnp.zeros((1, 8, 8, 1)).at[:, ::4].set(1.0)
    np.testing.assert_allclose(resize(x, (2, 8)), 0, atol=1e-7)


def test_dropout_zeroes_single_elements_and_keeps_the_mean():
    module = Autoencoder(3, (8, 8), width=8, kernel=2)
    images = jax.random.uniform(jax.random.key(0), (1, 64, 64, 3))
    params = jax.jit(module.init)(jax.random.key(1), images)
    dropouts = lambda layer, _: layer.name and layer.name.startswith("Dropout")
    apply = partial(module.apply, dropout=True, capture_intermediates=dropouts)
    _, seen = jax.jit(apply)(params, images, rngs={"dropout": jax.random.key(2)})
    outputs = [x["__call__"][0] for x in seen["intermediates"].values()]
    assert len(outputs) == 6
    largest = max(outputs, key=lambda x: x.size)
    alive = (largest != 0).any((1, 2), keepdims=True) & jnp.ones_like(largest, bool)
    dropped = (largest == 0) & alive
    assert not dropped.all((1, 2)).any(), "whole channels were dropped"


def test_without_a_key_the_output_repeats():
    module = Autoencoder(3, (8, 8), width=4, kernel=2)
    images = jax.random.uniform(jax.random.key(0), (1, 64, 64, 3))
    params = jax.jit(module.init)(jax.random.key(1), images)
    apply = jax.jit(module.apply)
    np.testing.assert_array_equal(apply(params, images), apply(params, images))
