"""The one loop of single runs and of sweeps, in memory or in a folder."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

from jaxtyping import Array

from jaxad.detector import State
from jaxad.training.checkpoint import RunFolder
from jaxad.training.progress import CHUNK, Progress
from jaxad.training.selection import Keeper

log = logging.getLogger(__name__)

Advance = Callable[[State, list], tuple[State, dict[str, Array]]]
Save = Callable[[int, State], None]


def loop(
    advance: Advance,
    state: State,
    iterator: Iterator,
    step: int,
    last: int,
    progress: Progress,
    keeper: Keeper | None = None,
    save: Save | None = None,
    save_every: int = 0,
) -> State:
    """Takes the steps after `step` up to `last`.

    Metrics are fetched one chunk late, so the device never waits.

    Args:
      advance: (state, batches) -> (state, metrics stacked over the batches).
      state: of one run, or stacked.
      iterator: over batches.
      step: taken before.
      last: to end with.
      progress: sees the metrics, and checks the state wherever it is saved and at the end.
      keeper: looks at the state now and then.
      save: called with step and state every `save_every` steps and at the end, even of no steps.
      save_every: steps.

    Returns:
      the last state; what the keeper keeps is the caller's to ask for.
    """
    if save and step == last == 0:
        save(step, state)
    pending = None
    with progress:
        while step < last and not progress.stopped:
            ends = [last, step + CHUNK]
            if save:
                ends.append(step - step % save_every + save_every)
            if keeper:
                ends.append(keeper.next_look(step))
            count = min(ends) - step
            batches = [next(iterator) for _ in range(count)]
            state, metrics = advance(state, batches)
            step += count
            if pending is not None:
                progress.add(*pending)
            pending = step, metrics
            saves = save and step % save_every == 0
            looks = keeper and keeper.looks_at(step)
            if step == last or saves or looks:
                progress.add(*pending)
                pending = None
            if step == last or saves:
                progress.check(step, state)  # the loss was fine; the update may have spoiled it
            if looks:
                progress.note(step, heldout_loss=keeper.look(state))
            if save and (saves or step == last):
                save(step, state)
    return state


def loop_in_folder(
    folder: RunFolder,
    template: State,
    first: Callable[[], State],
    advance: Advance,
    iterator: Any,
    last: int,
    progress: Progress,
    keeper: Keeper,
    save_every: int,
    at_save: Save | None = None,
) -> State:
    """What the keeper keeps of a `loop` from the newest checkpoint, or from `first()`."""
    keeper.begin(template)
    found, step = folder.restore((template, keeper.best), iterator)
    if found is None:
        state = first()
        keeper.begin(state)
    else:
        (state, keeper.best) = found
        log.info("continuing %s at step %d", folder.path, step)

    def save(step: int, state: State) -> None:
        folder.save(step, (state, keeper.best), iterator)
        if at_save is not None:
            at_save(step, state)

    progress.write_to(folder.path / "metrics.jsonl", step)
    state = loop(advance, state, iterator, step, last, progress, keeper, save, save_every)
    return keeper.kept(state)
