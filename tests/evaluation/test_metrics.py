"""Metrics against stored references, scikit-learn, closed forms and loops over thresholds."""

import itertools
import math
import pickle

import jax
import numpy as np
import pytest
import scipy.ndimage
from sklearn.metrics import average_precision_score, roc_auc_score
from weights import load

from jaxad.data.source import Region
from jaxad.evaluation import metrics
from jaxad.evaluation.pixels import Pixels, bin_edges
from jaxad.evaluation.ranking import rank

GOLDEN = load("metrics")
LIMITS = GOLDEN.info["settings"]["aupro limits"]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def all_metrics(scores, masks):
    """Every metric of a stack of maps, by the names of the stored reference."""
    found = {}
    levels = {"image": (scores.max((1, 2)), masks.any((1, 2))), "pixel": (scores, masks)}
    for level, (s, y) in levels.items():
        found[f"{level}_auroc"] = metrics.auroc(s, y)
        found[f"{level}_average_precision"] = metrics.average_precision(s, y)
        found[f"{level}_f1_max"], found[f"{level}_f1_max_threshold"] = metrics.f1_max(s, y)
    return found | {f"aupro_{limit}": metrics.aupro(scores, masks, limit) for limit in LIMITS}


def curve_area(x, y, limit):
    """Area under a curve up to a limit inside it, over the limit; corner by corner."""
    area = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(zip(x, y, strict=True)):
        if x0 >= limit or x1 == x0:
            continue
        end = min(x1, limit)
        area += (end - x0) * (2 * y0 + (y1 - y0) * (end - x0) / (x1 - x0)) / 2
    return area / limit


def loop_overlap(maps, masks, regions, limit):
    """AUPRO and AU-sPRO by thresholds: `regions` is a list of (image, mask, saturation)."""
    x, y = [0.0], [0.0]
    for threshold in np.unique(maps)[::-1]:
        hit = maps >= threshold
        x.append(hit[masks == 0].mean())
        overlaps = [min((hit[i] & mask).sum() / saturation, 1) for i, mask, saturation in regions]
        y.append(np.mean(overlaps))
    return curve_area(x, y, limit)


def blobs(rng, n=6, side=24, levels=None):
    """Smooth maps, higher in boxes that their masks mark; every third picture is normal."""
    masks = np.zeros((n, side, side), np.uint8)
    for i in range(n):
        for _ in range(i % 3):
            a, b = rng.integers(2, 9, 2)
            top, left = rng.integers(0, side - a), rng.integers(0, side - b)
            masks[i, top : top + a, left : left + b] = 1
    maps = scipy.ndimage.gaussian_filter(rng.standard_normal(masks.shape), (0, 1.5, 1.5))
    maps = maps / maps.std() + masks
    if levels:
        maps = np.round(maps * levels) / levels
    return maps.astype(np.float32), masks


@pytest.mark.parametrize("case", GOLDEN.info["cases"])
def test_metrics_equal_their_definitions(case):
    found = all_metrics(GOLDEN.arrays[f"{case}.scores"], GOLDEN.arrays[f"{case}.masks"])
    stored = GOLDEN.info["cases"][case]["metrics"]
    assert set(stored) == set(found)
    for name, values in stored.items():
        expected = values["definition"]
        expected = math.nan if expected is None else expected
        assert found[name] == pytest.approx(expected, abs=1e-6, nan_ok=True), name


def test_metrics_join_components_at_corners():
    scores, masks = (GOLDEN.arrays[f"tiny_components.{name}"] for name in ("scores", "masks"))
    for name, wrong in GOLDEN.info["cases"]["tiny_components"]["wrong"].items():
        limit = float(name.split()[0].removeprefix("aupro_"))
        assert abs(metrics.aupro(scores, masks, limit) - wrong) > 1e-5


def test_auroc_counts_ties_as_half(rng):
    scores, labels = rng.integers(0, 6, 50).astype(np.float32), rng.integers(0, 2, 50)
    pairs = list(itertools.product(scores[labels == 1], scores[labels == 0]))
    expected = np.mean([(a > b) + (a == b) / 2 for a, b in pairs])
    assert metrics.auroc(scores, labels) == pytest.approx(expected, abs=1e-12)


def test_auroc_and_average_precision_equal_scikit_learn(rng):
    for _ in range(1000):
        n, levels = rng.integers(2, 60), rng.integers(2, 40)
        labels = rng.integers(0, 2, n)
        labels[:2] = 0, 1
        scores = np.round(rng.standard_normal(n) * levels) / levels
        assert metrics.auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))
        expected = average_precision_score(labels, scores)
        assert metrics.average_precision(scores, labels) == pytest.approx(expected)


