"""Layers of a page: the same colours as an overlay, small or of full size."""

import inspect

import numpy as np
import pytest
from PIL import Image

from jaxad.decision.scale import Scale
from jaxad.report.heatmap import overlay
from jaxad.report.layers import layers

SCALE = Scale(0.2, 1.2)


def over(below, above):
    """Pixels under a layer with opacity, as a browser lays them."""
    alpha = above[..., 3:] / 255
    return below * (1 - alpha) + above[..., :3] * alpha


def drawn(shape=(40, 60)):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*shape, 3), np.uint8)
    mask = np.zeros(shape, np.uint8)
    mask[10:20, 20:35] = 1
    return image, rng.random(shape).astype(np.float32) * 1.5, mask


def test_the_map_over_the_grey_picture_is_the_overlay():
    image, map, _ = drawn()
    found = layers(image, map, None, SCALE)
    grey = np.asarray(Image.fromarray(found.picture).convert("L").convert("RGB"), float)
    np.testing.assert_allclose(over(grey, found.map), overlay(image, map, SCALE), atol=2.0)
    np.testing.assert_array_equal(found.picture, image)


def test_the_outline_is_that_of_the_overlay():
    image, map, mask = drawn()
    truth = layers(image, map, mask, SCALE).truth
    plain, outlined = overlay(image, map, SCALE), overlay(image, map, SCALE, mask)
    changed = (plain != outlined).any(-1)
    assert ((truth[..., 3] > 0) >= changed).all()
    line = truth[..., 3] == 255
    np.testing.assert_array_equal(outlined[line], truth[line][:, :3])


@pytest.mark.parametrize(
    ("shape", "side", "size"),
    [((40, 60), 30, (20, 30)), ((9, 7), 30, (9, 7)), ((1, 400), 40, (1, 40))],
)
def test_small_layers_keep_the_shape_and_none_grows(shape, side, size):
    image, map, mask = drawn((max(shape[0], 21), max(shape[1], 36)))
    cut = np.s_[: shape[0], : shape[1]]
    found = layers(image[cut], map[cut], np.ones_like(mask[cut]), SCALE, side)
    assert found.picture.shape[:2] == found.map.shape[:2] == found.truth.shape[:2] == size


def test_a_defect_of_one_pixel_is_still_outlined_when_small():
    image, map, mask = np.zeros((400, 400, 3), np.uint8), np.zeros((400, 400)), np.zeros((400, 400))
    mask[201, 77] = 1
    truth = layers(image, map, mask.astype(np.uint8), SCALE, 100).truth
    y, x = np.nonzero(truth[..., 3] == 255)
    assert abs(y.mean() - 50) <= 1
    assert abs(x.mean() - 19) <= 1


def test_without_a_mask_there_is_no_outline():
    image, map, mask = drawn()
    assert layers(image, map, None, SCALE).truth is None
    assert layers(image, map, np.zeros_like(mask), SCALE).truth is None


def test_maps_that_cannot_be_shown_are_errors():
    image, map, _ = drawn()
    unchecked = inspect.unwrap(layers)  # without the run-time check of shapes, as for users
    with pytest.raises(ValueError, match=r"map of size \(10, 60\)"):
        unchecked(image, map[:10], None, SCALE)
    map[3, 3] = np.inf
    with pytest.raises(ValueError, match="NaN or infinite"):
        layers(image, map, None, SCALE)
