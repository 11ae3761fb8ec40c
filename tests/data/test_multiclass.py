"""Pools of categories: every picture once, its category for the metrics only."""

import jax
import numpy as np
import pytest

from jaxad.data import multiclass, pipeline, workpieces
from jaxad.data.source import Data
from jaxad.detector import override, takes_no_steps
from jaxad.evaluation.evaluate import evaluate
from jaxad.methods import DETECTORS
from jaxad.training import fitting


def plates(category, seed=0):
    return workpieces.load(category, size=64, train=3, heldout=2, test=(2, 1), seed=seed)


@pytest.fixture(scope="module")
def pool():
    return multiclass.pooled({name: plates(name) for name in ("plate", "tray")})


def test_every_picture_comes_once_under_its_category(pool):
    parts = [plates("plate").train, plates("tray").train]
    assert len(pool.train) == 6
    assert [record.category for record in pool.train.records] == ["plate"] * 3 + ["tray"] * 3
    for i in range(6):
        expected = parts[i // 3][i % 3]["image"]
        np.testing.assert_array_equal(pool.train[i]["image"], expected)
        assert pool.train[i]["index"] == i
    np.testing.assert_array_equal(pool.train[-1]["image"], parts[1][2]["image"])
    with pytest.raises(IndexError):
        pool.train[6]


def test_batches_hold_no_label(pool, tiny):
    detector, cfg, _, _, _ = tiny("uniad")
    iterator = iter(pipeline.train_batches(detector, cfg, pool, 0))
    batch = next(iterator)
    iterator.close()
    assert set(batch) == {"image", "index"}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(DETECTORS))
def test_every_method_learns_a_pool_and_does_not_see_the_categories(name, tiny):
    detector, cfg, pretrained, data, _ = tiny(name)
    twice = multiclass.pooled({"one": data, "two": data})  # nothing tells them apart but names
    cfg = override(cfg, f"steps={0 if detector.train_step is takes_no_steps else 2}")
    state = fitting.fit(detector, cfg, pretrained, twice, jax.random.key(0))
    found = evaluate(detector, cfg, pretrained, state, twice.test).categories
    assert set(found) == {"one", "two"}
    assert found["one"].metrics == pytest.approx(found["two"].metrics, nan_ok=True)


def test_metrics_are_those_of_each_category_alone(pool, tiny, trained):
    detector, cfg, pretrained, _, _ = tiny("autoencoder")
    state = trained("autoencoder")
    together = evaluate(detector, cfg, pretrained, state, pool.test)
    for name in ("plate", "tray"):
        alone = evaluate(detector, cfg, pretrained, state, plates(name).test)
        found = together.categories[name].metrics
        for metric, value in alone.mean.items():
            assert found[metric] == pytest.approx(value, rel=1e-5), metric
    values = [category.metrics["image_auroc"] for category in together.categories.values()]
    assert together.mean["image_auroc"] == pytest.approx(np.mean(values))


class Unmasked:
    """Pictures with labels only."""

    has_masks = has_regions = False

    def __init__(self, source):
        self.source, self.records = source, source.records

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        item = self.source[index]
        return {**item, "mask": np.zeros_like(item["mask"])}

    def regions(self, index):
        raise NotImplementedError


def test_a_category_without_masks_leaves_the_others_their_pixel_metrics(tiny, trained):
    detector, cfg, pretrained, _, _ = tiny("autoencoder")
    masked, other = plates("plate"), plates("tray")
    pool = multiclass.pooled(
        {"masked": masked, "labels": other._replace(test=Unmasked(other.test))}
    )
    found = evaluate(detector, cfg, pretrained, trained("autoencoder"), pool.test)
    assert np.isnan(found.categories["labels"].metrics["pixel_auroc"])
    expected = found.categories["masked"].metrics["pixel_auroc"]
    assert found.mean["pixel_auroc"] == expected
    assert np.isfinite(found.categories["labels"].metrics["image_auroc"])


def test_a_category_with_no_pictures_is_refused(pool):
    with pytest.raises(ValueError, match="no categories"):
        multiclass.pooled({})
    empty = multiclass.Pool([])
    with pytest.raises(ValueError, match="category 'none' has no pictures to learn from"):
        multiclass.pooled({"plate": plates("plate"), "none": Data(empty, empty)})


def test_pools_of_other_pictures_have_other_names(pool):
    other = multiclass.pooled({name: plates(name, seed=1) for name in ("plate", "tray")})
    assert repr(pool.train) != repr(other.train)
    assert repr(pool.train) == repr(
        multiclass.pooled({n: plates(n) for n in ("plate", "tray")}).train
    )
