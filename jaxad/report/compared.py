"""Several runs on the same pictures, in words and as files: JSON and CSV."""

import csv
from pathlib import Path
from typing import Any

from jaxad import whole
from jaxad.data.files import counted
from jaxad.decision.comparison import COUNTED, UNUSABLE, Comparison, Verdict
from jaxad.decision.journal import cell
from jaxad.progress import printable
from jaxad.training.record import write_json

JSON, TABLE = "comparison.json", "comparison.csv"


def tables(folder: Path, comparison: Comparison) -> None:
    """Writes `comparison.json` and `comparison.csv`, the latter harmless in a spreadsheet.

    Raises:
      OSError: a file cannot be written.
    """
    truth = [] if comparison.defects is None else ["defect"]
    different = set(comparison.different)
    pictures: list[dict[str, Any]] = []
    for i, path in enumerate(comparison.paths):
        known = {} if comparison.defects is None else {"defect": comparison.defects[i]}
        differs, each = i in different, [run.verdicts[i] for run in comparison.runs]
        verdicts = [one._asdict() for one in each]
        pictures.append({"path": path, **known, "differs": differs, "verdicts": verdicts})
    runs = [
        {"name": run.name, "limit": run.limit, "counts": run.counts()} for run in comparison.runs
    ]
    for run, one in zip(runs, comparison.errors or [], strict=False):
        run["errors"] = one._asdict()
    about = {
        "runs": runs,
        "same": comparison.same,
        "different": len(comparison.different),
        "incomplete": comparison.incomplete,
        "correlations": [one._asdict() for one in comparison.correlations],
        "pictures": pictures,
    }
    write_json(folder / JSON, about)
    with (
        whole.written(folder / TABLE) as part,
        open(part, "w", newline="", encoding="utf-8") as file,
    ):
        table = csv.writer(file)
        titles = [f"{run.name} {name}" for run in comparison.runs for name in Verdict._fields]
        table.writerow([cell(title) for title in ("path", *truth, "differs", *titles)])
        for row in pictures:
            values = [row["path"], *(row[name] for name in truth), str(row["differs"]).lower()]
            values += [value for one in row["verdicts"] for value in one.values()]
            table.writerow([cell(value) for value in values])


def summary(comparison: Comparison) -> list[list[str]]:
    """A row of words for each run, below a row of titles: pictures by outcome, and errors."""
    truth = [] if comparison.errors is None else ["false alarms", "misses", "image AUROC"]
    rows = [["run", *COUNTED, *truth]]
    for place, run in enumerate(comparison.runs):
        row = [printable(run.name), *map(str, run.counts().values())]
        if comparison.errors is not None:
            one = comparison.errors[place]
            area = "undefined" if one.auroc is None else f"{one.auroc:.4f}"
            row += [f"{one.false_alarms} of {one.normal}", f"{one.misses} of {one.anomalous}", area]
        rows.append(row)
    return rows


def said(comparison: Comparison) -> list[str]:
    """Where alarms begin, agreement and rank correlations, in sentences."""
    lines = [f"limit of {run.name}, {run.limit}" for run in comparison.runs]
    agreed = (
        f"the same verdict from all runs: {comparison.same} of "
        f"{counted(len(comparison.paths), 'picture')}; different: {len(comparison.different)}"
    )
    if comparison.incomplete:
        agreed += f"; no verdict from some run: {comparison.incomplete}"
    lines.append(agreed)
    for one in comparison.correlations:
        rank = "undefined" if one.rank is None else f"{one.rank:.3f}"
        pair, count = " and ".join(one.runs), counted(one.pictures, "picture")
        lines.append(f"rank correlation (Spearman) of {pair}: {rank}, over {count}")
    return [printable(line) for line in lines]


def unusable(comparison: Comparison) -> list[str]:
    """Why pictures cannot be used, those of one reason once, and by which runs if not by any."""
    reasons: dict[str, list[str]] = {}
    for run in comparison.runs:
        for one in run.verdicts:
            if one.error is not None:
                reasons.setdefault(one.error, []).append(run.name)
    by = lambda names: "" if len(names) == len(comparison.runs) else f"{', '.join(names)}: "
    return [f"{by(names)}{reason}" for reason, names in reasons.items()]


def verdict(one: Verdict) -> str:
    """A verdict in words: "anomalous 3.4 (99 %)"."""
    if one.score is None:
        return UNUSABLE
    share = "" if one.percentile is None else f" ({one.percentile:.3g} %)"
    return f"{one.outcome} {one.score:.6g}{share}"
