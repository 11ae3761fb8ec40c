"""The colour scale of a model."""

import numpy as np
import pytest

from jaxad.decision.scale import colour_scale


def test_scale_runs_from_the_upper_tenth_to_twice_as_far_as_the_highest_normal_value():
    scale = colour_scale(np.arange(11.0), 10.0)
    assert scale == (9.0, 11.0)
    assert scale.normal == 10.0


def test_normals_never_pass_the_middle_of_the_scale():
    maps = np.random.default_rng(0).lognormal(size=(5, 16, 16)).astype(np.float32)
    scale = colour_scale(maps.ravel(), float(maps.max()))
    positions = np.stack([scale(map) for map in maps])
    assert positions.max() == pytest.approx(0.5, abs=1e-6)
    assert (positions == 0).mean() == pytest.approx(0.9, abs=1e-3)


@pytest.mark.parametrize(("value", "high"), [(0.0, 1.0), (3.0, 6.0), (-2.0, 0.0)])
def test_constant_maps_still_give_a_scale(value, high):
    scale = colour_scale(np.full(32, value, np.float32), value)
    assert scale == (value, high)
    assert scale(np.full((4, 4), value, np.float32)).max() == 0


def test_rounding_noise_counts_as_constant():
    values = np.full(16, 3.0, np.float32)
    values[0] = np.nextafter(np.float32(3), np.float32(4))
    assert colour_scale(values, float(values[0])) == (3.0, 6.0)


def test_a_scale_without_maps_is_an_error():
    with pytest.raises(ValueError, match="at least one normal picture"):
        colour_scale(np.zeros(0), 0.0)
