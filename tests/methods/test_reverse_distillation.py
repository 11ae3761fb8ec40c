"""Reverse distillation: against anomalib's numbers, and what its pieces promise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from weights import images as draw_images
from weights import nchw, nhwc, parameters

from jaxad import compile
from jaxad.detector import check_settings, override, replace
from jaxad.methods import reverse_distillation as rd
from jaxad.nets import convert, extractors
from jaxad.nets.convert.reversed import place
from jaxad.nets.pdn import PDN
from jaxad.nets.resnet import resnet18, resnet50, wide_resnet50_2
from jaxad.nets.reversed_resnet import (
    Decoder,
    OneClassBottleneck,
    ReversedResNet,
    TransposedConv,
)
from jaxad.ops import maps
from jaxad.training.fitting import begun

# anomalib's bottleneck has half the authors' width.
WIDE = ReversedResNet(
    OneClassBottleneck((2, 2), 3, True, 64),
    Decoder((256, 512, 1024), (2, 2), (3, 4, 6), True, 128),
)
PREFIXES = {"bottleneck": "bn", "decoder": "decoder"}  # as the authors save them
PDN_SMALL = rd.Config(extractor="pdn_small", weights=("pdn_small",))
TINY = replace(PDN_SMALL, size=32, batch_size=2, steps=40, weights=("tiny",), blur=1.0)


def reference(golden):
    """(golden, encoder's maps, parameters, statistics, images)."""
    stored = golden("reverse_distillation")
    networks = {name: parameters(net) for name, net in stored.info["networks"].items()}
    arrays = {
        f"{prefix}.{layer}": weight
        for network, prefix in PREFIXES.items()
        for layer, weight in networks[network].items()
    }
    trees = jax.tree.map(jnp.asarray, convert.reverse_distillation(arrays))
    x = nhwc(draw_images(stored.info["images"]["image"]))
    found = jax.jit(wide_resnet50_2().apply)(convert.resnet(networks["encoder"]), x)
    encoded = tuple(found[f"layer{i}"] for i in (1, 2, 3))
    return stored, encoded, trees["params"], trees["batch_stats"], x


def close(stored, name, value):
    assert stored.error(name, np.asarray(value)) < stored.tolerance(name), name


def close_scalar(stored, name, value):
    assert stored.scalar_error(name, value) < stored.scalar_tolerance(name), name


@pytest.mark.slow
def test_reverse_distillation_features_maps_and_losses_equal_the_reference(golden):
    with jax.default_matmul_precision("highest"):
        stored, encoded, params, stats, x = reference(golden)
        bottleneck = {"params": params["bottleneck"], "batch_stats": stats["bottleneck"]}
        close(stored, "bottleneck", nchw(jax.jit(WIDE[0].apply)(bottleneck, encoded)))
        decoded, _ = jax.jit(WIDE.restored)(params, stats, encoded)
    for i, (e, d) in enumerate(zip(encoded, decoded, strict=True), start=1):
        close(stored, f"encoder.layer{i}", nchw(e))
        close(stored, f"decoder.layer{i}", nchw(d))
    close_scalar(stored, "loss_eval", sum(rd.cosine_losses(encoded, decoded, "flattened")))
    close_scalar(stored, "loss_eval_per_cell", sum(rd.cosine_losses(encoded, decoded, "cell")))
    cells, shape = rd.distances(encoded, decoded), x.shape[1:3]
    close(stored, "map_add_before_blur", rd.combined(cells, shape, "add")[:, None])
    for combine in ("add", "multiply"):
        blurred = maps.gaussian_blur(rd.combined(cells, shape, combine), 4.0, "reflect")
        close(stored, f"map_{combine}", blurred[:, None])
        close(stored, f"score_{combine}", blurred.max((1, 2))[:, None])


@pytest.mark.slow
def test_reverse_distillation_loss_and_gradients_in_training_equal_the_reference(golden):
    with jax.default_matmul_precision("highest"):
        stored, encoded, params, stats, _ = reference(golden)

        @jax.jit
        @jax.value_and_grad
        def loss(params, stats, encoded):
            decoded, _ = WIDE.restored(params, stats, encoded, train=True)
            return sum(rd.cosine_losses(encoded, decoded, "flattened"))

        value, grads = loss(params, stats, encoded)
    close_scalar(stored, "loss_train", value)
    for name in stored.info["scalars"]:
        if not name.startswith("grad_norm"):
            continue
        _, network, weight = name.split("/")
        layer, leaf = weight.rsplit(".", 1)
        tree = grads
        for part in place(f"{PREFIXES[network]}.{layer}"):
            tree = tree[part]
        tree = tree.get("conv", tree)
        found = tree["bias"] if leaf == "bias" else tree.get("kernel", tree.get("scale"))
        close_scalar(stored, name, jnp.linalg.norm(found.ravel()))


def test_a_transposed_convolution_writes_one_block_a_cell():
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(5, 2, 2, 6))
    expected = np.zeros((2, 6, 8, 6))
    for i, j, a, b in np.ndindex(3, 4, 2, 2):
        expected[:, 2 * i + a, 2 * j + b] = x[:, i, j] @ kernel[:, a, b]
    module = TransposedConv(6, 2)
    with jax.default_matmul_precision("highest"):
        found = module.apply({"params": {"kernel": jnp.float32(kernel)}}, jnp.float32(x))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_flattened_and_cell_wise_cosines_are_what_they_are_called():
    one, other = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 6)).astype(np.float32)

    def distance(x, y):
        return 1 - x @ y / np.linalg.norm(x) / np.linalg.norm(y)

    (whole,) = rd.cosine_losses((jnp.asarray(one),), (jnp.asarray(other),), "flattened")
    expected = np.mean([distance(x.ravel(), y.ravel()) for x, y in zip(one, other, strict=True)])
    assert float(whole) == pytest.approx(expected, rel=1e-5)
    (cells,) = rd.cosine_losses((jnp.asarray(one),), (jnp.asarray(other),), "cell")
    pairs = zip(one.reshape(-1, 6), other.reshape(-1, 6), strict=True)
    assert float(cells) == pytest.approx(np.mean([distance(x, y) for x, y in pairs]), rel=1e-5)


