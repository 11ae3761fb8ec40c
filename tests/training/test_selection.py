"""Which state a run ends with: the last one, or the one of the lowest held-out loss."""

import json

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from jaxad import training
from jaxad.data.pictures import image_set
from jaxad.detector import State, override
from jaxad.training.selection import Keeper, heldout_loss


@pytest.fixture(scope="module")
def job(tiny):
    """A run that gets worse in its second half."""
    detector, cfg, pretrained, data, _ = tiny("autoencoder")

    def spoiled(cfg, pretrained, state, batch, key):
        moved, metrics = detector.train_step(cfg, pretrained, state, batch, key)
        worse = jnp.where(moved.step > 6, 1.3, 1.0)
        return moved._replace(params=jax.tree.map(lambda x: x * worse, moved.params)), metrics

    cfg = override(cfg, "steps=12")
    return detector._replace(name="spoiled", train_step=spoiled), cfg, pretrained, data


def assert_equal(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("looks", "last", "steps"),
    [
        (3, 300, [100, 200, 300]),
        (1, 7, [7]),
        (3, 7, [3, 5, 7]),
        (10, 4, [1, 2, 3, 4]),
        (4, 0, []),
    ],
)
def test_looks_are_evenly_spaced_and_the_last_one_is_the_end(looks, last, steps):
    keeper = Keeper(lambda state: 0, looks, last)
    assert [step for step in range(1, last + 1) if keeper.looks_at(step)] == steps
    step, found = 0, []
    while step < last:
        step = keeper.next_look(step)
        found.append(step)
    assert found == steps


def test_the_state_of_the_lowest_held_out_loss_is_the_result(job, tmp_path):
    detector, cfg, pretrained, data = job
    key, states = jax.random.key(0), {}
    kept = training.run(
        *job, key, tmp_path, save_every=2, select="heldout", looks=6,
        at_save=lambda step, state: states.setdefault(step, jax.device_get(state)),
    )  # fmt: skip
    heldout = image_set(data.heldout, cfg.size)
    losses = {
        step: float(heldout_loss(detector, cfg, pretrained, state, heldout))
        for step, state in states.items()
    }
    best = min(losses, key=losses.get)
    assert best == 6
    assert_equal(kept.params, states[best].params)
    assert_equal(kept.stats, states[best].stats)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    noted = {row["step"]: row["heldout_loss"] for row in rows if "heldout_loss" in row}
    assert noted == pytest.approx(losses)
    assert_equal(kept, training.fit(*job, key, select="heldout", looks=6))


def test_looking_changes_nothing_of_the_training(job):
    last = training.fit(*job, jax.random.key(0))
    looked = training.fit(*job, jax.random.key(0), select="heldout", looks=1)
    assert_equal(last, looked)


def test_an_interrupted_selection_continues_bit_for_bit(job, tmp_path):
    class Stop(Exception):
        pass

    def stop(step, state):
        if step == 8:  # after the best one
            raise Stop

    options = {"save_every": 4, "select": "heldout", "looks": 6}
    with pytest.raises(Stop):
        training.run(*job, jax.random.key(0), tmp_path, at_save=stop, **options)
    resumed = training.run(*job, jax.random.key(0), tmp_path, **options)
    whole = training.fit(*job, jax.random.key(0), select="heldout", looks=6)
    assert_equal(resumed._replace(opt=()), whole._replace(opt=()))
    with pytest.raises(ValueError, match="select is 'heldout, 6 looks' there, 'last' now"):
        training.run(*job, jax.random.key(0), tmp_path)


def test_each_of_stacked_states_is_kept_by_its_own_loss():
    series = iter([[3.0, 1.0, jnp.nan], [2.0, 2.0, jnp.nan]])
    keeper = Keeper(lambda state: jnp.array(next(series)), 2, 2)
    states = [State(jnp.full(3, n), {"w": jnp.full((3, 2), n)}, (), ()) for n in (1, 2)]
    keeper.begin(states[0])
    for state in states:
        keeper.look(state)
    kept = keeper.kept(states[1]).params["w"]
    np.testing.assert_array_equal(kept[:2], [[2, 2], [1, 1]])


def test_a_held_out_loss_that_is_never_finite_is_an_error(job):
    detector, *rest = job
    broken = detector._replace(heldout_loss=lambda c, p, s, images: images.mean((1, 2, 3)) / 0)
    with pytest.raises(FloatingPointError, match="held-out loss was never finite"):
        training.fit(broken, *rest, jax.random.key(0), select="heldout")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"select": "test"}, "select='test': expected 'last' or 'heldout'"),
        ({"select": "heldout", "looks": 0}, "looks=0: expected 1 or more"),
    ],
)
def test_ways_to_select_that_do_not_exist_are_refused(job, options, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # which would refuse it first
    with pytest.raises(ValueError, match=message):
        training.fit(*job, jax.random.key(0), **options)
