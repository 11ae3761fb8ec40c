"""Several detectors that differ in their random numbers, as one."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxad import compile
from jaxad.detector import (
    Detector,
    Images,
    Nearest,
    Pictures,
    Prediction,
    State,
    config,
    static,
    takes_no_steps,
    unchanged,
)
from jaxad.ops.stacked import nth, stack
from jaxad.ops.terms import total
from jaxad.wrappers.around import Around, inside, of_inside, where


@functools.cache
def ensemble(detector: Detector) -> Detector:
    """Several members that differ in their random numbers; the mean of their maps and scores.

    `parts` are "spread", the standard deviation of the members' maps, and "score_spread"; `nearest`
    is the first member's. Setting `members`: how many.

    >>> from jaxad.methods import stfpm
    >>> ensemble(stfpm.DETECTOR).name
    'ensemble(stfpm)'
    """

    @config
    class Config(Around):
        """Settings of the detectors inside, and how many they are."""

        inside: Any = detector.Config()
        members: int = static(3, least=1)

    def init(cfg: Any, pretrained: PyTree, key: Array) -> State:
        keys = jax.random.split(key, cfg.members)
        return joined([detector.init(cfg.inside, pretrained, k) for k in keys])

    def train_step(
        cfg: Any, pretrained: PyTree, state: State, batch: dict, key: Array
    ) -> tuple[State, dict[str, Array]]:
        def step(params: PyTree, stats: PyTree, opt: PyTree, key: Array) -> tuple[State, dict]:
            member = State(state.step, params, stats, opt)
            return detector.train_step(cfg.inside, pretrained, member, batch, key)

        keys = jax.random.split(key, cfg.members)
        moved, metrics = compile.each(step)(state.params, state.stats, state.opt, keys)
        return moved._replace(step=moved.step[0]), {name: x.mean() for name, x in metrics.items()}

    def measure(cfg: Any, pretrained: PyTree, state: State, pictures: Pictures) -> State:
        found = [detector.measure(cfg.inside, pretrained, m, pictures) for m in several(cfg, state)]
        return joined(found)

    def calibrate(cfg: Any, pretrained: PyTree, state: State, pictures: Pictures) -> State:
        members = several(cfg, state)
        return joined([detector.calibrate(cfg.inside, pretrained, m, pictures) for m in members])

    def predict(cfg: Any, pretrained: PyTree, state: State, images: Images) -> Prediction:
        found = [detector.predict(cfg.inside, pretrained, m, images) for m in several(cfg, state)]
        maps, scores = jnp.stack([x.map for x in found]), jnp.stack([x.score for x in found])
        spread = {"spread": maps.std(0), "score_spread": scores.std(0)}
        return Prediction(maps.mean(0), scores.mean(0), spread)

    def heldout_loss(
        cfg: Any, pretrained: PyTree, state: State, images: Images
    ) -> Float[Array, "B"]:
        loss, members = inside(detector.heldout_loss), several(cfg, state)
        losses = [loss(cfg, pretrained, m, images) for m in members]
        return total(losses) / len(losses)

    def nearest(cfg: Any, pretrained: PyTree, state: State, images: Images) -> Nearest:
        return inside(detector.nearest)(cfg, pretrained, several(cfg, state)[0], images)

    def several(cfg: Any, state: State) -> list[State]:
        learned = state.params, state.stats, state.opt
        return [State(state.step, *nth(learned, i)) for i in range(cfg.members)]

    def joined(members: list[State]) -> State:
        return stack(members)._replace(step=members[0].step)

    return of_inside(detector)._replace(
        name=f"ensemble({detector.name})",
        Config=Config,
        init=init,
        train_step=where(detector.train_step, takes_no_steps, train_step),
        measure=measure,
        calibrate=where(detector.calibrate, unchanged, calibrate),
        predict=predict,
        heldout_loss=where(detector.heldout_loss, None, heldout_loss),
        nearest=where(detector.nearest, None, nearest),
    )
