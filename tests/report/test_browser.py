"""The pages in Chromium: what moves, what filters, what a screen reader finds."""

import pathlib
import shutil

import numpy as np
import pytest
from made_up import SCALE, card, evaluated

from jaxad.data.source import Record
from jaxad.decision.card import Card, Normals
from jaxad.decision.comparison import Judged, Verdict, comparison
from jaxad.methods import autoencoder
from jaxad.report import compared_page, predictions
from jaxad.report.curves import History
from jaxad.report.facts import Facts
from jaxad.report.pages import Report, Style, untested
from jaxad.sweep import page as sweep_page
from jaxad.sweep.scores import Scores
from jaxad.sweep.settings import grid

pytestmark = pytest.mark.browser
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DEFECTS = ("crack", "hole")
PLAIN = Style()


@pytest.fixture(scope="module")
def chromium():
    """A browser; its absence skips."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium):
    """path, options -> the page; a message on its console, or a request elsewhere, fails."""
    said, contexts = [], []

    def open_(path: pathlib.Path, **options):
        options = {"viewport": {"width": 1280, "height": 900}, **options}
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda x: x.url.startswith("http") and said.append(x.url))
        page.goto(path.as_uri())
        return page

    yield open_
    for context in contexts:
        context.close()
    assert said == []


def written(folder, count=60, categories=("part",), style=PLAIN, **kinds) -> pathlib.Path:
    """A report of pictures whose scores rise with their number; every third one is anomalous."""
    records = [
        Record(
            f"{'bad' if i % 3 == 0 else 'good'}/{i:04d}",
            categories[i % len(categories)],
            DEFECTS[i % 2] if i % 3 == 0 else "good",
        )
        for i in range(count)
    ]
    limits = dict.fromkeys(categories, count / 2)
    report = Report(folder, records, card(**limits), style)
    return report.finish(evaluated(records, [float(i) for i in range(count)], report, **kinds))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return written(tmp_path_factory.mktemp("report"))


def serious(page):
    """What axe calls serious or critical."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page).response["violations"]
    return [one["id"] for one in found if one["impact"] in ("serious", "critical")]


def counts(page):
    return [int(page.inner_text(f"#{name}")) for name in ("tp", "fn", "fp", "tn")]


def expected(threshold, count=60):
    scores, bad = np.arange(count), np.arange(count) % 3 == 0
    above = scores > threshold
    return [int((x & y).sum()) for x in (bad, ~bad) for y in (above, ~above)]


def names(page):
    return page.locator("#gallery .name").all_inner_texts()


def test_the_page_begins_with_the_threshold_of_the_card(opened, path):
    assert counts(opened(path)) == expected(30)


@pytest.mark.parametrize("position", [0, 137, 500, 803, 1000])
def test_the_slider_moves_counts_line_and_verdicts(opened, path, position):
    page = opened(path)
    line = page.get_attribute("#histogram .now", "x1")
    page.locator("#slider").fill(str(position))
    threshold = float(page.input_value("#exact"))
    assert counts(page) == expected(threshold)
    if position != 500:
        assert page.get_attribute("#histogram .now", "x1") != line
    page.select_option("#outcome", "miss")
    missed = [f"bad/{i:04d}" for i in range(60) if i % 3 == 0 and not i > threshold]
    assert page.inner_text("#count").startswith(f"{len(missed)} of 60" if missed else "0 of 60")
    page.click("#reset")
    assert counts(page) == expected(30)


def test_a_threshold_can_be_typed_and_arrow_keys_move_it(opened, path):
    page = opened(path)
    page.fill("#exact", "10.5")
    page.press("#exact", "Enter")
    page.locator("#exact").blur()
    assert counts(page) == expected(10.5)
    page.focus("#slider")
    before = float(page.input_value("#exact"))
    page.keyboard.press("ArrowRight")
    assert float(page.input_value("#exact")) > before


