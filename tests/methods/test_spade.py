"""SPADE against its third-party code, restated."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from weights import images as drawn
from weights import nhwc, parameters

from jaxad import compile
from jaxad.data.pictures import image_set
from jaxad.methods import spade
from jaxad.methods.spade import Config
from jaxad.nets import convert

DETECTOR = spade.DETECTOR


@pytest.fixture(scope="module")
def from_images(golden):
    """Predictions of the golden's images, by the code's rules and by the paper's."""
    golden = golden("spade")
    layers = tuple(f"layer{i}" for i in (1, 2, 3))
    cfg = Config(
        size=golden.info["images"]["test"]["shape"][-1], extractor="resnet18",
        weights=("resnet18",), layers=layers, pooled="layer4", capacity=12,
        neighbours=float(golden.info["settings"]["neighbours"]),
    )  # fmt: skip
    tree = convert.resnet(parameters(golden.info["networks"]["backbone"]), layer4=True)
    pretrained = {"resnet18": tree}
    train, test = (
        jnp.asarray(nhwc(drawn(golden.info["images"][name]))) for name in ("train", "test")
    )
    found = {}
    with jax.default_matmul_precision("highest"):
        embed = compile.jit(spade.embed)
        for together in (False, True):
            one = dataclasses.replace(cfg, together=together, score=SCORES[together])
            state = DETECTOR.init(one, pretrained, jax.random.key(0))
            vectors, cells = embed(one, pretrained, train)
            stats = spade.filled(one, vectors, cells, np.arange(len(train)))
            state = state._replace(stats=stats)
            found[together] = compile.jit(DETECTOR.predict)(one, pretrained, state, test)
        queries, _ = embed(cfg, pretrained, test)
        found["pictures"] = queries, *spade.neighbourhood(stats, queries)
    return golden, found


SCORES = {False: "distance", True: "squared"}


def same(golden, name, found):
    assert golden.error(name, found) < golden.tolerance(name), name


def test_spade_finds_the_nearest_pictures(from_images):
    golden, found = from_images
    vectors, distances, index = found["pictures"]
    same(golden, "pooled_test", vectors)
    count = golden.info["outputs"]["image_distance"]["shape"][1]
    in_order = np.take_along_axis(
        np.asarray(distances)[:, :count], np.asarray(index)[:, :count].argsort(1), 1
    )
    same(golden, "image_distance", in_order)
    k = golden.info["outputs"]["neighbour_index"]["shape"][1]
    np.testing.assert_array_equal(
        np.asarray(index)[:, :k].reshape(-1), golden.arrays["neighbour_index"].reshape(-1)
    )
    same(golden, "score", found[False].score)
    same(golden, "score_squared", found[True].score)


def test_spade_compares_cells_layer_by_layer(from_images):
    golden, found = from_images
    for name, cells in found[False].parts.items():
        same(golden, f"distance_{name}", cells)
    same(golden, "map", found[False].map)


def test_spade_compares_cells_of_all_layers_together(from_images):
    golden, found = from_images
    same(golden, "distance_concatenated", found[True].parts["together"])
    same(golden, "map_concatenated", found[True].map)


def measured(tiny, key, images=None, **settings):
    _, cfg, pretrained, data, _ = tiny("spade")
    cfg = dataclasses.replace(cfg, **settings)
    images = image_set(data.train, cfg.size) if images is None else images
    state = compile.init(DETECTOR)(cfg, pretrained, key)
    return cfg, pretrained, DETECTOR.measure(cfg, pretrained, state, images), data


def test_a_set_smaller_than_k_counts_what_there_is_and_says_so(tiny, key, caplog):
    with caplog.at_level("WARNING"):
        cfg, pretrained, state, data = measured(tiny, key, neighbours=7.0)
    assert "neighbours=7, but only 6 pictures are remembered" in caplog.text
    test = image_set(data.test, cfg.size)
    one = compile.predict(DETECTOR)(cfg, pretrained, state, test)
    six = compile.predict(DETECTOR)(
        dataclasses.replace(cfg, neighbours=6.0), pretrained, state, test
    )
    assert np.isfinite(one.map).all()
    np.testing.assert_array_equal(one.score, six.score)


def test_of_more_pictures_than_fit_some_are_remembered_and_the_log_says_so(tiny, key, caplog):
    with caplog.at_level("INFO"):
        _, _, state, _ = measured(tiny, key, capacity=3)
    assert "3 of 6 pictures" in caplog.text
    assert np.asarray(state.stats.numbers).tolist() == [0, 2, 5]
    assert int(state.stats.count) == 3


def test_more_neighbours_find_nearer_cells_and_farther_pictures(tiny, key):
    cfg, pretrained, state, data = measured(tiny, key)
    test = image_set(data.test, cfg.size)
    found = [
        compile.predict(DETECTOR)(dataclasses.replace(cfg, neighbours=k), pretrained, state, test)
        for k in (1.0, 4.0)
    ]
    assert (found[1].score > found[0].score).all()
    for name, cells in found[0].parts.items():
        assert (found[1].parts[name] <= cells).all()
