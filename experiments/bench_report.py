"""How large the page of a run is, what it takes to write, and how soon Chromium shows it.

    python experiments/bench_report.py [OUT.json] [--pictures 10000]

Pictures are rendered workpieces, shifted so that no two are alike, with maps that are made up: what
a page costs does not depend on the method. Opening is from the address to the first pictures on
the screen, the middle one of five; it wants Chromium and the extra `browser`, and is left out
without them.
"""

import pathlib
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from jaxad.cli import script
from jaxad.cli.options import asked, expected, leading
from jaxad.data.source import Record
from jaxad.data.workpieces import Workpieces
from jaxad.decision.card import Card, Normals
from jaxad.decision.scale import Scale
from jaxad.detector import config, static
from jaxad.evaluation.category import category
from jaxad.evaluation.results import Evaluation, Scored
from jaxad.report.pages import Report, side
from jaxad.sweep.table import circumstances
from jaxad.training.record import write_json

SIZE, DIFFERENT, OPENINGS = 256, 40, 5
SHOWN = "document.querySelectorAll('#gallery button').length"


@config
class Options:
    """The page."""

    pictures: int = static(10_000, 2)


def main(words: Sequence[str]) -> None:
    """Writes, opens, prints, stores."""
    places, rest = leading(words)
    (options,) = asked(
        rest, "python experiments/bench_report.py [OUT.json]", __doc__, page=Options()
    )
    outs = expected(places, "OUT.json") if places else []
    with tempfile.TemporaryDirectory() as place:
        found = written(pathlib.Path(place), options.pictures)
        found["opened"] = opened(pathlib.Path(place, "index.html"))
    print(
        f"{options.pictures} pictures of {found['side']} px: {found['bytes'] / 1e6:.1f} MB in all, "
        f"the page {found['page'] / 1e6:.1f} MB; {1e3 * found['visit']:.1f} ms a picture, then "
        f"{found['finish']:.1f} s; opened in "
        + (f"{found['opened']:.2f} s" if found["opened"] else "no browser")
    )
    if outs:
        write_json(pathlib.Path(outs[0]), {**circumstances(), "options": vars(options), **found})


def written(folder: pathlib.Path, count: int) -> dict[str, Any]:
    """Writes the page; seconds and bytes."""
    source, rng = Workpieces("plate", "test", good=DIFFERENT, size=SIZE), np.random.default_rng(0)
    base = [source[i]["image"] for i in range(DIFFERENT)]
    names = ("crack", "hole", "good", "good", "good")
    records = [Record(f"{names[i % 5]}/{i:05d}", "plate", names[i % 5]) for i in range(count)]
    scores = rng.normal([2.0 * record.label for record in records])
    normals = Normals(np.sort(rng.normal(size=200)), np.zeros(200), "made up")
    report = Report(folder, records, Card("none", {"plate": normals}, Scale(0.2, 1.0), 0.0))
    seconds = 0.0
    for i, record in enumerate(records):
        mask = np.zeros((SIZE, SIZE), np.uint8)
        top, left = rng.integers(0, SIZE - 40, 2)
        mask[top : top + 30, left : left + 40] = record.label
        noise = rng.random((12, 12)).astype(np.float32) * 0.4
        map = np.asarray(Image.fromarray(noise).resize((SIZE, SIZE), Image.Resampling.BICUBIC))
        image = np.roll(base[i % DIFFERENT], rng.integers(0, SIZE, 2), (0, 1))
        item = {"image": image, "mask": mask, "label": record.label, "index": i}
        begun = time.perf_counter()
        report.visit(i, item, map + 0.7 * mask, float(scores[i]))
        seconds += time.perf_counter() - begun
    found = category(records, scores)
    pictures = tuple(Scored(*one) for one in zip(records, scores.tolist(), strict=True))
    begun = time.perf_counter()
    page = report.finish(Evaluation(found.metrics, {"plate": found}, pictures))
    return {
        "side": side(count),
        "visit": seconds / count,
        "finish": time.perf_counter() - begun,
        "page": page.stat().st_size,
        "bytes": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
    }


def opened(page: pathlib.Path) -> float | None:
    """Seconds until the first pictures are on the screen; None without a browser."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        return None
    if chromium is None:
        return None
    seconds = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for _ in range(OPENINGS):
            tab = browser.new_page(viewport={"width": 1280, "height": 900})
            begun = time.perf_counter()
            tab.goto(page.as_uri())
            assert tab.evaluate(SHOWN) > 0
            tab.screenshot()  # painted, pictures and all
            seconds.append(time.perf_counter() - begun)
            tab.close()
        browser.close()
    return statistics.median(seconds)


if __name__ == "__main__":
    script.run(main)
