"""Names and layouts of PyTorch, against plain loops and hand-folded norms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from weights import parameters

from jaxad.nets import convert
from jaxad.nets.autoencoder import Autoencoder
from jaxad.nets.layers import Conv
from jaxad.nets.pdn import PDN
from jaxad.nets.resnet import EPSILON, ResNet
from jaxad.weights.store import check_tree


def torch_conv(x, weight, bias):
    """torch's Conv2d without padding, (C, H, W) -> (D, h, w), as its documentation defines it."""
    out, _, height, width = weight.shape
    rows, columns = x.shape[1] - height + 1, x.shape[2] - width + 1
    y = np.zeros((out, rows, columns))
    for d, i, j in np.ndindex(out, rows, columns):
        y[d, i, j] = (weight[d] * x[:, i : i + height, j : j + width]).sum() + bias[d]
    return y


def draw(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def pdn_arrays(names, channels=8, width=4):
    """A narrow PDN in torch's layout under the given layer names."""
    medium = len(names) == 6
    outputs = [width, 2 * width, *[2 * width] * (1 + medium), *[channels] * (1 + medium)]
    sides = (4, 4, 1, 3, 4, 1) if medium else (4, 4, 3, 4)
    shapes, inputs = {}, 3
    for name, out, side in zip(names, outputs, sides, strict=True):
        shapes |= {f"{name}.weight": (out, inputs, side, side), f"{name}.bias": (out,)}
        inputs = out
    return draw(shapes)


def block_shapes(prefix, inputs, width, outputs, downsample):
    """A bottleneck block of torchvision's, as names and shapes of convolution and norm."""
    layers = {
        ("conv1", "bn1"): (width, inputs, 1, 1),
        ("conv2", "bn2"): (width, width, 3, 3),
        ("conv3", "bn3"): (outputs, width, 1, 1),
    }
    if downsample:
        layers["downsample.0", "downsample.1"] = (outputs, inputs, 1, 1)
    return {(prefix + conv, prefix + norm): shape for (conv, norm), shape in layers.items()}


def resnet_layers():
    """A bottleneck network of one block a stage, and what else a state dict holds."""
    return {
        ("conv1", "bn1"): (64, 3, 7, 7),
        **block_shapes("layer1.0.", 64, 64, 256, True),
        **block_shapes("layer2.0.", 256, 128, 512, True),
        **block_shapes("layer3.0.", 512, 256, 1024, True),
        **block_shapes("layer4.0.", 1024, 16, 16, True),
    }


@pytest.fixture(scope="module")
def resnet_arrays():
    arrays = {"fc.weight": np.zeros((10, 16), np.float32)}
    rng = np.random.default_rng(1)
    for (conv, norm), shape in resnet_layers().items():
        fan_in = np.prod(shape[1:])
        arrays[f"{conv}.weight"] = rng.normal(size=shape).astype(np.float32) / np.sqrt(fan_in)
        for part in ("weight", "bias", "running_mean", "running_var"):
            arrays[f"{norm}.{part}"] = rng.uniform(0.5, 1.5, shape[0]).astype(np.float32)
        arrays[f"{norm}.num_batches_tracked"] = np.int64(7)
    return {name: np.asarray(x, np.float32) for name, x in arrays.items()}


def fold(arrays):
    """Norms folded into weight and bias, as published for inference."""
    folded = {}
    for conv, norm in resnet_layers():
        scale = arrays[f"{norm}.weight"] / np.sqrt(arrays[f"{norm}.running_var"] + EPSILON)
        folded[f"{conv}.weight"] = arrays[f"{conv}.weight"] * scale[:, None, None, None]
        folded[f"{conv}.bias"] = arrays[f"{norm}.bias"] - arrays[f"{norm}.running_mean"] * scale
    return folded


def expected(network, side=256):
    return jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, side, side, 3)))


def test_converted_convolution_computes_what_torch_defines():
    arrays = draw({"a.weight": (5, 3, 2, 4), "a.bias": (5,)})
    square = draw({"b.weight": (5, 3, 4, 4), "b.bias": (5,)})
    x = draw({"x": (3, 6, 7)})["x"]
    assert convert.conv(arrays, "a")["conv"]["kernel"].shape == (2, 4, 3, 5)

    image = jnp.asarray(x.transpose(1, 2, 0))[None]
    y = Conv(5, 4).apply({"params": convert.conv(square, "b")}, image)
    want = torch_conv(x, square["b.weight"], square["b.bias"])
    np.testing.assert_allclose(y[0].transpose(2, 0, 1), want, atol=1e-5)


def test_convolution_without_bias_has_none_afterwards():
    assert list(convert.conv(draw({"a.weight": (1, 1, 1, 1)}), "a")["conv"]) == ["kernel"]


def test_half_precision_weights_become_float32():
    arrays = {"a.weight": np.ones((1, 1, 1, 1), np.float16), "a.bias": np.ones(1, np.float16)}
    assert {x.dtype for x in convert.conv(arrays, "a")["conv"].values()} == {np.dtype("float32")}


