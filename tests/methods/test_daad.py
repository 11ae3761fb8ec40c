"""What is particular to DAAD: division, two networks in one step, two errors in one score."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad import compile
from jaxad.detector import check_settings, override
from jaxad.methods import daad
from jaxad.training.fitting import begun

TINY = daad.Config(
    size=16, batch_size=2, steps=10, widths=(4, 6), rates=(2, 4), items=(5, 7),
    discriminator_widths=(4, 6), smoothing=1.0,
)  # fmt: skip
PLAIN = override(TINY, "adversarial=false")
train_step = compile.jit(daad.train_step)
predict = compile.jit(daad.predict)
reconstruction = jax.jit(daad.reconstruction, static_argnames="train")
judgement = compile.jit(daad.judgement)


@pytest.fixture(scope="module")
def images():
    return jax.random.uniform(jax.random.key(8), (2, 16, 16, 3))


def new_state(cfg):
    return begun(daad.DETECTOR, cfg, {}, np.zeros((1, 16, 16, 3), np.uint8), jax.random.key(0))


def step(cfg, state, images):
    return train_step(cfg, {}, state, {"image": images}, jax.random.key(0))


def same(one, other):
    return jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), one, other))


def test_the_defaults_are_sound():
    check_settings(daad.DETECTOR, daad.Config())
    check_settings(daad.DETECTOR, daad.Config(adversarial=False))


def test_the_default_networks_fit_together():
    cfg = daad.Config()
    batch = jax.ShapeDtypeStruct((2, 256, 256, 3), jnp.float32)
    state = jax.eval_shape(daad.init, cfg, {}, jax.random.key(0))
    assert state.params["generator"]["memory1"]["items"].shape == (500, 32 * 32 * 64)
    after, _ = jax.eval_shape(daad.train_step, cfg, {}, state, {"image": batch}, jax.random.key(0))
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert jax.eval_shape(daad.predict, cfg, {}, after, batch).map.shape == (2, 256, 256)


def test_without_the_adversary_there_is_no_discriminator(images):
    state = new_state(PLAIN)
    assert set(state.params) == set(state.opt) == {"generator"}
    assert state.stats.discriminator == {}
    after, metrics = step(PLAIN, state, images)
    assert not {"discriminator", "accuracy", "adversarial", "alignment"} & set(metrics)
    np.testing.assert_allclose(metrics["loss"], 50 * metrics["reconstruction"], rtol=1e-6)
    assert jax.tree.structure(after) == jax.tree.structure(state)


def test_each_level_has_a_memory_of_its_own_division(images):
    params = new_state(TINY).params["generator"]
    assert params["memory1"]["items"].shape == (5, 4 * 4 * 4)  # 8 x 8 cells in 2 x 2 blocks
    assert params["memory2"]["items"].shape == (7, 6)  # 4 x 4 cells, each a block
    _, weights, _ = reconstruction(TINY, params, new_state(TINY).stats.generator, images)
    assert {name: w.shape for name, w in weights.items()} == {
        "memory1": (2, 4, 5), "memory2": (2, 16, 7)
    }  # fmt: skip


def test_with_one_item_at_each_level_every_image_has_the_same_reconstruction(images):
    cfg = override(PLAIN, "items=1,1")
    state = new_state(cfg)
    restored = predict(cfg, {}, state, images).parts["reconstruction"]
    np.testing.assert_allclose(restored[0], restored[1], atol=1e-6)


def test_a_rate_of_0_leaves_the_skip_out():
    cfg = override(PLAIN, "rates=0,4")
    check_settings(daad.DETECTOR, cfg)
    assert set(new_state(cfg).params["generator"]) == {"encoder", "memory2", "decoder"}


def test_the_loss_is_the_weighted_sum_of_its_three_terms(images):
    weights = {"reconstruction": 3.0, "adversarial": 0.7, "alignment": 0.2}
    cfg = dataclasses.replace(TINY, **{f"{name}_weight": w for name, w in weights.items()})
    _, metrics = step(cfg, new_state(cfg), images)
    expected = sum(weight * metrics[name] for name, weight in weights.items())
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-5)


def test_terms_are_those_of_their_formulas(images):
    state = new_state(TINY)
    generator, stats = state.params["generator"], state.stats
    restored, _, _ = reconstruction(TINY, generator, stats.generator, images, train=True)
    (f, g), (real, made), _ = judgement(
        TINY, state.params["discriminator"], stats.discriminator, images, restored
    )
    _, metrics = step(TINY, state, images)
    real, made = np.float64(real), np.float64(made)
    sigmoid = lambda x: 1 / (1 + np.exp(-x))
    expected = {
        "reconstruction": 4 * np.mean(np.square(np.asarray(images) - np.asarray(restored))),
        "adversarial": -np.log(sigmoid(made)).mean(),
        "alignment": np.mean(np.square(np.asarray(f) - np.asarray(g))),
        "discriminator": -np.log(sigmoid(real)).mean() - np.log(1 - sigmoid(made)).mean(),
        "accuracy": ((real > 0).mean() + (made < 0).mean()) / 2,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=2e-4, err_msg=name)


def test_the_discriminator_learns_from_the_reconstruction_before_the_generators_step(images):
    state = new_state(TINY)
    after, _ = step(TINY, state, images)
    restored, _, _ = reconstruction(
        TINY, state.params["generator"], state.stats.generator, images, train=True
    )
    gradient = jax.jit(jax.value_and_grad(daad.discriminator_loss, has_aux=True))
    (_, (moments, _)), grads = gradient(
        state.params["discriminator"], TINY, state.stats, images, restored
    )
    updates, _ = daad.optimizer(TINY).update(grads, state.opt["discriminator"])
    expected = jax.tree.map(jnp.add, state.params["discriminator"], updates)
    close = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5)
    jax.tree.map(close, after.params["discriminator"], expected)
    jax.tree.map(close, after.stats.discriminator, moments)


def test_a_step_moves_both_networks_both_optimisers_and_both_moments(images):
    state = new_state(TINY)
    after, _ = step(TINY, state, images)
    assert not any(same(state.stats.generator, after.stats.generator))
    assert not any(same(state.stats.discriminator, after.stats.discriminator))
    for name in ("generator", "discriminator"):
        assert not all(same(state.params[name], after.params[name]))
        assert not all(same(state.opt[name], after.opt[name]))
    np.testing.assert_array_equal(state.stats.range, after.stats.range)


def test_without_the_discriminators_losses_the_generator_learns_as_without_it(images):
    cfg = override(TINY, ["adversarial_weight=0", "alignment_weight=0"])
    state = new_state(cfg)
    plain = new_state(PLAIN)
    plain = plain._replace(
        params={"generator": state.params["generator"]}, opt={"generator": state.opt["generator"]}
    )
    one, _ = step(cfg, state, images)
    other, _ = step(PLAIN, plain, images)
    close = lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5)
    jax.tree.map(close, one.params["generator"], other.params["generator"])


def test_the_score_is_r_plus_lambda_l_each_a_share_of_its_heldout_range(images):
    state = new_state(TINY)
    heldout = np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3), np.uint8)
    raw = predict(TINY, {}, state, jnp.float32(heldout) / 255).parts  # range 0 to 1
    calibrated = daad.calibrate(TINY, {}, state, heldout)
    r, l = np.asarray(raw["R"]), np.asarray(raw["L"])
    np.testing.assert_allclose(calibrated.stats.range[0], [r.min(), l.min()], rtol=1e-4)
    np.testing.assert_allclose(calibrated.stats.range[1], [r.max(), l.max()], rtol=1e-4)
    before = predict(TINY, {}, state, images)
    after = predict(override(TINY, "lam=0.3"), {}, calibrated, images)
    scaled = [
        (np.asarray(before.parts[name]) - x.min()) / (x.max() - x.min())
        for name, x in (("R", r), ("L", l))
    ]
    np.testing.assert_allclose(after.score, scaled[0] + 0.3 * scaled[1], rtol=1e-3)
    np.testing.assert_array_equal(after.map, before.map)


def test_without_the_adversary_the_score_is_r_alone(images):
    state = new_state(PLAIN)
    prediction = predict(PLAIN, {}, state, images)
    error = np.square(2 * (np.asarray(images) - np.asarray(prediction.parts["reconstruction"])))
    np.testing.assert_allclose(prediction.score, error.mean((1, 2, 3)), rtol=1e-4)
    assert set(prediction.parts) == {"reconstruction", "R"}


def test_equal_heldout_images_leave_scores_finite(images):
    state = daad.calibrate(TINY, {}, new_state(TINY), np.zeros((3, 16, 16, 3), np.uint8))
    assert np.isfinite(predict(TINY, {}, state, images).score).all()


@pytest.mark.parametrize(
    "settings",
    [
        ["similarity=scaled_dot", "temperature=1"],
        ["key_channels=3"],
        ["shrinkage=0.1"],
        ["discriminator_widths=4"],
        ["adversarial=false", "score=max"],
    ],
)
def test_each_part_can_be_switched(settings, images):
    cfg = override(TINY, settings)
    check_settings(daad.DETECTOR, cfg)
    state, metrics = step(cfg, new_state(cfg), images)
    assert np.isfinite(metrics["loss"])
    assert np.isfinite(predict(cfg, {}, state, images).score).all()


def test_adversarial_training_reduces_the_reconstruction_error_and_stays_finite(images):
    cfg, errors = override(TINY, ["lr=0.005", "items=20,20"]), []
    state = new_state(cfg)
    for _ in range(60):
        state, metrics = step(cfg, state, images)
        assert all(np.isfinite(value) for value in metrics.values())
        errors.append(float(metrics["reconstruction"]))
    assert errors[-1] < 0.8 * errors[0]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("rates=4,8,8,0", "expected 5, one for each width"),
        ("items=500", "expected 5, one for each width"),
        ("rates=5,8,8,0,8", "5 blocks do not divide the 128 cells of level 1.* or 0 for no skip"),
        ("rates=4,8,8,0,0", r"level 5; expected one of 1, 2, 4, 8$"),
        ("rates=4,8,8,0,16", "16 blocks do not divide the 8 cells of level 5"),
        ("items=500,0,500,0,500", "expected 1 or more at level 2"),
        ("shrinkage=0.002", "less than 0.002, the weight with which the 500 items of level 1"),
        ("size=16", "size=16 cannot be halved 5 times"),
        ("size=224", "rates"),
        ("discriminator_widths=", "expected 1 or more values"),
        ("discriminator_widths=8,8,8,8,8,8,8,8,8", "fewer discriminator_widths"),
        ("key_channels=0", "key_channels=0"),
        ("temperature=0", "temperature=0"),
        ("lam=-1", "lam=-1"),
        ("alignment_weight=-1", "alignment_weight=-1"),
    ],
)
def test_settings_that_cannot_work_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        check_settings(daad.DETECTOR, override(daad.Config(), setting))
