"""Successive halving: the worse half goes, what stays is what a whole sweep finds."""

import jax
import numpy as np
import pytest

from jaxad import sweep
from jaxad.detector import override


@pytest.fixture(scope="module")
def job(tiny):
    detector, cfg, pretrained, data, _ = tiny("stfpm")
    cfg = override(cfg, "steps=9")
    rates = sweep.grid(cfg, lr=[1e-4, 0.1, 1e30, 0.03]) + sweep.grid(cfg, upsampling=["once"])
    return detector, rates, pretrained, data, jax.random.split(jax.random.key(2), 2)


def assert_equal(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("at_once", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_survivors_are_those_of_a_whole_sweep(job, at_once):
    _detector, configs, _pretrained, _data, _keys = job
    halved = sweep.halve(*job, at=[3, 6], at_once=at_once)
    whole = sweep.fit(*job)
    assert [len(cut.kept) for cut in halved.cuts] == [3, 2]
    assert 2 not in halved.cuts[0].kept  # it diverged
    assert 0 not in halved.cuts[0].kept  # it hardly learns
    assert halved.configs == tuple(configs[place] for place in halved.cuts[-1].kept)
    for s, place in enumerate(halved.cuts[-1].kept):
        for k in range(2):
            assert_equal(halved.members.state(halved.configs, s, k), whole.state(configs, place, k))
    assert halved.members.diverged.shape == (2, 2)


def test_the_mean_loss_since_the_cut_before_decides(job):
    detector, configs, pretrained, data, keys = job
    cut = sweep.halve(detector, configs[:2], pretrained, data, keys, at=[4]).cuts[0]
    assert cut.values[0] < cut.values[1]
    assert cut.kept == (1,)


def test_a_given_score_decides(job):
    detector, configs, pretrained, data, keys = job
    score = lambda cfg, pretrained, state: -cfg.lr * float(state.step)
    halved = sweep.halve(detector, configs[:2], pretrained, data, keys, at=[4], score=score)
    assert halved.cuts[0].kept == (0,)
    assert halved.cuts[0].values == {0: pytest.approx(-4e-4), 1: pytest.approx(-0.4)}


@pytest.mark.parametrize("at", [[0], [9], [6, 3], [3, 3]])
def test_cuts_must_rise_from_the_first_step_to_before_the_last(job, at):
    with pytest.raises(ValueError, match="expected rising steps from 1 to 8"):
        sweep.halve(*job, at=at)


@pytest.mark.slow
def test_a_team_that_waits_is_not_on_the_device(job, states_on_device):
    """Between cuts, and while others train: the states of one team at a time."""
    detector, configs, pretrained, data, keys = job
    counts = states_on_device(detector, configs[0], pretrained)
    sweep.halve(detector, configs[:2], pretrained, data, keys, at=[3], at_once=2)
    assert len(counts) == 2
    assert max(counts) == min(counts)
