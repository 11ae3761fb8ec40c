"""Stored results as numbers, and numbers as cells of tables: what every table is made of."""

import csv
import functools
import json
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

RESULTS = pathlib.Path(__file__).parents[2] / "experiments" / "results"
AUROC = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC"}
METRICS = {**AUROC, "aupro_0.3": "AUPRO@0.3"}  # metrics and what tables call them
FOLDERS = ("cookies", "magnetic_tile", "elpv")
CATEGORIES = ("plate", "board", "tray", "cap", "cable", "mean")  # of workpieces

Rows = list[list[str]]  # of a table, its head first
Values = Sequence[float | None]  # of one metric, by seed; None where it is undefined
Metrics = Mapping[str, Values]


@functools.cache
def stored(name: str) -> Any:
    """What results/`name`.json holds."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def runs(name: str, seeds: int = 3) -> Metrics:
    """The evaluations of runs that differ in their seed, which ends the name of their files."""
    several = [stored(f"{name}_seed_{seed}")["mean"] for seed in range(seeds)]
    return {metric: [mean[metric] for mean in several] for metric in METRICS}


def models(name: str, protocol: str = "separate", category: str = "mean") -> Metrics:
    """What multiclass.py stored of one category or of their mean."""
    return stored(name)["metrics"][protocol][category]


@functools.cache
def swept(name: str) -> list[dict[str, str]]:
    """The rows of results/`name`.csv."""
    with open(RESULTS / f"{name}.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def members(name: str, **setting: str) -> Metrics:
    """The members of a sweep with these fields.

    Raises:
      ValueError: the fields leave no setting of the sweep, or several.
    """
    found: dict[str, dict[int, float]] = {metric: {} for metric in METRICS}
    for row in swept(name):
        if row["metric"] in found and all(row[field] == text for field, text in setting.items()):
            of_seeds = found[row["metric"]]
            if int(row["seed"]) in of_seeds:
                raise ValueError(f"{name}: several settings have {setting}")
            of_seeds[int(row["seed"])] = float(row["value"])
    if not all(found.values()):
        raise ValueError(f"{name}: no setting has {setting}")
    return {metric: [v for _, v in sorted(of_seeds.items())] for metric, of_seeds in found.items()}


def mean_of(several: Sequence[Values]) -> list[float]:
    """By seed, the mean over several data sets."""
    return [statistics.fmean(of_seed) for of_seed in zip(*several, strict=True)]


def number(value: float | None) -> str:
    """Three digits."""
    return "no masks" if value is None else f"{value:.3f}"


def spread(values: Values) -> str:
    """Mean and standard deviation (Bessel's) over the seeds; of one seed its value."""
    there = [value for value in values if value is not None]
    if len(there) < 2:
        return number(there[0] if there else None)
    return f"{statistics.fmean(there):.3f} ± {statistics.stdev(there):.3f}"


def differences(values: Values, first: Values) -> str:
    """The smallest and the largest difference to `first`, paired by seed."""
    found = [value - other for value, other in zip(values, first, strict=True)]
    return f"[{min(found):+.3f}, {max(found):+.3f}]"


def by_seed(values: Values) -> str:
    """Every seed's value."""
    return ", ".join(number(value) for value in values)


def summary(
    first: str,
    groups: Mapping[str, Mapping[str, Metrics]],
    metrics: Sequence[str] = tuple(METRICS),
    *,
    compared: bool = False,
    seeds: bool = False,
) -> Rows:
    """Mean and deviation over seeds: a row for each label, a column for each group and metric.

    Args:
      first: the head of the column of labels.
      groups: the metrics of each label, by group; the group "" adds no name to its columns.
      metrics: those that get a column.
      compared: adds the differences to the first label, paired by seed.
      seeds: adds a column with the image AUROC of every seed.
    """
    rows = [[first]]
    rows += [[label] for label in next(iter(groups.values()))]
    for group, labels in groups.items():
        name = f"{group}: " if group else ""
        for metric in metrics:
            rows[0].append(name + METRICS[metric])
            base = next(iter(labels.values()))
            for row, values in zip(rows[1:], labels.values(), strict=True):
                row.append(spread(values[metric]))
                if compared and values is not base:
                    row[-1] += f" {differences(values[metric], base[metric])}"
        if seeds:
            rows[0].append(f"{name}image AUROC by seed")
            for row, values in zip(rows[1:], labels.values(), strict=True):
                row.append(by_seed(values["image_auroc"]))
    return rows
