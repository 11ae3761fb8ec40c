"""Several runs on the same pictures, in words and as files: JSON, CSV and a page."""

import csv
import html
from collections.abc import Callable, Sequence
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from jaxad.data.files import counted
from jaxad.decision.comparison import COUNTED, UNUSABLE, Comparison, Verdict
from jaxad.decision.journal import cell
from jaxad.progress import printable
from jaxad.training.record import write_json

JSON, TABLE, PAGE = "comparison.json", "comparison.csv", "index.html"
SHOWN = 50  # pictures on the page, at most
ORDER = """the largest difference of percentile first. In brackets: the share of the card's normal
pictures at or below the score. Each map is on the colour scale of its own run's card: equal colours
of two runs are not equal values."""
TEMPLATE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1640px; margin: 2em auto;
       padding: 0 1em }
table { border-collapse: collapse; font-size: 13px }
td, th { padding: .3em .8em; text-align: right; border-bottom: 1px solid #ddd; vertical-align: top;
         overflow-wrap: anywhere }
td:first-child, th:first-child { text-align: left }
h2 { font-size: 1.15em; margin-top: 2em }
.anomalous { font-weight: 600 }
img { max-height: 180px; max-width: 320px; display: block; margin: 0 0 .3em auto }
</style>
<h1>$title</h1>
$runs
<ul>
$said
</ul>
<h2>Where verdicts differ</h2>
<p>$which</p>
$pictures
$unusable
</html>
""")


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
    part = folder / (TABLE + ".part")
    with open(part, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        titles = [f"{run.name} {name}" for run in comparison.runs for name in Verdict._fields]
        table.writerow([cell(title) for title in ("path", *truth, "differs", *titles)])
        for row in pictures:
            values = [row["path"], *(row[name] for name in truth), str(row["differs"]).lower()]
            values += [value for one in row["verdicts"] for value in one.values()]
            table.writerow([cell(value) for value in values])
    part.replace(folder / TABLE)


def page(
    folder: Path,
    comparison: Comparison,
    title: str,
    overlay: Callable[[int, int], str | None],
) -> Path:
    """Writes `index.html`: the runs, and the pictures on which they differ, a column for each run.

    Args:
      folder: to write to.
      comparison: what it is about.
      title: of the page.
      overlay: the places of a picture and a run -> the path of the map over the picture, as seen
        from the page; None without one.

    Raises:
      OSError: the page cannot be written.
    """
    shown, total = comparison.different[:SHOWN], len(comparison.different)
    truth = [] if comparison.defects is None else ["truth"]
    rows = [_cells("th", ["picture", *truth, *(run.name for run in comparison.runs)])]
    for i in shown:
        known = [] if comparison.defects is None else [comparison.defects[i] or "unknown"]
        each = [run.verdicts[i] for run in comparison.runs]
        verdicts = [_verdict(one, overlay(i, place)) for place, one in enumerate(each)]
        rows.append(_cells("td", [comparison.paths[i], *known]) + "".join(verdicts))
    few = f"The first {len(shown)} of {total} pictures"
    which = few if len(shown) < total else counted(total, "picture")
    bad = [f"<li>{_text(reason)}" for reason in unusable(comparison)]
    bad[SHOWN:] = [f"<li>and {len(bad) - SHOWN} more"] if len(bad) > SHOWN else []
    listed = "<h2>Cannot be used</h2>\n<ul>\n" + "\n".join(bad) + "\n</ul>"
    titles, *runs = summary(comparison)
    text = TEMPLATE.substitute(
        title=_text(title),
        runs=_table([_cells("th", titles), *(_cells("td", row) for row in runs)]),
        said="\n".join(f"<li>{_text(line)}" for line in said(comparison)),
        which=f"{which}, {ORDER}" if total else "On no picture.",
        pictures=_table(rows) if shown else "",
        unusable=listed if bad else "",
    )
    path = folder / PAGE
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
    return path


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


def _text(text: str) -> str:
    return html.escape(printable(text))


def _verdict(one: Verdict, overlay: str | None) -> str:
    image = ""
    if overlay is not None:
        link = quote(overlay)
        shown = f'<img src="{link}" alt="map over the picture" loading="lazy">'
        image = f'<a href="{link}">{shown}</a>'
    return f'<td class="{one.label or "none"}">{image}{_text(verdict(one))}'


def _cells(tag: str, words: Sequence[str]) -> str:
    return "".join(f"<{tag}>{_text(word)}" for word in words)


def _table(rows: Sequence[str]) -> str:
    return "<table>\n" + "\n".join(f"<tr>{row}</tr>" for row in rows) + "\n</table>"
