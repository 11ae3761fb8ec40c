"""The one loop of single runs and of sweeps, in memory or in a folder."""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jaxtyping import Array

from jaxad.detector import State
from jaxad.mesh import hosts
from jaxad.training.checkpoint import RunFolder
from jaxad.training.interruption import Asked, put_off
from jaxad.training.progress import CHUNK, Progress
from jaxad.training.selection import Keeper

log = logging.getLogger(__name__)

Advance = Callable[[State, Iterable], tuple[State, dict[str, Array]]]
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
    asked: Asked | None = None,
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
      asked: to end; then the state is saved after the step that is being taken.

    Returns:
      the last state; what the keeper keeps is the caller's to ask for.
    """
    if save and step == last == 0:
        save(step, state)
    asked = Asked() if asked is None else asked
    pending = None
    with progress:
        while step < last and not progress.stopped and not asked.all:
            ends = [last, step + CHUNK]
            if save:
                ends.append(step - step % save_every + save_every)
            if keeper:
                ends.append(keeper.next_look(step))
            state, metrics = advance(state, _drawn(iterator, min(ends) - step, asked))
            step += len(metrics["loss"])
            asked.all = hosts.any_wants(bool(asked))  # to end after the same step
            if pending is not None:
                progress.add(*pending)
            pending = step, metrics
            saves = save and (step % save_every == 0 or asked.all)
            looking = keeper if keeper and keeper.looks_at(step) else None
            if step == last or saves or looking or hosts.count() > 1:  # which have just met
                progress.add(*pending)
                pending = None
            if step == last or saves:
                progress.check(step, state)  # the loss was fine; the update may have spoiled it
            if looking:
                progress.note(step, heldout_loss=looking.look(state))
            if save and (saves or step == last):
                save(step, state)
    return state


def _drawn(iterator: Iterator, count: int, asked: Asked) -> Iterator:
    """So many batches, or fewer if asked to end meanwhile, but one at least.

    Of many hosts each draws as many as the others.
    """
    for number in range(count):
        if number and asked and hosts.count() == 1:
            return
        yield next(iterator)


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
    """What the keeper keeps of a `loop` from the newest checkpoint, or from `first()`.

    Raises:
      KeyboardInterrupt: a signal came; the state is saved.
    """
    keeper.begin(template)
    found, step = folder.restore((template, keeper.best), iterator)
    if found is None:
        state = first()
        keeper.begin(state)
    else:
        (state, keeper.best) = found
        log.info("continuing %s at step %d", folder.path, step)

    progress.write_to(folder.path / "metrics.jsonl", step)
    with put_off() as asked:

        def save(step: int, state: State) -> None:
            folder.save(step, (state, keeper.best), iterator)
            if asked.all:
                folder.close()  # waits until it is on disk
                log.info("saved %s at step %d", folder.path, step)
            elif at_save is not None:
                at_save(step, state)

        state = loop(
            advance, state, iterator, step, last, progress, keeper, save, save_every, asked
        )
        if asked.all and hosts.count() > 1:
            raise hosts.AllInterrupted
    if asked:
        raise KeyboardInterrupt
    return keeper.kept(state)
