"""Thresholds and p-values against slow counting and simulated normals."""

import math

import numpy as np
import pytest

from jaxad.decision import conformal


@pytest.mark.parametrize("count", [1, 4, 19, 50, 99, 100, 199, 1000])
@pytest.mark.parametrize("rate", [0.01, 0.05, 0.07, 0.1, 0.29, 0.5])
def test_a_score_is_above_the_threshold_where_its_p_value_is_at_most_the_rate(count, rate):
    rng = np.random.default_rng(count)
    normals = np.sort(np.round(rng.normal(size=count), 1))  # with ties
    if count < conformal.needed(rate):
        with pytest.raises(ValueError, match=rf"needs {conformal.needed(rate)}; the smallest"):
            conformal.threshold(normals, rate)
        return
    limit = conformal.threshold(normals, rate)
    scores = np.unique([*normals, *(normals + 0.05), *(normals - 0.05)])
    for score, p in zip(scores, conformal.p_values(normals, scores), strict=True):
        assert p == (1 + sum(normal >= score for normal in normals)) / (count + 1)
        assert (score > limit) == (p <= rate + 1e-9), (score, p)


def test_a_rate_needs_so_many_normals():
    assert [conformal.needed(x) for x in (0.5, 0.1, 0.05, 0.01, 0.001)] == [1, 9, 19, 99, 999]
    for count in range(1, 1200):
        assert conformal.needed(conformal.reachable(count)) == count


def test_percentiles_are_shares_of_the_normals():
    normals = np.array([1.0, 2.0, 2.0, 4.0])
    found = conformal.percentiles(normals, np.array([0.0, 1.0, 2.0, 3.0, 4.0, 9.0]))
    np.testing.assert_array_equal(found, [0, 25, 75, 75, 100, 100])


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, math.nan])
def test_a_rate_is_a_share(rate):
    with pytest.raises(ValueError, match="expected a share between 0 and 1"):
        conformal.allowed(100, rate)


CARDS = 1000  # a cell


@pytest.mark.parametrize(
    ("count", "rate"),
    [
        (count, rate)
        for count in (50, 200, 1000)
        for rate in (0.01, 0.05, 0.1)
        if count >= conformal.needed(rate)
    ],
)
def test_the_interval_covers_the_rate_of_simulated_cards(count, rate):
    rng = np.random.default_rng(7)
    low, high = conformal.rate_interval(count, rate)
    # Scores uniform in [0, 1]: the false-alarm rate of a threshold is what lies above it.
    rates = [1 - conformal.threshold(rng.random(count), rate) for _ in range(CARDS)]
    assert np.mean([low <= x <= high for x in rates]) >= 0.93
    assert np.mean(rates) <= rate + 3 * np.std(rates) / math.sqrt(CARDS)


@pytest.mark.parametrize("count", [50, 200])
def test_the_interval_covers_the_alarms_among_pictures_to_come(count):
    rng, rate, pictures = np.random.default_rng(8), 0.05, 300
    low, high = conformal.count_interval(count, rate, pictures)
    alarms = [
        (rng.random(pictures) > conformal.threshold(rng.random(count), rate)).sum()
        for _ in range(CARDS)
    ]
    assert np.mean([low <= x <= high for x in alarms]) >= 0.93


@pytest.mark.parametrize("true", [0.02, 0.2])
def test_the_interval_of_a_fixed_threshold_covers_its_rate(true):
    rng, count = np.random.default_rng(9), 100
    found = [
        conformal.rate_interval_of_fixed(count, int((rng.random(count) < true).sum()))
        for _ in range(CARDS)
    ]
    assert np.mean([low <= true <= high for low, high in found]) >= 0.93
    assert conformal.rate_interval_of_fixed(10, 0).low == 0
    assert conformal.rate_interval_of_fixed(10, 10).high == 1
