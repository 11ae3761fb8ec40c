"""Masks as a whole: as many, as large and as fragmented as the recipe's plain loop makes them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats

from jaxad.synthesis import perlin, recipe
from jaxad.synthesis.augmenters import rotated

SIZE, COUNT = 128, 960


def perlin_noise(rng, cells):
    """Noise by its definition: ramps of the four corners of a pixel's cell, blended."""
    angle = 2 * np.pi * rng.random((cells[0] + 1, cells[1] + 1))
    y, x = (np.arange(SIZE) * n / SIZE for n in cells)
    row, column = np.int32(y)[:, None], np.int32(x)[None]
    fy, fx = (y % 1)[:, None], (x % 1)[None]
    fade = lambda t: 6 * t**5 - 15 * t**4 + 10 * t**3
    total = np.zeros((SIZE, SIZE))
    for down in (0, 1):
        for right in (0, 1):
            turn = angle[row + down, column + right]
            ramp = np.cos(turn) * (fy - down) + np.sin(turn) * (fx - right)
            weight = np.abs(1 - down - fade(fy)) * np.abs(1 - right - fade(fx))
            total += weight * ramp
    return np.sqrt(2) * total


def plain_mask(rng):
    """Cells drawn once, noise up to 50 times, until something is above the threshold."""
    cells = 2 ** rng.integers(0, 6, 2)
    for _ in range(50):
        noise = perlin_noise(rng, cells)
        turned = ndimage.rotate(noise, rng.uniform(-90, 90), reshape=False, order=1)
        if (turned > 0.5).any():
            break
    return turned > 0.5


def statistics(masks):
    """Of each mask: covered share, number of components, share of the largest, whether empty."""
    rows = []
    for mask in masks:
        labels, count = ndimage.label(mask)
        sizes = np.bincount(labels.ravel())[1:]
        rows.append((mask.mean(), count, sizes.max(initial=0) / SIZE**2, not mask.any()))
    return np.array(rows, float)


@pytest.fixture(scope="module")
def both():
    """Statistics of the plain loop's masks and of ours."""
    rng = np.random.default_rng(0)
    plain = statistics([plain_mask(rng) for _ in range(COUNT)])
    draw = jax.jit(jax.vmap(functools.partial(recipe.random_mask, tries=10), (0, None)))
    keys = jax.random.split(jax.random.key(0), (COUNT // 24, 24))
    drawn = [np.asarray(draw(part, jnp.ones((SIZE, SIZE)))) > 0 for part in keys]
    return plain, statistics(np.concatenate(drawn))


@pytest.mark.slow
@pytest.mark.parametrize("column", [0, 1, 2], ids=["coverage", "components", "largest"])
def test_masks_are_distributed_as_those_of_the_plain_loop(both, column):
    plain, ours = (rows[:, column] for rows in both)
    assert stats.ks_2samp(plain, ours).pvalue > 0.01


def thin():
    """A bar of three columns."""
    return jnp.zeros((SIZE, SIZE)).at[:, 61:64].set(1.0)


def small():
    """A disk of 16 pixels across."""
    y, x = jnp.mgrid[:SIZE, :SIZE] - 40
    return (jnp.hypot(y, x) < 8).astype(jnp.float32)


def nothing_in_ten(key, foreground):
    """Whether ten masks are all empty, each looked at in full."""
    cells_key, *keys = jax.random.split(key, 11)
    cells = perlin.random_cells(cells_key)

    def highest(key):
        noise_key, angle_key = jax.random.split(key)
        noise = perlin.random_noise(noise_key, cells, foreground.shape)
        angle = jax.random.uniform(angle_key, minval=-90.0, maxval=90.0)
        return recipe.restricted(rotated(noise, angle), foreground).max()

    return jax.vmap(highest)(jnp.stack(keys)).max() == 0


@pytest.mark.slow
@pytest.mark.parametrize("foreground", [thin, small])
def test_masks_of_thin_and_small_objects_are_empty_hardly_more_often_than_at_best(foreground):
    draw = jax.jit(jax.vmap(functools.partial(recipe.random_mask, tries=10), (0, None)))
    keys = jax.random.split(jax.random.key(1), 96)
    empty = (draw(keys, foreground()).max((1, 2)) == 0).mean()
    at_best = jax.jit(jax.vmap(nothing_in_ten, (0, None)))(keys, foreground()).mean()
    assert empty < at_best + 0.1


@pytest.mark.slow
def test_hardly_any_mask_is_empty(both):
    plain, ours = (rows[:, 3].mean() for rows in both)
    assert plain < 0.02
    assert ours < 0.05
