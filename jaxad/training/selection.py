"""Which state a run ends with: the last one, or the one whose held-out loss is lowest.

Held-out pictures are normal ones that are not learned from, and never test pictures.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxad import compile, mesh
from jaxad.detector import Detector, Pictures, State

Select = Literal["last", "heldout"]
Losses = Callable[[State], Float[Array, "*m"]]  # of one state, or of each of stacked ones

LOOKS = 10  # at the held-out loss, evenly spaced over the steps, the last one at their end


class Best(NamedTuple):
    """The lowest held-out loss so far, and what had it; stacked for several members.

    Attributes:
      loss: infinite before the first look.
      params: of the state that had it.
      stats: of the state that had it.
    """

    loss: Float[Array, "*m"]
    params: PyTree
    stats: PyTree


class Keeper:
    """Looks at states now and then, and keeps what the run is to end with.

    Attributes:
      best: saved and restored with the state; () where the last state is kept.
    """

    def __init__(self, losses: Losses | None, looks: int, last: int):
        """Of a run.

        Args:
          losses: held-out losses; None keeps the last state.
          looks: how often.
          last: step of the run.
        """
        self._losses, self._looks, self._last = losses, min(looks, last), last
        self.best: Best | tuple[()] = ()

    def begin(self, state: State) -> None:
        """Makes room for the best of states like this one; or its abstract form, of shapes."""
        if self._losses is None:
            return
        loss = jax.tree.map(lambda step: _like(step, jnp.float32, jnp.inf), state.step)
        room = jax.tree.map(lambda x: _like(x, x.dtype, 0), (state.params, state.stats))
        self.best = Best(loss, *room)

    def next_look(self, step: int) -> int:
        """The step of the first look after `step`."""
        if self._losses is None or step >= self._last:
            return self._last
        done = step * self._looks // self._last
        return -(-(done + 1) * self._last // self._looks)

    def looks_at(self, step: int) -> bool:
        """Whether there is a look after `step`."""
        return self._losses is not None and self.next_look(step - 1) == step

    def look(self, state: State) -> Float[np.ndarray, "*m"]:
        """Keeps the state, or those of stacked ones, if none before had a loss as low.

        Raises:
          ValueError: the last state is kept.
        """
        if self._losses is None:
            raise ValueError("the last state is kept: there is no held-out loss to look at")
        losses = self._losses(state)
        self.best = compile.jit(_better, free=True)(self.best, losses, state.params, state.stats)
        return np.asarray(losses)

    def kept(self, state: State) -> State:
        """What the run ends with, given its last state.

        Raises:
          FloatingPointError: no held-out loss of a single run was finite.
        """
        if not isinstance(self.best, Best) or not self._last:
            return state
        if np.ndim(self.best.loss) == 0 and not np.isfinite(self.best.loss):
            raise FloatingPointError("the held-out loss was never finite")
        return state._replace(params=self.best.params, stats=self.best.stats)


def keeper(
    detector: Detector, cfg: Any, select: Select, losses: Losses, looks: int = LOOKS
) -> Keeper:
    """The keeper that `select` says.

    Raises:
      ValueError: the detector has no held-out loss, or `select` or `looks` makes no sense.
    """
    if select not in ("last", "heldout"):
        raise ValueError(f"select={select!r}: expected 'last' or 'heldout'")
    if looks < 1:
        raise ValueError(f"looks={looks}: expected 1 or more")
    if select == "last":
        return Keeper(None, looks, cfg.steps)
    _loss_of(detector)
    return Keeper(losses, looks, cfg.steps)


def heldout_loss(
    detector: Detector, cfg: Any, pretrained: PyTree, state: State, pictures: Pictures
) -> Float[Array, ""]:
    """The mean of a detector's held-out loss over a set of pictures.

    Raises:
      ValueError: the detector has none.
    """
    arguments = (cfg, pretrained, state._replace(opt=()))
    return compile.over_set(_loss_of(detector), arguments, pictures).mean()


def _loss_of(detector: Detector) -> Callable[..., Float[Array, "B"]]:
    if detector.heldout_loss is None:
        raise ValueError(f"select='heldout': {detector.name} has no held-out loss; use 'last'")
    return detector.heldout_loss


def _better(best: Best, loss: Float[Array, "*m"], params: PyTree, stats: PyTree) -> Best:
    lower = loss < best.loss  # of NaN never

    def chosen(old: Array, new: Array) -> Array:
        return jnp.where(lower.reshape(lower.shape + (1,) * (old.ndim - lower.ndim)), new, old)

    return jax.tree.map(chosen, best, Best(loss, params, stats))


def _like(x: Any, dtype: Any, value: int | float) -> Any:
    """As many numbers `value`, or the shape of them where `x` is only a shape."""
    if isinstance(x, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct(x.shape, dtype, sharding=x.sharding)
    place = x.sharding if mesh.current() is not None else None
    return jnp.full(jnp.shape(x), value, dtype, device=place)
