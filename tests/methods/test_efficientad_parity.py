"""EfficientAD against the numbers that a PyTorch implementation returns for the same weights."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from weights import images, nchw, nhwc, parameters

from jaxad import compile, optim
from jaxad.methods import efficientad
from jaxad.nets import convert
from jaxad.nets.autoencoder import Autoencoder
from jaxad.nets.pdn import PDN
from jaxad.ops import colour, quantile


def pdn_tree(weights):
    names = {name.partition(".")[0] for name in weights}
    return {name: convert.conv(weights, name) for name in sorted(names)}


def image(golden, name):
    return jnp.asarray(nhwc(images(golden.info["images"][name])))


def trained(golden):
    """Settings, pretrained and parameters of a golden with teacher, student and autoencoder."""
    networks = {name: parameters(about) for name, about in golden.info["networks"].items()}
    channels = len(networks["teacher"]["conv4.bias"])
    cfg = efficientad.Config(weights=("teacher",), channels=channels)
    pretrained = {"teacher": {"params": pdn_tree(networks["teacher"])}}
    params = {
        "student": pdn_tree(networks["student"]),
        "autoencoder": convert.autoencoder(networks["autoencoder"])["params"],
    }
    return cfg, pretrained, params


def moments(golden, cfg, pretrained):
    mean, std = compile.moments(efficientad.embed, (cfg, pretrained), image(golden, "normal"))
    span = jnp.array([[0.0, 0.1], [0.0, 0.1]])
    return efficientad.Stats(mean, std, span)


@pytest.fixture(scope="module")
def prepared(golden):
    """name -> (stored, cfg, pretrained, params, stats) of a golden."""

    @functools.cache
    def get(name):
        stored = golden(name)
        cfg, pretrained, params = trained(stored)
        return stored, cfg, pretrained, params, moments(stored, cfg, pretrained)

    return get


def close_scalar(golden, name, value):
    assert golden.scalar_error(name, value) < golden.scalar_tolerance(name), name


def close(golden, name, value):
    assert golden.error(name, np.asarray(value)) < golden.tolerance(name), name


# Rounding may move an element of the hard set across its threshold, which changes what follows.
FIRST, LATER = 10, 2e-3


def close_curve(golden, name, curve):
    """The first ten steps as close as rounding allows, the later ones to 2e-3."""
    about, expected = golden.info["outputs"][name], golden.arrays[name][: len(curve)]
    errors = np.abs(curve - expected) / about["rms"]
    assert (errors[:FIRST] < golden.tolerance(name)).all(), errors
    assert (errors[FIRST:] < max(golden.tolerance(name), LATER)).all(), errors


@pytest.mark.parametrize("padding", ["padded", "unpadded"])
@pytest.mark.parametrize("network", ["small_teacher", "small_student"])
def test_pdn_small_equals_the_reference(golden, network, padding):
    compare_pdn(golden("pdn"), network, padding)


@pytest.mark.slow
@pytest.mark.parametrize("padding", ["padded", "unpadded"])
@pytest.mark.parametrize("network", ["medium_teacher", "medium_student"])
def test_pdn_medium_equals_the_reference(golden, network, padding):
    compare_pdn(golden("pdn"), network, padding)


def compare_pdn(stored, network, padding):
    weights = parameters(stored.info["networks"][network])
    channels = stored.info["outputs"][f"{network}.{padding}"]["shape"][1]
    module = PDN("medium" in network, channels, padding=padding == "padded")
    features = module.apply({"params": pdn_tree(weights)}, image(stored, "image"))
    close(stored, f"{network}.{padding}", nchw(features))


@pytest.mark.parametrize(("output", "picture"), [("unpadded", "image"), ("padded", "image")])
def test_autoencoder_equals_the_reference(golden, output, picture):
    stored = golden("autoencoder")
    compare_autoencoder(stored, output, picture)


def test_autoencoder_equals_the_reference_on_oblong_images(golden):
    stored = golden("autoencoder")
    names = [name for name in stored.info["outputs"] if name.startswith("rect")]
    assert names
    for name in names:
        compare_autoencoder(stored, name, "rect")


def compare_autoencoder(stored, output, picture):
    weights = convert.autoencoder(parameters(stored.info["networks"]["autoencoder"]))
    cells = tuple(stored.info["outputs"][output]["shape"][2:])
    channels = stored.info["outputs"][output]["shape"][1]
    features = jax.jit(Autoencoder(channels, cells).apply)(weights, image(stored, picture))
    close(stored, output, nchw(features))


def test_efficientad_loss_teacher_moments_equal_the_reference(prepared):
    stored, *_, stats = prepared("efficientad_loss")
    close(stored, "teacher_mean", nchw(stats.mean))
    close(stored, "teacher_std", nchw(stats.std))


def test_efficientad_loss_terms_and_gradients_equal_the_reference(prepared):
    stored, cfg, pretrained, params, stats = prepared("efficientad_loss")
    cfg = dataclasses.replace(cfg, p_hard=stored.info["settings"]["hard quantile"])
    terms, grads = compile.jit(terms_and_gradients)(
        params, cfg, pretrained, stats, *(image(stored, n) for n in ("image", "aug", "penalty"))
    )
    close_scalar(stored, "loss_hard", terms["hard"])
    close_scalar(stored, "loss_penalty", terms["penalty"])
    close_scalar(stored, "loss_st", terms["hard"] + terms["penalty"])
    close_scalar(stored, "loss_ae", terms["ae"])
    close_scalar(stored, "loss_stae", terms["stae"])
    close_scalar(stored, "total", sum(terms.values()))

    flat = {
        f"grad_norm/{path[0].key}/{torch_name(path)}": jnp.linalg.norm(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(grads)
    }
    wanted = {name for name in stored.info["scalars"] if name.startswith("grad_norm")}
    assert set(flat) == wanted
    for name, value in flat.items():
        close_scalar(stored, name, value)


def test_efficientad_loss_mines_the_same_elements(prepared):
    stored, cfg, pretrained, params, stats = prepared("efficientad_loss")
    picture = image(stored, "image")
    teacher = efficientad.normalised(stats, efficientad.embed(cfg, pretrained, picture))
    distance = jnp.square(teacher - efficientad.student(cfg, params, picture, "local"))
    threshold = quantile.quantile(distance, stored.info["settings"]["hard quantile"])
    close_scalar(stored, "hard_threshold", threshold)
    assert int((distance >= threshold).sum()) == stored.info["scalars"]["hard_count"]["value"]


@pytest.mark.parametrize("kind", ["brightness", "contrast", "saturation"])
def test_efficientad_loss_jitter_equals_torchvision(golden, kind):
    stored = golden("efficientad_loss")
    names = [name for name in stored.info["outputs"] if name.startswith(f"jitter_{kind}_")]
    assert names
    for name in names:
        factor = jnp.array([float(name.rpartition("_")[2])])
        changed = getattr(colour, f"adjust_{kind}")(image(stored, "jitter"), factor)
        close(stored, name, nchw(changed))


def terms_and_gradients(params, cfg, pretrained, stats, picture, jittered, penalty):
    features = efficientad.embed(cfg, pretrained, picture)

    def total(params):
        terms = efficientad.losses(
            params, cfg, pretrained, stats, picture, features, jittered, penalty
        )
        return sum(terms.values()), terms

    (_, terms), grads = jax.value_and_grad(total, has_aux=True)(params)
    return terms, grads


def torch_name(path):
    layer = path[1].key
    prefix = {"e": "encoder.", "d": "decoder."}.get(layer[0], "")
    return f"{prefix}{layer}." + {"kernel": "weight", "bias": "bias"}[path[-1].key]


@pytest.mark.parametrize(
    ("order", "border", "suffix"),
    [
        ("normalise_first", 4, ""),
        ("resize_first", 4, ""),
        pytest.param("resize_first", 0, "_no_border", marks=pytest.mark.slow),
    ],
)
def test_efficientad_map_equals_the_reference(prepared, order, border, suffix):
    stored, cfg, pretrained, params, stats = prepared("efficientad_map")
    q_a, q_b = stored.info["settings"]["quantiles"]
    cfg = dataclasses.replace(cfg, map_order=order, border=border, q_a=q_a, q_b=q_b)
    close(stored, "teacher_mean", nchw(stats.mean))
    state = efficientad.State(jnp.int32(0), params, stats, ())
    state = efficientad.calibrate(cfg, pretrained, state, image(stored, "validation"))
    for row, which in enumerate(("st", "ae")):
        for column, level in enumerate(("qa", "qb")):
            name = f"{order}_{level}_{which}{suffix}"
            close_scalar(stored, name, state.stats.range[row, column])
    prediction = compile.jit(efficientad.predict)(cfg, pretrained, state, image(stored, "image"))
    close(stored, f"{order}_map{suffix}", prediction.map[:, None])
    close_scalar(stored, f"{order}_score{suffix}", prediction.score[0])


def test_efficientad_map_in_both_orders_agrees_with_the_same_quantiles(prepared):
    stored, cfg, pretrained, params, stats = prepared("efficientad_map")
    scalars = stored.info["scalars"]
    span = jnp.array(
        [
            [scalars[f"resize_first_{level}_{which}"]["value"] for level in ("qa", "qb")]
            for which in ("st", "ae")
        ]
    )
    stats = stats._replace(range=span)
    state = efficientad.State(jnp.int32(0), params, stats, ())
    prediction = compile.jit(efficientad.predict)(cfg, pretrained, state, image(stored, "image"))
    close(stored, "normalise_first_map_same_q", prediction.map[:, None])


def test_efficientad_map_raw_distances_equal_the_reference(prepared):
    stored, cfg, pretrained, params, stats = prepared("efficientad_map")
    local, global_ = compile.jit(efficientad.distances)(
        cfg, pretrained, params, stats, image(stored, "image")
    )
    close(stored, "raw_st", local[:, None])
    close(stored, "raw_ae", global_[:, None])


@pytest.mark.parametrize("setting", ["paper", pytest.param("loud", marks=pytest.mark.slow)])
def test_adam_small_twenty_steps_follow_the_reference(golden, setting):
    stored = golden("adam_small")
    settings = stored.info["settings"][setting]
    weights = {n: pdn_tree(parameters(a)) for n, a in stored.info["networks"].items()}
    cfg = efficientad.Config(channels=len(weights["teacher"]["conv4"]["conv"]["bias"]))
    picture, penalty = image(stored, "image"), image(stored, "penalty")
    teacher = PDN(channels=cfg.channels).apply({"params": weights["teacher"]}, picture)

    def loss(params):
        both = efficientad.student(
            cfg, {"student": params}, jnp.concatenate([picture, penalty]), "local"
        )
        hard = quantile.mined_mean(jnp.square(teacher - both[:1]), cfg.p_hard)
        return hard + jnp.mean(jnp.square(both[1:]))

    (points,) = stored.info["outputs"][f"{setting}.curve"]["shape"]
    optimizer = optim.adam_l2(rate(settings, points - 1), settings["weight_decay"])
    curve, params = descend(loss, optimizer, weights["student"], points - 1)
    close_curve(stored, f"{setting}.curve", curve)
    for name, start in weights["student"].items():
        for ours, theirs in (("kernel", "weight"), ("bias", "bias")):
            moved = jnp.linalg.norm(params[name]["conv"][ours] - start["conv"][ours])
            scalar = f"moved/{setting}/{name}.{theirs}"
            assert stored.scalar_error(scalar, moved) < max(stored.scalar_tolerance(scalar), LATER)


def rate(settings, steps):
    """The schedule, whose drop follows the step that the settings name."""
    last = settings["lr x 0.1 after step"]
    return optim.dropped(settings["lr"], steps, at=(last + 0.5) / steps)


def descend(loss, optimizer, params, steps):
    """The losses before each step and after the last, and the moved parameters."""

    def step(params, opt):
        value, grads = jax.value_and_grad(loss)(params)
        updates, opt = optimizer.update(grads, opt, params)
        return value, optax.apply_updates(params, updates), opt

    step = compile.jit(step)
    opt, curve = optimizer.init(params), []
    for _ in range(steps + 1):
        last = params
        value, params, opt = step(params, opt)
        curve.append(value)
    return np.array(curve), last


@pytest.mark.slow
def test_adam_efficientad_ten_steps_follow_the_reference(golden):
    """Networks of the paper's size take their time; twenty, and the drop: `adam_small`."""
    stored = golden("adam_efficientad")
    cfg, pretrained, params = trained(stored)
    stats = moments(stored, cfg, pretrained)
    close(stored, "teacher_mean", nchw(stats.mean))
    close(stored, "teacher_std", nchw(stats.std))
    pictures = [image(stored, name) for name in ("image", "aug", "penalty")]
    settings = stored.info["settings"]
    (points,) = stored.info["outputs"]["curve"]["shape"]
    decay = float(settings["weight_decay"].partition(",")[0])
    optimizer = optim.adam_l2(rate(settings, points - 1), decay)

    @compile.jit
    def step(params, opt, *others):  # of a closure's constants XLA would compute the features
        terms, grads = terms_and_gradients(params, cfg, *others)
        updates, opt = optimizer.update(grads, opt, params)
        return terms, optax.apply_updates(params, updates), opt

    opt, rows = optimizer.init(params), []
    for _ in range(FIRST + 1):
        terms, params, opt = step(params, opt, pretrained, stats, *pictures)
        rows.append(terms)
    curve = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    close_curve(stored, "curve", sum(curve.values()))
    close_curve(stored, "curve_st", curve["hard"] + curve["penalty"])
    close_curve(stored, "curve_ae", curve["ae"])
    close_curve(stored, "curve_stae", curve["stae"])
