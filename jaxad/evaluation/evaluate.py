"""Evaluation: a detector's predictions over a test set, and the metrics of each category.

F1-max picks its threshold on the test labels themselves: an oracle, to be compared with other
oracles, and no operating performance. Pixel metrics are at the size of the masks: each map is
resized once, from what `predict` gives to what the mask has.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float32, PyTree
from numpy import ndarray as NpArray

from jaxad.data.source import Item, Source, skipped
from jaxad.detector import Detector, State
from jaxad.evaluation.category import category, group
from jaxad.evaluation.pixels import EXACT_PIXELS, Pixels
from jaxad.evaluation.predictions import predictions
from jaxad.evaluation.results import Evaluation, Scored, mean

Map = Float32[NpArray, "H W"]


def evaluate(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    state: State,
    test: Source,
    *,
    exact_pixels: int = EXACT_PIXELS,
    batch_size: int | None = None,
    visit: Callable[[int, Item, Map, float], None] | None = None,
    level: float | None = None,
) -> Evaluation:
    """Predicts every picture of `test` and measures each category.

    Categories are taken one after the other, so that the pixels of only one are held, and their
    pictures in an order that is shuffled, the same way every time.

    Args:
      detector: the method.
      cfg: its settings.
      pretrained: {name: tree} for `cfg.weights`.
      state: trained and calibrated.
      test: pictures with labels, perhaps with masks and regions.
      exact_pixels: up to which the pixel metrics of a category are exact; beyond, memory stays
        constant and they come with a bound of their error. See `Pixels`.
      batch_size: pictures in one call of predict; `cfg.batch_size` by default.
      visit: called for each picture with index, item, map at the mask's size, and score.
      level: of maps where nothing is looked at (see `data.view.View`): that of normal pictures; by
        default the lowest value of the picture's own map.

    Raises:
      ValueError: there are no pictures, or one cannot be read.
      FloatingPointError: a map or a score is not finite.

    >>> import jax, jaxad
    >>> from jaxad.data import workpieces
    >>> from jaxad.methods import autoencoder
    >>> cfg = autoencoder.Config(size=64, batch_size=2, steps=2, widths=(4, 8))
    >>> data = workpieces.load("plate", size=64, train=4, heldout=2, test=(2, 1))
    >>> state = jaxad.fit(autoencoder.DETECTOR, cfg, {}, data, jax.random.key(0))
    >>> found = evaluate(autoencoder.DETECTOR, cfg, {}, state, data.test)
    >>> 0 <= found.mean["image_auroc"] <= 1, list(found.categories), len(found.pictures)
    (True, ['plate'], 12)
    """
    if len(test) == 0:
        raise ValueError(f"no pictures to evaluate on: {test!r} is empty")
    order = np.random.default_rng(0).permutation(len(test)).tolist()
    order.sort(key=lambda index: test.records[index].category)
    scores = np.zeros(len(test))
    categories = {}
    predicted = predictions(detector, cfg, pretrained, state, test, order, batch_size)
    with predicted as pictures:
        for name, several in itertools.groupby(pictures, lambda x: x.picture.record.category):
            pixels = Pixels(exact_pixels) if test.has_masks else None
            for picture, map, score in several:
                mask, view = picture.item["mask"], picture.view
                map = view.placed(map, mask.shape, float(map.min()) if level is None else level)
                scores[picture.index] = score
                if pixels is not None:
                    counted = view.counted(mask.shape)
                    pixels.add(map, mask, picture.regions, group(picture.record), counted)
                if visit is not None:
                    visit(picture.index, picture.item, map, score)
            members = [i for i, record in enumerate(test.records) if record.category == name]
            records = [test.records[i] for i in members]
            categories[name] = category(records, scores[members], pixels, test.has_regions)
    return Evaluation(
        mean([found.metrics for found in categories.values()]),
        categories,
        tuple(Scored(*pair) for pair in zip(test.records, scores.tolist(), strict=True)),
        skipped(test),
    )
