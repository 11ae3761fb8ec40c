"""Uninformed Students: against the numbers of a PyTorch code, and what its pieces promise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from weights_b import inputs

from jaxad import compile
from jaxad.detector import check_settings, override
from jaxad.methods import uninformed_students as students
from jaxad.nets.layers import IMAGENET_MEAN
from jaxad.nets.patch_network import PatchNetwork
from jaxad.nets.pdn import PDN
from jaxad.training.fitting import begun

TINY = students.Config(
    size=40, batch_size=2, steps=40, weights=("small", "large"), dense=False, lr=1e-3,
)  # fmt: skip


def close(stored, name, value):
    assert stored.error(name, np.asarray(value)) < stored.tolerance(name), name


def close_scalar(stored, name, value):
    assert stored.scalar_error(name, value) < stored.scalar_tolerance(name), name


def stored_maps(stored):
    """(statistics, error and variance of all images, guesses, teacher)."""
    drawn = {name: jnp.asarray(x) for name, x in inputs(stored.info).items()}
    teacher, guesses = drawn["teacher"], jnp.moveaxis(drawn["students"], 1, 0)
    normal = teacher[jnp.array(stored.info["settings"]["calibration_images"])]
    mean, std = (f((0, 1, 2), keepdims=True) for f in (normal.mean, normal.std))
    stats = students.Stats(mean, std, jnp.zeros((1, 1, 1, 2)), jnp.ones((1, 1, 1, 2)))
    both = students.error_and_variance(guesses, students.normalised(stats, teacher))
    calibration = both[:4]
    center, spread = (f((0, 1, 2), keepdims=True) for f in (calibration.mean, calibration.std))
    return stats._replace(center=center, spread=spread), both, guesses, teacher


def test_uninformed_students_score_error_variance_and_score_equal_the_reference(golden):
    stored = golden("uninformed_students_score")
    stats, both, guesses, teacher = stored_maps(stored)
    test = jnp.array(stored.info["settings"]["test_images"])
    close(stored, "teacher_mean", stats.mean.ravel())
    close(stored, "teacher_variance", jnp.square(stats.std).ravel())
    close(stored, "error_map", both[test, ..., 0])
    close(stored, "variance_map", both[test, ..., 1])
    close(stored, "score_map", students.standardised(stats, both[test]).sum(-1))
    raw = students.error_and_variance(guesses, teacher)
    close(stored, "error_map_raw", raw[test, ..., 0])
    for i, name in enumerate(("error", "variance")):
        close_scalar(stored, f"{name}_mean", stats.center.ravel()[i])
        close_scalar(stored, f"{name}_variance", jnp.square(stats.spread).ravel()[i])
        close_scalar(stored, f"{name}_max", both[:4, ..., i].max())


def test_uninformed_students_score_loss_of_a_student_equals_the_reference(golden):
    stored = golden("uninformed_students_score")
    stats, _, guesses, teacher = stored_maps(stored)
    test = jnp.array(stored.info["settings"]["test_images"])
    target = students.normalised(stats, teacher[test])
    close_scalar(stored, "student_loss", students.regression_loss(guesses[0, test], target))


def test_the_variance_is_the_mean_square_less_the_square_of_the_mean():
    guesses = np.random.default_rng(0).normal(size=(4, 2, 3, 5, 6)).astype(np.float32)
    found = students.error_and_variance(jnp.asarray(guesses), jnp.zeros((2, 3, 5, 6)))
    length = lambda x: np.square(x).sum(-1)
    mean = guesses.mean(0)
    np.testing.assert_allclose(found[..., 0], length(mean), rtol=1e-5)
    np.testing.assert_allclose(found[..., 1], length(guesses).mean(0) - length(mean), rtol=1e-4)


@pytest.fixture(scope="module")
def pretrained():
    def new(module, patch, seed):
        variables = jax.jit(module.init)(jax.random.key(seed), jnp.zeros((1, patch, patch, 3)))
        return jax.tree.map(lambda x: 2 * x, variables)

    return {
        "small": new(PatchNetwork(17, 6, 4), 17, 1),
        "large": new(PatchNetwork(33, 5, 4), 33, 2),
        "pdn": new(PDN(channels=6, width=4), 33, 3),
    }


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(5).integers(0, 256, (3, 40, 40, 3), np.uint8)


def one_batch(cfg, pretrained, images):
    images = jnp.asarray(images[: cfg.batch_size], jnp.float32) / 255
    return {"image": images, "features": students.embed(cfg, pretrained, images)}


@pytest.mark.slow
def test_an_ensemble_equals_its_students_trained_one_by_one(pretrained, images, key):
    start = begun(students.DETECTOR, TINY, pretrained, images, key)
    batch, step = one_batch(TINY, pretrained, images), compile.jit(students.train_step)

    def trained(state):
        for _ in range(3):
            state, _ = step(TINY, pretrained, state, batch, key)
        return state.params

    def alone(tree, i):  # the step count of the optimiser has no axis of students
        return jax.tree.map(lambda x: x[i : i + 1] if x.ndim else x, tree)

    together = trained(start)
    for i in range(TINY.students):
        single = start._replace(params=alone(start.params, i), opt=alone(start.opt, i))
        close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7)
        jax.tree.map(close, trained(single), alone(together, i))  # two programs: to rounding


def test_students_start_and_stay_different(pretrained, images, key):
    start = state = begun(students.DETECTOR, TINY, pretrained, images, key)
    batch, step = one_batch(TINY, pretrained, images), compile.jit(students.train_step)
    for _ in range(5):
        state, _ = step(TINY, pretrained, state, batch, key)
    for params in (*start.params, *state.params):
        kernel = params["conv1"]["conv"]["kernel"]
        assert kernel.shape[0] == 3
        for one, other in ((0, 1), (1, 2), (0, 2)):
            assert float(jnp.abs(kernel[one] - kernel[other]).mean()) > 0.1 * float(kernel.std())


def test_training_reduces_error_and_calibration_centres_both_maps(pretrained, images, key):
    state = begun(students.DETECTOR, TINY, pretrained, images, key)
    batch, step = one_batch(TINY, pretrained, images), compile.jit(students.train_step)
    losses = []
    for _ in range(25):
        state, metrics = step(TINY, pretrained, state, batch, key)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.9 * losses[0]
    state = students.calibrate(TINY, pretrained, state, images)
    for name, params, stats in zip(TINY.weights, state.params, state.stats, strict=True):
        both = students.standardised(
            stats,
            compile.jit(students.uncertainty)(
                TINY, pretrained[name], params, stats, jnp.asarray(images, jnp.float32) / 255
            ),
        )
        np.testing.assert_allclose(both.mean((0, 1, 2)), 0, atol=1e-3)
        np.testing.assert_allclose(both.std((0, 1, 2)), 1, rtol=1e-3)


@pytest.mark.parametrize(
    ("weights", "dense", "cells"),
    [("small", True, 40), ("small", False, 40), ("large", True, 40), ("large", False, 10),
     ("pdn", True, 10)],
)  # fmt: skip
def test_cells_lie_around_their_pixels(weights, dense, cells, pretrained):
    """A bright pixel moves the cell over it as much as a pixel and a cell later the next one."""
    cfg = override(TINY, f"dense={dense}")
    stride = 40 // cells
    even = jnp.tile(jnp.array(IMAGENET_MEAN), (1, 40, 40, 1))  # as outside
    at = lambda y: even.at[:, y, y].set(1.0)
    describe = compile.jit(students.describe)
    without = describe(cfg, pretrained[weights], even)
    assert without.shape[1:3] == (cells, cells)
    y = 20 + stride // 2
    first, second = (
        jnp.abs(describe(cfg, pretrained[weights], at(p)) - without).sum(-1)[0]
        for p in (y, y + stride)
    )
    np.testing.assert_allclose(first[2:-3, 2:-3], second[3:-2, 3:-2], rtol=1e-3, atol=1e-5)
    if weights == "small":  # eight cells to each side see the pixel, and no other
        seen = np.flatnonzero(np.asarray(first.max(0)) > 1e-6)
        assert (seen.min(), seen.max()) == (y - 8, y + 8)


def test_a_constant_teacher_gives_no_nan(pretrained, images, key):
    dead = jax.tree.map(jnp.zeros_like, pretrained)
    state = begun(students.DETECTOR, TINY, dead, images, key)
    state, _ = compile.jit(students.train_step)(
        TINY, dead, state, one_batch(TINY, dead, images), key
    )
    state = students.calibrate(TINY, dead, state, images)
    prediction = compile.jit(students.predict)(
        TINY, dead, state, jnp.asarray(images, jnp.float32) / 255
    )
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((state, prediction)))


def test_a_constant_channel_counts_little_however_its_rounding_differs(pretrained, images, key):
    state = begun(students.DETECTOR, TINY, pretrained, images, key)
    constant = state.stats[0]._replace(
        mean=state.stats[0].mean.at[..., 0].set(3.3333), std=state.stats[0].std.at[..., 0].set(0.0)
    )
    features = jnp.float16(jnp.full((1, 2, 2, constant.mean.shape[-1]), 3.3333))
    found = students.normalised(constant, features.astype(jnp.float32))
    assert jnp.abs(found[..., 0]).max() < 0.01
    varying = students.normalised(constant, features)[..., 1:]
    want = (features - constant.mean)[..., 1:] / constant.std[..., 1:]
    np.testing.assert_allclose(varying, want, rtol=1e-5)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("students=0", "students=0.*2 or more"),
        ("students=1", "students=1: expected 2 or more"),
        ("size=16", "size=16: expected 17 or more"),
        ("steps=-1", "steps=-1"),
        ("batch_size=0", "batch_size=0"),
        ("weights=", "weights=: expected 1 or more values"),
        ("lr=0", "lr=0"),
        ("weight_decay=-1", "weight_decay=-1"),
    ],
)
def test_settings_that_cannot_work_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        check_settings(students.DETECTOR, override(students.Config(), setting))


def test_images_smaller_than_the_teachers_patches_are_refused(pretrained, key):
    images = np.zeros((1, 24, 24, 3), np.uint8)
    with pytest.raises(ValueError, match="patches of large: expected 33"):
        begun(students.DETECTOR, override(TINY, "size=24"), pretrained, images, key)


def test_weights_of_another_network_are_refused(images, key):
    cfg = override(TINY, "weights=other")
    for tree in ({}, {"params": {"conv1": {"conv": {"kernel": jnp.zeros((7, 7, 3, 64))}}}}):
        with pytest.raises(ValueError, match="no network of patches"):
            begun(students.DETECTOR, cfg, {"other": tree}, images, key)
