"""From a trained state to what a person looks at: metrics, heat maps and a page about them."""

import logging
import os
from pathlib import Path
from typing import Any

from jaxtyping import PyTree

from jaxad import whole
from jaxad.data.source import Data, Source, skipped
from jaxad.decision.card import Card
from jaxad.detector import Detector, State
from jaxad.evaluation.bootstrap import intervals
from jaxad.evaluation.evaluate import evaluate
from jaxad.evaluation.results import Evaluation
from jaxad.report.alarms import alarms
from jaxad.report.facts import facts
from jaxad.report.nearest import comparisons
from jaxad.report.pages import Report, Style
from jaxad.training import record

log = logging.getLogger(__name__)

COMPARED = 200  # alarms, at most, that are shown beside what is nearest to them


def assess(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    state: State,
    data: Data,
    card: Card,
    workdir: str | os.PathLike[str],
    title: str = "Report",
    learned: Source | None = None,
    run: str | os.PathLike[str] | None = None,
    style: Style = Style(),  # noqa: B008, immutable
) -> Evaluation:
    """Evaluates on `data.test` and writes `evaluation.json` and `report/` under `workdir`.

    Of a detector that remembers pictures the page shows alarms beside what is nearest to them.

    Args:
      detector: the method.
      cfg: its settings.
      pretrained: {name: tree} for `cfg.weights`.
      state: trained and calibrated.
      data: the pictures.
      card: the model's: what is an alarm, and the colours of all heat maps.
      workdir: the folder to write to.
      title: of the page.
      learned: the pictures that the state was measured on; None if they are not at hand.
      run: the folder of the run, of which the page tells; `workdir` by default.
      style: how the page is written.

    Raises:
      ValueError: there is no test set, a picture cannot be read, or the card is for tiles.
      FloatingPointError: a map or a score is not finite.
      OSError: the folder cannot be written.
    """
    if card.tiles:
        raise ValueError(
            f"the card is for tiles of {card.tiles} pixels, but whole pictures are evaluated: give "
            "that card to `jaxad predict --card`, and make one of whole pictures by `calibrate`"
        )
    test = data.test_set()
    folder = Path(workdir)
    whole.ready(folder)
    report = Report(folder / "report", test.records, card, style)
    evaluation = evaluate(
        detector,
        cfg,
        pretrained,
        state,
        test,
        visit=report.visit,
        level=card.level,
    )
    unread = [one for source in (data.train, data.heldout) for one in skipped(source)]
    evaluation = evaluation._replace(left_out=(*unread, *evaluation.left_out))
    bounds = intervals(evaluation.pictures)
    told = evaluation.as_dict() | {"intervals": bounds.as_dict()}
    record.write_json(folder / "evaluation.json", told)
    compared, alarmed, gap = [], alarms(evaluation.pictures, card), ""
    if detector.nearest is None:
        gap = f"{detector.name} remembers no pictures"
    elif learned is None:
        gap = "the pictures that the run learned from are not at hand"
    else:
        arguments = detector, cfg, pretrained, state, test, learned, alarmed[:COMPARED]
        try:
            compared = list(comparisons(*arguments))
        except (OSError, ValueError) as error:  # a picture that cannot be read any more
            log.warning("alarms are not shown beside normal pictures: %s", error)
            gap = str(error)
    place = folder if run is None else Path(run)
    about = facts(detector, cfg, place, data, own=learned is not None)
    gaps = [f"no alarm stands beside the nearest normal picture: {gap}"] if gap else []
    report.finish(evaluation, title, compared, len(alarmed), about, bounds, gaps)
    return evaluation
