"""From a trained state to what a person looks at: metrics, heat maps and a page about them."""

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, PyTree, UInt8
from numpy import ndarray as NpArray

from jaxad import compile
from jaxad.data.pictures import THREADS
from jaxad.data.source import Data, Source, skipped, spread
from jaxad.data.view import WHOLE
from jaxad.detector import Detector, State
from jaxad.evaluation.evaluate import evaluate
from jaxad.evaluation.results import Evaluation
from jaxad.report.nearest import comparisons
from jaxad.report.pages import Report, alarms, colour_scale
from jaxad.training import record

log = logging.getLogger(__name__)

COMPARED = 200  # alarms, at most, that are shown beside what is nearest to them
HELD_OUT = 64  # normal pictures, at most, that set the colour scale


def assess(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    state: State,
    data: Data,
    workdir: str | os.PathLike[str],
    title: str = "Report",
    learned: Source | None = None,
) -> Evaluation:
    """Evaluates on `data.test` and writes `evaluation.json` and `report/` under `workdir`.

    The colour scale of all heat maps is set from held-out normal pictures. Of a detector that
    remembers pictures the page shows alarms beside what is nearest to them.

    Args:
      detector: the method.
      cfg: its settings.
      pretrained: {name: tree} for `cfg.weights`.
      state: trained and calibrated.
      data: the pictures.
      workdir: the folder to write to.
      title: of the page.
      learned: the pictures that the state was measured on; None if they are not at hand.

    Raises:
      ValueError: there is no test set, or a picture cannot be read.
      FloatingPointError: a map or a score is not finite.
      OSError: the folder cannot be written.
    """
    test = data.test_set()
    normal = data.heldout
    if len(normal) == 0:
        log.warning("no pictures are held out: training pictures set the colours of the heat maps")
        normal = data.train
    images, seen = _normal_pictures(normal, cfg.size)
    predict, state = compile.predict(detector), jax.device_put(state._replace(opt=()))
    size = cfg.batch_size
    padded = np.resize(images, (-(-len(images) // size) * size, *images.shape[1:]))
    maps = [
        predict(cfg, pretrained, state, padded[start : start + size]).map
        for start in range(0, len(padded), size)
    ]
    maps = np.concatenate(maps)[: len(images)]
    scale = colour_scale(maps, seen)
    folder = Path(workdir)
    report = Report(folder / "report", test.records, scale)
    evaluation = evaluate(
        detector,
        cfg,
        pretrained,
        state,
        test,
        visit=report.visit,
        level=float(np.median(maps[seen])),
    )
    unread = [one for source in (data.train, data.heldout) for one in skipped(source)]
    evaluation = evaluation._replace(left_out=(*unread, *evaluation.left_out))
    record.write_json(folder / "evaluation.json", evaluation.as_dict())
    compared, alarmed = [], alarms(evaluation.pictures)
    if detector.nearest is not None and learned is not None:
        arguments = detector, cfg, pretrained, state, test, learned, alarmed[:COMPARED]
        try:
            compared = list(comparisons(*arguments))
        except (OSError, ValueError) as error:  # a picture that cannot be read any more
            log.warning("alarms are not shown beside normal pictures: %s", error)
    report.finish(evaluation, title, compared, len(alarmed))
    return evaluation


def _normal_pictures(
    source: Source, size: int
) -> tuple[UInt8[NpArray, "n {size} {size} 3"], Bool[NpArray, "n {size} {size}"]]:
    """Some pictures as a detector sees them, and where in them it is to look."""

    def look(index: int) -> tuple[NpArray, NpArray]:
        item = source[index]
        view = item.get("view", WHOLE)
        return view.square(item["image"], size), view.seen(item["image"].shape[:2], size)

    with ThreadPoolExecutor(THREADS) as pool:
        squares, seen = zip(*pool.map(look, spread(len(source), HELD_OUT)), strict=True)
    return np.stack(squares), np.stack(seen)
