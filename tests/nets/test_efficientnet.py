"""EfficientNet against timm's and against plain numpy, with the same weights."""

import jax
import numpy as np
import pytest
from weights import images, nchw, nhwc, parameters

from jaxad.nets import convert
from jaxad.nets.efficientnet import SCALING, EfficientNet, blocks, efficientnet, scaled, strides
from jaxad.weights.store import check_tree

# Table 1: expansion, channels, blocks, kernel, stride.
TABLE_1 = ((1, 16, 1, 3, 1), (6, 24, 2, 3, 2), (6, 40, 2, 5, 2), (6, 80, 3, 3, 2),
           (6, 112, 3, 5, 1), (6, 192, 4, 5, 2), (6, 320, 1, 3, 1))  # fmt: skip
PARAMETERS = {  # as published, with a classifier of 1000 classes, and the last block's channels
    "b0": (5_288_548, 320), "b1": (7_794_184, 320), "b2": (9_109_994, 352),
    "b3": (12_233_232, 384), "b4": (19_341_616, 448),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("padding", ["same", "static"])
def test_backbone_tf_efficientnet_b4_matches_timm(golden, padding):
    golden = golden("backbone_tf_efficientnet_b4")
    arrays = parameters(golden.info["networks"]["backbone"])
    x = nhwc(images(golden.info["images"]["image"]))
    network = efficientnet("b4", published_padding=padding == "static")
    with jax.default_matmul_precision("highest"):
        maps = jax.jit(network.apply)(convert.efficientnet(arrays), x)
    names = [name for name in golden.info["outputs"] if name.startswith(padding)]
    assert len(names) == 5
    for name in names:
        got = nchw(maps[name.removeprefix(f"{padding}.")])
        assert golden.error(name, got) < golden.tolerance(name), name


def layers():
    """B0's blocks: number of stage and block, expansion, inputs, outputs, kernel, stride."""
    inputs = 32
    for s, (expansion, channels, count, kernel, stride) in enumerate(TABLE_1):
        for b in range(count):
            yield s, b, expansion, inputs, channels, kernel, stride if b == 0 else 1
            inputs = channels


@pytest.fixture(scope="module")
def arrays():
    """B0 with random weights under the names of EfficientNet-PyTorch."""
    rng, drawn = np.random.default_rng(0), {}

    def conv(name, *shape, bias=False):
        weight = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        drawn[f"{name}.weight"] = weight.astype(np.float32)
        if bias:
            drawn[f"{name}.bias"] = rng.normal(0, 0.05, shape[0]).astype(np.float32)

    def norm(name, channels):
        for part in ("weight", "bias", "running_mean", "running_var"):
            drawn[f"{name}.{part}"] = rng.uniform(0.3, 0.9, channels).astype(np.float32)
        drawn[f"{name}.num_batches_tracked"] = np.int64(0)

    conv("_conv_stem", 32, 3, 3, 3)
    norm("_bn0", 32)
    for i, (_, _, expansion, inputs, channels, kernel, _) in enumerate(layers()):
        prefix, inner = f"_blocks.{i}.", inputs * expansion
        if expansion != 1:
            conv(f"{prefix}_expand_conv", inner, inputs, 1, 1)
            norm(f"{prefix}_bn0", inner)
        conv(f"{prefix}_depthwise_conv", inner, 1, kernel, kernel)
        norm(f"{prefix}_bn1", inner)
        conv(f"{prefix}_se_reduce", inputs // 4, inner, 1, 1, bias=True)
        conv(f"{prefix}_se_expand", inner, inputs // 4, 1, 1, bias=True)
        conv(f"{prefix}_project_conv", channels, inner, 1, 1)
        norm(f"{prefix}_bn2", channels)
    conv("_conv_head", 1280, 320, 1, 1)
    norm("_bn1", 1280)
    return drawn


def plain_network(plain_conv, arrays, image, padded_for):
    """The blocks' outputs for one square image (3, S, S), normalised already."""
    swish = lambda x: x / (1 + np.exp(-x))
    side = padded_for or image.shape[1]

    def conv(name, x, kernel=1, stride=1, groups=1):
        out = -(-side // stride)
        border = max((out - 1) * stride + kernel - side, 0)
        bias = arrays.get(f"{name}.bias")
        before, after = border // 2, border - border // 2
        return plain_conv(x, arrays[f"{name}.weight"], bias, stride, before, after, groups)

    def norm(name, x):
        parts = ("weight", "bias", "running_mean", "running_var")
        weight, bias, mean, var = (arrays[f"{name}.{p}"][:, None, None] for p in parts)
        return (x - mean) / np.sqrt(var + 1e-3) * weight + bias

    x = swish(norm("_bn0", conv("_conv_stem", image, 3, 2)))
    side = -(-side // 2)
    maps = {"stem": x}
    for i, (_, _, expansion, inputs, channels, kernel, stride) in enumerate(layers()):
        prefix, shortcut = f"_blocks.{i}.", x
        if expansion != 1:
            x = swish(norm(f"{prefix}_bn0", conv(f"{prefix}_expand_conv", x)))
        x = conv(f"{prefix}_depthwise_conv", x, kernel, stride, groups=len(x))
        side = -(-side // stride)
        x = swish(norm(f"{prefix}_bn1", x))
        pooled = x.mean((1, 2), keepdims=True)
        gate = conv(f"{prefix}_se_expand", swish(conv(f"{prefix}_se_reduce", pooled)))
        x = norm(f"{prefix}_bn2", conv(f"{prefix}_project_conv", x / (1 + np.exp(-gate))))
        if stride == 1 and inputs == channels:
            x = x + shortcut
        maps[f"block{i}"] = x
    return maps


@pytest.mark.parametrize("padded_for", [None, 52])
def test_b0_matches_plain_numpy(arrays, plain_conv, padded_for):
    image = np.random.default_rng(1).random((48, 48, 3), np.float32)
    normal = (image - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    want = plain_network(plain_conv, arrays, normal.transpose(2, 0, 1), padded_for)
    with jax.default_matmul_precision("highest"):
        network = EfficientNet(padded_for=padded_for)
        maps = jax.jit(network.apply)(convert.efficientnet(arrays), image[None])
    assert set(maps) == set(want) == set(strides(1.0, 1.0))
    for name, x in want.items():
        got = np.asarray(maps[name][0]).transpose(2, 0, 1)
        np.testing.assert_allclose(got, x, rtol=0, atol=1e-4 * np.abs(x).max(), err_msg=name)


def test_timm_names_give_the_same_tree(arrays):
    named = {}
    for i, (s, b, expansion, *_) in enumerate(layers()):
        wide = expansion != 1
        theirs = {
            "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw",
            "_bn1": "bn2" if wide else "bn1", "_project_conv": "conv_pwl" if wide else "conv_pw",
            "_bn2": "bn3" if wide else "bn2",
            "_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand",
        }  # fmt: skip
        named |= {f"_blocks.{i}.{ours}": f"blocks.{s}.{b}.{name}" for ours, name in theirs.items()}
    named |= {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
    split = {name: name.rsplit(".", 1) for name in arrays}
    timm = {f"{named[layer]}.{part}": arrays[name] for name, (layer, part) in split.items()}
    assert convert.kind(arrays) == convert.kind(timm) == "efficientnet"
    jax.tree.map(
        np.testing.assert_array_equal, convert.efficientnet(arrays), convert.efficientnet(timm)
    )


def test_missing_weight_is_named(arrays):
    short = {name: x for name, x in arrays.items() if name != "_blocks.3._bn1.running_var"}
    with pytest.raises(ValueError, match=r"no weight '_blocks\.3\._bn1\.running_var'"):
        convert.efficientnet(short)


@pytest.mark.parametrize(
    "variant", ["b0", "b4", *(pytest.param(v, marks=pytest.mark.slow) for v in ("b1", "b2", "b3"))]
)
def test_whole_network_has_the_published_number_of_parameters(variant):
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), "float32")
    variables = jax.eval_shape(efficientnet(variant).init, jax.random.key(0), image)
    published, channels = PARAMETERS[variant]
    head = 4 * channels  # the convolution before the classifier, its norm, then the classifier
    rest = channels * head + 2 * head + 1000 * (head + 1)
    assert sum(x.size for x in jax.tree.leaves(variables["params"])) == published - rest


def test_b0_tree_fits_b0_alone(arrays):
    tree = convert.efficientnet(arrays)
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), "float32")
    expected = {
        variant: jax.eval_shape(efficientnet(variant).init, jax.random.key(0), image)
        for variant in ("b0", "b1")
    }
    check_tree(tree, expected["b0"], "b0")
    with pytest.raises(ValueError, match=r"block1/.* expected|is missing"):
        check_tree(tree, expected["b1"], "b0")


def test_b4_has_the_channels_and_strides_that_uniad_names():
    width, depth, side = SCALING["b4"]
    channels = [block.channels for block in blocks(width, depth)]
    assert (len(channels), side) == (32, 380)
    assert [channels[i] for i in (1, 5, 9, 21, 31)] == [24, 32, 56, 160, 448]
    pixels = strides(width, depth)
    assert [pixels[f"block{i}"] for i in (1, 5, 9, 21, 31)] == [2, 4, 8, 16, 32]


def test_channels_keep_nine_tenths():
    assert [scaled(c, 1.4) for c in (16, 32, 112)] == [24, 48, 160]
    assert scaled(8, 0.5) == 8
    assert scaled(32, 0.6) == 24  # 19.2: 16 would be less than nine tenths
