"""A sweep's results as tables: tidy rows for a program, a summary for a person."""

import csv
import importlib.metadata
import json
import math
import pathlib
import platform
import subprocess
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from jaxad.detector import Detector, values
from jaxad.evaluation.text import undefined
from jaxad.sweep.scores import Scores, Summary, summary
from jaxad.sweep.settings import rows

PACKAGES = ("jaxad", "jax", "jaxlib", "flax", "optax", "grain")
TEXT_METRICS = ("image_auroc", "pixel_auroc", "aupro_0.3")


def tidy(
    detector: Detector, configs: Sequence[Any], keys: Array, scores: Scores
) -> list[dict[str, Any]]:
    """One row for each member and metric, with all settings, seed, commit, versions and device.

    "seed" is the place in `keys`, "key" the key itself; "value" is None for a member that diverged
    and where a metric is undefined.
    """
    around = circumstances()
    data = np.asarray(jax.random.key_data(keys))
    return [
        {
            "method": detector.name,
            **{name: _cell(value) for name, value in values(cfg).items()},
            "seed": k,
            "key": " ".join(str(word) for word in data[k].ravel()),
            "metric": metric,
            "value": None if math.isnan(found[s, k]) else float(found[s, k]),
            "diverged": scores.evaluations[s][k] is None,
            **around,
        }
        for s, cfg in enumerate(configs)
        for k in range(len(keys))
        for metric, found in scores.metrics.items()
    ]


def circumstances() -> dict[str, str]:
    """Commit of the clone this package runs from, versions, Python, device."""
    device = jax.local_devices()[0]
    versions = {}
    for name in PACKAGES:
        try:
            versions[f"{name}_version"] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # run from its folder, not installed
            versions[f"{name}_version"] = "not installed"
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        **versions,
        "device": f"{device.platform} {device.device_kind}, {jax.local_device_count()} device(s)",
    }


def write(
    folder: str | pathlib.Path,
    detector: Detector,
    configs: Sequence[Any],
    keys: Array,
    scores: Scores,
) -> None:
    """Writes `sweep.csv`, `sweep.jsonl`, `summary.txt`, a page and a plot for each swept field.

    Raises:
      OSError: the folder cannot be written.
    """
    from jaxad.sweep import page  # its plots' matplotlib takes a second to import
    from jaxad.sweep.plots import draw

    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    table = tidy(detector, configs, keys, scores)
    with open(folder / "sweep.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]) if table else [])
        writer.writeheader()
        writer.writerows(table)
    lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in table]
    (folder / "sweep.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "summary.txt").write_text(text(configs, scores) + "\n", encoding="utf-8")
    draw(folder, configs, scores)
    page.write(folder, detector, configs, scores)


def text(configs: Sequence[Any], scores: Scores, metrics: Sequence[str] = TEXT_METRICS) -> str:
    """The settings that differ, and of each metric mean, deviation and difference to the first.

    The brackets hold the 95 % interval of the difference, paired by seed; a metric that the test
    set does not have is left out. Lines below say which are undefined and why.
    """
    metrics = [name for name in metrics if name in scores.metrics]
    settings = rows(configs)
    names = list(settings[0])
    lines = [[*names, "seeds", *(x for name in metrics for x in (name, "to the first setting"))]]
    found = {name: summary(scores.metrics[name]) for name in metrics}
    for s, setting in enumerate(settings):
        cells = [cell for name in metrics for cell in in_words(found[name][s], s == 0)]
        lines.append([*(str(setting[name]) for name in names), alive(scores, s), *cells])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    aligned = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    evaluations = [one for row in scores.evaluations for one in row if one is not None]
    said = dict.fromkeys(line for one in evaluations for line in undefined(one))
    return "\n".join([*aligned, *said])


def alive(scores: Scores, setting: int) -> str:
    """How many seeds of a setting did not diverge, in words."""
    members = scores.evaluations[setting]
    count = sum(one is not None for one in members)
    return f"{count}" if count == len(members) else f"{count} (others diverged)"


def in_words(found: Summary, first: bool) -> list[str]:
    """Mean and deviation, and the difference to the first setting with its interval."""
    if found.count == 0:
        return ["-", ""]
    spread = "" if math.isnan(found.std) else f" ± {found.std:.4f}"
    if first or math.isnan(found.difference):
        return [f"{found.mean:.4f}{spread}", ""]
    low, high = found.interval
    interval = "" if math.isnan(low) else f" [{low:+.4f}, {high:+.4f}]"
    return [f"{found.mean:.4f}{spread}", f"{found.difference:+.4f}{interval}"]


def _cell(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return value.item() if hasattr(value, "item") else value


def _commit() -> str:
    """Of the clone, with "+" where files differ from it; "unknown" outside of one."""
    here = pathlib.Path(__file__).resolve().parent
    try:
        git = ["git", "-C", str(here)]
        commit = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("+" if changed else "")
