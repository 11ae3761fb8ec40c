"""Changes of colour are drawn for each image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad.ops import colour


@pytest.fixture(scope="module")
def pictures():
    # Dark and of small range: nothing is clipped, so the factor can be read off.
    one = np.random.default_rng(0).uniform(0.3, 0.6, (1, 6, 5, 3))
    return jnp.asarray(np.repeat(one, 600, 0), jnp.float32)


def test_jitter_changes_one_of_three_and_by_at_most_a_fifth(pictures):
    changed = np.asarray(colour.jitter(pictures, jax.random.key(0)), np.float64)
    original = np.asarray(pictures, np.float64)
    grey = np.asarray(colour.luma(pictures), np.float64)
    targets = {
        "brightness": np.zeros((600, 1, 1, 1)),
        "contrast": grey.mean((1, 2, 3), keepdims=True),
        "saturation": grey,
    }
    counts = dict.fromkeys(targets, 0)
    for i in range(len(original)):
        moved = changed[i] - original[i]
        for kind, target in targets.items():
            away = original[i] - target[i]
            share = (moved * away).sum() / (away**2).sum()
            if np.abs(moved - share * away).max() < 1e-5:
                counts[kind] += 1
                assert abs(share) <= 0.2 + 1e-5
                break
        else:
            pytest.fail("neither brightness nor contrast nor saturation")
    assert all(count > 150 for count in counts.values()), counts  # 200 expected, deviation 12


def test_factors_differ_between_images_and_repeat_with_the_key(pictures):
    changed = colour.jitter(pictures, jax.random.key(0))
    assert len(np.unique(np.asarray(changed).reshape(600, -1), axis=0)) > 550
    np.testing.assert_array_equal(changed, colour.jitter(pictures, jax.random.key(0)))


def test_three_of_ten_pictures_lose_their_colours(pictures):
    found = np.asarray(colour.grey(pictures, jax.random.key(1), 0.3))
    colourless = np.ptp(found, -1).max((1, 2)) < 1e-6
    assert 0.3 * 600 - 45 < colourless.sum() < 0.3 * 600 + 45  # four deviations
    np.testing.assert_array_equal(found[~colourless], np.asarray(pictures)[~colourless])
