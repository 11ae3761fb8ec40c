"""VGG-16 against torchvision's, with the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from weights import images, nchw, nhwc, parameters

from jaxad.nets import convert
from jaxad.nets.vgg import VGG, strides
from jaxad.weights.store import check_tree


def test_backbone_vgg16_matches_torchvision(golden):
    golden = golden("backbone_vgg16")
    arrays = parameters(golden.info["networks"]["backbone"])
    assert convert.kind(arrays) == "vgg16"
    x = nhwc(images(golden.info["images"]["image"]))
    with jax.default_matmul_precision("highest"):
        maps = jax.jit(VGG(normalisation="none").apply)(convert.vgg16(arrays), x)
    for name in golden.info["outputs"]:
        assert golden.error(name, nchw(maps[name])) < golden.tolerance(name), name


def test_converted_tree_fits_the_network(golden):
    entries = golden("backbone_vgg16").info["networks"]["backbone"]["entries"]
    arrays = {name: np.zeros(shape, np.float32) for name, shape, _ in entries}
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), "float32")
    check_tree(convert.vgg16(arrays), jax.eval_shape(VGG().init, jax.random.key(0), image), "vgg16")
    del arrays["features.17.weight"]
    with pytest.raises(ValueError, match=r"no weight 'features\.17\.weight'"):
        convert.vgg16(arrays)


@pytest.mark.parametrize("other", ["features.16.weight", None])
def test_other_vggs_are_not_taken_for_it(other):
    """VGG-19 has a convolution 16; in VGG-16 with batch norm, 28 is a norm."""
    arrays = {"features.28.weight": np.zeros((8, 8, 3, 3) if other else 8)}
    if other:
        arrays[other] = np.zeros((8, 8, 3, 3))
    with pytest.raises(ValueError, match="no network here"):
        convert.kind(arrays)


def test_narrow_network_matches_plain_convolutions(plain_conv, key):
    network = VGG(((2, 3), (4,)), "none")
    x = jax.random.uniform(key, (1, 6, 5, 3))
    variables = jax.jit(network.init)(key, x)
    maps = network.apply(variables, x)

    y, params = np.asarray(x[0]).transpose(2, 0, 1), variables["params"]
    for name in ("conv1_1", "conv1_2"):
        conv = params[name]["conv"]
        weight = np.asarray(conv["kernel"]).transpose(3, 2, 0, 1)
        y = np.maximum(plain_conv(y, weight, np.asarray(conv["bias"]), before=1, after=1), 0)
    np.testing.assert_allclose(maps["relu1_2"][0].transpose(2, 0, 1), y, atol=1e-5)
    pooled = y[:, :6, :4].reshape(3, 3, 2, 2, 2).max((2, 4))
    np.testing.assert_allclose(maps["pool1"][0].transpose(2, 0, 1), pooled, atol=1e-5)
    assert list(maps) == list(strides(network.stages))


def test_normalisation_is_the_images_own(key):
    x = jax.random.uniform(key, (1, 4, 4, 3))
    variables = VGG(((2,),)).init(key, x)
    normal = jnp.asarray(
        (np.asarray(x) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225], jnp.float32
    )
    np.testing.assert_allclose(
        VGG(((2,),)).apply(variables, x)["relu1_1"],
        VGG(((2,),), "none").apply(variables, normal)["relu1_1"],
        atol=1e-6,
    )
