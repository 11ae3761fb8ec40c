"""Mahalanobis anomaly detection against scikit-learn on the features of EfficientNet-Lite0."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from weights import images as drawn
from weights import nhwc, parameters

from jaxad import compile
from jaxad.data.pictures import image_set
from jaxad.methods import mahalanobis
from jaxad.methods.mahalanobis import Config
from jaxad.nets import convert
from jaxad.ops import gaussian

DETECTOR = mahalanobis.DETECTOR


@pytest.fixture(scope="module")
def from_images(golden):
    golden = golden("mahalanobis")
    levels = tuple(golden.info["settings"]["levels"])
    cfg = Config(size=golden.info["images"]["test"]["shape"][-1])
    assert mahalanobis.layers(cfg) == levels
    tree = convert.efficientnet_lite(parameters(golden.info["networks"]["backbone"]))
    pretrained = {"efficientnet_lite0": tree}
    train, test = (
        jnp.asarray(nhwc(drawn(golden.info["images"][name]))) for name in ("train", "test")
    )
    with jax.default_matmul_precision("highest"):
        pooled = compile.jit(mahalanobis.pooled)(cfg, pretrained, train)
        cells = compile.jit(mahalanobis.embed)(cfg, pretrained, test)
        stats = jax.jit(mahalanobis.gaussians)(cfg, pooled)
        split = jax.jit(mahalanobis.split)
        found = [split(level, x) for level, x in zip(stats, cells, strict=True)]
    return golden, levels, pooled, cells, stats, found


def same(golden, name, found):
    assert golden.error(name, found) < golden.tolerance(name), name


def test_mahalanobis_shrinks_as_scikit_learn(from_images):
    golden, levels, pooled, *_ = from_images
    for name, x in zip(levels, pooled, strict=True):
        covariance, shrinkage = jax.jit(gaussian.ledoit_wolf)(x)
        name = f"shrinkage.{name}"
        assert golden.scalar_error(name, shrinkage) < golden.scalar_tolerance(name)
        if name == "shrinkage.stage2":
            same(golden, "covariance.stage2", covariance)


def test_mahalanobis_distances_of_all_levels(from_images):
    golden, _, _, _, _, found = from_images
    distances = jnp.stack([distance for distance, _ in found])
    same(golden, "distance", distances)
    same(golden, "score_sum", distances.sum(0))
    same(golden, "score_mean", distances.mean(0))


def test_mahalanobis_splits_the_distance_over_the_cells(from_images):
    golden, levels, _, cells, _, found = from_images
    for name, x, (distance, shares) in zip(levels, cells, found, strict=True):
        np.testing.assert_allclose(shares.mean((1, 2)), distance, rtol=1e-4)
        if f"map_{name}" in golden.info["outputs"]:
            same(golden, f"pooled_test.{name}", x.mean((1, 2)))
            same(golden, f"map_{name}", shares)


def measured(tiny, key, images=None, **settings):
    _, cfg, pretrained, data, _ = tiny("mahalanobis")
    cfg = dataclasses.replace(cfg, **settings)
    images = image_set(data.train, cfg.size) if images is None else images
    state = compile.init(DETECTOR)(cfg, pretrained, key)
    return cfg, pretrained, DETECTOR.measure(cfg, pretrained, state, images), data


def test_the_mean_of_levels_ranks_as_their_sum(tiny, key):
    cfg, pretrained, state, data = measured(tiny, key)
    test = image_set(data.test, cfg.size)
    found = compile.predict(DETECTOR)(cfg, pretrained, state, test)
    mean = dataclasses.replace(cfg, combine="mean")
    other = compile.predict(DETECTOR)(mean, pretrained, state, test)
    np.testing.assert_allclose(other.score * 2, found.score, rtol=1e-5)
    np.testing.assert_allclose(other.map * 2, found.map, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(sum(found.parts.values()), found.score, rtol=1e-5)


def test_a_larger_fixed_shrinkage_makes_unusual_directions_count_less(tiny, key):
    scores = []
    for shrinkage in (0.05, 0.9):
        settings = {"estimator": "fixed", "shrinkage": shrinkage}
        cfg, pretrained, state, data = measured(tiny, key, **settings)
        test = image_set(data.test, cfg.size)
        scores.append(compile.predict(DETECTOR)(cfg, pretrained, state, test).score)
    assert (scores[1] < scores[0]).all()


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_pictures_name_the_way_out(tiny, key, count):
    pictures = np.zeros((count, 64, 64, 3), np.uint8)
    with pytest.raises(ValueError, match=f"need 3 normal .* given are {count}; PatchCore works"):
        measured(tiny, key, pictures)


def test_pictures_that_vary_too_little_are_refused(tiny, key):
    noise = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    for images in (np.full((5, 64, 64, 3), 9, np.uint8), noise[[0, 0, 1, 1]]):
        with pytest.raises(ValueError, match=r"normal pictures vary too little: .* at pool2"):
            measured(tiny, key, images)
