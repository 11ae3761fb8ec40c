"""An alarm beside its nearest normal place."""

import numpy as np
import pytest

from jaxad.report.nearest import cut, drawn, outlined
from jaxad.report.panels import THUMBNAIL


def halves():
    image = np.zeros((64, 64, 3), np.uint8)
    image[32:] = 200
    return image


@pytest.mark.parametrize(
    ("box", "level"),
    [
        ((0.6, 0.2, 0.9, 0.5), 200),
        ((0.1, 0.2, 0.4, 0.5), 0),
        ((-0.3, -0.3, 0.1, 0.1), 0),  # moved inside, not filled with what is not there
        ((0.9, 0.9, 1.3, 1.3), 200),
    ],
)
def test_a_place_is_cut_out_and_moved_inside(box, level):
    found = np.asarray(cut(halves(), np.array(box)))
    assert found.shape == (THUMBNAIL, THUMBNAIL, 3)
    assert (found == level).all()


def test_the_whole_picture_is_a_place_too():
    found = np.asarray(cut(halves(), np.array([0.0, 0.0, 1.0, 1.0])))
    assert found[:60].max() == 0
    assert found[84:].min() == 200


def test_the_frame_lies_around_the_place():
    image = np.full((64, 64, 3), 90, np.uint8)
    found = np.asarray(outlined(image, np.array([0.25, 0.5, 0.75, 1.0])))
    changed = np.argwhere((found != 90).any(-1))
    low, high = changed.min(0) / THUMBNAIL, changed.max(0) / THUMBNAIL
    np.testing.assert_allclose([*low, *high], [0.25, 0.5, 0.75, 1.0], atol=0.03)


def test_whole_pictures_stand_side_by_side_alone():
    box = np.array([0.0, 0.0, 1.0, 1.0])
    assert drawn(halves(), box, halves(), box).width < 3 * THUMBNAIL


def test_four_parts_stand_side_by_side():
    box = np.array([0.0, 0.0, 0.5, 0.5])
    image = drawn(halves(), box, 255 - halves(), box)
    assert image.height == THUMBNAIL
    assert image.width > 4 * THUMBNAIL
