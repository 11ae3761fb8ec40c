"""Cards from normal pictures: those held out, or each scored by a model that had not seen it."""

import logging
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, PyTree
from numpy import ndarray as NpArray

from jaxad import progress
from jaxad.data.files import counted
from jaxad.data.multiclass import Pool
from jaxad.data.part import Part
from jaxad.data.source import Data, Source, spread
from jaxad.decision.card import Card, Normals
from jaxad.decision.scale import colour_scale
from jaxad.detector import Detector, State, takes_no_steps, unchanged
from jaxad.evaluation.predictions import predictions
from jaxad.training import fitting
from jaxad.training import record as records

log = logging.getLogger(__name__)

MAPS, VALUES = 64, 65_536  # of a category, and of each, at most, that set the colour scale
FOLDS = 5
HELD_OUT = "held out of training"
NONE = "none: there are too few pictures to hold some out"
CROSS_FIT = "each scored by a model that learned from the others"


class Gathered:
    """Scores and peaks of a category's pictures as they come, and some values of their maps.

    Args:
      count: of the pictures that are to come.
    """

    def __init__(self, count: int) -> None:
        self._kept = set(spread(count, MAPS))
        self.scores: list[float] = []
        self.peaks: list[float] = []
        self.values: list[NpArray] = []

    def add(self, values: Float[NpArray, "n"], score: float) -> None:
        """Takes in the values of a picture's map where it is looked at, and its score."""
        if len(self.scores) in self._kept:
            self.values.append(values[:: -(-len(values) // VALUES)])
        self.scores.append(score)
        self.peaks.append(float(values.max()))


def scored(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    state: State,
    source: Source,
    origin: str = HELD_OUT,
    caveat: str = "",
) -> Card:
    """The card of what a model scores on normal pictures.

    Args:
      detector: the method.
      cfg: its settings.
      pretrained: {name: tree} for `cfg.weights`.
      state: trained and calibrated.
      source: normal pictures that it has not learned from.
      origin: of the pictures, in words.
      caveat: why what follows from them is approximate; empty where it is not.

    Raises:
      ValueError: there are no pictures, or one cannot be read.
      FloatingPointError: a map or a score is not finite.
    """
    if len(source) == 0:
        raise ValueError(f"no normal pictures to make a card of: {source!r} is empty")
    gathered = _by_category(source)
    _gather(gathered, detector, cfg, pretrained, state, source)
    return card_of(gathered, records.model(pretrained, state), origin, caveat)


def cross_fit(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    state: State,
    data: Data,
    key: Array,
    folds: int = FOLDS,
) -> Card:
    """The card of all normal pictures of a run, each scored by a model that did not learn from it.

    The pictures to learn from and those held out are dealt into folds by `key`; for each fold a
    model learns from the others, all from the same number, so that nothing compiles anew. Costs as
    many trainings. The models differ from the one that is used, so p-values are approximate and
    nothing is guaranteed (the "CV" of Barber et al., "Predictive inference with the jackknife+",
    2021); `recalibrated` makes a card for which it is.

    Args:
      detector: the method.
      cfg: its settings.
      pretrained: {name: tree} for `cfg.weights`.
      state: of the model that the card is for, which learned from `data.train`.
      data: of the run; `data.test` is not read.
      key: decides about the folds, and what is random in each model.
      folds: at most; of fewer pictures, one for each.

    Raises:
      ValueError: there are too few pictures; or as `check`.
    """
    check(detector, cfg, folds)
    pool = Pool([data.train, data.heldout])
    folds = min(folds, len(pool))
    learning = len(pool) - -(-len(pool) // folds)
    least = 1 if detector.calibrate is unchanged else 2
    if folds < 2 or learning < least:
        raise ValueError(
            f"cross-fit: {counted(len(pool), 'normal picture')} in {folds} folds leave {learning} "
            f"to learn from, expected {least} at least; --folds 0 does without"
        )
    log.info(
        "the card is cross-fit: %d models learn, each from %d of %s; none with --folds 0",
        folds, learning, counted(len(pool), "picture"),
    )  # fmt: skip
    order = np.asarray(jax.random.permutation(jax.random.fold_in(key, folds), len(pool)))
    gathered = _by_category(pool)
    for fold in progress.shown(range(folds), "cross-fitting", folds, "model"):
        scored = order[fold::folds].tolist()
        rest = order[~np.isin(order, scored)][:learning].tolist()
        part = _learned_from(detector, data, pool, rest)
        with progress.quiet():
            learned = fitting.fit(detector, cfg, pretrained, part, jax.random.fold_in(key, fold))
        _gather(gathered, detector, cfg, pretrained, learned, Part(pool, scored))
    caveat = f"{folds} models that learned from a part of the pictures scored the rest"
    return card_of(gathered, records.model(pretrained, state), CROSS_FIT, caveat)


def check(detector: Detector, cfg: Any, folds: int | None) -> None:
    """Looks at whether a card can be cross-fit in so many folds, before anything is learned.

    Args:
      detector: the method.
      cfg: its settings.
      folds: as for `of_run`.

    Raises:
      ValueError: one fold leaves nothing to learn from; or a stream of the method belongs to the
        pictures of `Data.train` one by one, so that a model cannot learn from others.
    """
    if folds == 1:
        raise ValueError("folds=1 (--folds): expected two or more, or 0 for no cross-fit card")
    paired = [stream.name for stream in detector.streams(cfg) if stream.paired]
    if folds and paired:
        raise ValueError(
            f"folds={folds} (--folds): {detector.name} has a {paired[0]} for each picture that it "
            "learns from, not for those held out, and cannot be cross-fit"
        )


def of_run(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    state: State,
    data: Data,
    key: Array,
    *,
    needed: int,
    select: str = "last",
    folds: int | None = None,
) -> Card:
    """The card of a run: of the pictures held out or, where they are few, cross-fit.

    Cross-fitting is the default for methods that take no steps: it costs them little.

    Args:
      detector: the method.
      cfg: its settings.
      pretrained: {name: tree} for `cfg.weights`.
      state: trained and calibrated.
      data: what it learned from.
      key: of the run.
      needed: how many held-out pictures are enough.
      select: how the run selected its state; see `training.fit`.
      folds: cross-fits in any case, or with 0 in none; None decides as said above.
    """
    few = len(data.heldout) < needed and detector.train_step is takes_no_steps
    total = len(data.train) + len(data.heldout)
    if total > 1 and (folds or (folds is None and few)):
        return cross_fit(detector, cfg, pretrained, state, data, key, folds or FOLDS)
    if not len(data.heldout):
        log.warning("no pictures are held out: the card has no normal scores, so no labels follow")
        card = scored(detector, cfg, pretrained, state, data.train, NONE)
        none = np.zeros(0)
        return card._replace(normals={n: Normals(none, none, NONE) for n in card.normals})
    reasons = []
    if select == "heldout":
        reasons.append("selected the state")
    if detector.calibrate is not unchanged:
        reasons.append("calibrated the maps")
    caveat = f"the held-out pictures also {' and '.join(reasons)}" if reasons else ""
    return scored(detector, cfg, pretrained, state, data.heldout, HELD_OUT, caveat)


def _learned_from(detector: Detector, data: Data, pool: Pool, places: list[int]) -> Data:
    """The data of a fold's model: what is not learned from is calibrated on, where that is due."""
    share = max(1, round(len(places) * len(data.heldout) / len(pool)))
    share = share if detector.calibrate is not unchanged else 0
    return data._replace(train=Part(pool, places[share:]), heldout=Part(pool, places[:share]))


def _by_category(source: Source) -> dict[str, Gathered]:
    names = [record.category for record in source.records]
    return {name: Gathered(names.count(name)) for name in dict.fromkeys(names)}


def _gather(
    gathered: Mapping[str, Gathered],
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    state: State,
    source: Source,
) -> None:
    with predictions(detector, cfg, pretrained, state, source) as found:
        for picture, map, score in found:
            seen = picture.view.seen(picture.item["image"].shape[:2], cfg.size)
            gathered[picture.record.category].add(map[seen], score)


def card_of(
    found: Mapping[str, Gathered], model: str, origin: str, caveat: str = "", tiles: int = 0
) -> Card:
    """The card of what was gathered, by category.

    Args:
      found: at least one picture of each category.
      model: fingerprint of the model.
      origin: of the pictures, in words.
      caveat: why what follows from them is approximate.
      tiles: see `Card`.
    """
    normals = {
        name: Normals(
            np.sort(np.asarray(one.scores, np.float64)),
            np.sort(np.asarray(one.peaks, np.float64)),
            origin,
            caveat,
        )
        for name, one in found.items()
    }
    values = np.concatenate([some for one in found.values() for some in one.values])
    scale = colour_scale(values, max(max(one.peaks) for one in found.values()))
    return Card(model, normals, scale, float(np.median(values)), tiles=tiles)
