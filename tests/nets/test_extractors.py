"""Any extractor by name: images in, a tuple of maps out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad.detector import override
from jaxad.methods import efficientad, uniad
from jaxad.nets import convert, extractors
from jaxad.nets.extractors import EXTRACTORS, features, load_for, select
from jaxad.nets.mobilenet import MobileNetV2
from jaxad.nets.pdn import PDN, PDNLayers
from jaxad.nets.resnet import resnet18
from jaxad.weights.files import read_state_dict
from jaxad.weights.store import load_pretrained, save_pretrained

SIDE = 64


def variables(name):
    """Shapes of the weights of an extractor, and zeros of these shapes."""
    image = jax.ShapeDtypeStruct((1, SIDE, SIDE, 3), "float32")
    shapes = jax.eval_shape(EXTRACTORS[name].network({}).init, jax.random.key(0), image)
    return shapes, jax.tree.map(lambda x: np.zeros(x.shape, np.float32), shapes)


@pytest.fixture(scope="module")
def resnet():
    return jax.jit(resnet18().init)(jax.random.key(0), jnp.zeros((1, SIDE, SIDE, 3)))


@pytest.mark.parametrize(
    "name",
    [
        *("pdn_small", "resnet18", "vgg16", "squeezenet", "squeezenet1_0", "mobilenet_v2"),
        *("tf_mobilenet_v2", "efficientnet_b0", "efficientnet_lite0"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("resnet50", "efficientnet_b4")),
    ],
)
def test_maps_have_one_cell_per_stride(name):
    shapes, _ = variables(name)
    known = tuple(EXTRACTORS[name].strides)
    if "resnet" in name:
        known = known[:-1]  # these weights have no layer4
    images = jax.ShapeDtypeStruct((2, SIDE, 2 * SIDE, 3), "float32")
    maps = jax.eval_shape(lambda v, x: features(name, known, v, x), shapes, images)
    assert len(maps) == len(known)
    for layer, x in zip(known, maps, strict=True):
        stride = EXTRACTORS[name].strides[layer]
        sides = np.array([SIDE / stride, 2 * SIDE / stride])
        slack = 3 if name.startswith("squeezenet") else 0  # its first convolution does not pad
        assert (abs(np.array(x.shape[1:3]) - sides) <= slack).all(), (layer, x.shape)
    assert set(EXTRACTORS[name].layers) <= set(known)


def test_maps_are_those_asked_for_in_that_order(resnet, key):
    x = jax.random.uniform(key, (1, SIDE, SIDE, 3))
    maps = jax.jit(resnet18().apply)(resnet, x)
    run = jax.jit(features, static_argnums=(0, 1))
    deep, shallow = run("resnet18", ("layer3", "stem"), resnet, x)
    np.testing.assert_array_equal(deep, maps["layer3"])
    np.testing.assert_array_equal(shallow, maps["stem"])
    assert [m.shape for m in run("resnet18", (), resnet, x)] == [
        maps[layer].shape for layer in ("layer1", "layer2", "layer3")
    ]


def test_extractors_own_layers_are_the_default():
    assert select("efficientnet_b4") == ("block1", "block5", "block9", "block21")
    assert extractors.strides("efficientnet_b4") == (2, 4, 8, 16)
    assert extractors.strides("mobilenet_v2", ("head", "stem")) == (32, 2)


@pytest.mark.slow
def test_signed_maps_are_those_with_negative_values(key):
    assert extractors.signed("resnet18", ()) == (False,) * 3
    assert extractors.signed("efficientnet_lite0", ()) == (True,) * 3
    assert extractors.signed("mobilenet_v2", ("block13", "head", "stem")) == (True, False, False)
    with pytest.raises(ValueError, match="no map 'block1'"):
        extractors.signed("efficientnet_lite0", ("block1",))
    x, run = jax.random.uniform(key, (1, SIDE, SIDE, 3)), jax.jit(features, static_argnums=(0, 1))
    for name in ("pdn_small", "efficientnet_lite0"):
        layers = extractors.every(name)
        maps = run(name, layers, jax.jit(EXTRACTORS[name].network({}).init)(key, x), x)
        assert extractors.signed(name, layers) == tuple(bool(x.min() < 0) for x in maps)


def test_layer4_is_there_where_the_weights_have_it(key):
    x = jax.ShapeDtypeStruct((1, SIDE, SIDE, 3), "float32")
    whole = jax.eval_shape(resnet18(layer4=True).init, key, x)
    run = lambda v, x: features("resnet18", ("layer4",), v, x)
    assert jax.eval_shape(run, whole, x)[0].shape == (1, 2, 2, 512)
    part = jax.eval_shape(resnet18().init, key, x)
    with pytest.raises(ValueError, match=r"weights of resnet18 end before layer4.*layer3"):
        jax.eval_shape(run, part, x)


def test_padding_of_efficientnets_is_the_published_one_or_the_images_own():
    for variant, side in (("b0", 224), ("b1", 240), ("b2", 260), ("b3", 300), ("b4", 380)):
        assert EXTRACTORS[f"efficientnet_{variant}"].network({}).padded_for == side
        assert EXTRACTORS[f"tf_efficientnet_{variant}"].network({}).padded_for is None


def test_conventions_of_the_two_mobilenets_differ():
    assert EXTRACTORS["mobilenet_v2"].network({}) == MobileNetV2("symmetric", "imagenet")
    assert EXTRACTORS["tf_mobilenet_v2"].network({}) == MobileNetV2("same", "signed")


@pytest.mark.parametrize("height", [64, 68])
def test_pdn_maps_lie_on_one_grid(height, key):
    """A bright pixel is found at the same place in every map, to a cell."""
    pdn = PDN(channels=8, width=4)
    params = jax.jit(pdn.init)(key, jnp.zeros((1, 64, 64, 3)))
    x = jnp.zeros((1, height, 80, 3))
    maps = jax.jit(features, static_argnums=(0, 1))
    layers = ("pool1", "pool2", "conv3", "conv4")
    dark, bright = (maps("pdn_small", layers, params, x.at[:, 40, 60].add(a)) for a in (0, 1))
    for stride, a, b in zip((2, 4, 4, 4), dark, bright, strict=True):
        assert a.shape[1:3] == (height // stride, 80 // stride)
        change = np.abs(np.asarray(b - a)).sum((0, 3))
        rows, columns = np.nonzero(change)
        found = np.array([rows.min() + rows.max(), columns.min() + columns.max()]) / 2 * stride
        assert np.abs(found - [40, 60]).max() <= stride


def test_pdns_last_map_is_the_pdn(key):
    pdn = PDN(channels=8, width=4, padding=True)
    x = jax.random.uniform(key, (1, 64, 48, 3))
    params = jax.jit(pdn.init)(key, x)
    (last,) = jax.jit(features, static_argnums=(0, 1))("pdn_small", (), params, x)
    np.testing.assert_allclose(last, jax.jit(pdn.apply)(params, x), atol=1e-6)
    assert PDNLayers().padding


def test_shipped_teacher_is_an_extractor(key):
    weights = load_pretrained("pdn_small")["pdn_small"]
    x = jax.random.uniform(key, (1, SIDE, SIDE, 3))
    (last,) = jax.jit(features, static_argnums=(0, 1))("pdn_small", (), weights, x)
    assert last.shape == (1, SIDE // 4, SIDE // 4, 384)
    assert jnp.isfinite(last).all()


def test_unknown_names_are_answered_with_those_there_are():
    with pytest.raises(ValueError, match=r"no extractor 'resnet81' \(did you mean 'resnet18'\?\)"):
        select("resnet81")
    with pytest.raises(ValueError, match=r"vgg16 has no map 'pool6' \(did you mean 'pool5'\?\)"):
        select("vgg16", ("pool5", "pool6"))


def test_weights_of_another_network_are_refused(resnet):
    x = jnp.zeros((1, SIDE, SIDE, 3))
    with pytest.raises(ValueError, match=r"extractor=resnet34 cannot use .*layer1_2/.* is missing"):
        features("resnet34", (), resnet, x)
    pdn = jax.eval_shape(PDN(True, channels=8, width=4).init, jax.random.key(0), x)
    with pytest.raises(ValueError, match="extractor=pdn_small cannot use the weights"):
        jax.eval_shape(lambda v, x: features("pdn_small", (), v, x), pdn, x)
    for name in ("pdn_small", "vgg16"):
        with pytest.raises(ValueError, match="is missing"):
            features(name, (), {}, x)


def test_weights_made_for_other_inputs_and_borders_are_refused(tmp_path, key, monkeypatch):
    few = ("resnet18", "mobilenet_v2", "tf_mobilenet_v2")  # all take long
    monkeypatch.setattr(extractors, "EXTRACTORS", {name: EXTRACTORS[name] for name in few})
    x = jax.ShapeDtypeStruct((1, SIDE, SIDE, 3), jnp.float32)
    tree = jax.tree.map(
        lambda leaf: np.zeros(leaf.shape, np.float16), jax.eval_shape(MobileNetV2().init, key, x)
    )
    settings = {"network": "MobileNetV2", "padding": "same", "normalisation": "signed"}
    save_pretrained(tmp_path / "net", tree, {"settings": settings})
    cfg = uniad.Config(extractor="tf_mobilenet_v2", weights=("net",))
    assert list(load_for(cfg, tmp_path)) == ["net"]
    message = "weights=net.*padding=same, .*not padding=symmetric, .*: mobilenet_v2, tf_mobilenet"
    with pytest.raises(ValueError, match=message):
        load_for(override(cfg, "extractor=mobilenet_v2"), tmp_path)
    assert load_for(efficientad.Config(weights=()), tmp_path) == {}


@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("resnet18_folded_layers1-3_f16.npz", "resnet18"),
        ("mobilenet_v2_1.0_224_ptq_dequant_f16.npz", "tf_mobilenet_v2"),
        ("squeezenet_v1.0_deepcompressed_f16c.npz", "squeezenet"),
    ],
)
def test_published_weights_convert_and_fit(shared, file, name, key):
    arrays = read_state_dict(shared / "weights" / file)
    tree = convert.CONVERTERS[convert.kind(arrays)](arrays)
    x = jax.random.uniform(key, (1, SIDE, SIDE, 3))
    for layer in jax.jit(features, static_argnums=(0, 1))(name, (), tree, x):
        assert jnp.isfinite(layer).all()
        assert layer.std() > 0.01
