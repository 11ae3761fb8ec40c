"""States on the way, of which held-out normal images choose one when training is over.

They travel beside the optimiser's state: saved and resumed with it, and dropped with it.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxad.detector import State
from jaxad.members import nth


class Opt(NamedTuple):
    """What stands in `State.opt` while there are candidates.

    Attributes:
      optimizer: the optimiser's state.
      kept: parameters and statistics of the candidates, stacked.
    """

    optimizer: PyTree
    kept: tuple[PyTree, PyTree]


def none_yet(optimizer: PyTree, params: PyTree, stats: PyTree, count: int) -> Opt:
    """Room for `count` candidates, and the optimiser's state."""
    room = jax.tree.map(lambda x: jnp.zeros((count, *jnp.shape(x)), x.dtype), (params, stats))
    return Opt(optimizer, room)


def added(state: State, before: Opt, steps: int) -> State:
    """A state after a step, with itself among the candidates.

    Each is overwritten until its share of the run is over: of 3 candidates and 300 steps, those
    after steps 100, 200 and 300 remain.

    Args:
      state: with the optimiser's state alone in `opt`.
      before: the candidates before the step.
      steps: of the whole run.
    """
    place = _place(state.step, before.kept, steps)
    current = state.params, state.stats
    kept = jax.tree.map(lambda room, x: room.at[place].set(x), before.kept, current)
    return state._replace(opt=Opt(state.opt, kept))


def lowest(state: State, steps: int, loss: Callable[[PyTree, PyTree], Float[Array, ""]]) -> State:
    """The state with parameters and statistics of the candidate that has the lowest loss.

    Args:
      state: with candidates; of them only those count that the run has reached.
      steps: of the whole run.
      loss: (params, stats) -> loss on held-out normal images; not within `jax.jit`.
    """
    kept = state.opt.kept
    reached = int(_place(state.step, kept, steps)) + 1
    losses = [float(loss(*nth(kept, i))) for i in range(reached)]
    params, stats = nth(kept, losses.index(min(losses)))
    return state._replace(params=params, stats=stats)


def _place(step: Array, kept: PyTree, steps: int) -> Array:
    """Where the state after `step` lies."""
    count = len(jax.tree.leaves(kept)[0])
    return jnp.clip((step - 1) * count // steps, 0, count - 1)