@pytest.fixture(scope="module")
def pretrained():
    params = PDN(channels=8, width=4).init(jax.random.key(7), jnp.zeros((1, 33, 33, 3)))
    return {"tiny": params}


def new_state(cfg, pretrained):
    images = np.zeros((1, cfg.size, cfg.size, 3), np.uint8)
    return begun(rd.DETECTOR, cfg, pretrained, images, jax.random.key(0))


@pytest.mark.parametrize(("network", "units"), [(resnet18, (2, 2, 2)), (resnet50, (3, 4, 6))])
def test_the_decoder_mirrors_its_encoder(network, units):
    name = network.__name__
    cfg = rd.Config(size=64, extractor=name, weights=(name,))
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    variables = jax.eval_shape(network().init, jax.random.key(0), image)
    bottleneck, decoder = rd._network(cfg, {name: variables})
    assert decoder.units == units
    assert bottleneck.units == units[0]
    encoded = jax.eval_shape(lambda v, x: rd.embed(cfg, v, x), {name: variables}, image)
    code, _ = jax.eval_shape(bottleneck.init_with_output, jax.random.key(0), encoded)
    assert code.shape == (1, 2, 2, 2 * encoded[-1].shape[-1])
    decoded, _ = jax.eval_shape(decoder.init_with_output, jax.random.key(0), code)
    assert [x.shape for x in decoded] == [x.shape for x in encoded]


def test_the_decoder_of_the_default_encoder_restores_signed_maps_of_its_shapes():
    cfg = rd.Config(size=64)
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    network = extractors.extractor(cfg.extractor).network({})
    variables = {cfg.weights[0]: jax.eval_shape(network.init, jax.random.key(0), image)}
    bottleneck, decoder = rd._network(cfg, variables)
    assert decoder.signed == (True, True, True)
    encoded = jax.eval_shape(lambda v, x: rd.embed(cfg, v, x), variables, image)
    code, _ = jax.eval_shape(bottleneck.init_with_output, jax.random.key(0), encoded)
    decoded, _ = jax.eval_shape(decoder.init_with_output, jax.random.key(0), code)
    assert [x.shape for x in decoded] == [x.shape for x in encoded]


def test_wide_networks_have_the_authors_number_of_parameters():
    cfg = rd.Config(extractor="wide_resnet50_2", weights=("wide",))
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    variables = jax.eval_shape(wide_resnet50_2().init, jax.random.key(0), image)
    bottleneck, decoder = rd._network(override(cfg, "size=64"), {"wide": variables})
    encoded = [
        jax.ShapeDtypeStruct((1, side, side, width), jnp.float32)
        for side, width in ((16, 256), (8, 512), (4, 1024))
    ]
    code, first = jax.eval_shape(bottleneck.init_with_output, jax.random.key(0), encoded)
    second = jax.eval_shape(decoder.init, jax.random.key(0), code)
    count = lambda tree: sum(x.size for x in jax.tree.leaves(tree["params"]))
    assert count(first) == 58_885_120
    assert count(second) == 24_917_504


