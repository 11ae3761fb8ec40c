"""A contact sheet: some pictures of each folder, to be looked at once before training."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from jaxad.report.panels import INK, PAPER, font

COLUMNS, GAP, TEXT = 12, 6, 14


def sheet(rows: Mapping[str, Sequence[UInt8[np.ndarray, "s s 3"]]]) -> Image.Image:
    """Rows of square pictures of one size under their titles.

    Args:
      rows: pictures by title; of a row the first `COLUMNS` are shown.

    Raises:
      ValueError: there are no pictures.
    """
    sides = [len(picture) for pictures in rows.values() for picture in pictures]
    if not sides:
        raise ValueError("there are no pictures to show")
    side = max(sides)
    height = TEXT + 2 * GAP + side
    size = (GAP + COLUMNS * (side + GAP), len(rows) * height + GAP)
    canvas = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(canvas)
    for row, (title, pictures) in enumerate(rows.items()):
        top = GAP + row * height
        draw.text((GAP, top), title, INK, font(TEXT, bold=True))
        for column, picture in enumerate(pictures[:COLUMNS]):
            at = (GAP + column * (side + GAP), top + TEXT + GAP)
            canvas.paste(Image.fromarray(picture), at)
    return canvas
