"""Makes the front page's picture, experiments/pictures/quickstart.png, of the quickstart's run.

    jaxad quickstart && python docs/site/quickstart_picture.py runs/quickstart

Of each type of defect the test picture with the median score, and its heat map on the card's scale.
"""

import pathlib
import sys

import numpy as np
from PIL import Image, ImageDraw

from jaxad import Predictor
from jaxad.data import workpieces
from jaxad.report.heatmap import overlay
from jaxad.report.panels import INK, PAIR_GAP, PAPER, THUMBNAIL, font

PLACE = pathlib.Path(__file__).resolve().parents[2] / "experiments" / "pictures" / "quickstart.png"
COLUMNS, GAP, TEXT = 5, 10, 14


def main(run: str) -> int:
    """Draws and writes the picture; returns the exit status."""
    predictor = Predictor.load(run)
    test = workpieces.load("plate", size=predictor.cfg.size).test_set()
    defects = list(dict.fromkeys(one.defect for one in test.records if one.label))
    step, height = 2 * THUMBNAIL + PAIR_GAP + GAP, THUMBNAIL + 2 * TEXT - 4
    rows = -(-len(defects) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * step - GAP, rows * height), PAPER)
    for place, defect in enumerate(defects):
        members = [i for i, one in enumerate(test.records) if one.defect == defect]
        found = [predictor(test[i]["image"]) for i in members]
        order = np.argsort([one.judgement.score for one in found], kind="stable")
        middle = int(order[len(order) // 2])
        item, finding = test[members[middle]], found[middle]
        heat = overlay(item["image"], finding.map, predictor.card.scale, item["mask"])
        left, top = place % COLUMNS * step, place // COLUMNS * height
        for number, pixels in enumerate((item["image"], heat)):
            small = Image.fromarray(pixels).resize(
                (THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR
            )
            sheet.paste(small, (left + number * (THUMBNAIL + PAIR_GAP), top))
        words = f"{defect.replace('_', ' ')}   score {finding.judgement.score:.2f}"
        ImageDraw.Draw(sheet).text((left + 2, top + THUMBNAIL + 3), words, INK, font(TEXT))
    sheet.save(PLACE, optimize=True)
    print(PLACE.name)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
