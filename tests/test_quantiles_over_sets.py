"""Quantiles over a set are those of the whole, which is never put together."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxad import compile
from jaxad.compile import ordered
from jaxad.ops import quantile

LEVELS = (0.0, 0.1, 0.5, 0.9, 0.995, 1.0)


def channels(offset, images):
    """Two kinds of numbers of a picture, one of them negative and with repetitions."""
    return jnp.stack([images[..., 0] * 1.7 + offset, -jnp.round(images[..., 1] * 9)], 1)


def pictures(count):
    return np.random.default_rng(count).integers(0, 256, (count, 6, 5, 3), np.uint8)


@pytest.mark.parametrize("kept", [0, 2**28])
@pytest.mark.parametrize("count", [1, 3, 21])
def test_they_are_those_of_all_numbers_together(count, kept, monkeypatch):
    monkeypatch.setattr(ordered, "KEPT", kept)
    found = compile.quantiles(channels, (jnp.float32(0.25),), pictures(count), LEVELS)
    whole = compile.over_set(channels, (jnp.float32(0.25),), pictures(count))
    expected = [quantile.quantile(whole[:, kind], jnp.array(LEVELS)) for kind in (0, 1)]
    np.testing.assert_array_equal(found, np.stack(expected))
    assert found.dtype == jnp.float32


def test_what_is_computed_again_is_read_again(monkeypatch):
    reads = []

    class Counting(np.ndarray):
        def __getitem__(self, some):
            reads.append(some)
            return np.asarray(self)[some]

    several = pictures(9).view(Counting)
    compile.quantiles(channels, (jnp.float32(0),), several, (0.5,))
    assert len(reads) == 2  # slices of 8 and 1
    monkeypatch.setattr(ordered, "KEPT", 0)
    compile.quantiles(channels, (jnp.float32(0),), several, (0.5,))
    assert len(reads) == 2 + 2 * 2


def test_of_numbers_that_are_none_they_are_none():
    found = compile.quantiles(channels, (jnp.float32(np.nan),), pictures(2), (0.5,))
    assert np.isnan(found).tolist() == [[True], [False]]


def test_positions_in_a_set_beyond_32_bits_are_exact():
    assert ordered._position(2**40 + 1, 0.5) == (2**39, 0.0)
    assert ordered._position(1000, 0.75) == (749, 0.25)
