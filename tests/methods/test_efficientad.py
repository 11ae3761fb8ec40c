"""What is particular to EfficientAD, beside the stored reference."""

import dataclasses
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad import compile
from jaxad.data.pictures import image_set
from jaxad.detector import check_settings, override
from jaxad.methods import efficientad
from jaxad.training.fitting import begun


@pytest.fixture(scope="module")
def setting(tiny):
    """(cfg, pretrained, data, state) before training."""
    detector, cfg, pretrained, data, _ = tiny("efficientad")
    images = image_set(data.train, cfg.size)
    return cfg, pretrained, data, begun(detector, cfg, pretrained, images, jax.random.key(0))


def unit_images(data, cfg):
    return compile.unit(jnp.asarray(image_set(data.train, cfg.size)))


def predict(cfg, pretrained, state, images):
    return compile.jit(efficientad.predict)(cfg, pretrained, state, images)


def terms(cfg, pretrained, state, images, aux, dropout_key=None):
    return jax.jit(eager_terms)(cfg, pretrained, state, images, aux, dropout_key)


def eager_terms(cfg, pretrained, state, images, aux, dropout_key):
    features = efficientad.embed(cfg, pretrained, images)
    return efficientad.losses(
        state.params, cfg, pretrained, state.stats, images, features, images, aux, dropout_key
    )


def test_the_hard_loss_of_a_batch_is_the_mean_over_its_images(setting):
    cfg, pretrained, data, state = setting
    images = unit_images(data, cfg)
    together = terms(cfg, pretrained, state, images[:3], images[3:])
    alone = [terms(cfg, pretrained, state, images[i : i + 1], images[3:4]) for i in range(3)]
    np.testing.assert_allclose(together["hard"], np.mean([t["hard"] for t in alone]), rtol=1e-5)


