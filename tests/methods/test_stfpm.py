"""STFPM: against anomalib's numbers, and what its pieces promise."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from weights import images as draw_images
from weights import nchw, nhwc, parameters

from jaxad import compile
from jaxad.detector import State, check_settings, override, replace
from jaxad.methods import stfpm
from jaxad.nets import convert
from jaxad.nets.pdn import PDN
from jaxad.nets.resnet import ResNet
from jaxad.training.fitting import begun

LAYERS = ("layer1", "layer2", "layer3")
PAPER = stfpm.Config(size=128, extractor="resnet18", weights=("teacher",), batch_size=2)
PDN_SMALL = stfpm.Config(extractor="pdn_small", weights=("pdn_small",))
SMALL = replace(
    PDN_SMALL, size=32, batch_size=2, steps=40, weights=("tiny",), lr=0.1, weight_decay=0.0
)


@pytest.fixture(scope="module")
def pretrained():
    params = jax.jit(PDN(channels=6, width=4).init)(jax.random.key(7), jnp.zeros((1, 33, 33, 3)))
    return {"tiny": params}


def new_state(cfg, pretrained):
    images = np.zeros((1, cfg.size, cfg.size, 3), np.uint8)
    return begun(stfpm.DETECTOR, cfg, pretrained, images, jax.random.key(0))


def reference(golden):
    """(golden, pretrained, the student's variables, images)."""
    stored = golden("stfpm")
    trees = {name: convert.resnet(parameters(net)) for name, net in stored.info["networks"].items()}
    teacher, student = (jax.tree.map(jnp.asarray, trees[name]) for name in ("teacher", "student"))
    x = jnp.asarray(nhwc(draw_images(stored.info["images"]["image"])))
    return stored, {"teacher": teacher}, student, x


def close(stored, name, value):
    assert stored.error(name, np.asarray(value)) < stored.tolerance(name), name


def close_scalar(stored, name, value):
    assert stored.scalar_error(name, value) < stored.scalar_tolerance(name), name


def test_stfpm_maps_score_and_losses_in_evaluation_equal_the_reference(golden):
    stored, pretrained, student, x = reference(golden)
    cfg = override(PAPER, "upsampling=once")
    stats = {"batch_stats": student["batch_stats"]}
    state = State(jnp.int32(0), student["params"], stats, ())

    def everything(pretrained, state, x):
        network = ResNet()
        maps = network.apply({"params": state.params, **state.stats}, x)
        return stfpm.predict(cfg, pretrained, state, x), stfpm.embed(cfg, pretrained, x), maps

    with jax.default_matmul_precision("highest"):
        prediction, teacher, own = jax.jit(everything)(pretrained, state, x)
    # Its maps are halves of squared distances, and so are those of its layers' product.
    close(stored, "anomaly_map", prediction.map[:, None] / 2 ** len(LAYERS))
    close(stored, "score", prediction.score[:, None] / 2 ** len(LAYERS))
    total, halves = 0.0, len(x) / 2  # its loss is half of the sum over the batch, ours the mean
    for layer, features in zip(LAYERS, teacher, strict=True):
        close(stored, f"teacher.{layer}", nchw(features))
        close(stored, f"student.{layer}", nchw(own[layer]))
        enlarged = stfpm.prediction({layer: prediction.parts[layer]}, x.shape[1:3], "once").map
        close(stored, f"map.{layer}", enlarged[:, None] / 2)
        close_scalar(stored, f"loss_eval/{layer}", halves * prediction.parts[layer].mean())
        total += halves * float(prediction.parts[layer].mean())
    close_scalar(stored, "loss_eval", total)


def test_stfpm_loss_gradients_and_statistics_in_training_equal_the_reference(golden):
    stored, pretrained, student, x = reference(golden)
    batch = {"image": x, "features": stfpm.embed(PAPER, pretrained, x)}
    stats = {"batch_stats": student["batch_stats"]}
    gradient = jax.value_and_grad(stfpm.loss, has_aux=True)
    with jax.default_matmul_precision("highest"):
        (loss, (stats, _)), grads = jax.jit(gradient)(
            student["params"], PAPER, pretrained, stats, batch, jax.random.key(0)
        )
    halves = len(x) / 2  # its loss is half of the sum over the batch, ours the mean
    close_scalar(stored, "loss_train", halves * loss)
    stem = stats["batch_stats"]["bn1"]
    close(stored, "running_mean", stem["mean"])
    close(stored, "running_var", stem["var"])
    names = {"kernel": "weight", "scale": "weight", "bias": "bias"}
    compared = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
        *modules, last = [entry.key for entry in path if entry.key != "conv"]
        name = ".".join(modules).replace("_conv", ".0").replace("_bn", ".1")
        for stage in LAYERS:
            name = name.replace(f"{stage}_", f"{stage}.")
        close_scalar(
            stored, f"grad_norm/{name}.{names[last]}", halves * jnp.linalg.norm(leaf.ravel())
        )
        compared += 1
    assert compared == sum(name.startswith("grad_norm") for name in stored.info["scalars"])


def test_a_step_is_torchs_momentum_descent():
    cfg = override(SMALL, ["lr=0.4", "weight_decay=1e-4"])
    optimizer, param = stfpm.optimizer(cfg), jnp.float32(2.0)
    opt, expected, velocity = optimizer.init(param), 2.0, 0.0
    for gradient in (0.5, -1.0, 0.25):
        updates, opt = optimizer.update(jnp.float32(gradient), opt, param)
        param = optax.apply_updates(param, updates)
        velocity = 0.9 * velocity + gradient + 1e-4 * expected
        expected -= 0.4 * velocity
    assert float(param) == pytest.approx(expected, rel=1e-6)


def test_distances_are_those_of_unit_vectors_and_none_is_nan():
    right, up = jnp.array([3.0, 0.0]), jnp.array([0.0, 0.5])
    teacher = jnp.stack([right, right, right, jnp.zeros(2)])[None, None]
    student = jnp.stack([7 * right, up, -right, jnp.zeros(2)])[None, None]
    total = lambda s: stfpm.distances(("one",), (teacher,), (s,))["one"].sum()
    found = stfpm.distances(("one",), (teacher,), (student,))["one"]
    np.testing.assert_allclose(found[0, 0], [0, 2, 4, 0], atol=1e-6)
    assert np.isfinite(jax.grad(total)(student)).all()


def test_a_map_is_a_product_so_a_layer_without_a_difference_clears_it():
    fine, coarse = jnp.full((1, 8, 8), 2.0), jnp.ones((1, 4, 4)).at[:, :2].set(0.0)
    for upsampling in ("twice", "once"):
        prediction = stfpm.prediction({"a": fine, "b": coarse}, (16, 16), upsampling)
        assert prediction.map.shape == (1, 16, 16)
        np.testing.assert_allclose(prediction.map[0, :4], 0, atol=1e-6)
        np.testing.assert_allclose(prediction.map[0, -4:], 2, rtol=1e-6)
        np.testing.assert_allclose(prediction.score, 2, rtol=1e-6)


def enlarged(values, shape):
    """Bilinear with half-pixel centres, written out."""
    result = np.zeros(shape)
    for y, x in np.ndindex(*shape):
        total = 0.0
        for (i, j), value in np.ndenumerate(values):
            weight = 1.0
            for to, at, new, old in zip((y, x), (i, j), shape, values.shape, strict=True):
                place = np.clip((to + 0.5) * old / new - 0.5, 0, old - 1)
                weight *= max(0.0, 1 - abs(place - at))
            total += weight * value
        result[y, x] = total
    return result


def test_maps_are_multiplied_at_the_finest_ones_size_or_at_the_images():
    fine, coarse = (np.random.default_rng(s).uniform(size=(n, n)) for s, n in ((0, 4), (1, 2)))
    given = {"a": jnp.float32(fine[None]), "b": jnp.float32(coarse[None])}
    wanted = {
        "twice": enlarged(fine * enlarged(coarse, (4, 4)), (12, 12)),
        "once": enlarged(fine, (12, 12)) * enlarged(coarse, (12, 12)),
    }
    for upsampling, values in wanted.items():
        found = stfpm.prediction(given, (12, 12), upsampling).map[0]
        np.testing.assert_allclose(found, values, atol=1e-6)
    assert np.abs(wanted["twice"] - wanted["once"]).max() > 0.01


def test_a_copy_of_the_teacher_finds_nothing(pretrained):
    state = new_state(SMALL, pretrained)._replace(params=pretrained["tiny"]["params"])
    images = jax.random.uniform(jax.random.key(1), (2, 32, 32, 3))
    prediction = compile.jit(stfpm.predict)(SMALL, pretrained, state, images)
    np.testing.assert_allclose(prediction.map, 0, atol=1e-12)
    assert set(prediction.parts) == {"pool1", "pool2", "conv4"}


def test_constant_images_and_dead_features_give_no_nan(pretrained):
    dead = {"tiny": jax.tree.map(jnp.zeros_like, pretrained["tiny"])}
    state, images = new_state(SMALL, dead), jnp.full((2, 32, 32, 3), 0.5)
    batch = {"image": images, "features": stfpm.embed(SMALL, dead, images)}
    state, metrics = compile.jit(stfpm.train_step)(SMALL, dead, state, batch, jax.random.key(0))
    prediction = stfpm.predict(SMALL, dead, state, images)
    for x in jax.tree.leaves((state, metrics, prediction)):
        assert np.isfinite(x).all()


@pytest.mark.slow
def test_a_residual_students_statistics_move_in_training_only():
    cfg = override(PAPER, ["size=64", "layers=layer1,layer2"])
    image = jnp.zeros((1, 64, 64, 3))
    pretrained = {"teacher": jax.jit(ResNet().init)(jax.random.key(1), image)}
    state = new_state(cfg, pretrained)
    images = jax.random.uniform(jax.random.key(2), (2, 64, 64, 3))
    _, moved = jax.jit(partial(stfpm.training_features, cfg, pretrained))(
        state.params, state.stats, images
    )
    assert jax.tree.structure(moved) == jax.tree.structure(state.stats)
    stem = moved["batch_stats"]["bn1"]["mean"], state.stats["batch_stats"]["bn1"]["mean"]
    assert (stem[0] != stem[1]).all()


def test_a_new_residual_student_is_drawn_as_torchvisions():
    image = jnp.zeros((1, 64, 64, 3))
    params = jax.jit(ResNet().init)(jax.random.key(3), image)["params"]
    kernel = params["layer3_1"]["conv2"]["conv"]["kernel"]
    assert float(kernel.std()) == pytest.approx(math.sqrt(2 / (9 * 256)), rel=0.01)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("size=12", "size=12 is too small.* 16 pixels"),
        ("steps=-1", "steps=-1"),
        ("batch_size=0", "batch_size=0"),
        ("layers=layer9", "no map 'layer9'"),
        ("extractor=resnet19", "no extractor 'resnet19'.*resnet18"),
        ("weights=a,b", "weights=a,b: expected 1 value"),
        ("momentum=1", "momentum=1"),
        ("lr=0", "lr=0"),
    ],
)
def test_settings_that_cannot_work_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        check_settings(stfpm.DETECTOR, override(PDN_SMALL, setting))


def test_the_defaults_are_sound():
    check_settings(stfpm.DETECTOR, stfpm.Config())


def test_weights_of_another_network_are_refused(pretrained):
    cfg = override(SMALL, "extractor=resnet18")
    with pytest.raises(ValueError, match="resnet18 cannot use the weights"):
        new_state(cfg, pretrained)


def test_layers_beyond_the_weights_are_refused():
    image = jnp.zeros((1, 64, 64, 3))
    cfg = override(PAPER, ["size=128", "layers=layer3,layer4"])
    pretrained = {"teacher": jax.jit(ResNet().init)(jax.random.key(1), image)}
    with pytest.raises(ValueError, match="end before layer4"):
        new_state(cfg, pretrained)
