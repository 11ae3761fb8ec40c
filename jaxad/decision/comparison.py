"""The same pictures judged by several runs: where they agree, and where they do not."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from jaxad.decision.card import Label
from jaxad.evaluation.metrics import auroc
from jaxad.progress import plain

UNUSABLE, UNLABELLED = "cannot be used", "no label"
COUNTED = ("normal", "anomalous", UNLABELLED, UNUSABLE)


class Verdict(NamedTuple):
    """What one run says of one picture.

    Attributes:
      score: as the detector gave it; None of a picture that cannot be used.
      percentile: share of the card's normal pictures, from 0 to 100, at or below it.
      p_value: probability that a normal picture scores as high.
      label: None where the card has no limit, or the picture cannot be used.
      regions: how many there are.
      error: why the picture cannot be used; None if it can.
    """

    score: float | None
    percentile: float | None = None
    p_value: float | None = None
    label: Label | None = None
    regions: int = 0
    error: str | None = None

    @classmethod
    def of(cls, row: dict[str, Any]) -> "Verdict":
        """That of a row of `bulk.rows`."""
        if "error" in row:
            return cls(None, error=plain(row["error"]))
        values = (row[name] for name in ("score", "percentile", "p_value", "label"))
        return cls(*values, regions=len(row["regions"]))

    @property
    def outcome(self) -> str:
        """One of `COUNTED`."""
        return UNUSABLE if self.error is not None else self.label or UNLABELLED


class Judged(NamedTuple):
    """What one run says of all pictures.

    Attributes:
      name: of the run.
      limit: where its alarms begin, in words.
      verdicts: one for each picture, in the order of the comparison.
    """

    name: str
    limit: str
    verdicts: list[Verdict]

    def counts(self) -> dict[str, int]:
        """The number of pictures of each outcome, for all of `COUNTED`."""
        found = Counter(verdict.outcome for verdict in self.verdicts)
        return {name: found[name] for name in COUNTED}


class Correlation(NamedTuple):
    """How alike two runs rank the pictures.

    Attributes:
      runs: their names.
      pictures: that both have scores of.
      rank: Spearman's correlation, from -1 to 1; None of fewer than two pictures, or where a run
        gives all of them one score.
    """

    runs: tuple[str, str]
    pictures: int
    rank: float | None


class Errors(NamedTuple):
    """What a run gets wrong, of the pictures whose truth is known.

    Attributes:
      false_alarms: normal pictures that it calls anomalous.
      normal: normal pictures that it has a label for.
      misses: anomalous pictures that it calls normal.
      anomalous: anomalous pictures that it has a label for.
      auroc: of its scores; None without pictures of both kinds.
    """

    false_alarms: int
    normal: int
    misses: int
    anomalous: int
    auroc: float | None


class Comparison(NamedTuple):
    """Several runs on the same pictures.

    Attributes:
      paths: of the pictures.
      defects: the true type of defect of each, "good" of a normal one, None where it is unknown;
        None where no truth is known at all.
      runs: what each says.
      same: how many pictures have one label from all runs.
      incomplete: how many have no label from some run, and from the others not two.
      different: places of those with two labels, the largest difference of percentile first.
      correlations: of each pair of runs.
      errors: of each run, in their order; None without truth.
    """

    paths: list[str]
    defects: list[str | None] | None
    runs: list[Judged]
    same: int
    incomplete: int
    different: list[int]
    correlations: list[Correlation]
    errors: list[Errors] | None


def comparison(
    paths: Sequence[str], runs: Sequence[Judged], defects: Sequence[str | None] | None = None
) -> Comparison:
    """Compares what several runs say of the same pictures.

    Args:
      paths: of the pictures.
      runs: two or more, with a verdict for each picture.
      defects: the truth, as in `Comparison`.

    Raises:
      ValueError: there are fewer than two runs, two of one name, or no pictures; or a run has not
        one verdict for each picture, or the truth not one entry.
    """
    names = [run.name for run in runs]
    if len(runs) < 2 or len(set(names)) < len(names):
        raise ValueError(f"runs {', '.join(names) or '(none)'}: expected two or more, each once")
    if not paths:
        raise ValueError("no pictures to compare runs on")
    lengths = {run.name: len(run.verdicts) for run in runs}
    if defects is not None:
        lengths["the truth"] = len(defects)
    for name, length in lengths.items():
        if length != len(paths):
            raise ValueError(f"{name}: {length} entries for {len(paths)} pictures")
    rows = list(zip(*(run.verdicts for run in runs), strict=True))
    labels = [{verdict.label for verdict in row} for row in rows]
    different = [i for i, found in enumerate(labels) if len(found - {None}) > 1]
    same = sum(len(found) == 1 and None not in found for found in labels)
    return Comparison(
        paths=list(paths),
        defects=None if defects is None else list(defects),
        runs=list(runs),
        same=same,
        incomplete=len(paths) - same - len(different),
        different=sorted(different, key=lambda i: -_spread(rows[i])),
        correlations=[correlation(*pair) for pair in itertools.combinations(runs, 2)],
        errors=None if defects is None else [errors(run, defects) for run in runs],
    )


def correlation(one: Judged, other: Judged) -> Correlation:
    """How alike two runs rank the pictures that both have scores of."""
    both = [
        (a.score, b.score)
        for a, b in zip(one.verdicts, other.verdicts, strict=True)
        if a.score is not None and b.score is not None
    ]
    scores, rank = np.array(both), None
    if both and np.ptp(scores, axis=0).all():
        ranks = stats.rankdata(scores, axis=0)  # equal scores share the mean of their ranks
        rank = float(np.corrcoef(ranks, rowvar=False)[0, 1])
    return Correlation((one.name, other.name), len(both), rank)


def errors(run: Judged, defects: Sequence[str | None]) -> Errors:
    """What a run gets wrong; without pictures of unknown truth, or that have no label or score.

    Args:
      run: with a verdict for each picture.
      defects: the truth, as in `Comparison`.
    """
    known = [
        (verdict, defect != "good")
        for verdict, defect in zip(run.verdicts, defects, strict=True)
        if defect is not None
    ]
    called = Counter((verdict.label, bad) for verdict, bad in known if verdict.label is not None)
    false_alarms, misses = called["anomalous", False], called["normal", True]
    scored = [(verdict.score, bad) for verdict, bad in known if verdict.score is not None]
    area = math.nan
    if scored:
        scores, truth = zip(*scored, strict=True)
        area = auroc(np.array(scores, np.float64), np.array(truth, bool))
    return Errors(
        false_alarms=false_alarms,
        normal=false_alarms + called["normal", False],
        misses=misses,
        anomalous=misses + called["anomalous", True],
        auroc=None if math.isnan(area) else area,
    )


def _spread(row: Sequence[Verdict]) -> float:
    """Largest difference of percentile; 0 of fewer than two."""
    known = [one.percentile for one in row if one.percentile is not None]
    return max(known) - min(known) if known else 0.0