def test_f1_max_is_the_best_of_all_thresholds(rng):
    for _ in range(50):
        scores, labels = rng.integers(0, 9, 30) / 8, rng.integers(0, 2, 30)
        best = (0.0, 0.0)
        for threshold in np.unique(scores):
            found = scores >= threshold
            best = max(
                best, (2 * (found & (labels == 1)).sum() / (found.sum() + labels.sum()), threshold)
            )
        assert metrics.f1_max(scores, labels) == pytest.approx(best)


def test_scores_may_be_any_numbers():
    labels = np.array([0, 0, 1, 1])
    assert metrics.auroc(np.array([-np.inf, 3, 2, np.inf]), labels) == 0.75
    assert metrics.auroc(np.array([-np.inf, np.inf, np.inf, np.inf]), labels) == 0.75
    assert metrics.auroc(np.array([1, 2, 3, 4]), labels) == 1
    # Only float64 tells these apart.
    assert metrics.auroc(np.array([1, 1, 1 + 1e-12, 1 + 1e-12]), labels) == 1
    assert metrics.auroc(np.zeros(4, np.float16), labels > 0) == 0.5


@pytest.mark.parametrize("limit", [0.3, 0.05, 1.0])
@pytest.mark.parametrize("levels", [None, 2])
def test_aupro_equals_a_loop_over_thresholds(rng, limit, levels):
    maps, masks = blobs(rng, levels=levels)
    masks[0, 3:5, 3:9] = masks[0, 5, 9] = 1  # touching only at a corner: one component
    regions = []
    for i, mask in enumerate(masks):
        labels, count = scipy.ndimage.label(mask, np.ones((3, 3)))
        regions += [(i, labels == k, (labels == k).sum()) for k in range(1, count + 1)]
    expected = loop_overlap(maps, masks, regions, limit)
    assert metrics.aupro(maps, masks, limit) == pytest.approx(expected, abs=1e-9)


def test_aupro_has_its_closed_forms(rng):
    _, masks = blobs(rng)
    assert metrics.aupro(masks.astype(float), masks) == pytest.approx(1)
    assert metrics.aupro(-masks.astype(float), masks) == 0
    assert metrics.aupro(np.zeros(masks.shape), masks, 0.3) == pytest.approx(0.15)


