"""Regions of painted maps, worked out by hand, and against a slow flood fill."""

import numpy as np
import pytest

from jaxad.decision.regions import regions


def test_painted_parts_are_found_the_highest_first():
    map = np.zeros((6, 9), np.float32)
    map[1:3, 1:4] = 2  # a block of 2 rows and 3 columns
    map[4, 7] = 5  # a pixel, and one that touches its corner
    map[5, 8] = 3
    found, labels = regions(map, 1.0)
    assert [one.box for one in found] == [(7, 4, 9, 6), (1, 1, 4, 3)]
    assert [one.area for one in found] == [2, 6]
    assert [one.peak for one in found] == [5, 2]
    assert [one.mean for one in found] == [4, 2]
    assert [one.centroid for one in found] == [(7.5, 4.5), (2, 1.5)]
    np.testing.assert_array_equal(labels, np.where(map == 2, 2, np.where(map > 0, 1, 0)))


def test_a_pixel_at_the_threshold_is_normal_and_small_parts_do_not_count():
    map = np.zeros((4, 8), np.float32)
    map[0, 0], map[2, 2:5], map[0, 7] = 1, 3, 4
    found, labels = regions(map, 1.0, least=2)
    assert [one.area for one in found] == [3]
    assert labels.max() == 1
    assert (labels > 0).sum() == 3
    nothing, labels = regions(map, 9.0)
    assert nothing == []
    assert not labels.any()


def flooded(above):
    """Sets of pixels that touch one another."""
    left, parts = {tuple(place) for place in np.argwhere(above)}, []
    while left:
        part, open_ = set(), [left.pop()]
        while open_:
            y, x = open_.pop()
            part.add((y, x))
            near = {(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            open_ += near
        parts.append(part)
    return parts


@pytest.mark.parametrize("seed", range(5))
def test_regions_are_those_of_a_flood_fill(seed):
    map = np.random.default_rng(seed).random((17, 23)).astype(np.float32)
    found, labels = regions(map, 0.7)
    expected = flooded(map > 0.7)
    assert len(found) == len(expected)
    for part in expected:
        y, x = np.array(sorted(part)).T
        (number,) = {labels[place] for place in part}
        one = found[number - 1]
        assert one.box == (x.min(), y.min(), x.max() + 1, y.max() + 1)
        assert (one.area, one.peak) == (len(part), map[y, x].max())
        np.testing.assert_allclose(one.centroid, (x.mean(), y.mean()))
        np.testing.assert_allclose(one.mean, map[y, x].mean(), rtol=1e-6)
