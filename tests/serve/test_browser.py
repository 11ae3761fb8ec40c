"""The page in Chromium: pictures dropped, pasted, chosen and taken; what is seen of them."""

import base64
import contextlib
import re
import shutil

import pytest
from asked import FEW, file_of, picture, service_of
from test_connections import serving

from jaxad.detector import replace
from jaxad.serve.models import Model

pytestmark = pytest.mark.browser
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
TOKEN = "a-token-of-some-length"
REFUSED = "Failed to load resource"  # what Chromium says of an answer that is no 200


@pytest.fixture(scope="module")
def chromium():
    """A browser with a camera that shows a moving picture; its absence skips."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", *CAMERA]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def places(model):
    """The address of a service, and of one with two models and a token."""
    other = Model("other", {"a": model.first, "b": model.first}, model.sizes)
    limits = replace(FEW, body_timeout=15.0)
    with contextlib.ExitStack() as stack:
        found = []
        for models, token in (((model,), None), ((model, other), TOKEN)):
            service = service_of(*models, limits=limits)
            stack.callback(service.close)
            port, _ = stack.enter_context(serving(service, token))
            found.append(f"http://127.0.0.1:{port}")
        yield found


@pytest.fixture
def opened(chromium, places):
    """options -> the page; a word on its console, a fault, or a request elsewhere fails."""
    said, contexts = [], []

    def open_(place=0, answers_refused=False, **options):
        options = {"viewport": {"width": 1280, "height": 900}, **options}
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        heard = lambda message: answers_refused and REFUSED in message.text
        page.on("console", lambda message: heard(message) or said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        outside = lambda url: not url.startswith((*places, "blob:", "data:"))
        page.on("request", lambda x: outside(x.url) and said.append(x.url))
        page.goto(places[place])
        return page

    yield open_
    for context in contexts:
        context.close()
    assert said == []


DROP = """([files, kind]) => {
    const data = new DataTransfer();
    for (const [name, content] of files) {
        const bytes = Uint8Array.from(atob(content), (sign) => sign.charCodeAt(0));
        data.items.add(new File([bytes], name, { type: kind }));
    }
    for (const name of ["dragenter", "dragover", "drop"])
        document.querySelector("#stage").dispatchEvent(
            new DragEvent(name, { dataTransfer: data, bubbles: true, cancelable: true }));
}"""
PASTE = """([content]) => {
    const data = new DataTransfer();
    const bytes = Uint8Array.from(atob(content), (sign) => sign.charCodeAt(0));
    data.items.add(new File([bytes], "", { type: "image/png" }));
    window.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data }));
}"""


def drop(page, *contents, kind="image/png"):
    files = [[f"{i}.png", base64.b64encode(one).decode()] for i, one in enumerate(contents)]
    page.evaluate(DROP, [files, kind])


def judged(page, kinds="normal, anomalous"):
    """Waits for a verdict."""
    found = ", ".join(f"#label[data-kind={kind}]" for kind in kinds.split(", "))
    page.locator(found).wait_for(timeout=30_000)


def serious(page):
    """What axe calls serious or critical."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page).response["violations"]
    return [one["id"] for one in found if one["impact"] in ("serious", "critical")]


def shown(page, selector):
    """Whether a picture is there and decoded."""
    script = "(one) => one.complete && one.naturalWidth > 0"
    return page.locator(selector).evaluate(script)


def size(page):
    """Width and height that the page tells."""
    return tuple(map(int, re.findall(r"\d+", page.inner_text("#size"))))


def test_a_dropped_picture_is_judged_and_its_map_is_seen(opened, model):
    image = picture(2, (150, 220))
    page = opened()
    drop(page, file_of(image))
    judged(page)
    finding = model.first(image)
    assert page.inner_text("#label").lower().endswith(finding.judgement.label)
    assert float(page.inner_text("#score")) == pytest.approx(finding.judgement.score, rel=1e-3)
    assert size(page) == (220, 150)
    assert shown(page, "#picture")
    assert shown(page, "#heat")
    assert page.locator("#boxes div").count() == min(200, len(finding.regions))
    assert page.locator("#drop").is_hidden()


def test_the_map_is_more_or_less_opaque_and_regions_can_be_hidden(opened):
    page = opened()
    drop(page, file_of(picture()))
    judged(page)
    opacity = lambda: page.locator("#heat").evaluate("(one) => one.style.opacity")
    assert opacity() == "1"
    page.locator("#blend").fill("30")
    assert opacity() == "0.3"
    page.focus("#blend")
    page.keyboard.press("ArrowRight")
    assert opacity() == "0.31"
    assert page.locator("#boxes").is_visible() == (page.locator("#boxes div").count() > 0)
    page.uncheck("#outlines")
    assert page.locator("#boxes").is_hidden()


def test_a_region_of_the_list_is_lit_in_the_picture(opened, places, monkeypatch, model):
    page = opened()
    monkeypatch.setattr(model.first, "_card", model.first.card.with_threshold(0.0, 0.0))
    drop(page, file_of(picture()))
    judged(page)
    box = page.locator("#boxes div").first
    assert "on" not in (box.get_attribute("class") or "").split()
    button = page.locator("#regions button").first
    button.focus()
    assert "on" in box.get_attribute("class").split()
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-pressed") == "true"
    page.focus("#blend")
    assert "on" in box.get_attribute("class").split()


def test_a_pasted_picture_is_judged(opened):
    page = opened()
    page.locator("#model option").first.wait_for(state="attached")
    page.evaluate(PASTE, [base64.b64encode(file_of(picture())).decode()])
    judged(page)


