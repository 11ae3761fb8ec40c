"""MKD: against the authors' numbers, and what its pieces promise."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from weights import hwio, nchw, nhwc
from weights_b import inputs, parameters

from jaxad import compile
from jaxad.detector import State, check_settings, override, replace
from jaxad.methods import mkd
from jaxad.nets import convert, extractors
from jaxad.nets.cloner import Cloner, Stage, guided_relu, stages_like
from jaxad.nets.squeezenet import SqueezeNet
from jaxad.ops import maps
from jaxad.training.fitting import begun

POOLS = ("pool2", "pool3", "pool4", "pool5")
VGG = mkd.Config(size=64, extractor="vgg16", weights=("vgg16",), scaled=False)
PDN_SMALL = mkd.Config(extractor="pdn_small", weights=("pdn_small",))
TINY = replace(
    PDN_SMALL, size=32, batch_size=2, steps=40, weights=("tiny",), narrow=4, blur=1.0, lr=1e-2
)


def close(stored, name, value):
    assert stored.error(name, np.asarray(value)) < stored.tolerance(name), name


def close_scalar(stored, name, value):
    assert stored.scalar_error(name, value) < stored.scalar_tolerance(name), name


def test_mkd_losses_scores_losses_and_gradients_equal_the_reference(golden):
    stored = golden("mkd_losses")
    drawn = {name: jnp.asarray(nhwc(x)) for name, x in inputs(stored.info).items()}
    teacher, student = (
        tuple(drawn[f"{who}_{pool}"] for pool in POOLS) for who in ("teacher", "student")
    )
    directions, values = mkd.direction_and_value(student, teacher)
    close(stored, "cosine", 1 - directions)
    close(stored, "mse", values)
    close_scalar(stored, "loss_direction", directions.mean(0).sum())
    close(stored, "score_direction", directions[:, 1:].sum(-1))
    for weight in (0.01, 0.5):
        cfg = override(VGG, f"value={weight}")
        each = directions + cfg.value * values
        close_scalar(stored, f"loss_lambda_{weight}", each.mean(0).sum())
        close(stored, f"score_lambda_{weight}", each[:, 1:].sum(-1))

    def loss(student):
        directions, values = mkd.direction_and_value(student, teacher)
        return (directions + 0.5 * values).mean(0).sum()

    for pool, gradient in zip(POOLS, jax.grad(loss)(student), strict=True):
        close(stored, f"grad_{pool}", gradient[0, 1, 2])


def clone_variables(arrays):
    """The clone's variables from the reference's state dict: an `nn.Sequential`."""
    params, stats, layer = {}, {}, 0
    for i, stage in enumerate(stages_like((128, 256, 512, 512), (4, 8, 16, 32), 16), start=1):
        for j in range(1, len(stage.widths) + 1):
            kernel = hwio(arrays[f"features.{layer}.weight"])
            params[f"conv{i}_{j}"] = {"conv": {"kernel": kernel}}
            layer += 1
            if j < len(stage.widths):
                name = f"features.{layer}"
                params[f"bn{i}_{j}"], stats[f"bn{i}_{j}"] = convert.batch_norm(arrays, name)
                layer += 1
            layer += 1  # rectifier
        layer += 1  # pool
    return jax.tree.map(jnp.asarray, (params, stats))


@pytest.fixture(scope="module")
def reference(golden):
    """(golden, pretrained, state, images)."""
    stored = golden("mkd_network")
    networks = {name: parameters(net) for name, net in stored.info["networks"].items()}
    params, stats = clone_variables(networks["student"])
    pretrained = {"vgg16": jax.tree.map(jnp.asarray, convert.vgg16(networks["teacher"]))}
    state = State(jnp.int32(0), params, mkd.Stats({"batch_stats": stats}, ()), ())
    return stored, pretrained, state, jnp.asarray(nhwc(inputs(stored.info)["image"]))


def scaled(x):
    """Each map from its minimum to its 99th percentile as 0 to 1, cut there."""
    low = x.min((1, 2), keepdims=True)
    high = np.percentile(x, 99, (1, 2), keepdims=True)
    return np.clip((x - low) / (high - low), 0, 1)


def test_mkd_network_features_scores_and_maps_equal_the_reference(reference):
    stored, pretrained, state, images = reference
    with jax.default_matmul_precision("highest"):
        teacher = jax.jit(mkd.embed)(VGG, pretrained, images)
        cloned = jax.jit(mkd.cloned, static_argnums=5)
        student, _ = cloned(VGG, state.params, state.stats, teacher, images, False)
        scores, gradient = jax.jit(mkd.score_and_gradient)(VGG, pretrained, state, images)
    for pool, t, s in zip(POOLS, teacher, student, strict=True):
        close(stored, f"teacher_{pool}", nchw(t))
        close(stored, f"student_{pool}", nchw(s))
    directions, values = mkd.direction_and_value(student, teacher)
    close_scalar(stored, "loss", (directions + 0.5 * values).mean(0).sum())
    close(stored, "score", scores)
    close(stored, "input_gradient", nchw(gradient))
    saliency = scaled(np.abs(gradient).sum(-1))
    close(stored, "saliency", saliency)
    blurred = maps.gaussian_blur(jnp.asarray(saliency, jnp.float32), VGG.blur)
    close(stored, "map_gradients", blurred)


def test_mkd_network_guided_maps_equal_the_reference(reference):
    stored, pretrained, state, images = reference
    cfg = override(VGG, "saliency=guided")
    with jax.default_matmul_precision("highest"):
        prediction = jax.jit(mkd.predict)(cfg, pretrained, state, images)
    close(stored, "score", prediction.score)
    saliency = scaled(np.asarray(prediction.parts["saliency"]))
    close(stored, "guided", saliency)
    blurred = maps.gaussian_blur(jnp.asarray(saliency, jnp.float32), cfg.blur)
    close(stored, "map_guided", blurred)


def test_mkd_network_loss_and_gradients_in_training_equal_the_reference(reference):
    stored, pretrained, state, images = reference
    gradient = jax.value_and_grad(mkd.loss, has_aux=True)
    with jax.default_matmul_precision("highest"):
        batch = {"image": images, "features": jax.jit(mkd.embed)(VGG, pretrained, images)}
        (loss, _), grads = jax.jit(gradient)(
            state.params, VGG, pretrained, state.stats, batch, jax.random.key(0)
        )
    close_scalar(stored, "loss_train", loss)
    close_scalar(stored, "grad_norm_train", optax.tree.norm(grads))


def test_the_papers_clone_has_its_layers_and_number_of_parameters():
    stages = stages_like((128, 256, 512, 512), (4, 8, 16, 32), 16)
    widths = [stage.widths for stage in stages]
    assert widths == [(16, 16), (16, 128), (16, 16, 256), (16, 16, 512), (16, 16, 512)]
    assert [stage.matched for stage in stages] == [False, True, True, True, True]
    assert all(stage.pooled for stage in stages)
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    params = jax.eval_shape(Cloner(stages).init, jax.random.key(0), image)["params"]
    assert sum(x.size for x in jax.tree.leaves(params)) == 343_984


def test_a_clone_as_wide_as_its_teacher_has_vggs_widths():
    stages = stages_like((128, 256, 512, 512), (4, 8, 16, 32), None)
    widths = [stage.widths for stage in stages]
    assert widths == [(64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3]


def test_maps_of_one_stride_have_no_pool_between_them():
    assert stages_like((8, 12), (4, 4), 2) == (
        Stage((2, 2), True, False), Stage((2, 8), True, True), Stage((2, 12), False, True)
    )  # fmt: skip
    with pytest.raises(ValueError, match="finest first"):
        stages_like((8, 12), (8, 4), 2)


@pytest.mark.parametrize(
    "signed", [pytest.param((True, False, False), marks=pytest.mark.slow), (False, True, True)]
)
def test_a_signed_stage_gives_negative_values_and_leaves_the_rest_as_it_was(signed, key):
    """Stages after it go on from the rectified map, and so do the statistics of their norms."""
    shape = (6, 8, 10), (4, 8, 8), 4
    plain, other = Cloner(stages_like(*shape)), Cloner(stages_like(*shape, signed))
    assert [stage.signed for stage in other.stages] == [False, *signed]
    images = jax.random.normal(key, (2, 32, 32, 3))
    variables = jax.jit(plain.init)(key, images)
    for train in (False, True):
        maps, moved = plain.apply(variables, images, train, mutable=["batch_stats"])
        found, moved_too = other.apply(variables, images, train, mutable=["batch_stats"])
        jax.tree.map(np.testing.assert_array_equal, moved, moved_too)
        for x, rectified, sign in zip(found, maps, signed, strict=True):
            np.testing.assert_array_equal(np.maximum(x, 0), rectified)
            assert (x.min() < 0) == sign


def test_the_clone_has_negative_values_where_its_teacher_may_have_them(pretrained, images):
    cfg = override(TINY, "layers=pool1,pool2,conv4")
    state = new_state(cfg, pretrained)
    teacher = jax.jit(mkd.embed)(cfg, pretrained, images)
    cloned = jax.jit(mkd.cloned, static_argnums=5)
    student, _ = cloned(cfg, state.params, state.stats, teacher, images, False)
    for maps_of_one in (teacher, student):
        assert [bool(x.min() < 0) for x in maps_of_one] == [False, False, True]


def test_guided_gradients_are_positive_where_the_rectifier_is_on():
    x, upstream = jnp.array([-1.0, 2.0, 3.0, 0.0]), jnp.array([5.0, 5.0, -5.0, 5.0])
    value, pullback = jax.vjp(guided_relu, x)
    np.testing.assert_array_equal(value, [0, 2, 3, 0])
    np.testing.assert_array_equal(pullback(upstream)[0], [0, 5, 0, 0])


@pytest.fixture(scope="module")
def images():
    return jax.random.uniform(jax.random.key(8), (3, 32, 32, 3))


def new_state(cfg, pretrained):
    images = np.zeros((1, cfg.size, cfg.size, 3), np.uint8)
    return begun(mkd.DETECTOR, cfg, pretrained, images, jax.random.key(0))


def test_steps_move_every_parameter_and_reduce_the_loss(pretrained, images, key):
    start = state = new_state(TINY, pretrained)
    batch = {"image": images, "features": jax.jit(mkd.embed)(TINY, pretrained, images)}
    step, losses = compile.jit(mkd.train_step), []
    for _ in range(25):
        state, metrics = step(TINY, pretrained, state, batch, key)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.7 * losses[0]
    moved = ((start.params, state.params), (start.stats.batch_stats, state.stats.batch_stats))
    for old, new in moved:
        assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a != b).any()), old, new)))


def test_the_gradient_is_the_scores_slope(pretrained, images):
    state = new_state(TINY, pretrained)
    score, gradient = compile.jit(mkd.score_and_gradient)(TINY, pretrained, state, images)
    direction = 1e-3 * jnp.sign(gradient)
    ahead, behind = (
        compile.jit(mkd.score)(TINY, pretrained, state, images + s * direction) for s in (1, -1)
    )
    slope = (gradient * direction).sum((1, 2, 3))
    np.testing.assert_allclose((ahead - behind) / 2, slope, rtol=0.05)
    assert score.shape == (3,)


@pytest.mark.slow
def test_smooth_gradients_of_little_noise_are_plain_ones(pretrained, images, monkeypatch):
    state = new_state(TINY, pretrained)
    cfg = override(TINY, ["saliency=smooth", "copies=3", "noise=1e-6"])
    plain, smooth = (compile.jit(mkd.predict)(c, pretrained, state, images) for c in (TINY, cfg))
    np.testing.assert_array_equal(plain.score, smooth.score)
    np.testing.assert_allclose(smooth.map, plain.map, rtol=1e-2, atol=1e-4 * plain.map.max())
    monkeypatch.setattr(mkd, "AT_ONCE", 6)  # two copies of three images: two parts
    parts = jax.jit(mkd.predict)(cfg, pretrained, state, images)
    np.testing.assert_allclose(parts.map, smooth.map, rtol=1e-4, atol=1e-5 * plain.map.max())
    noisy = compile.jit(mkd.predict)(override(cfg, "noise=0.3"), pretrained, state, images)
    assert np.abs(noisy.map - plain.map).max() > 0.05 * plain.map.max()


def test_values_are_in_units_of_the_teachers_root_mean_square(pretrained, images, key):
    pixels = np.asarray(np.round(images * 255), np.uint8)
    state = begun(mkd.DETECTOR, TINY, pretrained, pixels, key)
    teacher = jax.jit(mkd.embed)(TINY, pretrained, compile.unit(jnp.asarray(pixels)))
    for x, scaled in zip(teacher, mkd.target(state.stats, teacher), strict=True):
        np.testing.assert_allclose(scaled, x / np.sqrt(np.square(x).mean()), rtol=1e-4)
    silent = jax.tree.map(jnp.zeros_like, state.params)
    batch = {"image": images, "features": teacher}
    _, (_, terms) = jax.jit(mkd.loss)(silent, TINY, pretrained, state.stats, batch, key)
    np.testing.assert_allclose(terms["value"], len(teacher), rtol=1e-4)


def test_a_dead_teacher_gives_no_nan(pretrained, images, key):
    dead = jax.tree.map(jnp.zeros_like, pretrained)
    state = new_state(TINY, dead)
    batch = {"image": images, "features": mkd.embed(TINY, dead, images)}
    state, metrics = compile.jit(mkd.train_step)(TINY, dead, state, batch, key)
    prediction = compile.jit(mkd.predict)(TINY, dead, state, images)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((state, metrics, prediction)))


def test_the_clone_of_a_squeezenet_has_its_unpadded_maps_shapes():
    cfg = mkd.Config(size=64, extractor="squeezenet", weights=("squeeze",))
    image = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
    variables = jax.eval_shape(SqueezeNet().init, jax.random.key(0), image)
    teacher = jax.eval_shape(lambda v, x: mkd.embed(cfg, v, x), {"squeeze": variables}, image)
    assert [x.shape[1:] for x in teacher] == [(29, 29, 96), (14, 14, 256), (7, 7, 512), (3, 3, 512)]

    def maps_of(key, variables, image):
        state = mkd.init(cfg, {"squeeze": variables}, key)
        teacher = mkd.embed(cfg, {"squeeze": variables}, image)
        return mkd.cloned(cfg, state.params, state.stats, teacher, image, True)[0]

    student = jax.eval_shape(maps_of, jax.random.key(0), variables, image)
    assert [x.shape for x in student] == [x.shape for x in teacher]


def test_the_clone_of_the_default_teacher_has_signed_maps_of_its_shapes():
    cfg = mkd.Config(size=64)
    image = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
    network = extractors.extractor(cfg.extractor).network({})
    variables = {cfg.weights[0]: jax.eval_shape(network.init, jax.random.key(0), image)}
    teacher = jax.eval_shape(lambda v, x: mkd.embed(cfg, v, x), variables, image)
    clone = mkd._clone(cfg, [x.shape[-1] for x in teacher])
    assert all(stage.signed == stage.matched for stage in clone.stages)
    student, _ = jax.eval_shape(clone.init_with_output, jax.random.key(0), image)
    assert [x.shape for x in student] == [x.shape for x in teacher]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("size=12", "size=12: expected 16 or more"),
        ("size=130", "multiple of 4"),
        ("steps=-1", "steps=-1"),
        ("batch_size=0", "batch_size=0"),
        ("unscored=3", "unscored=3: expected 0 to 2"),
        ("layers=conv3,pool1", "finest first"),
        ("layers=layer1", "no map 'layer1'"),
        ("narrow=0", "narrow=0"),
        ("weights=a,b", "expected 1 value"),
        ("saliency=lrp", "expected one of gradient, smooth, guided"),
        ("blur=0", "blur=0"),
    ],
)
def test_settings_that_cannot_work_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        check_settings(mkd.DETECTOR, override(PDN_SMALL, setting))


def test_the_defaults_and_the_papers_teacher_are_sound():
    check_settings(mkd.DETECTOR, mkd.Config())
    check_settings(mkd.DETECTOR, mkd.Config(extractor="vgg16", weights=("vgg16",)))


def test_weights_of_another_network_are_refused(pretrained):
    with pytest.raises(ValueError, match="vgg16 cannot use the weights"):
        new_state(override(TINY, "extractor=vgg16"), pretrained)