def test_the_teacher_has_mean_zero_and_deviation_one_over_the_training_set(setting):
    cfg, pretrained, data, state = setting
    features = efficientad.embed(cfg, pretrained, unit_images(data, cfg))
    normal = efficientad.normalised(state.stats, features)
    np.testing.assert_allclose(normal.mean((0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(normal.std((0, 1, 2)), 1, rtol=1e-3)


def test_gradients_of_the_last_term_reach_student_and_autoencoder(setting):
    cfg, pretrained, data, state = setting
    images = unit_images(data, cfg)[:1]

    def stae(params):
        return terms(cfg, pretrained, state._replace(params=params), images, None)["stae"]

    gradient = jax.jit(jax.grad(stae))(state.params)
    for network in ("student", "autoencoder"):
        assert any((leaf != 0).any() for leaf in jax.tree.leaves(gradient[network]))


def test_dropout_is_drawn_from_the_key_alone(setting):
    cfg, pretrained, data, state = setting
    images = unit_images(data, cfg)[:1]
    key, other = jax.random.split(jax.random.key(1))
    with_dropout = terms(cfg, pretrained, state, images, None, dropout_key=key)["ae"]
    assert with_dropout == terms(cfg, pretrained, state, images, None, dropout_key=key)["ae"]
    assert with_dropout != terms(cfg, pretrained, state, images, None, dropout_key=other)["ae"]
    assert with_dropout != terms(cfg, pretrained, state, images, None)["ae"]


def test_without_penalty_there_is_no_term_no_stream_and_a_warning(setting, caplog):
    cfg, pretrained, data, _ = setting
    off = override(cfg, "penalty=false")
    assert efficientad.streams(off) == ()
    images = image_set(data.train, cfg.size)
    with caplog.at_level(logging.WARNING):
        check_settings(efficientad.DETECTOR, off)
    assert "penalty" in caplog.text
    state = begun(efficientad.DETECTOR, off, pretrained, images, jax.random.key(0))
    batch = {"image": images[:1]}
    step = compile.train_step(efficientad.DETECTOR)
    _, metrics = jax.eval_shape(step, off, pretrained, state, batch, jax.random.key(0))
    assert "penalty" not in metrics


def test_half_a_student_equals_half_of_the_whole(setting):
    cfg, _, data, state = setting
    images = unit_images(data, cfg)[:2]
    halves = [efficientad.student(cfg, state.params, images, half) for half in ("local", "global")]
    whole = efficientad.student(cfg, state.params, images, "both")
    np.testing.assert_allclose(jnp.concatenate(halves, -1), whole, rtol=1e-4, atol=1e-5)


def test_quantiles_of_the_heldout_maps_become_zero_and_a_tenth(setting):
    cfg, pretrained, data, state = setting
    heldout = image_set(data.heldout, cfg.size)
    state = efficientad.calibrate(cfg, pretrained, state, heldout)
    prediction = predict(cfg, pretrained, state, compile.unit(jnp.asarray(heldout)))
    for part in prediction.parts.values():
        np.testing.assert_allclose(np.quantile(part, cfg.q_a), 0, atol=1e-4)
        np.testing.assert_allclose(np.quantile(part, cfg.q_b), 0.1, atol=1e-3)


def test_gaussian_normalisation_gives_mean_zero_and_deviation_a_tenth(setting):
    cfg, pretrained, data, state = setting
    cfg = override(cfg, "map_norm=gaussian")
    heldout = image_set(data.heldout, cfg.size)
    state = efficientad.calibrate(cfg, pretrained, state, heldout)
    prediction = predict(cfg, pretrained, state, compile.unit(jnp.asarray(heldout)))
    for part in prediction.parts.values():
        np.testing.assert_allclose(part.mean(), 0, atol=1e-3)
        np.testing.assert_allclose(part.std(), 0.1, rtol=1e-2)


def test_no_normalisation_gives_the_mean_of_the_raw_maps(setting):
    cfg, pretrained, data, state = setting
    images = unit_images(data, cfg)[:1]
    state = efficientad.calibrate(cfg, pretrained, state, images)  # which is not to remain
    cfg = override(cfg, ["map_norm=none", "border=0", "map_order=resize_first"])
    state = efficientad.calibrate(cfg, pretrained, state, images)
    local, global_ = compile.jit(efficientad.distances)(
        cfg, pretrained, state.params, state.stats, images
    )
    prediction = predict(cfg, pretrained, state, images)
    from jaxad.ops import maps

    expected = maps.resize((local + global_) / 2, images.shape[1:3])
    np.testing.assert_allclose(prediction.map, expected, rtol=1e-3, atol=1e-5)


def test_constant_heldout_maps_give_finite_maps(setting):
    cfg, pretrained, data, state = setting
    stats = state.stats._replace(range=jnp.ones((2, 2)))
    images = unit_images(data, cfg)[:1]
    prediction = predict(cfg, pretrained, state._replace(stats=stats), images)
    assert np.isfinite(prediction.map).all()


def test_the_rate_drops_to_a_tenth_at_95_percent_of_the_steps():
    cfg = efficientad.Config(steps=200, lr=1.0, weight_decay=0.0)
    params = jnp.ones(1)
    optimizer = efficientad.optimizer(cfg)
    state = optimizer.init(params)
    sizes = []
    for _ in range(200):
        update, state = optimizer.update(jnp.ones(1), state, params)
        sizes.append(abs(float(update[0])))
    np.testing.assert_allclose(sizes[:190], 1.0, rtol=1e-3)
    np.testing.assert_allclose(sizes[190:], 0.1, rtol=1e-3)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("size=255", "needs 256 pixels"),
        ("weights=a,b", "expected 1 value"),
        ("weights=", "expected 1 value"),
        ("p_hard=1.5", "p_hard=1.5: expected 0 to 1"),
        ("q_a=0.999", "q_a to be less than q_b"),
        ("q_b=1.1", "q_b=1.1: expected 0 to 1"),
        ("lr=nan", "lr=nan: expected more than 0"),
        ("lr=0", "lr=0.0: expected more than 0"),
        ("border=-1", "0 or more"),
        ("channels=0", "1 or more"),
    ],
)
def test_settings_that_cannot_work_say_what_would(setting, message):
    with pytest.raises(ValueError, match=message):
        check_settings(efficientad.DETECTOR, override(efficientad.Config(), setting))


def test_a_teacher_of_another_network_is_refused(setting):
    cfg, pretrained, data, _ = setting
    wrong = dataclasses.replace(cfg, channels=cfg.channels + 1)
    images = image_set(data.train, cfg.size)
    with pytest.raises(ValueError, match=r"tiny.*conv4"):
        begun(efficientad.DETECTOR, wrong, pretrained, images, jax.random.key(0))


def test_one_heldout_picture_is_enough_to_calibrate(setting):
    cfg, pretrained, data, state = setting
    one = image_set(data.heldout, cfg.size)[:1]
    state = efficientad.calibrate(cfg, pretrained, state, one)
    assert np.isfinite(state.stats.range).all()


def test_training_pictures_of_one_colour_are_told_and_not_the_learning_rate(setting):
    cfg, pretrained, data, state = setting
    flat = np.full_like(image_set(data.train, cfg.size), 90)
    with pytest.raises(ValueError, match=r"of one colour.*no learning rate helps"):
        efficientad.measure(cfg, pretrained, state, flat)
