"""Resizing within a program against Pillow's."""

import jax
import jax.export
import numpy as np
import pytest

from jaxad.data.view import View
from jaxad.ops.squares import squares

SHAPES = [(64, 64), (37, 100), (200, 301), (30, 20), (64, 128), (513, 511), (2, 3)]
TALL = [(100, 37), (301, 200)]  # whose rows Pillow may take first


@pytest.fixture(scope="module")
def resized():
    """fit -> the function for pictures of any size, compiled for symbolic sides."""
    found = {}
    sides = jax.export.symbolic_shape("batch, height, width")
    for fit in ("squeeze", "pad", "crop"):
        function = jax.jit(lambda x, fit=fit: squares(x, 64, fit))
        shape = jax.ShapeDtypeStruct((*sides, 3), "uint8")
        found[fit] = jax.export.export(function)(shape).call
    return found


@pytest.mark.parametrize("shape", SHAPES + TALL)
@pytest.mark.parametrize("fit", ["squeeze", "pad", "crop"])
def test_squares_are_pillows_to_one_level(resized, fit, shape):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, *shape, 3), np.uint8)
    found = np.asarray(resized[fit](images)).astype(int)
    expected = np.stack([View(fit).square(image, 64) for image in images]).astype(int)
    differ = np.abs(found - expected)
    assert differ.max() <= 1
    assert (differ > 0).mean() < (0.3 if shape in TALL else 0.01)


def test_a_square_of_the_size_is_itself(resized):
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    for function in resized.values():
        np.testing.assert_array_equal(function(images), images)
