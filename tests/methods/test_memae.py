"""What is particular to MemAE, beside the stored reference of its memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad import compile
from jaxad.detector import check_settings, override
from jaxad.methods import memae
from jaxad.nets import memory
from jaxad.training.fitting import begun

TINY = memae.Config(
    size=16, batch_size=2, steps=10, widths=(4, 6), items=5, smoothing=1.0, shrinkage=0.1
)
train_step = compile.jit(memae.train_step)
reconstruction = jax.jit(memae.reconstruction, static_argnames="train")


@pytest.fixture(scope="module")
def images():
    return jax.random.uniform(jax.random.key(8), (2, 16, 16, 3))


def new_state(cfg):
    return begun(memae.DETECTOR, cfg, {}, np.zeros((1, 16, 16, 3), np.uint8), jax.random.key(0))


def test_the_defaults_are_sound_and_the_published_ones():
    cfg = memae.Config()
    check_settings(memae.DETECTOR, cfg)
    assert (cfg.items, cfg.shrinkage, cfg.entropy_weight) == (2000, 0.0025, 2e-4)
    assert (cfg.lr, cfg.batch_size) == (1e-4, 14)


def test_the_default_network_fits_together():
    cfg = memae.Config()
    batch = jax.ShapeDtypeStruct((2, 256, 256, 3), jnp.float32)
    state = jax.eval_shape(memae.init, cfg, {}, jax.random.key(0))
    assert state.params["memory4"]["items"].shape == (2000, 256)
    assert jax.eval_shape(memae.predict, cfg, {}, state, batch).map.shape == (2, 256, 256)


def test_every_cell_of_the_last_level_is_read_from_the_memory(images):
    state = new_state(TINY)
    assert state.params["memory2"]["items"].shape == (5, 6)
    assert "memory1" not in state.params
    _, weights, _ = reconstruction(TINY, state.params, state.stats, images)
    assert weights.shape == (2, 4 * 4, 5)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)


def test_with_one_item_every_image_has_the_same_reconstruction(images):
    cfg = override(TINY, "items=1")
    state = new_state(cfg)
    restored, _, _ = reconstruction(cfg, state.params, state.stats, images)
    np.testing.assert_allclose(restored[0], restored[1], atol=1e-6)


def test_the_loss_is_the_squared_error_plus_the_weighted_entropy(images):
    cfg = override(TINY, "entropy_weight=0.3")
    state = new_state(cfg)
    restored, weights, _ = reconstruction(cfg, state.params, state.stats, images, train=True)
    _, metrics = train_step(cfg, {}, state, {"image": images}, jax.random.key(0))
    error = 4 * np.mean(np.square(np.asarray(images) - np.asarray(restored)))
    np.testing.assert_allclose(metrics["reconstruction"], error, rtol=1e-4)
    entropy = float(memory.entropy(weights))
    np.testing.assert_allclose(metrics["loss"], error + 0.3 * entropy, rtol=1e-4)


def test_a_threshold_above_all_weights_leaves_a_finite_gradient_everywhere(images):
    cfg = override(TINY, ["shrinkage=0.9", "temperature=100"])
    state = new_state(cfg)
    after, metrics = train_step(cfg, {}, state, {"image": images}, jax.random.key(0))
    assert np.isfinite(metrics["loss"])
    np.testing.assert_allclose(metrics["entropy"], np.log(5), rtol=1e-3)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), state.params, after.params)
    assert all(jax.tree.leaves(moved))


def test_steps_reduce_the_loss(images):
    cfg, losses = override(TINY, ["lr=0.01", "items=20", "shrinkage=0.02"]), []
    state = new_state(cfg)
    for _ in range(40):
        state, metrics = train_step(cfg, {}, state, {"image": images}, jax.random.key(0))
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.7 * losses[0]


def test_the_reconstruction_is_scaled_as_the_images_are(images):
    state = new_state(TINY)
    prediction = compile.jit(memae.predict)(TINY, {}, state, images)
    restored = np.asarray(prediction.parts["reconstruction"])
    error = np.square(2 * (np.asarray(images) - restored)).mean((1, 2, 3))
    np.testing.assert_allclose(prediction.score, error, rtol=1e-4)
    assert prediction.map.shape == (2, 16, 16)
    assert jnp.isfinite(prediction.map).all()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("items=0", "items=0: expected 1 or more"),
        ("shrinkage=1", r"shrinkage=1.0: expected 0 to less than 1"),
        ("shrinkage=-0.1", "shrinkage=-0.1"),
        ("temperature=0", "temperature=0"),
        ("entropy_weight=-1", "entropy_weight=-1"),
        ("size=100", "size=100 cannot be halved 4 times"),
    ],
)
def test_settings_that_cannot_work_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        check_settings(memae.DETECTOR, override(memae.Config(), setting))