def test_pictures_are_in_the_order_that_is_chosen(opened, path):
    page = opened(path)
    assert names(page)[:2] == ["good/0059", "good/0058"]
    page.select_option("#order", "low")
    assert names(page)[:2] == ["bad/0000", "good/0001"]
    page.select_option("#order", "worst")  # a false alarm by 29 and a miss by 30
    assert names(page)[:2] == ["bad/0000", "good/0059"]
    page.select_option("#order", "near")
    assert names(page)[0] == "bad/0030"
    page.select_option("#order", "name")
    assert names(page)[0] == "bad/0000"


def test_filters_leave_what_they_say(opened, path):
    page = opened(path)
    page.select_option("#defect", label="hole")
    assert page.inner_text("#count") == "10 of 60 pictures"
    page.select_option("#verdict", "alarm")
    assert set(names(page)) == {f"bad/{i:04d}" for i in (33, 39, 45, 51, 57)}
    page.select_option("#defect", "")
    page.select_option("#verdict", "")
    page.fill("#search", "0042")
    assert names(page) == ["bad/0042"]
    page.fill("#search", "nothing of this name")
    assert names(page) == []
    assert page.inner_text("#count") == "0 of 60 pictures"


def test_a_click_enlarges_and_keys_walk(opened, path):
    page = opened(path)
    page.locator("#gallery button").nth(2).click()
    assert page.inner_text("#viewer-name") == "bad/0057"
    for key, name in (
        ("ArrowRight", "good/0056"),
        ("ArrowLeft", "bad/0057"),
        ("ArrowLeft", "good/0058"),
    ):
        page.keyboard.press(key)
        assert page.inner_text("#viewer-name") == name
    assert "58" in page.inner_text("#details")
    page.keyboard.press("ArrowRight")
    opacity = lambda: page.evaluate("document.querySelector('[data-sort=map]').style.opacity")
    assert opacity() == "1"
    page.keyboard.press("m")
    assert opacity() == "0"
    page.locator("#blend").fill("40")
    assert opacity() == "0.4"
    assert page.locator("[data-sort=truth]").is_visible()
    page.keyboard.press("o")
    assert not page.locator("[data-sort=truth]").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").is_visible()
    assert page.evaluate("document.activeElement.dataset.place") == "2"


@pytest.mark.parametrize("where", ["inside", "beside"])
def test_pictures_are_seen_wherever_the_sheets_lie(opened, tmp_path, where):
    page = opened(written(tmp_path, count=6, style=Style(where)))
    page.wait_for_timeout(300)
    shot = tmp_path / "card.png"
    page.locator("#gallery .cell").first.screenshot(path=shot)
    from PIL import Image

    assert np.asarray(Image.open(shot).convert("L"), float).std() > 20  # noise, not an empty box


def test_pictures_of_full_size_are_shown_where_they_lie_beside(opened, tmp_path):
    page = opened(written(tmp_path, count=6, style=Style("inside", full_size=True)))
    page.locator("#gallery button").first.click()
    size = """(async () => {
        const one = document.querySelector("#stage img");
        await one.decode();
        return one.naturalWidth;
    })()"""
    assert page.evaluate(size) == 32


def test_only_what_is_in_view_is_in_the_page(opened, tmp_path):
    page = opened(written(tmp_path, count=900))
    assert page.locator("#gallery li").count() < 60
    page.click("#all")
    assert page.locator("#gallery li").count() < 60
    page.evaluate("document.querySelector('#gallery').scrollIntoView({block: 'end'})")
    page.get_by_text("bad/0000", exact=True).wait_for()
    assert page.locator("#gallery li").count() < 60


def test_several_categories_have_a_threshold_each(opened, tmp_path):
    page = opened(written(tmp_path, count=60, categories=("a", "b")))
    assert counts(page) == expected(30)
    assert page.locator("#slider").is_disabled()
    page.select_option("#category", label="a")
    assert sum(counts(page)) == 30
    page.locator("#slider").fill("0")
    assert counts(page)[1] == counts(page)[3] == 0
    page.select_option("#category", "-1")
    below = [i for i in range(60) if i % 2 and not i > 30]
    assert counts(page)[3] == sum(i % 3 > 0 for i in below)
    assert page.locator("#metrics tbody tr:visible").count() > 3


