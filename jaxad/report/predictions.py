"""A page about new pictures: how many, which are the most anomalous, and where."""

import heapq
import html
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from jaxad.progress import printable

SHOWN = 200  # pictures, at most
PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1640px; margin: 2em auto;
       padding: 0 1em }
table { border-collapse: collapse; font-size: 13px }
td, th { padding: .3em .8em; text-align: right; border-bottom: 1px solid #ddd }
td:first-child, th:first-child { text-align: left; overflow-wrap: anywhere }
.anomalous { font-weight: 600 }
img { max-height: 120px; max-width: 240px }
</style>
<h1>$title</h1>
<p>$counts. An alarm is a score above $limits.</p>
<p>$which</p>
<table>
<tr><th>picture<th>score<th>percentile<th>p-value<th>label<th>regions<th>map</tr>
$rows
</table>
$bad
</html>
""")


def write(
    folder: Path,
    rows: Iterable[dict[str, Any]],
    title: str,
    limits: str,
    overlay: Callable[[str], str | None],
) -> Path:
    """Writes `index.html` about the rows of a prediction; its memory does not grow with them.

    Args:
      folder: to write to.
      rows: of `bulk.rows`, any number.
      title: of the page.
      limits: where alarms begin, in words.
      overlay: a picture's path -> that of its overlay, as seen from the page; None without one.

    Raises:
      OSError: the page cannot be written.
    """
    counts: Counter[str] = Counter()
    bad: list[str] = []
    highest: list[tuple[float, int, dict[str, Any]]] = []
    for number, row in enumerate(rows):
        counts["cannot be used" if "error" in row else row["label"] or "without a label"] += 1
        if "error" in row:
            bad += [row["error"]] if len(bad) < SHOWN else []
        else:
            push = heapq.heappush if len(highest) < SHOWN else heapq.heappushpop
            push(highest, (row["score"], -number, row))
    shown = [row for _, _, row in sorted(highest, key=lambda one: one[:2], reverse=True)]
    total = sum(counts.values()) - counts["cannot be used"]
    which = "All pictures" if len(shown) == total else f"The {len(shown)} highest of {total} scores"
    each = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    text = PAGE.substitute(
        title=html.escape(title),
        counts=html.escape(each) or "No pictures",
        limits=html.escape(limits),
        which=f"{which}, highest first:",
        bad=_listed(bad, counts["cannot be used"]),
        rows="\n".join(_row(row, overlay(row["path"])) for row in shown),
    )
    path = folder / "index.html"
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8", errors="replace")
    part.replace(path)
    return path


def _listed(bad: list[str], count: int) -> str:
    if not bad:
        return ""
    lines = [f"<li>{html.escape(printable(reason))}" for reason in bad]
    lines += [f"<li>and {count - len(bad)} more"] if count > len(bad) else []
    return "<h2>Cannot be used</h2>\n<ul>\n" + "\n".join(lines) + "\n</ul>"


def _row(row: dict[str, Any], overlay: str | None) -> str:
    label, image = row["label"] or "none", ""
    if overlay is not None:
        link = quote(os.fsencode(overlay))
        shown = f'<img src="{link}" alt="map over the picture" loading="lazy">'
        image = f'<a href="{link}">{shown}</a>'
    name = html.escape(printable(row["path"]))
    cells = [
        name, f"{row['score']:.6g}", _number(row["percentile"], ".4g"),
        _number(row["p_value"], ".3g"), label, str(len(row["regions"])), image,
    ]  # fmt: skip
    return f'<tr class="{label}"><td>' + "<td>".join(cells) + "</tr>"


def _number(value: float | None, how: str) -> str:
    return "" if value is None else format(value, how)
