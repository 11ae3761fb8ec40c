"""PaDiM against its third-party code, restated, and anomalib; both forms against one another."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from weights import images as drawn
from weights import nchw, nhwc, parameters

from jaxad import compile
from jaxad.data.pictures import image_set
from jaxad.detector import check_settings
from jaxad.methods import padim
from jaxad.methods.padim import Config
from jaxad.nets import convert
from jaxad.ops import gaussian, maps

DETECTOR = padim.DETECTOR


@pytest.fixture(scope="module")
def from_images(golden):
    golden = golden("padim")
    said = golden.info["settings"]
    cfg = Config(
        size=golden.info["images"]["test"]["shape"][-1], extractor="resnet18",
        weights=("resnet18",), layers=tuple(said["layers"]), channels=len(said["channels"]),
    )  # fmt: skip
    tree = convert.resnet(parameters(golden.info["networks"]["backbone"]))
    pretrained, kept = {"resnet18": tree}, jnp.asarray(said["channels"])
    with jax.default_matmul_precision("highest"):
        described = compile.jit(padim.described)
        train, test = (
            described(cfg, pretrained, kept, nhwc(drawn(golden.info["images"][name])))
            for name in ("train", "test")
        )
    return golden, cfg, train, test


def same(golden, name, found):
    assert golden.error(name, found) < golden.tolerance(name), name


def test_padim_embeds_images(from_images):
    golden, _, _, test = from_images
    same(golden, "embedding_test", nchw(test))


def test_padim_has_the_gaussian_of_every_place(from_images):
    golden, cfg, train, _ = from_images
    parts = [gaussian.moments(part) for part in jnp.split(train, (3, 8))]
    found = functools.reduce(gaussian.merged, parts)
    count = cfg.channels
    same(golden, "mean", found.mean.reshape(-1, count).T)
    covariance = gaussian.regularised(found, cfg.epsilon)
    same(golden, "covariance", covariance.reshape(-1, count, count))


@pytest.mark.parametrize("form", ["covariances", "rows"])
def test_padim_measures_distances_in_both_forms(from_images, form):
    golden, cfg, train, test = from_images
    if form == "covariances":
        places = padim.of_moments(cfg, gaussian.moments(train))
    else:
        cfg = dataclasses.replace(cfg, pictures=len(train) + 3)
        places = padim.of_rows(cfg, train)
    distance = padim.distance(places, test)
    same(golden, "distance", distance)
    map_ = maps.gaussian_blur(maps.resize(distance, (cfg.size, cfg.size)), 4.0)
    same(golden, "map", map_)
    same(golden, "score", map_.max((1, 2)))


def test_padim_with_the_constants_of_anomalib(from_images):
    golden, cfg, train, test = from_images
    cfg = dataclasses.replace(cfg, epsilon=0.01 + 1e-5)
    distance = padim.distance(padim.of_moments(cfg, gaussian.moments(train)), test)
    resized = maps.resize(distance, (cfg.size, cfg.size))
    same(golden, "anomalib_map", maps.gaussian_blur(resized, 4.0, "reflect")[:, None])


def measured(tiny, key, images=None, **settings):
    _, cfg, pretrained, data, _ = tiny("padim")
    cfg = dataclasses.replace(cfg, **settings)
    images = image_set(data.train, cfg.size) if images is None else images
    state = compile.init(DETECTOR)(cfg, pretrained, key)
    return cfg, pretrained, DETECTOR.measure(cfg, pretrained, state, images), data


def test_both_forms_of_a_run_predict_the_same(tiny, key):
    cfg, pretrained, state, data = measured(tiny, key, channels=8)
    few, _, other, _ = measured(tiny, key, pictures=6, channels=8)
    test = image_set(data.test, cfg.size)
    one = compile.predict(DETECTOR)(cfg, pretrained, state, test)
    two = compile.predict(DETECTOR)(few, pretrained, other, test)
    np.testing.assert_allclose(two.map, one.map, rtol=2e-3)


def test_the_order_of_the_pictures_does_not_count(tiny, key):
    cfg, _, state, data = measured(tiny, key)
    turned = image_set(data.train, cfg.size)[::-1].copy()
    _, _, other, _ = measured(tiny, key, turned)
    for a, b in zip(jax.tree.leaves(state.stats), jax.tree.leaves(other.stats), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


def test_too_few_or_too_many_pictures_name_the_way_out(tiny, key):
    one = np.zeros((1, 64, 64, 3), np.uint8)
    with pytest.raises(ValueError, match=r"PaDiM needs 2 normal .* given is 1; PatchCore works"):
        measured(tiny, key, one)
    with pytest.raises(ValueError, match=r"pictures=2, but there are 6 .* as many or more, or 0"):
        measured(tiny, key, pictures=2)


def test_more_channels_than_there_are_are_refused(tiny, key):
    with pytest.raises(ValueError, match=r"channels=500: the layers pool2, conv4 of pdn_small"):
        measured(tiny, key, channels=500)


def test_layers_of_very_different_strides_are_refused():
    with pytest.raises(ValueError, match="a cell of head covers 32 pixels a side and one of stem"):
        check_settings(DETECTOR, Config(layers=("stem", "head")))