@pytest.mark.parametrize("kind", ["no masks", "equal scores", "one picture"])
def test_odd_runs_are_shown(opened, tmp_path, kind):
    if kind == "no masks":
        page = opened(written(tmp_path, masks=False))
        assert "no pixel metrics" in page.inner_text("#gaps")
        return
    count = 1 if kind == "one picture" else 4
    records = [Record(str(i), "part", "crack" if i % 2 else "good") for i in range(count)]
    report = Report(tmp_path, records, card(part=0.5))
    page = opened(report.finish(evaluated(records, [0.5] * count, report)))
    assert sum(counts(page)) == count


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_screen_reader_finds_nothing_serious(opened, path, colours, width):
    page = opened(path, viewport={"width": width, "height": 800}, color_scheme=colours)
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) <= 0  # nothing reaches out of the page
    for part in ("page", "viewer"):
        if part == "viewer":
            page.locator("#gallery button").first.click()
        assert serious(page) == [], part


def test_runs_side_by_side_are_drawn_and_filtered(opened, tmp_path):
    paths = [f"{i}.png" for i in range(12)]
    defects = ["crack" if i % 2 else "good" for i in range(12)]
    verdicts = [
        [Verdict(float(i), 50.0, 0.5, "anomalous" if i > limit else "normal") for i in range(12)]
        for limit in (4, 8)
    ]
    runs = [Judged(name, "5", each) for name, each in zip(("a", "<b>"), verdicts, strict=True)]
    found = comparison(paths, runs, defects)
    page = opened(compared_page.page(tmp_path, found, "Two", lambda *_: None))
    assert page.locator("#pairs circle").count() == 12
    assert page.locator("#pairs .differs").count() == len(found.different) == 4
    assert page.locator("#table tbody tr:visible").count() == 4
    page.select_option("#truth", "crack")
    assert page.locator("#table tbody tr:visible").count() == 2
    assert serious(page) == []


def test_a_sweep_shows_every_field_against_every_metric(opened, tmp_path):
    configs = grid(autoencoder.Config(), lr=[1e-4, 1e-3], smoothing=[1.0, 2.0, 4.0])
    metrics = {
        name: np.random.default_rng(0).random((6, 2)) for name in ("image_auroc", "pixel_auroc")
    }
    metrics["image_auroc"][3, 1] = np.nan
    records = [Record("a", "c", "good"), Record("b", "c", "crack")]
    one = evaluated(records, [0.0, 1.0])
    alive = tuple(tuple(None if (s, k) == (3, 1) else one for k in range(2)) for s in range(6))
    scores = Scores(metrics, alive)
    page = opened(sweep_page.write(tmp_path, autoencoder.DETECTOR, configs, scores))
    assert page.locator("svg").count() == 4
    assert page.locator("#plots-0 svg").first.locator("circle").count() == 11
    assert "1 member diverged" in page.inner_text("#gaps")
    assert serious(page) == []


def test_decisions_about_pictures_are_readable(opened, tmp_path):
    rows = [
        {"path": f"{i}.png", "score": float(i), "percentile": 1.0, "p_value": 0.5,
         "label": "normal", "regions": []} for i in range(30)
    ]  # fmt: skip
    page = opened(predictions.write(tmp_path, rows, "Decisions", "plate: 3", lambda _: None))
    assert page.locator("tbody tr").count() == 30
    assert serious(page) == []


def test_a_run_without_test_pictures_has_a_threshold_over_the_normals(opened, tmp_path):
    found = Facts("stfpm", [], [], [], History([1, 2], {"loss": [2.0, 1.0]}, None), 2, True, "", [])
    normals = Normals(np.arange(20.0), np.arange(20.0), "held out")
    made = Card("abc", {"part": normals}, SCALE, 0.0)
    page = opened(untested(tmp_path, "No tests", "There are none.", found, made))
    assert page.locator("#history svg").count() == 1
    page.fill("#exact", "9.5")
    page.locator("#exact").blur()
    assert "10 of 20" in page.inner_text("#rates")
    assert serious(page) == []
