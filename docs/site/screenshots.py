"""Makes the pictures of pages that the documentation shows: docs/assets/report*.png.

    python docs/site/screenshots.py RUN

RUN is the run of the tutorial for engineers: `jaxad train patchcore FOLDER RUN --size 128` on the
folder that the tutorial writes. Wants Chromium, and the extra `browser`.
"""

import pathlib
import shutil
import sys

from PIL import Image

ASSETS = pathlib.Path(__file__).resolve().parents[1] / "assets"
SIZE = {"width": 1180, "height": 1240}


def main(run: str) -> int:
    """Takes the screenshots; returns the exit status."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    path = pathlib.Path(run, "report", "index.html").resolve()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_context(viewport=SIZE, color_scheme="light").new_page()
        page.goto(path.as_uri())
        page.wait_for_timeout(1000)
        page.screenshot(path=ASSETS / "report.png")
        page.locator("#gallery button").first.click()
        page.wait_for_timeout(1000)
        page.screenshot(path=ASSETS / "report_viewer.png")
        browser.close()
    for name in ("report", "report_viewer"):  # few colours: a third of the bytes
        file = ASSETS / f"{name}.png"
        with Image.open(file) as picture:
            picture.convert("RGB").quantize(192).save(file, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
