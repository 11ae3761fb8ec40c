"""Bootstrap intervals, against scikit-learn's weighted metrics and by what they must do."""

import json

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from jaxad.data.source import Record
from jaxad.evaluation.bootstrap import intervals, metrics
from jaxad.evaluation.category import category
from jaxad.evaluation.results import Scored


def scored(normal, anomalous, defects=("crack",), kind="", name="c"):
    """Pictures of one category: normal ones, then anomalous ones of these types in turn."""
    found = [Scored(Record(f"n{i}", name, "good"), float(x)) for i, x in enumerate(normal)]
    for i, x in enumerate(anomalous):
        record = Record(f"a{i}", name, defects[i % len(defects)], kind)
        found.append(Scored(record, float(x)))
    return found


def test_metrics_of_pictures_that_count_several_times_are_scikit_learns():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 12, 40).astype(float)  # with ties
    positive = rng.random(40) < 0.4
    counts = rng.integers(0, 4, (7, 40))
    found = metrics(scores, positive, counts)
    for row, weights in enumerate(counts):
        there = weights > 0
        given = positive[there], scores[there]
        weights = weights[there]
        auroc = roc_auc_score(*given, sample_weight=weights)
        assert found["image_auroc"][row] == pytest.approx(auroc)
        precision = average_precision_score(*given, sample_weight=weights)
        assert found["image_average_precision"][row] == pytest.approx(precision)
        p, r, _ = precision_recall_curve(*given, sample_weight=weights)
        best = np.max(2 * p * r / np.maximum(p + r, 1e-12))
        assert found["image_f1_max"][row] == pytest.approx(best)


def test_every_picture_once_gives_the_metrics_of_the_evaluation():
    rng = np.random.default_rng(1)
    pictures = scored(rng.normal(0, 1, 30), rng.normal(1, 1, 25))
    scores, positive = np.array([x.score for x in pictures]), np.arange(55) >= 30
    found = metrics(scores, positive, np.ones((1, 55), np.int64))
    exact = category([x.record for x in pictures], scores).metrics
    for name, values in found.items():
        assert values[0] == pytest.approx(exact[name])


def test_an_interval_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    truth, held = 0.760250, 0  # P(N(1, 1) > N(0, 1)) = Phi(1 / sqrt 2)
    for seed in range(100):
        pictures = scored(rng.normal(0, 1, 40), rng.normal(1, 1, 40))
        low, high = intervals(pictures, resamples=200, seed=seed).mean["image_auroc"]
        held += low <= truth <= high
    assert 86 <= held <= 100


def test_each_type_and_kind_of_defect_has_its_own():
    pictures = scored([0, 1, 2, 3], [2, 9, 2, 9, 2, 9], ("faint", "clear"), "structural")
    found = intervals(pictures, resamples=50)
    parts = found.categories["c"]
    assert set(parts.defects) == {"faint", "clear"}
    assert parts.defects["clear"]["image_auroc"] == (1.0, 1.0)
    assert parts.defects["faint"]["image_auroc"][0] < 1.0
    assert parts.metrics == parts.kinds["structural"] == found.mean


def test_the_mean_is_over_categories_that_have_both_sorts():
    both = scored([0, 1], [5, 6], name="a") + scored([0, 1], [], name="b")
    found = intervals(both, resamples=20)
    assert found.mean == found.categories["a"].metrics
    assert found.mean["image_auroc"] == (1.0, 1.0)
    assert found.categories["b"] == ({}, {}, {})
    assert intervals(scored([0, 1], []), resamples=20).mean == {}


def test_equal_scores_are_chance_with_no_width():
    found = intervals(scored([3, 3], [3, 3]), resamples=20)
    assert found.mean["image_auroc"] == (0.5, 0.5)


def test_they_are_the_same_every_time_and_are_json():
    pictures = scored([0, 1, 2], [1, 2, 3])
    first, again = (intervals(pictures, resamples=30).as_dict() for _ in range(2))
    assert json.dumps(first) == json.dumps(again)
    assert first["level"] == 0.95