def test_chosen_pictures_are_kept_for_this_visit(opened, tmp_path):
    page = opened()
    for number in range(3):
        (tmp_path / f"part {number}.png").write_bytes(file_of(picture(number, (60 + number, 80))))
    page.set_input_files("#file", sorted(tmp_path.glob("*.png")))
    page.locator("#strip li").nth(2).wait_for(timeout=30_000)
    assert size(page) == (80, 62)
    page.locator("#strip button").nth(2).click()
    assert size(page) == (80, 60)
    assert page.locator("#strip [aria-current=true] .name").inner_text() == "part 0.png"


def test_a_picture_that_no_browser_shows_is_judged_and_shown(opened):
    page = opened()
    drop(page, file_of(picture(), "TIFF"), kind="image/tiff")
    judged(page)
    assert shown(page, "#picture")
    assert page.locator("#blend").is_hidden()


def test_a_file_that_is_no_picture_is_told(opened):
    page = opened(answers_refused=True)
    drop(page, b"some text")
    judged(page, "error")
    assert "not a picture" in page.inner_text("#said")
    assert page.locator("#numbers").is_hidden()
    drop(page, file_of(picture()))
    judged(page)


def test_a_camera_is_looked_through_and_its_picture_judged(opened):
    page = opened(permissions=["camera"])
    page.click("#camera")
    page.locator("#video").wait_for()
    assert page.get_attribute("#camera", "aria-expanded") == "true"
    page.click("#shoot")
    judged(page)
    assert page.locator("#video").evaluate("(one) => one.videoWidth") > 0
    assert size(page)[0] == page.locator("#video").evaluate("(one) => one.videoWidth")
    page.fill("#seconds", "0.5")
    page.check("#again")
    page.locator("#strip li").nth(3).wait_for(timeout=60_000)
    page.click("#camera")
    assert page.locator("#video").is_hidden()
    assert not page.is_checked("#again")
    assert page.locator("#video").evaluate("(one) => one.srcObject") is None


def test_a_token_is_asked_for_and_kept_in_memory_alone(opened):
    page = opened(place=1, answers_refused=True)
    page.locator("#entry").wait_for()
    assert page.locator("#bench").is_hidden()
    page.fill("#token", "wrong")
    page.keyboard.press("Enter")
    page.get_by_text("not the token").wait_for()
    page.fill("#token", TOKEN)
    page.keyboard.press("Enter")
    page.locator("#bench").wait_for()
    drop(page, file_of(picture()))
    judged(page)
    kept = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"
    assert page.evaluate(f"() => {kept}") == '[{},{},""]'
    page.reload()
    page.locator("#entry").wait_for()


def test_models_and_categories_are_chosen(opened):
    page = opened(place=1, answers_refused=True)
    page.fill("#token", TOKEN)
    page.keyboard.press("Enter")
    page.locator("#bench").wait_for()
    assert page.locator("#model option").all_inner_texts() == ["tiny", "other"]
    assert page.locator("#category").is_hidden()
    page.select_option("#model", "other")
    page.select_option("#category", "b")
    with page.expect_request("**/v1/predict*") as asked:
        drop(page, file_of(picture()))
    assert "model=other" in asked.value.url
    assert "category=b" in asked.value.url
    judged(page)


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_screen_reader_finds_nothing_serious(opened, colours, width):
    page = opened(
        viewport={"width": width, "height": 800}, color_scheme=colours, bypass_csp=True,
        permissions=["camera"],
    )  # fmt: skip
    wide = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    page.locator("#model option").first.wait_for(state="attached")
    for part in ("empty", "judged", "camera"):
        if part == "judged":
            drop(page, file_of(picture()), file_of(picture(1)))
            page.locator("#strip li").nth(1).wait_for(timeout=30_000)
        if part == "camera":
            page.click("#camera")
            page.locator("#video").wait_for()
        assert page.evaluate(wide) <= 0, part  # nothing reaches out of the page
        assert serious(page) == [], part


def test_what_is_chosen_stays_while_another_model_loads(opened):
    page = opened(place=1, answers_refused=True)

    def with_a_late_one(route):
        answer = route.fetch()
        if answer.status != 200:
            return route.fulfill(response=answer)
        late = [*answer.json()["models"], {"name": "late", "ready": False}]
        route.fulfill(response=answer, json=answer.json() | {"models": late})

    page.route("**/v1/models", with_a_late_one)
    page.fill("#token", TOKEN)
    page.keyboard.press("Enter")
    page.locator("#bench").wait_for()
    page.select_option("#model", "other")
    page.select_option("#category", "b")
    for _ in range(2):
        with page.expect_response("**/v1/models"):
            pass
    page.wait_for_timeout(100)
    assert (page.input_value("#model"), page.input_value("#category")) == ("other", "b")
    page.unroute_all(behavior="wait")


def test_all_of_it_is_reached_by_keys(opened):
    page = opened()
    page.locator("#model option").first.wait_for(state="attached")
    drop(page, file_of(picture()))
    judged(page)
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("() => document.activeElement.id"))
    assert {"model", "file", "camera", "blend", "outlines"} <= reached


def test_what_changes_is_read_out(opened):
    page = opened()
    assert page.get_attribute("#verdict", "aria-live") == "polite"
    drop(page, file_of(picture()))
    judged(page)
    assert page.locator("#verdict #label").count() == page.locator("#verdict #said").count() == 1
