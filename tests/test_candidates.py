"""States on the way: which of them are kept, and that the lowest loss chooses."""

import jax.numpy as jnp
import pytest

from jaxad import candidates
from jaxad.detector import State


def run(steps, count, taken):
    """The state after so many steps, each of which sets the only parameter to its number."""
    opt = candidates.none_yet((), jnp.zeros(1), {"seen": jnp.int32(0)}, count)
    state = State(jnp.int32(0), jnp.zeros(1), {"seen": jnp.int32(0)}, opt)
    for n in range(1, taken + 1):
        moved = State(jnp.int32(n), jnp.full(1, float(n)), {"seen": jnp.int32(10 * n)}, ())
        state = candidates.added(moved, state.opt, steps)
    return state


@pytest.mark.parametrize(
    ("steps", "count", "kept"),
    [(300, 3, [100, 200, 300]), (7, 3, [3, 5, 7]), (4, 4, [1, 2, 3, 4]), (5, 1, [5])],
)
def test_candidates_are_evenly_spaced_and_the_last_one_is_the_end(steps, count, kept):
    params, stats = run(steps, count, steps).opt.kept
    assert params.ravel().tolist() == kept
    assert stats["seen"].tolist() == [10 * n for n in kept]


def test_the_lowest_loss_chooses_parameters_and_statistics():
    state = run(30, 3, 30)
    chosen = candidates.lowest(state, 30, lambda params, stats: jnp.abs(params[0] - 19))
    assert chosen.params.tolist() == [20]
    assert int(chosen.stats["seen"]) == 200
    assert int(chosen.step) == 30


def test_candidates_that_were_not_reached_are_not_chosen():
    state = run(30, 3, 12)  # the second one is the present state, the third is still empty
    chosen = candidates.lowest(state, 30, lambda params, stats: jnp.abs(params[0]))
    assert chosen.params.tolist() == [10]
    chosen = candidates.lowest(state, 30, lambda params, stats: -params[0])
    assert chosen.params.tolist() == [12]
