"""Every metric of every member of a sweep, and what the differences between settings are worth."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, PyTree

from jaxad.data.source import Source
from jaxad.detector import Detector
from jaxad.evaluation.evaluate import evaluate as evaluate_one
from jaxad.evaluation.results import Evaluation
from jaxad.sweep.fitting import Members
from jaxad.sweep.team import NEVER

DRAWS = 10_000  # of seeds, for intervals


class Scores(NamedTuple):
    """Metrics by setting and seed.

    Attributes:
      metrics: "image_auroc" and the others of `Evaluation.mean`; NaN for members that diverged,
        and where a metric is undefined or the test set lacks it.
      evaluations: of each setting, of each seed; None for members that diverged.
    """

    metrics: dict[str, Float[np.ndarray, "S K"]]
    evaluations: tuple[tuple[Evaluation | None, ...], ...]

    @property
    def image_auroc(self) -> Float[np.ndarray, "S K"]:
        """Area under the ROC curve of image scores."""
        return self.metrics["image_auroc"]

    @property
    def pixel_auroc(self) -> Float[np.ndarray, "S K"]:
        """Area under the ROC curve of pixels; KeyError where the test set has no masks."""
        return self.metrics["pixel_auroc"]


@dataclasses.dataclass(frozen=True)
class Summary:
    """One metric of one setting over the seeds.

    Attributes:
      mean: over the seeds that did not diverge.
      std: of them, with Bessel's correction; NaN of fewer than two.
      count: of them.
      difference: mean over seeds of this setting's value less the first setting's of the same seed.
      interval: of that difference, 95 %, by a bootstrap over seeds; NaN of fewer than two pairs.
    """

    mean: float
    std: float
    count: int
    difference: float
    interval: tuple[float, float]


def evaluate(
    detector: Detector,
    configs: Sequence[Any],
    pretrained: PyTree,
    members: Members,
    test: Source | Sequence[Source],
    *,
    batch_size: int | None = None,
) -> Scores:
    """Every metric of every member, one member after the other: only one's maps are in memory.

    Args:
      test: one test set for all settings, or one for each.
      batch_size: pictures in one call of predict; `cfg.batch_size` by default.

    Raises:
      ValueError: the number of test sets is not that of the settings; and as `evaluate.evaluate`.
    """
    tests = [test] * len(configs) if isinstance(test, Source) else list(test)
    if len(tests) != len(configs):
        raise ValueError(f"{len(tests)} test sets for {len(configs)} settings: expected as many")
    rows = []
    for s, (cfg, source) in enumerate(zip(configs, tests, strict=True)):
        row = []
        for k, step in enumerate(members.diverged[s]):
            if step != NEVER:
                row.append(None)
                continue
            state = members.state(configs, s, k)._replace(opt=())
            row.append(
                evaluate_one(detector, cfg, pretrained, state, source, batch_size=batch_size)
            )
        rows.append(tuple(row))
    return scores(tuple(rows))


def scores(evaluations: tuple[tuple[Evaluation | None, ...], ...]) -> Scores:
    """The metrics of evaluations by setting and seed."""
    means = [[{} if one is None else one.mean for one in row] for row in evaluations]
    # Test sets may differ: one may have masks that another lacks.
    there = (name for row in means for one in row for name, x in one.items() if x is not None)
    metrics = {
        name: np.array([[one.get(name) for one in row] for row in means], np.float64)
        for name in dict.fromkeys(there)
    }
    return Scores(metrics, evaluations)


def summary(values: Float[np.ndarray, "S K"]) -> tuple[Summary, ...]:
    """Mean, deviation and paired difference to the first setting, of each setting."""
    return tuple(_summary(row, values[0]) for row in values)


def _summary(values: Float[np.ndarray, "K"], first: Float[np.ndarray, "K"]) -> Summary:
    there = values[~np.isnan(values)]
    differences = (values - first)[~np.isnan(values - first)]
    return Summary(
        float(there.mean()) if there.size else float("nan"),
        float(there.std(ddof=1)) if there.size > 1 else float("nan"),
        int(there.size),
        float(differences.mean()) if differences.size else float("nan"),
        bootstrap(differences),
    )


def bootstrap(values: Float[np.ndarray, "N"], level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of the mean of `values` over resampled values; the same every time."""
    if len(values) < 2:
        return float("nan"), float("nan")
    draws = np.random.default_rng(0).integers(0, len(values), (DRAWS, len(values)))
    low, high = np.quantile(values[draws].mean(1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