@pytest.mark.parametrize(
    ("numbers", "medium"), [((0, 3, 6, 8), False), ((0, 3, 6, 8, 10, 12), True)]
)
def test_pdn_from_numbered_and_named_layers_is_the_same(numbers, medium):
    numbered = pdn_arrays([str(n) for n in numbers])
    named = pdn_arrays([f"conv{i}" for i in range(1, len(numbers) + 1)])
    assert convert.kind(numbered) == convert.kind(named) == "pdn"

    tree = convert.pdn(numbered)
    check_tree(tree, expected(PDN(medium, 8, width=4), 64), "numbered")
    jax.tree.map(np.testing.assert_array_equal, tree, convert.pdn(named))


def test_pdn_layers_are_ordered_as_numbers():
    tree = convert.pdn(pdn_arrays(["0", "3", "6", "8", "10", "12"]))
    assert tree["params"]["conv6"]["conv"]["kernel"].shape == (1, 1, 8, 8)


def test_pdn_of_five_convolutions_is_refused():
    arrays = pdn_arrays(["conv1", "conv2", "conv3", "conv4", "conv5", "conv6"])
    del arrays["conv5.weight"]
    with pytest.raises(ValueError, match=r"4 \(S\) or 6 \(M\) convolutions, these weights 5"):
        convert.pdn(arrays)


def test_autoencoder_names_lose_their_groups(golden):
    arrays = parameters(golden("autoencoder").info["networks"]["autoencoder"])
    tree = convert.autoencoder(arrays)
    assert convert.kind(arrays) == "autoencoder"
    check_tree(tree, expected(Autoencoder()), "autoencoder")
    np.testing.assert_array_equal(
        tree["params"]["deconv8"]["conv"]["bias"], arrays["decoder.deconv8.bias"]
    )


def test_autoencoder_from_numbered_layers_is_the_same(golden):
    arrays = parameters(golden("autoencoder").info["networks"]["autoencoder"])
    numbers = (0, 2, 4, 6, 8, 10, 12, 15, 18, 21, 24, 27, 30, 32)
    layers = [name.removesuffix(".weight") for name in arrays if name.endswith(".weight")]
    numbered = {
        f"{number}.{part}": arrays[f"{layer}.{part}"]
        for number, layer in zip(numbers, layers, strict=True)
        for part in ("weight", "bias")
    }
    assert convert.kind(numbered) == "autoencoder"
    jax.tree.map(
        np.testing.assert_array_equal, convert.autoencoder(numbered), convert.autoencoder(arrays)
    )


def test_autoencoder_without_a_layer_names_it(golden):
    arrays = parameters(golden("autoencoder").info["networks"]["autoencoder"])
    del arrays["decoder.deconv3.weight"]
    with pytest.raises(ValueError, match=r"no weight 'decoder\.deconv3\.weight'"):
        convert.autoencoder(arrays)


def test_resnet_has_every_leaf_of_the_network_and_no_later_stage(resnet_arrays):
    assert convert.kind(resnet_arrays) == "resnet"
    check_tree(convert.resnet(resnet_arrays), expected(ResNet((1, 1, 1), True)), "resnet")


def test_folded_resnet_computes_what_the_unfolded_one_does(resnet_arrays):
    network = jax.jit(ResNet((1, 1, 1), True).apply)
    x = np.random.default_rng(2).random((1, 32, 32, 3), np.float32)
    plain = network(convert.resnet(resnet_arrays), x)
    folded = network(convert.resnet(fold(resnet_arrays)), x)
    for name, want in plain.items():
        np.testing.assert_allclose(folded[name], want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "missing", ["conv1.weight", "layer2.0.conv2.weight", "layer3.0.bn3.running_var"]
)
def test_resnet_without_a_weight_names_it(resnet_arrays, missing):
    arrays = {name: x for name, x in resnet_arrays.items() if name != missing}
    with pytest.raises(ValueError, match=f"no weight '{missing}'"):
        convert.resnet(arrays)


def test_dense_layer_is_no_convolution():
    with pytest.raises(ValueError, match=r"fc\.weight has shape \(10, 4\), expected \(out, in"):
        convert.conv(draw({"fc.weight": (10, 4)}), "fc")


def test_unknown_names_are_listed():
    with pytest.raises(ValueError, match=r"no network here .* features\.0\.weight"):
        convert.kind(draw({"features.0.weight": (8, 3, 3, 3)}))


def test_part_of_a_larger_model_is_cut_out_by_its_prefix():
    arrays = {f"teacher.{name}": x for name, x in pdn_arrays(["0", "3", "6", "8"]).items()}
    arrays["teacher_mean"] = np.zeros(3)
    for prefix in ("teacher", "teacher."):
        assert convert.kind(convert.below(arrays, prefix)) == "pdn"
    with pytest.raises(ValueError, match=r"begins with 'student\.': teacher\.0\.weight"):
        convert.below(arrays, "student")
