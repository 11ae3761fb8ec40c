"""What is particular to DiffusionAD."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxad import compile
from jaxad.detector import check_settings, override
from jaxad.methods import diffusionad
from jaxad.training.fitting import begun

compiles = pytest.mark.slow  # both U-Nets do

SMALL = {
    "size": 32, "batch_size": 2, "steps": 4, "width": 8, "multipliers": (1, 2), "blocks": 1,
    "attention": (), "heads": 2, "groups": 4, "segmentation_width": 2, "top": 10, "tries": 4,
}  # fmt: skip
CFG = diffusionad.Config(**SMALL)
IMAGES = np.zeros((2, 32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def batch():
    image, aux = jax.random.uniform(jax.random.key(3), (2, 2, 32, 32, 3))
    return {"image": image, "aux": aux, "features": (), "index": jnp.arange(2)}


@pytest.fixture(scope="module")
def state():
    return begun(diffusionad.DETECTOR, CFG, {}, IMAGES, jax.random.key(0))


def gradients(cfg, state, batch, key):
    gradient = jax.value_and_grad(diffusionad.loss, has_aux=True)
    return jax.jit(gradient)(state.params, cfg, {}, state.stats, batch, key)


@compiles
@pytest.mark.parametrize("anomalous", [0.0, 1.0])
def test_batches_all_normal_or_all_damaged_have_finite_losses_and_gradients(
    anomalous, state, batch, key
):
    cfg = dataclasses.replace(CFG, anomalous=anomalous)
    (loss, (_, terms)), grads = gradients(cfg, state, batch, key)
    assert np.isfinite(loss)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(grads))
    assert (terms["noise"] == 0) == (anomalous == 1)


@compiles
@pytest.mark.parametrize("restoration", ["one_step", "iterative", "autoencoder"])
def test_every_restoration_trains_and_predicts(restoration, batch, key):
    cfg = dataclasses.replace(CFG, restoration=restoration, iterations=2, foreground="part")
    state = begun(diffusionad.DETECTOR, cfg, {}, IMAGES, key)
    after, metrics = jax.jit(diffusionad.train_step)(cfg, {}, state, batch, key)
    assert np.isfinite(metrics["loss"])
    assert any(
        bool((a != b).any())
        for a, b in zip(
            jax.tree.leaves(after.params["unet"]),
            jax.tree.leaves(state.params["unet"]),
            strict=True,
        )
    )
    prediction = jax.jit(diffusionad.predict)(cfg, {}, after, batch["image"])
    assert np.isfinite(prediction.map).all()
    assert prediction.parts["reconstruction"].shape == batch["image"].shape


@compiles
def test_scores_repeat_and_every_image_gets_the_same_noise(state, batch):
    predict = jax.jit(diffusionad.predict)
    twice = jnp.broadcast_to(batch["image"][:1], (2, 32, 32, 3))
    one, other = predict(CFG, {}, state, twice), predict(CFG, {}, state, twice)
    np.testing.assert_array_equal(one.score, other.score)
    np.testing.assert_allclose(one.map[0], one.map[1], atol=1e-6)
    np.testing.assert_allclose(one.parts["noised"][0], one.parts["noised"][1], atol=1e-6)
    reseeded = predict(dataclasses.replace(CFG, noise_seed=1), {}, state, twice)
    assert (reseeded.parts["noised"] != one.parts["noised"]).any()


def test_the_score_is_the_mean_of_the_highest_pixels(key):
    map_ = jax.random.uniform(key, (3, 16, 16))
    expected = np.sort(np.asarray(map_).reshape(3, -1))[:, -7:].mean(1)
    np.testing.assert_allclose(diffusionad.score(map_, 7), expected, rtol=1e-6)


def test_the_segmentation_rate_swings_between_its_value_and_zero():
    cfg = dataclasses.replace(CFG, segmentation_lr=1e-3)
    params = {"unet": jnp.zeros(1), "segmentation": jnp.zeros(1)}
    rule = diffusionad.optimizer(cfg)
    state, moves = rule.init(params), []
    for _ in range(31):
        updates, state = rule.update(jax.tree.map(jnp.ones_like, params), state, params)
        moves.append([-float(updates[name][0]) for name in ("unet", "segmentation")])
    unet, segmentation = np.array(moves).T
    np.testing.assert_allclose(unet, cfg.lr, rtol=1e-3)
    expected = 1e-3 * (1 + np.cos(np.pi * np.arange(31) / 10)) / 2
    np.testing.assert_allclose(segmentation, expected, rtol=1e-3, atol=1e-9)
    constant = diffusionad.optimizer(dataclasses.replace(cfg, segmentation_schedule="constant"))
    updates, _ = constant.update(params, constant.init(params), params)
    assert set(updates) == {"unet", "segmentation"}


def test_training_timesteps_are_below_and_from_the_boundary_on(key):
    cfg = dataclasses.replace(CFG, t_boundary=200.0, t_end=500.0)
    draws = diffusionad.training_draws(cfg, (4000, 1, 1, 3), key)
    assert (draws.t_small.min(), draws.t_small.max()) == (0, 199)
    assert (draws.t_large.min(), draws.t_large.max()) == (200, 499)
    assert abs(draws.noise_small.mean()) < 0.05
    assert (draws.noise_small != draws.noise_large).all()


def test_damage_stays_in_the_masks_of_the_stream(batch, key):
    cfg = dataclasses.replace(CFG, foreground="masks", anomalous=1.0)
    foreground = jnp.zeros((2, 32, 32, 3)).at[:, :, 16:].set(1.0)
    damaged = jax.jit(diffusionad.synthetic)(cfg, {**batch, "foreground": foreground}, key)
    assert (damaged.image[:, :, :16] == batch["image"][:, :, :16]).all()
    (aux, masks) = diffusionad.streams(cfg)
    assert masks.paired
    assert not aux.paired


@compiles
def test_the_average_follows_the_parameters(batch, key):
    cfg = dataclasses.replace(CFG, average=True, decay=0.9)
    state = begun(diffusionad.DETECTOR, cfg, {}, IMAGES, key)
    after, _ = compile.train_step(diffusionad.DETECTOR)(
        cfg, {}, jax.tree.map(jnp.copy, state), batch, key
    )
    # The first decay is (1 + 0) / (10 + 0).
    both = lambda state: (state.params, state.stats.batch_stats)
    mixed = jax.tree.map(lambda old, new: 0.1 * old + 0.9 * new, both(state), both(after))
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7)
    jax.tree.map(close, mixed, after.stats.average)
    zeros = lambda tree: jax.tree.map(jnp.zeros_like, tree)
    stats = after.stats._replace(batch_stats=zeros(after.stats.batch_stats))
    swapped = after._replace(params=zeros(after.params), stats=stats)
    images = np.uint8(255 * np.asarray(batch["image"]))
    predict = compile.predict(diffusionad.DETECTOR)
    np.testing.assert_array_equal(
        predict(cfg, {}, swapped, images).map, predict(cfg, {}, after, images).map
    )


@compiles
def test_half_precision_and_computing_again_change_little(state, batch, key):
    state = state._replace(params=jax.tree.map(lambda x: x + 0.02, state.params))
    (loss, _), _ = gradients(CFG, state, batch, key)
    cfg = dataclasses.replace(CFG, precision="bfloat16", remat=True)
    (rough, _), grads = gradients(cfg, state, batch, key)
    np.testing.assert_allclose(rough, loss, rtol=0.03)
    assert {leaf.dtype for leaf in jax.tree.leaves(grads)} == {jnp.dtype("float32")}
    assert np.isfinite(optax.tree.norm(grads))


def test_a_prediction_calls_the_unet_on_two_images_and_the_segmentation_on_one(batch, key):
    image = batch["image"][:1]
    cfg = dataclasses.replace(CFG, segmentation_width=8)  # 3 and 6 channels enter first layers only
    state = jax.eval_shape(functools.partial(diffusionad.init, cfg, {}), key)
    predict = functools.partial(diffusionad.predict, cfg, {})
    text = jax.jit(predict).lower(state, image).as_text()
    convolution = r"stablehlo\.convolution.*: \(tensor<(\d+)x\d+x\d+x(\d+)xf32>, tensor<3x3x"
    calls = [(int(count), int(channels)) for count, channels in re.findall(convolution, text)]
    first = [call for call in calls if call[1] in (3, 6)]
    # The U-Net's first layer, once on both noisy versions; the segmentation network's, once.
    assert sorted(first) == [(1, 6), (2, 3)]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("size=48", "multiple of 32"),
        ("t_boundary=1000", "t_end"),
        ("t_end=2000", "timesteps"),
        ("t_large=1000", "t_large"),
        ("guidance=nan", "guidance"),
        ("groups=3", "groups"),
        ("opacity_low=0.9", "opacity"),
        ("top=100000", "top"),
        ("weights=pdn_small", "weights"),
        ("t_small=600", "above"),
        ("restoration=iterative t_small=5", "iterations"),
        ("attention=7", "attention=7: no level has that side; there are 32, 16 at size=32"),
        ("timesteps=20 t_boundary=3 t_end=10 t_small=2 t_large=4", "21 or more"),
    ],
)
def test_settings_that_cannot_work_are_told(setting, message):
    with pytest.raises(ValueError, match=message):
        check_settings(diffusionad.DETECTOR, override(CFG, setting.split()))
