"""ResNets against torchvision's, with the same weights."""

import jax
import jax.numpy as jnp
import pytest
from weights import images, nchw, nhwc, parameters

from jaxad.nets import convert
from jaxad.nets.resnet import ResNet, resnet18, wide_resnet101_2


def assert_agrees(golden, network):
    arrays = parameters(golden.info["networks"]["backbone"])
    x = nhwc(images(golden.info["images"]["image"]))
    with jax.default_matmul_precision("highest"):
        maps = jax.jit(network.apply)(convert.resnet(arrays), x)
    for name in golden.info["outputs"]:
        assert golden.error(name, nchw(maps[name])) < golden.tolerance(name), name


def test_backbone_resnet18_matches_torchvision(golden):
    assert_agrees(golden("backbone_resnet18"), resnet18())


@pytest.mark.slow
def test_backbone_wide_resnet101_2_matches_torchvision(golden):
    assert_agrees(golden("backbone_wide_resnet101_2"), wide_resnet101_2())


@pytest.mark.parametrize("bottleneck", [False, True])
def test_stages_halve_the_side_and_double_the_channels(bottleneck):
    network = ResNet((1, 1, 1), bottleneck)
    image = jax.ShapeDtypeStruct((1, 64, 96, 3), jnp.float32)
    maps, _ = jax.eval_shape(network.init_with_output, jax.random.key(0), image)
    wide = 4 if bottleneck else 1
    assert {name: x.shape[1:] for name, x in maps.items()} == {
        "stem": (16, 24, 64),
        "layer1": (16, 24, 64 * wide),
        "layer2": (8, 12, 128 * wide),
        "layer3": (4, 6, 256 * wide),
    }
