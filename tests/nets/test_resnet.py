"""ResNets against torchvision's, with the same weights."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from weights import images, nchw, nhwc, parameters

from jaxad.nets import convert
from jaxad.nets.resnet import (
    ResNet,
    resnet18,
    resnet34,
    resnet50,
    wide_resnet50_2,
    wide_resnet101_2,
)


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
def test_backbone_wide_resnet50_2_matches_torchvision(golden):
    assert_agrees(golden("backbone_wide_resnet50_2"), wide_resnet50_2())


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


@pytest.mark.parametrize(
    ("network", "published", "width"),
    [
        (resnet18, 11_689_512, 512),
        (resnet34, 21_797_672, 512),
        (resnet50, 25_557_032, 2048),
        (wide_resnet50_2, 68_883_240, 2048),
        (wide_resnet101_2, 126_886_696, 2048),
    ],
)
def test_whole_network_has_the_published_number_of_parameters(network, published, width):
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    init = network(layer4=True).init_with_output
    maps, variables = jax.eval_shape(init, jax.random.key(0), image)
    classifier = 1000 * (width + 1)
    assert sum(x.size for x in jax.tree.leaves(variables["params"])) == published - classifier
    assert maps["layer4"].shape == (1, 2, 2, width)
    assert network().blocks == network(layer4=True).blocks[:3]


def test_training_moves_every_running_statistic_and_frozen_use_moves_none(key):
    network = ResNet((1, 1, 1))
    x = jax.random.uniform(key, (2, 32, 32, 3))
    variables = jax.jit(network.init)(key, x)
    train = jax.jit(partial(network.apply, train=True, mutable=["batch_stats"]))
    maps, moved = train(variables, x)
    old, new = jax.tree.leaves(variables["batch_stats"]), jax.tree.leaves(moved["batch_stats"])
    assert all((a != b).any() for a, b in zip(old, new, strict=True))

    frozen, kept = jax.jit(partial(network.apply, mutable=["batch_stats"]))(variables, x)
    jax.tree.map(np.testing.assert_array_equal, kept, {"batch_stats": variables["batch_stats"]})
    assert (frozen["layer3"] != maps["layer3"]).any()