@pytest.mark.parametrize("limit", [0.05, 0.3])
@pytest.mark.parametrize("levels", [None, 2])
def test_au_spro_equals_a_loop_over_thresholds(rng, limit, levels):
    maps, masks = blobs(rng, levels=levels)
    regions = [
        [Region(mask > 0, max(1, int(mask.sum() // 3)))] if mask.any() else [] for mask in masks
    ]
    other = np.zeros(masks[1].shape, bool)
    other[2:14, 4:10] = True  # overlaps the first one of this picture
    regions[1].append(Region(other, 20))
    masks[1] |= other
    listed = [(i, *region) for i, several in enumerate(regions) for region in several]
    expected = loop_overlap(maps, masks, listed, limit)
    assert metrics.au_spro(maps, regions, limit) == pytest.approx(expected, abs=1e-9)


def test_au_spro_is_full_once_the_saturation_area_is_found():
    region = np.zeros((10, 10), bool)
    region[:4, :5] = True
    map = np.zeros((10, 10), np.float32)
    map[0, :5] = 1  # a quarter of the region
    assert metrics.au_spro([map], [[Region(region, 5)]]) == pytest.approx(1)
    quarter = metrics.au_spro([map], [[Region(region, 20)]])
    # From a quarter on, the curve rises on a straight line to 1 at a false positive rate of 1.
    assert quarter == pytest.approx(0.25 + 0.75 * 0.05 / 2)


def test_au_spro_with_saturation_at_the_area_is_the_overlap_per_region(rng):
    maps, masks = blobs(rng, n=2)  # one picture with one component
    regions = [[Region(mask > 0, int(mask.sum()))] if mask.any() else [] for mask in masks]
    expected = metrics.aupro(maps, masks, 0.3)
    assert metrics.au_spro(maps, regions, 0.3) == pytest.approx(expected)


def test_maps_of_a_set_may_differ_in_size(rng):
    maps, masks = [], []
    for height, width in [(5, 9), (12, 7)]:
        maps.append(rng.standard_normal((height, width)))
        masks.append(maps[-1] > 0)
    assert metrics.aupro(maps, masks) == pytest.approx(1)


def test_a_metric_is_nan_where_it_is_undefined(rng):
    scores = rng.standard_normal((2, 8, 8))
    normal, defective = np.zeros((2, 8, 8), np.uint8), np.ones((2, 8, 8), np.uint8)
    everywhere = [[Region(mask > 0, 3)] for mask in defective]
    undefined = [
        metrics.auroc(scores, normal),
        metrics.auroc(scores, defective),
        metrics.average_precision(scores, normal),
        *metrics.f1_max(scores, normal),
        metrics.aupro(scores, normal),
        metrics.aupro(scores, defective),
        metrics.au_spro(scores, [[], []]),
        metrics.au_spro(scores, everywhere),
        metrics.auroc(np.zeros(0), np.zeros(0, int)),
    ]
    assert np.isnan(undefined).all()


def test_precision_is_perfect_without_negatives(rng):
    """As average precision and F1 are defined; an evaluation leaves them undefined there."""
    scores, labels = rng.standard_normal(20), np.ones(20, int)
    assert metrics.average_precision(scores, labels) == 1
    assert metrics.f1_max(scores, labels) == (1, scores.min())


def test_metrics_do_not_change_under_a_rising_transform(rng):
    maps, masks = blobs(rng)
    before = all_metrics(maps.astype(np.float64), masks)
    for transform in (np.exp, np.arctan, lambda x: 5 * x - 1000, lambda x: x**3):
        after = all_metrics(transform(maps.astype(np.float64)), masks)
        for name in before:
            if "threshold" not in name:
                assert after[name] == pytest.approx(before[name], abs=1e-12), name


def test_nan_among_scores_is_an_error():
    scores, labels = np.array([0.1, np.nan, 0.3]), np.array([0, 1, 0])
    for metric in (metrics.auroc, metrics.average_precision, metrics.f1_max):
        with pytest.raises(ValueError, match="1 of 3 scores are NaN"):
            metric(scores, labels)
    with pytest.raises(ValueError, match="NaN"):
        metrics.aupro(scores[None, :, None], labels[None, :, None])


def test_wrong_arguments_are_named():
    pixels, map = Pixels(), np.zeros((4, 4), np.float32)
    with pytest.raises(ValueError, match=r"map has shape \(4, 4\), mask \(4, 3\)"):
        pixels.add(map, np.zeros((4, 3), np.uint8))
    with pytest.raises(ValueError, match="saturation area is 0"):
        pixels.add(map, np.ones((4, 4), np.uint8), [Region(map == 0, 0)])
    with pytest.raises(ValueError, match="limit is 30"):
        metrics.aupro(map[None], map[None] > 0, 30.0)


def test_the_curve_has_the_area_of_its_ranking(rng):
    few = rank(rng.integers(0, 5, 40), rng.integers(0, 2, 40))
    many = rank(rng.standard_normal(4000) + np.arange(4000) % 2, np.arange(4000) % 2)
    for ranking, tolerance in [(few, 1e-12), (many, 1e-3)]:
        x, y = ranking.curve()
        assert len(x) <= 1000
        assert x[0] == 0
        assert x[-1] == 1
        assert y[-1] == pytest.approx(1)
        assert (np.diff(x) >= 0).all()
        assert (np.diff(y) >= 0).all()
        for limit in (1.0, 0.3):
            assert curve_area(x, y, limit) == pytest.approx(
                ranking.area(limit).value, abs=tolerance
            )
    x, y = rank(np.zeros(3), np.zeros(3, int)).curve()
    assert len(x) == len(y) == 0


# ---- bins --------------------------------------------------------------------------------------


def bounded(rankings):
    """Every metric with its error, by name."""
    found = {f"area_{limit}_{name}": getattr(rankings, name).area(limit)
             for name in rankings._fields for limit in (1.0, 0.3, 0.05)}  # fmt: skip
    return found | {
        "average_precision": rankings.pixels.average_precision(),
        "f1_max": rankings.pixels.f1_max()[0],
    }


def collected(maps, masks, exact_pixels):
    pixels = Pixels(exact_pixels)
    for map, mask in zip(maps, masks, strict=True):
        pixels.add(
            map, mask, [Region(mask > 0, max(1, int(mask.sum()) // 2))] if mask.any() else []
        )
    return pixels


def per_picture(maps):
    return np.arange(len(maps), dtype=np.float32)[:, None, None]


SETS = {
    "smooth": lambda maps: maps,
    "ties": lambda maps: np.round(maps * 2) / 2,
    "two_values": lambda maps: (maps > 0.7).astype(np.float32),
    "constant": lambda maps: np.zeros_like(maps),
    "close_together": lambda maps: 1 + maps * np.float32(1e-5),
    "tiny": lambda maps: maps * np.float32(1e-30),
    "later_pictures_higher": lambda maps: maps + per_picture(maps),
    "later_pictures_wider": lambda maps: maps * 4 ** per_picture(maps),
    "inverted": lambda maps: -maps,
}


@pytest.mark.parametrize("exact_pixels", [0, 2000])
@pytest.mark.parametrize("name", SETS)
def test_binned_metrics_are_within_their_error(rng, name, exact_pixels):
    maps, masks = blobs(rng, n=9, side=40)
    maps = SETS[name](maps)
    exact, binned = collected(maps, masks, 2**27), collected(maps, masks, exact_pixels)
    assert binned.approximate
    assert not exact.approximate
    truth = bounded(exact.rankings())
    for metric, (value, error) in bounded(binned.rankings()).items():
        assert truth[metric].error == 0
        assert abs(value - truth[metric].value) <= error + 1e-9, metric
        assert error <= 1


def test_errors_hold_for_every_order_within_a_bin():
    # All scores share a bin, so the binned values are the same for each order; the exact ones are
    # not, and the areas differ by as much as the error allows.
    worst = np.zeros(4)
    for order in set(itertools.permutations([1, 1, 1, 0, 0, 0, 0])):
        labels = np.array(order)
        scores = np.linspace(1.001, 1.002, len(order))
        pixels = Pixels(0)
        pixels.edges = np.array([-np.inf, 1.0], np.float32)
        pixels.add(scores[None], labels[None])
        exact, binned = rank(scores, labels), pixels.rankings().pixels
        pairs = [
            (exact.area(), binned.area()),
            (exact.area(0.3), binned.area(0.3)),
            (exact.average_precision(), binned.average_precision()),
            (exact.f1_max()[0], binned.f1_max()[0]),
        ]
        difference = np.array([abs(truth.value - found.value) for truth, found in pairs])
        errors = np.array([found.error for _, found in pairs])
        assert (difference <= errors + 1e-12).all()
        worst = np.maximum(worst, difference)
    np.testing.assert_allclose(worst, errors, atol=1e-12)


def test_bins_made_from_a_fair_sample_cost_little(rng):
    # Scores far from 0 and close together, where a grid over all numbers has one bin for all.
    masks = np.zeros((12, 128, 128), np.uint8)
    masks[::2, 40:60, 40:60] = 1
    maps = 1 + 1e-3 * (rng.standard_normal(masks.shape) + 2 * masks)
    binned = collected(maps.astype(np.float32), masks, 4 * 128**2)
    for metric, (_, error) in bounded(binned.rankings()).items():
        assert error < 5e-3, metric


def test_bins_have_16_bits_and_hold_every_number(rng):
    scores = rng.standard_normal(10**5).astype(np.float32)
    edges = bin_edges([scores], [scores[:1000] + 9])
    assert len(edges) <= 2**16
    assert edges[0] == -np.inf
    assert (np.diff(edges[1:]) > 0).all()
    assert len(bin_edges([], [])) > 2**14


def test_memory_is_constant_beyond_the_exact_pixels(rng):
    maps, masks = blobs(rng)
    sizes = [len(pickle.dumps(collected(maps[:n], masks[:n], 1000))) for n in (4, 6)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.01)


def test_binned_counts_are_those_of_the_exact_thresholds(rng):
    maps, masks = blobs(rng)
    maps = np.round(maps * 4) / 4  # every value is an edge: bins lose nothing
    exact, binned = (collected(maps, masks, n).rankings().pixels for n in (2**27, 0))
    np.testing.assert_array_equal(binned.threshold, exact.threshold)
    np.testing.assert_array_equal(binned.gain, exact.gain)
    np.testing.assert_array_equal(binned.reached, exact.reached)
    assert binned.f1_max()[0].value == exact.f1_max()[0].value
    assert binned.f1_max()[1] == exact.f1_max()[1]


@pytest.mark.parametrize("exact_pixels", [2**27, 0])
def test_groups_are_ranked_apart(rng, exact_pixels):
    maps, masks = blobs(rng)
    groups = ["" if not mask.any() else "ab"[i % 2] for i, mask in enumerate(masks)]
    pixels = Pixels(exact_pixels)
    for map, mask, group in zip(maps, masks, groups, strict=True):
        pixels.add(map, mask, group=group)
    chosen = [group in ("", "a") for group in groups]
    expected = collected(maps[chosen], masks[chosen], exact_pixels).rankings()
    assert 0 < sum(chosen) < len(groups)
    for name in ("pixels", "components"):
        found = getattr(pixels.rankings({"", "a"}), name)
        assert found.negatives == getattr(expected, name).negatives
        assert found.total == getattr(expected, name).total
        assert found.area(0.3).value == pytest.approx(
            getattr(expected, name).area(0.3).value, abs=1e-6
        )


# ---- inside jit --------------------------------------------------------------------------------


def test_pairwise_auroc_equals_auroc_under_jit_and_vmap(rng):
    scores = np.round(rng.standard_normal((5, 30)) * 3).astype(np.float32)
    labels = rng.integers(0, 2, (5, 30))
    found = jax.jit(jax.vmap(metrics.pairwise_auroc))(scores, labels)
    expected = [metrics.auroc(*row) for row in zip(scores, labels, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.isnan(jax.jit(metrics.pairwise_auroc)(scores[0], np.ones(30, int)))
    scores[0, 3] = np.nan
    assert np.isnan(jax.jit(metrics.pairwise_auroc)(scores[0], labels[0]))
