"""EfficientNet-Lite against the PyTorch package of its authors' port, with drawn weights."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from weights import images, nchw, nhwc, parameters

from jaxad.nets import convert
from jaxad.nets.convert import networks
from jaxad.nets.efficientnet_lite import SCALING, efficientnet_lite, scaled_input, stages, strides

# Channels and blocks of stages 1 to 7, last blocks of the stages, and all parameters as timm counts
# them, of which the classifier has 1281 x 1000.
LITE = {
    "lite0": ((16, 24, 40, 80, 112, 192, 320), (0, 2, 4, 7, 10, 14, 15), 4_652_008),
    "lite1": ((16, 24, 40, 80, 112, 192, 320), (0, 3, 6, 10, 14, 19, 20), 5_416_680),
    "lite2": ((16, 24, 48, 88, 120, 208, 352), (0, 3, 6, 10, 14, 19, 20), 6_092_072),
    "lite3": ((24, 32, 48, 96, 136, 232, 384), (0, 3, 6, 11, 16, 22, 23), 8_197_096),
    "lite4": ((24, 32, 56, 112, 160, 272, 448), (0, 4, 8, 14, 20, 28, 29), 13_006_568),
}


def maps_of(golden, variant, padding, image="image"):
    arrays = parameters(golden.info["networks"]["backbone"])
    assert convert.kind(arrays) == "efficientnet_lite"
    network = efficientnet_lite(variant, published_padding=padding == "static")
    x = nhwc(images(golden.info["images"][image]))
    with jax.default_matmul_precision("highest"):
        return jax.jit(network.apply)(convert.efficientnet_lite(arrays), x)


CASES = [
    ("backbone_efficientnet_lite0", "lite0", "same", "image"),
    ("backbone_efficientnet_lite0", "lite0", "same", "odd"),
    ("backbone_efficientnet_lite0", "lite0", "static", "odd"),
    ("backbone_efficientnet_lite2", "lite2", "same", "image"),
    ("backbone_efficientnet_lite2", "lite2", "static", "image"),
]


@pytest.mark.parametrize(("name", "variant", "padding", "image"), CASES)
def test_backbone_efficientnet_lite_matches_the_package(golden, name, variant, padding, image):
    golden = golden(name)
    maps = maps_of(golden, variant, padding, image)
    prefix = f"{padding}." if image == "image" else f"{image}.{padding}."
    names = [name for name in golden.info["outputs"] if name.startswith(prefix)]
    assert names
    for name in names:
        got = nchw(maps[name.removeprefix(prefix)])
        assert golden.error(name, got) < golden.tolerance(name), name


def test_every_output_of_the_goldens_is_compared(golden):
    for name in ("backbone_efficientnet_lite0", "backbone_efficientnet_lite2"):
        prefixes = tuple(
            f"{padding}." if image == "image" else f"{image}.{padding}."
            for golden_name, _, padding, image in CASES
            if golden_name == name
        )
        assert all(output.startswith(prefixes) for output in golden(name).info["outputs"])


@pytest.mark.parametrize(
    "variant", [pytest.param(x, marks=[pytest.mark.slow] * (x != "lite0")) for x in SCALING]
)
def test_variants_have_the_published_channels_blocks_and_parameters(variant):
    channels, last, published = LITE[variant]
    width, depth, _ = SCALING[variant]
    found = stages(width, depth)
    assert tuple(stage.channels for stage in found) == channels
    assert tuple(np.cumsum([stage.blocks for stage in found]) - 1) == last
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), "float32")
    variables = jax.eval_shape(efficientnet_lite(variant).init, jax.random.key(0), image)
    counted = sum(math.prod(x.shape) for x in jax.tree.leaves(variables["params"]))
    assert counted == published - 1281 * 1000
    assert networks.efficientnet_lite_scaling(variables["params"]) == (width, depth)


def test_cells_have_the_strides_that_are_stated():
    pixels = strides()
    image = jax.ShapeDtypeStruct((1, 96, 64, 3), "float32")
    network = efficientnet_lite("lite0")
    variables = jax.eval_shape(network.init, jax.random.key(0), image)
    maps = jax.eval_shape(network.apply, variables, image)
    assert {name: (96 // x, 64 // x) for name, x in pixels.items()} == {
        name: x.shape[1:3] for name, x in maps.items()
    }
    assert [pixels[f"stage{i}"] for i in range(1, 8)] == [2, 4, 8, 16, 16, 32, 32]


def test_pictures_are_scaled_as_the_weights_were_trained():
    image = jnp.repeat(jnp.array([0, 127, 255])[None, None, :, None] / 255, 3, axis=-1)
    np.testing.assert_allclose(scaled_input(image)[0, 0, :, 0], [-127 / 128, 0, 1], atol=1e-6)


def test_timm_names_give_the_same_tree(golden):
    arrays = parameters(golden("backbone_efficientnet_lite0").info["networks"]["backbone"])
    blocks = [(s, b) for s, stage in enumerate(stages(1.0, 1.0)) for b in range(stage.blocks)]
    named = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
    for i, (s, b) in enumerate(blocks):
        wide = i > 0
        theirs = {
            "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw",
            "_bn1": "bn2" if wide else "bn1", "_project_conv": "conv_pwl" if wide else "conv_pw",
            "_bn2": "bn3" if wide else "bn2",
        }  # fmt: skip
        named |= {f"_blocks.{i}.{our}": f"blocks.{s}.{b}.{name}" for our, name in theirs.items()}
    split = {name: name.rsplit(".", 1) for name in arrays}
    timm = {f"{named[layer]}.{part}": arrays[name] for name, (layer, part) in split.items()}
    assert convert.kind(timm) == "efficientnet_lite"
    jax.tree.map(
        np.testing.assert_array_equal,
        convert.efficientnet_lite(arrays),
        convert.efficientnet_lite(timm),
    )
