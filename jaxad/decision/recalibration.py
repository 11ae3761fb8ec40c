"""A new card for a trained model from files of normal pictures: today's light and camera."""

import logging
import pathlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from jaxad.data.files import counted, shown
from jaxad.data.pictures import THREADS
from jaxad.data.reading import OnBadImage
from jaxad.decision.batches import Raw, Seen
from jaxad.decision.card import Card, Normals
from jaxad.decision.normals import Gathered, card_of
from jaxad.decision.predictor import Predictor
from jaxad.decision.scale import Scale

log = logging.getLogger(__name__)

GIVEN = "given for calibration"


def blank(model: str, categories: Sequence[str], tiles: int = 0) -> Card:
    """A card without normals, for a predictor that is to be calibrated."""
    none = Normals(np.zeros(0), np.zeros(0), "none")
    return Card(model, dict.fromkeys(categories, none), Scale(0.0, 1.0), 0.0, tiles=tiles)


def recalibrated(
    predictor: Predictor,
    paths: Sequence[pathlib.Path],
    on_bad_image: OnBadImage = "error",
) -> Card:
    """The card of what a predictor scores on these pictures, in place of its own.

    Other categories of the predictor's card, the rate that it aims at, and a fixed threshold stay;
    the colour scale then spans those of all.

    Args:
      predictor: whose category the pictures are of.
      paths: normal pictures that were not learned from.
      on_bad_image: "skip" leaves out files that cannot be used, and logs them.

    Raises:
      FileNotFoundError: a file is gone.
      ValueError: there are no pictures, or one cannot be used.
      FloatingPointError: a map or a score is not finite.
    """
    bad: list[pathlib.Path] = []

    def see(path: pathlib.Path) -> Seen | None:
        try:
            return predictor.see(path)
        except (ValueError, OSError, MemoryError):
            if on_bad_image == "error":
                raise
            bad.append(path)
            return None

    def finish(seen: Seen, raw: Raw) -> tuple[np.ndarray, float]:
        predictor.check(seen, raw)
        view, size = predictor.preprocessing.view, predictor.cfg.size
        where = [cut.view(view).seen((cut.height, cut.width), size) for cut in seen.cuts]
        return raw.maps[np.stack(where)], float(raw.scores.max())

    gathered = Gathered(len(paths))
    with ThreadPoolExecutor(THREADS) as pool:
        for found in predictor.stream(paths, pool, see, finish):
            if found is not None:
                gathered.add(*found)
    if bad:
        left = [path for path in paths if path in bad]  # threads may have met them otherwise
        log.warning("left out %s that cannot be used:%s", counted(len(left), "file"), shown(left))
    if not gathered.scores:
        raise ValueError(f"no normal pictures to calibrate with: {len(paths)} given, none usable")
    card = predictor.card
    name = predictor.category or next(iter(card.normals))
    new = card_of({name: gathered}, card.model, GIVEN, tiles=card.tiles)
    others = [one for other, one in card.normals.items() if other != name and len(one.scores)]
    if others:  # whose maps are seen in the same colours
        scale = Scale(min(card.scale.low, new.scale.low), max(card.scale.high, new.scale.high))
        return card._replace(normals={**card.normals, **new.normals}, scale=scale)
    return card._replace(normals={**card.normals, **new.normals}, scale=new.scale, level=new.level)
