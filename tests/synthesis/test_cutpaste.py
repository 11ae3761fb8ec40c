"""CutPaste against what its paper says."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad.synthesis import cutpaste

SIDE, COUNT = 64, 200


@pytest.fixture(scope="module")
def image():
    """A picture whose two first channels tell where a pixel comes from."""
    line = jnp.linspace(0.1, 0.9, SIDE)
    rows, columns = jnp.meshgrid(line, line, indexing="ij")
    return jnp.stack([rows, columns, jnp.full((SIDE, SIDE), 0.5)], -1)


@functools.cache
def many(name):
    return jax.jit(jax.vmap(getattr(cutpaste, name), (0, None, None)))


@pytest.fixture(scope="module")
def made(image):
    """name -> many damaged versions of the picture."""
    keys = jax.random.split(jax.random.key(0), COUNT)
    return {name: many(name)(keys, image, 1.0) for name in ("cutpaste", "scar")}


def test_rectangles_have_the_papers_areas_and_aspects(made):
    mask = np.asarray(made["cutpaste"].mask) > 0
    heights, widths = (mask.any(axis).sum(1) for axis in (2, 1))
    np.testing.assert_array_equal(mask.sum((1, 2)), heights * widths)  # whole, none cut off
    share = mask.mean((1, 2))
    assert (share.min() > 0.015) & (share.max() < 0.165)
    assert 0.07 < share.mean() < 0.10
    aspect = heights / widths
    assert (aspect.min() > 0.24) & (aspect.max() < 4.1)  # 3.3, and sides are even numbers
    assert 0.3 < (aspect > 1).mean() < 0.7


def test_scars_are_thin_turned_and_whole(made):
    mask = np.asarray(made["scar"].mask) > 0
    area = mask.sum((1, 2))
    scale = SIDE / 256
    assert area.max() <= 1.3 * 16 * 25 * scale**2
    assert 0.6 < area.mean() / (9 * 17.5 * scale**2) < 1.6
    for sides in (mask.any(2), mask.any(1)):
        assert not (sides[:, 0] & sides[:, -1]).any()  # none runs out and comes in again
    assert len({m.tobytes() for m in mask}) > 0.9 * COUNT


@pytest.mark.parametrize("name", ["cutpaste", "scar"])
def test_only_the_mask_changes_and_shows_another_place_of_the_image(name, made, image):
    damaged = made[name]
    mask = np.asarray(damaged.mask) > 0
    changed = np.abs(np.asarray(damaged.image) - np.asarray(image)[None]).max(-1)
    assert (changed[~mask] == 0).all()
    assert (damaged.label == 1).all()
    assert ((damaged.image >= 0) & (damaged.image <= 1)).all()
    assert np.mean([c[m].mean() for c, m in zip(changed, mask, strict=True) if m.any()]) > 0.1


def test_a_pasted_rectangle_is_a_window_of_the_image(image, monkeypatch):
    monkeypatch.setattr(cutpaste, "jitter", lambda key, image: image)
    damaged = jax.jit(cutpaste.cutpaste)(jax.random.key(3), image)
    rows, columns = (np.flatnonzero((np.asarray(damaged.mask) > 0).any(axis)) for axis in (1, 0))
    pasted = np.asarray(damaged.image)[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    place = np.abs(np.asarray(image)[..., :2] - pasted[0, 0, :2]).sum(-1)
    top, left = np.unravel_index(place.argmin(), place.shape)
    window = np.asarray(image)[top : top + len(rows), left : left + len(columns)]
    np.testing.assert_allclose(pasted, window, atol=1e-6)
    assert (top, left) != (rows[0], columns[0])


def test_without_damage_the_image_stays(image):
    keys = jax.random.split(jax.random.key(1), 20)
    untouched = many("cutpaste")(keys, image, 0.0)
    assert (untouched.label == 0).all()
    assert (untouched.image == image[None]).all()


def test_colours_change_by_a_tenth_at_most(image):
    keys = jax.random.split(jax.random.key(2), 50)
    changed = jax.vmap(cutpaste.jitter, (0, None))(keys, image)
    difference = jnp.abs(changed - image[None]).max((1, 2, 3))
    assert (difference.min() > 0) & (difference.max() < 0.25)
