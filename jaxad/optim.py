"""From a loss to a moved state; schedules as fractions of a run."""

from collections.abc import Callable
from typing import Any

import jax
import optax
from jaxtyping import Array, PyTree

from jaxad.detector import Scalar, State


def gradient_step(
    loss: Callable,
    optimizer: optax.GradientTransformation,
    cfg: Any,
    pretrained: PyTree,
    state: State,
    batch: dict[str, PyTree],
    key: Array,
) -> tuple[State, dict[str, Array]]:
    """One step of `optimizer` on `loss`.

    Args:
      loss: (params, cfg, pretrained, stats, batch, key) -> (loss, (stats, metrics)).

    Returns:
      the next state, and the metrics with `loss` among them.
    """
    gradient = jax.value_and_grad(loss, has_aux=True)
    (value, (stats, metrics)), grads = gradient(
        state.params, cfg, pretrained, state.stats, batch, key
    )
    updates, opt = optimizer.update(grads, state.opt, state.params)
    params = optax.apply_updates(state.params, updates)
    return State(state.step + 1, params, stats, opt), {"loss": value, **metrics}


def gradient_steps(
    loss: Callable, optimizer: Callable[[Any], optax.GradientTransformation]
) -> Callable[..., tuple[State, dict[str, Array]]]:
    """The `train_step` of a detector that takes one `gradient_step` on one loss.

    Args:
      loss: as `gradient_step`'s.
      optimizer: (cfg) -> the optimiser.
    """

    def train_step(
        cfg: Any, pretrained: PyTree, state: State, batch: dict[str, PyTree], key: Array
    ) -> tuple[State, dict[str, Array]]:
        return gradient_step(loss, optimizer(cfg), cfg, pretrained, state, batch, key)

    return train_step


def adam_l2(
    lr: Scalar | optax.Schedule, weight_decay: Scalar, b1: float = 0.9, b2: float = 0.999
) -> optax.GradientTransformation:
    """Adam with decay added to the gradient, as torch's `Adam(weight_decay=...)`; not AdamW."""
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.adam(lr, b1, b2))


def sgd_l2(lr: Scalar, momentum: Scalar, weight_decay: Scalar) -> optax.GradientTransformation:
    """Momentum descent, decay added to the gradient: torch's `SGD(momentum=, weight_decay=)`."""
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.sgd(lr, momentum))


def clipped_adamw(
    lr: Scalar | optax.Schedule, weight_decay: Scalar, norm: Scalar
) -> optax.GradientTransformation:
    """AdamW on gradients whose global norm is cut to `norm`; decay is lr * weight_decay."""
    return optax.chain(optax.clip_by_global_norm(norm), optax.adamw(lr, weight_decay=weight_decay))


def dropped(lr: Scalar, steps: int, at: float, factor: float = 0.1) -> optax.Schedule:
    """`lr`, times `factor` from step int(at * steps) on."""
    return optax.piecewise_constant_schedule(lr, {int(at * steps): factor})
