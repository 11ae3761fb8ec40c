"""What is particular to the plain autoencoder, and what reconstructing methods share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxad import compile
from jaxad.detector import check_settings, override
from jaxad.methods import autoencoder
from jaxad.nets.image_autoencoder import Decoder, Encoder, ImageAutoencoder, enlarged
from jaxad.ops.ssim import ssim
from jaxad.training.fitting import begun

TINY = autoencoder.Config(size=16, batch_size=2, steps=10, widths=(4, 6), smoothing=1.0)
predict = compile.jit(autoencoder.predict)
train_step = compile.jit(autoencoder.train_step)
reconstruction = jax.jit(autoencoder.reconstruction, static_argnames="train")


@pytest.fixture(scope="module")
def images():
    return jax.random.uniform(jax.random.key(8), (2, 16, 16, 3))


@pytest.fixture(scope="module")
def state():
    return begun(
        autoencoder.DETECTOR, TINY, {}, np.zeros((1, 16, 16, 3), np.uint8), jax.random.key(0)
    )


def test_the_defaults_are_sound():
    check_settings(autoencoder.DETECTOR, autoencoder.Config())


def test_the_loss_is_the_mean_squared_difference_in_units_of_minus_1_to_1(state, images):
    cfg = TINY
    restored, _ = reconstruction(cfg, state.params, state.stats, images, train=True)
    _, metrics = train_step(cfg, {}, state, {"image": images}, jax.random.key(0))
    expected = 4 * np.mean(np.square(np.asarray(images) - np.asarray(restored)))
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-4)


def test_with_the_ssim_loss_error_and_map_are_of_structure(state, images):
    cfg = override(TINY, ["loss=ssim", "smoothing=0"])
    prediction = predict(cfg, {}, state, images)
    similarity = ssim(images, prediction.parts["reconstruction"])
    np.testing.assert_allclose(prediction.map, 1 - similarity, atol=1e-5)
    np.testing.assert_allclose(prediction.score, 1 - similarity.mean((1, 2)), rtol=1e-4)


def test_the_map_is_the_blurred_error_and_the_score_its_mean_or_maximum(state, images):
    prediction = predict(TINY, {}, state, images)
    restored = np.asarray(prediction.parts["reconstruction"])
    assert restored.min() >= 0
    assert restored.max() <= 1
    error = np.square(2 * (np.asarray(images) - restored)).mean(-1)
    blurred = ndimage.gaussian_filter(error[0], 1.0)
    np.testing.assert_allclose(prediction.map[0], blurred, rtol=1e-4)
    np.testing.assert_allclose(prediction.score, error.mean((1, 2)), rtol=1e-4)
    largest = predict(override(TINY, "score=max"), {}, state, images)
    np.testing.assert_allclose(largest.score, prediction.map.max((1, 2)), rtol=1e-5)


def test_the_moments_of_batch_norm_move_in_training_and_not_in_prediction(state, images):
    after, _ = train_step(TINY, {}, state, {"image": images}, jax.random.key(0))
    before = jax.tree.leaves(state.stats)
    assert all((a != b).any() for a, b in zip(before, jax.tree.leaves(after.stats), strict=True))
    _, same = reconstruction(TINY, state.params, state.stats, images)
    jax.tree.map(np.testing.assert_array_equal, same, state.stats)


@pytest.mark.parametrize("loss", ["l2", "ssim"])
def test_steps_reduce_the_loss(loss, state, images):
    cfg, losses = override(TINY, ["lr=0.01", f"loss={loss}"]), []
    for _ in range(40):
        state, metrics = train_step(cfg, {}, state, {"image": images}, jax.random.key(0))
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("kernel", [3, 4])
def test_each_level_of_the_encoder_halves_the_sides(kernel):
    x, key = jnp.zeros((2, 16, 24, 3)), jax.random.key(0)
    maps, _ = jax.eval_shape(Encoder((4, 5, 6), kernel).init_with_output, key, x)
    assert [y.shape for y in maps] == [(2, 8, 12, 4), (2, 4, 6, 5), (2, 2, 3, 6)]
    *skips, last = maps
    restored, _ = jax.eval_shape(Decoder((4, 5, 6)).init_with_output, key, last, skips)
    assert restored.shape == x.shape


def test_without_memory_only_the_last_level_reaches_the_decoder(images):
    network = ImageAutoencoder((4, 6), (0, 0), (0, 0))
    variables = jax.eval_shape(network.init, jax.random.key(0), images)
    kernel = variables["params"]["decoder"]["conv1"]["conv"]["kernel"]
    assert kernel.shape == (3, 3, 6, 4)
    assert set(variables["params"]) == {"encoder", "decoder"}
    network = ImageAutoencoder((4, 6), (2, 2), (3, 3))
    variables = jax.eval_shape(network.init, jax.random.key(0), images)
    kernel = variables["params"]["decoder"]["conv1"]["conv"]["kernel"]
    assert kernel.shape == (3, 3, 6 + 4, 4)
    assert {"memory1", "memory2"} < set(variables["params"])


def test_enlargement_repeats_each_cell():
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)
    np.testing.assert_array_equal(enlarged(jnp.asarray(x)), x.repeat(2, 1).repeat(2, 2))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("size=250", "size=250 cannot be halved 5 times: .* size=256"),
        ("size=16", "such as size=32, or fewer widths"),
        ("widths=", "widths=: expected 1 or more values"),
        ("widths=8,0", "widths=8,0: expected 1 or more"),
        ("weights=pdn_small", "expected no values"),
        ("smoothing=-1", "smoothing=-1"),
        ("lr=0", "lr=0"),
    ],
)
def test_settings_that_cannot_work_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        check_settings(autoencoder.DETECTOR, override(autoencoder.Config(), setting))
