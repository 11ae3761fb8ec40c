"""The patch description network sees 33 pixels, every four."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad.nets.pdn import PDN, RECEPTIVE_FIELD, STRIDE, cells, part


def pdn(medium=False, **fields):
    return PDN(medium, **({"channels": 6, "width": 4} | fields))


@pytest.fixture(scope="module", params=[False, True], ids=["small", "medium"])
def network(request):
    module = pdn(request.param)
    params = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, 33, 33, 3)))
    return module, params


@pytest.mark.parametrize("side", [33, 40, 64, 100, 128, 256])
def test_sides_without_padding_follow_the_tables(network, side):
    module, params = network
    shape = jax.eval_shape(module.apply, params, jnp.zeros((1, side, side, 3))).shape
    assert shape[1:3] == (cells(side), cells(side))


def test_256_pixels_give_56_cells_and_with_padding_64(network):
    module, params = network
    assert cells(256) == 56
    padded = pdn(module.medium, padding=True)
    assert jax.eval_shape(padded.apply, params, jnp.zeros((1, 256, 256, 3))).shape[1:3] == (64, 64)


def test_a_cell_sees_33_pixels_at_four_times_its_place(network):
    module, params = network
    row, column = 1, 3
    cell = lambda x: module.apply(params, x)[0, row, column].sum()
    images = jax.random.uniform(jax.random.key(1), (1, 64, 64, 3))
    seen = np.abs(jax.grad(cell)(images)[0]).sum(-1) > 0
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    assert (rows[0], rows[-1]) == (STRIDE * row, STRIDE * row + RECEPTIVE_FIELD - 1)
    assert (columns[0], columns[-1]) == (STRIDE * column, STRIDE * column + RECEPTIVE_FIELD - 1)


def test_part_of_the_last_layer_gives_part_of_the_output(network):
    module, params = network
    images = jax.random.uniform(jax.random.key(1), (2, 48, 48, 3))
    whole = module.apply(params, images)
    half = pdn(module.medium, outputs=3)
    for channels in (slice(None, 3), slice(3, None)):
        output = half.apply({"params": part(params["params"], channels)}, images)
        np.testing.assert_allclose(output, whole[..., channels], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("medium", "channels", "count"),
    [
        (False, 384, 2_694_144),
        (False, 768, 4_267_392),
        (True, 384, 8_026_624),
        (True, 768, 11_615_488),
    ],
)
def test_the_number_of_weights_is_the_papers(medium, channels, count):
    module = PDN(medium, channels)
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 33, 33, 3)))
    assert sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes)) == count


def test_weights_start_as_torch_draws_them():
    params = jax.jit(PDN(width=64).init)(jax.random.key(0), jnp.zeros((1, 33, 33, 3)))["params"]
    for name, fan_in in (("conv1", 3 * 16), ("conv2", 64 * 16), ("conv4", 128 * 16)):
        for leaf in params[name]["conv"].values():
            bound = fan_in**-0.5
            assert np.abs(leaf).max() <= bound
            assert np.abs(leaf).max() > 0.8 * bound
            assert abs(np.asarray(leaf).mean()) < 0.2 * bound
