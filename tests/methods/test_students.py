"""Losses of a teacher of patches, against loops and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad.methods import students


def draws(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_knowledge_is_the_mean_squared_distance():
    decoded, target = draws(2, 7, 5)
    expected = np.mean([np.sum((d - t) ** 2) for d, t in zip(decoded, target, strict=True)])
    assert float(students.knowledge(*map(jnp.asarray, (decoded, target)))) == pytest.approx(
        expected, rel=1e-5
    )


def test_a_triplet_compares_the_negative_with_the_nearer_of_the_two():
    zero, one, two = (jnp.full((1, 1), float(x)) for x in (0, 1, 2))
    # anchor 0, positive 1: apart by 1; negative 2 is 1 from the positive and 4 from the anchor.
    assert float(students.triplet(zero, one, two, margin=0.5)) == 0.5
    assert float(students.triplet(one, zero, two, margin=0.5)) == 0.5
    assert float(students.triplet(zero, zero, two, margin=0.5)) == 0.0


def test_triplets_are_averaged_after_the_margin():
    anchor, positive, negative = draws(3, 20, 4)
    losses = []
    for a, p, n in zip(anchor, positive, negative, strict=True):
        far = min(np.sum((a - n) ** 2), np.sum((p - n) ** 2))
        losses.append(max(0.0, 1.0 + np.sum((a - p) ** 2) - far))
    assert min(losses) == 0 < max(losses)
    found = students.triplet(*map(jnp.asarray, (anchor, positive, negative)))
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-5)


def test_compactness_is_the_sum_of_the_correlations_off_the_diagonal():
    x = draws(30, 6) * np.arange(1, 7, dtype=np.float32) + 5
    correlations = np.corrcoef(x.astype(float).T)
    expected = correlations.sum() - np.trace(correlations)
    assert float(students.compactness(jnp.asarray(x))) == pytest.approx(expected, rel=1e-4)


def test_a_constant_channel_has_no_correlation_and_no_nan():
    x = jnp.asarray(draws(30, 3)).at[:, 1].set(2.0)
    value, gradient = jax.value_and_grad(students.compactness)(x)
    others = np.corrcoef(np.asarray(x)[:, 0], np.asarray(x)[:, 2])[0, 1]
    assert float(value) == pytest.approx(2 * others, abs=1e-4)
    assert np.isfinite(gradient).all()


def test_one_descriptor_is_refused():
    with pytest.raises(ValueError, match="batch of 2 or more"):
        students.compactness(jnp.zeros((1, 4)))
