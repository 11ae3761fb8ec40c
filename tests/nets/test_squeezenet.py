"""SqueezeNet 1.0 against plain numpy, and on photographs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxad.nets import convert
from jaxad.nets.squeezenet import SqueezeNet, pool, strides
from jaxad.weights.files import read_state_dict
from jaxad.weights.store import check_tree

WIDTHS = {2: (96, 16), 3: (128, 16), 4: (128, 32), 5: (256, 32), 6: (256, 48), 7: (384, 48),
          8: (384, 64), 9: (512, 64)}  # fmt: skip
POOLS = {2: "pool1", 5: "pool4", 9: "pool8"}  # table 1: the pool in front of a module
TORCHVISION = {2: 3, 3: 4, 4: 5, 5: 7, 6: 8, 7: 9, 8: 10, 9: 12}


@pytest.fixture(scope="module")
def arrays():
    """Random weights under the names of the Caffe model."""
    rng = np.random.default_rng(0)
    shapes = {"conv1": (96, 3, 7, 7), "conv10": (1000, 512, 1, 1)}
    for i, (inputs, squeezed) in WIDTHS.items():
        shapes[f"fire{i}/squeeze1x1"] = (squeezed, inputs, 1, 1)
        shapes[f"fire{i}/expand1x1"] = (4 * squeezed, squeezed, 1, 1)
        shapes[f"fire{i}/expand3x3"] = (4 * squeezed, squeezed, 3, 3)
    drawn = {}
    for name, shape in shapes.items():
        fan_in = np.prod(shape[1:])
        drawn[f"{name}.weight"] = rng.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32)
        drawn[f"{name}.bias"] = rng.normal(0, 0.05, shape[0]).astype(np.float32)
    return drawn


def plain_pool(x):
    """3 x 3 windows every 2 cells; the last may reach over the edge."""
    rows, columns = (-(-(side - 3) // 2) + 1 for side in x.shape[1:])
    windows = [
        [x[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((1, 2)) for j in range(columns)]
        for i in range(rows)
    ]
    return np.moveaxis(np.array(windows), -1, 0)


def plain_network(conv, arrays, image):
    """The maps of one image (3, H, W), RGB in [0, 1]."""
    layer = lambda name, x, **k: np.maximum(
        conv(x, arrays[f"{name}.weight"], arrays[f"{name}.bias"], **k), 0
    )
    x = image[::-1] * 255.0 - np.array([104, 117, 123])[:, None, None]
    x = layer("conv1", x, stride=2)
    maps = {"conv1": x}
    for i in WIDTHS:
        x = plain_pool(x) if i in POOLS else x
        x = layer(f"fire{i}/squeeze1x1", x)
        x = np.concatenate([
            layer(f"fire{i}/expand1x1", x), layer(f"fire{i}/expand3x3", x, before=1, after=1)
        ])  # fmt: skip
        maps[f"fire{i}"] = x
    return maps


def test_maps_match_plain_numpy(arrays, plain_conv):
    image = np.random.default_rng(1).random((64, 75, 3), np.float32)
    want = plain_network(plain_conv, arrays, image.transpose(2, 0, 1))
    tree = convert.squeezenet(arrays)
    with jax.default_matmul_precision("highest"):
        maps = jax.jit(SqueezeNet().apply)(tree, image[None])
    assert set(maps) == set(want) == set(strides())
    for name, x in want.items():
        got = np.asarray(maps[name][0]).transpose(2, 0, 1)
        np.testing.assert_allclose(got, x, rtol=1e-4, atol=1e-4 * x.max(), err_msg=name)


@pytest.mark.parametrize("shape", [(7, 7), (8, 7), (7, 10), (3, 4)])
def test_pool_counts_a_window_over_the_edge(shape):
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    np.testing.assert_array_equal(pool(jnp.asarray(x)[..., None])[..., 0][0], plain_pool(x[:1])[0])


def test_torchvision_names_give_the_same_tree(arrays):
    renamed = {}
    for name, x in arrays.items():
        layer, part = name.rsplit(".", 1)
        if layer.startswith("fire"):
            fire, kind = layer.split("/")
            kind = "squeeze" if kind == "squeeze1x1" else kind
            renamed[f"features.{TORCHVISION[int(fire[4:])]}.{kind}.{part}"] = x
        else:
            renamed[f"features.0.{part}" if layer == "conv1" else f"classifier.1.{part}"] = x
    assert convert.kind(arrays) == "squeezenet"
    assert convert.kind(renamed) == "squeezenet1_0"
    jax.tree.map(
        np.testing.assert_array_equal,
        convert.squeezenet(arrays),
        convert.torchvision_squeezenet(renamed),
    )


def test_imagenet_normalisation_is_torchvisions(arrays):
    image = np.random.default_rng(1).random((1, 33, 33, 3), np.float32)
    tree = convert.squeezenet(arrays)
    conv1 = tree["params"]["conv1"]["conv"]
    got = jax.jit(SqueezeNet("imagenet").apply)(tree, image)["conv1"]
    normal = (image - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    want = np.maximum(np.einsum("hwc,hwcd->d", normal[0, :7, :7], conv1["kernel"]), -conv1["bias"])
    np.testing.assert_allclose(got[0, 0, 0], want + conv1["bias"], atol=1e-4)


def test_whole_network_has_the_published_number_of_parameters():
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), "float32")
    variables = jax.eval_shape(SqueezeNet().init, jax.random.key(0), image)
    classifier = 1000 * 513
    assert sum(x.size for x in jax.tree.leaves(variables)) == 1_248_424 - classifier


@pytest.mark.data
def test_published_weights_recognise_photographs(shared):
    arrays = read_state_dict(shared / "weights" / "squeezenet_v1.0_deepcompressed_f16c.npz")
    tree = convert.CONVERTERS[convert.kind(arrays)](arrays)
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), "float32")
    check_tree(tree, jax.eval_shape(SqueezeNet().init, jax.random.key(0), images), "squeezenet")
    weight, bias = (np.asarray(arrays[f"conv10.{part}"], np.float32) for part in ("weight", "bias"))
    network = jax.jit(SqueezeNet().apply)

    files = sorted((shared / "data" / "natural").glob("*.jpg"))  # named by class, one of each
    right = []
    for label in range(0, len(files), 20):
        image = np.asarray(Image.open(files[label]).convert("RGB").resize((227, 227)))
        last = np.asarray(network(tree, image[None].astype(np.float32) / 255)["fire9"][0])
        logits = np.maximum(last @ weight[:, :, 0, 0].T + bias, 0).mean((0, 1))
        right.append(logits.argmax() == label)
    assert np.mean(right) > 0.5  # of all thousand: 0.66