@pytest.mark.parametrize("cosine", ["flattened", pytest.param("cell", marks=pytest.mark.slow)])
def test_steps_move_every_parameter_and_reduce_the_loss(cosine, pretrained, key):
    cfg = override(TINY, f"cosine={cosine}")
    start = state = new_state(cfg, pretrained)
    images = jax.random.uniform(key, (2, 32, 32, 3))
    batch = {"image": images, "features": rd.embed(cfg, pretrained, images)}
    step, losses = compile.jit(rd.train_step), []
    for _ in range(25):
        state, metrics = step(cfg, pretrained, state, batch, key)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.7 * losses[0]
    for old, new in ((start.params, state.params), (start.stats, state.stats)):
        assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a != b).any()), old, new)))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("size=12", "size=12 does not suit"),
        ("size=260", "multiple of 8 from 16 on"),
        ("steps=-1", "steps=-1"),
        ("batch_size=0", "batch_size=0"),
        ("layers=layer1", "no map 'layer1'"),
        ("weights=a,b", "expected 1 value"),
        ("b1=1", "b1=1"),
        ("blur=0", "blur=0"),
        ("combine=mean", "expected one of add, multiply"),
    ],
)
def test_settings_that_cannot_work_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        check_settings(rd.DETECTOR, override(PDN_SMALL, setting))


@pytest.mark.parametrize("extractor", ["efficientnet_lite0", "mobilenet_v2", "resnet18"])
def test_the_defaults_and_other_encoders_are_sound(extractor):
    assert rd.Config().extractor == "efficientnet_lite0"
    check_settings(rd.DETECTOR, rd.Config(extractor=extractor, weights=(extractor,)))


def test_maps_that_do_not_divide_each_other_are_refused(pretrained):
    with pytest.raises(ValueError, match="sides of 8, 16 cells"):
        new_state(override(TINY, "layers=conv4,pool1"), pretrained)


def test_weights_of_another_network_are_refused(pretrained):
    with pytest.raises(ValueError, match="resnet18 cannot use the weights"):
        new_state(override(TINY, ["extractor=resnet18", "size=64"]), pretrained)


def test_weights_that_are_not_given_are_named():
    with pytest.raises(ValueError, match=r"weights=tiny is not among the weights .*other"):
        new_state(TINY, {"other": {}})


def test_more_maps_than_the_encoder_has_stages_take_the_last_stages_blocks():
    sides = jnp.zeros((1, 64, 64, 3))
    weights = {"some": jax.eval_shape(resnet18().init, jax.random.key(0), sides)}
    layers = "layers=stem,layer1,layer2,layer3"
    cfg = override(rd.Config(), ["extractor=resnet18", "weights=some", "size=64", layers])
    assert rd._network(cfg, weights).decoder.units == (2, 2, 2, 2)


@pytest.mark.parametrize("signed", [(True, False, True), (False, True, False)])
def test_signed_maps_of_the_decoder_are_negative_and_the_others_are_as_they_were(signed, key):
    """Stages after a signed one go on from the rectified map."""
    code = jax.random.normal(key, (2, 2, 2, 16))
    plain, other = Decoder((4, 6, 8)), Decoder((4, 6, 8), signed=signed)
    variables = plain.init(key, code)
    maps, found = plain.apply(variables, code), other.apply(variables, code)
    for x, rectified, sign in zip(found, maps, signed, strict=True):
        np.testing.assert_array_equal(np.maximum(x, 0), rectified)
        assert (x.min() < 0) == sign


def test_signed_layers_are_restored_more_closely_than_a_rectifier_could(pretrained, key):
    cfg = override(TINY, ["layers=pool1,pool2,conv4", "lr=0.02"])
    state = new_state(cfg, pretrained)
    images = jax.random.uniform(key, (2, 32, 32, 3))
    encoded = jax.jit(rd.embed)(cfg, pretrained, images)
    batch, step = {"image": images, "features": encoded}, compile.jit(rd.train_step)
    for _ in range(40):
        state, metrics = step(cfg, pretrained, state, batch, key)
    network = rd._network(cfg, pretrained)
    decoded, _ = jax.jit(network.restored)(state.params, state.stats, encoded)
    for maps_of_one in (encoded, decoded):
        assert [bool(x.min() < 0) for x in maps_of_one] == [False, False, True]
    (nearest,) = rd.cosine_losses(encoded[2:], (jnp.maximum(encoded[2], 0),), cfg.cosine)
    assert metrics["conv4"] < 0.5 * nearest  # of all maps without negative values


def test_dead_features_give_no_nan(pretrained, images, key):
    dead = jax.tree.map(jnp.zeros_like, pretrained)
    state = new_state(TINY, dead)
    x = jnp.asarray(images[:2], jnp.float32)
    batch = {"image": x, "features": rd.embed(TINY, dead, x)}
    state, metrics = compile.jit(rd.train_step)(TINY, dead, state, batch, key)
    prediction = compile.jit(rd.predict)(TINY, dead, state, x)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((state, metrics, prediction)))
