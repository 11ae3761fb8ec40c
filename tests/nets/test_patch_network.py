"""Patch networks: dense and patch-wise evaluation agree, with each other and with PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from weights import hwio
from weights_b import inputs, parameters

from jaxad.nets.layers import pad
from jaxad.nets.patch_network import LAYERS, PatchNetwork, frame, geometry, stride
from jaxad.nets.pdn import PDN

every_patch = pytest.mark.parametrize("patch", list(LAYERS))


def close(stored, name, value):
    assert stored.error(name, np.asarray(value)) < stored.tolerance(name), name


@every_patch
def test_uninformed_students_patch_descriptors_equal_the_reference(golden, patch):
    stored = golden("uninformed_students_patch")
    arrays, drawn = parameters(stored.info["networks"][f"p{patch}"]), inputs(stored.info)
    variables = {
        "params": {
            f"conv{i}": {
                "conv": {
                    "kernel": jnp.asarray(hwio(arrays[f"conv{i}.weight"])),
                    "bias": jnp.asarray(arrays[f"conv{i}.bias"]),
                }
            }
            for i in range(1, len(LAYERS[patch]) + 1)
        }
    }
    patches, image = (
        jnp.asarray(drawn[name].transpose(0, 2, 3, 1)) for name in ("patches", f"image{patch}")
    )
    settings = {"rectified": True, "normalisation": "none"}
    with jax.default_matmul_precision("highest"):
        alone = jax.jit(PatchNetwork(patch, dense=False, **settings).apply)
        dense = jax.jit(PatchNetwork(patch, dense=True, **settings).apply)
        descriptor = alone(variables, patches[:, :patch, :patch])
        close(stored, f"descriptor_{patch}", descriptor[:, 0, 0])
        close(stored, f"dense_{patch}", dense(variables, pad(image, frame(patch, 1)))[0])


@every_patch
def test_dense_evaluation_equals_patch_by_patch(patch, key):
    dense, alone = PatchNetwork(patch, 8, 4), PatchNetwork(patch, 8, 4, dense=False)
    image = jax.random.uniform(key, (1, patch + 9, patch + 6, 3))
    variables = jax.jit(dense.init)(key, image)
    every = jax.jit(dense.apply)(variables, image)
    assert every.shape == (1, 10, 7, 8)
    cells = [(i, j) for i in range(10) for j in range(7)]
    patches = jnp.concatenate([image[:, i : i + patch, j : j + patch] for i, j in cells])
    one_by_one = jax.jit(alone.apply)(variables, patches)
    assert one_by_one.shape == (70, 1, 1, 8)
    np.testing.assert_allclose(every.reshape(70, 8), one_by_one[:, 0, 0], rtol=0, atol=1e-5)


@every_patch
def test_pools_that_halve_give_some_of_the_dense_cells(patch, key):
    dense, sparse = PatchNetwork(patch, 8, 4), PatchNetwork(patch, 8, 4, dense=False)
    step = stride(patch)
    image = jax.random.uniform(key, (1, patch + 2 * step, patch + step, 3))
    variables = jax.jit(dense.init)(key, image)
    every, some = (jax.jit(m.apply)(variables, image) for m in (dense, sparse))
    assert some.shape == (1, 3, 2, 8)
    np.testing.assert_allclose(some, every[:, ::step, ::step], rtol=0, atol=1e-5)


@every_patch
def test_gradients_agree_too(patch, key):
    dense, alone = PatchNetwork(patch, 8, 4), PatchNetwork(patch, 8, 4, dense=False)
    image = jax.random.uniform(key, (1, patch, patch, 3))
    variables = jax.jit(dense.init)(key, image)
    one, other = (
        jax.jit(jax.grad(lambda v, m=m: jnp.square(m.apply(v, image)).sum()))(variables)
        for m in (dense, alone)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), one, other)


@pytest.mark.parametrize(("patch", "count"), [(17, 2_996_480), (33, 1_616_000), (65, 2_320_640)])
def test_networks_have_the_number_of_parameters_of_their_tables(patch, count):
    image = jax.ShapeDtypeStruct((1, patch, patch, 3), jnp.float32)
    params = jax.eval_shape(PatchNetwork(patch).init, jax.random.key(0), image)
    assert sum(x.size for x in jax.tree.leaves(params)) == count


@pytest.mark.parametrize(
    "module", [*(PatchNetwork(p, 6, 4) for p in LAYERS), PDN(channels=6, width=4)]
)
def test_weights_tell_which_network_they_belong_to(module):
    patch = getattr(module, "patch", 33)
    image = jax.ShapeDtypeStruct((1, patch, patch, 3), jnp.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), image)
    assert geometry(variables, dense=True).network == module
    assert geometry(variables, dense=True).patch == patch


@every_patch
def test_a_frame_gives_side_over_stride_cells(patch):
    for step in {1, stride(patch)}:
        module = PatchNetwork(patch, 4, 4, dense=step == 1)
        image = pad(jnp.zeros((1, 40, 48, 3)), frame(patch, step))
        found, _ = jax.eval_shape(module.init_with_output, jax.random.key(0), image)
        assert found.shape == (1, 40 // step, 48 // step, 4)


def test_an_image_smaller_than_the_patch_is_refused(key):
    with pytest.raises(ValueError, match="smaller than a patch of 33"):
        PatchNetwork(33, 4, 4).init(key, jnp.zeros((1, 32, 64, 3)))
