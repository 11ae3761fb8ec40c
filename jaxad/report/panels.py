"""Pictures with labels: a picture beside its overlay and the colour bar; a sheet of small ones."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray as NpArray
from PIL import Image, ImageDraw, ImageFont

from jaxad.decision.scale import Scale
from jaxad.report.heatmap import tint

PAPER, INK, FAINT = "white", (25, 25, 25), (110, 110, 110)
BAR_HEIGHT = 120  # pixels, at least: three numbers fit beside it
THUMBNAIL = 144  # pixels, the longer side of a picture on a sheet
PAIR_GAP = 4  # pixels between a small picture and its overlay


class Layout(NamedTuple):
    """Where things lie on the panel of a picture of `height` and `width`, in pixels."""

    height: int
    width: int

    @property
    def text(self) -> int:
        """Size of the font."""
        return int(np.clip(max(self.height, self.width) / 22, 12, 36))

    @property
    def gap(self) -> int:
        """Between things and around them."""
        return self.text // 2

    @property
    def image(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the picture."""
        top = 2 * self.gap + self.text
        return self.gap, top, self.gap + self.width, top + self.height

    @property
    def overlay(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the overlay."""
        left, top, right, bottom = self.image
        shift = self.width + self.gap
        return left + shift, top, right + shift, bottom

    @property
    def bar(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the colour bar."""
        _, top, right, _ = self.overlay
        left = right + 2 * self.gap
        return left, top, left + self.text, top + max(self.height, BAR_HEIGHT)

    @property
    def canvas(self) -> tuple[int, int]:
        """Width and height of the whole panel."""
        _, _, right, bottom = self.bar
        return max(right + 6 * self.text, 24 * self.text), bottom + self.gap


class Case(NamedTuple):
    """One picture on a sheet: a `pair` and two lines of text below it."""

    pair: Image.Image
    lines: tuple[str, str]


def panel(
    image: UInt8[NpArray, "H W 3"], heat: UInt8[NpArray, "H W 3"], scale: Scale, caption: str
) -> Image.Image:
    """The picture and its overlay `heat` at their own size, and the colour bar, side by side."""
    layout = Layout(*image.shape[:2])
    canvas = Image.new("RGB", layout.canvas, PAPER)
    room = layout.canvas[0] - 2 * layout.gap
    words = shortened(caption, room, font(layout.text))
    at = (layout.gap, layout.gap // 2)
    ImageDraw.Draw(canvas).text(at, words, INK, font(layout.text))
    canvas.paste(Image.fromarray(image), layout.image[:2])
    canvas.paste(Image.fromarray(heat), layout.overlay[:2])
    colour_bar(canvas, layout.bar, scale, layout.text)
    return canvas


def pair(image: UInt8[NpArray, "H W 3"], heat: UInt8[NpArray, "H W 3"]) -> Image.Image:
    """The picture and its overlay side by side in squares of THUMBNAIL pixels."""
    canvas = Image.new("RGB", (2 * THUMBNAIL + PAIR_GAP, THUMBNAIL), PAPER)
    for place, pixels in enumerate((image, heat)):
        factor = THUMBNAIL / max(pixels.shape)
        width, height = (max(1, round(side * factor)) for side in pixels.shape[1::-1])
        small = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
        left = place * (THUMBNAIL + PAIR_GAP) + (THUMBNAIL - width) // 2
        canvas.paste(small, (left, (THUMBNAIL - height) // 2))
    return canvas


def colour_bar(
    canvas: Image.Image, box: tuple[int, int, int, int], scale: Scale, text: int
) -> None:
    """Draws the scale's colours as they look over grey, with numbers at both ends and the middle.

    The number in the middle is the highest value on held-out normal pictures.
    """
    left, top, right, bottom = box
    position = np.linspace(1, 0, bottom - top)[:, None].repeat(right - left, 1)
    colours = tint(np.full(position.shape, 128, np.uint8), position)
    canvas.paste(Image.fromarray(colours), (left, top))
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((left - 1, top - 1, right, bottom), outline=FAINT)
    middle = (top + bottom) // 2
    draw.line((right, middle, right + text // 3, middle), INK, max(1, text // 12))
    x = right + text // 2
    low, normal, high = numbers((scale.low, scale.normal, scale.high))
    draw.text((x, top), f"≥ {high}", INK, font(text), "la")
    draw.text((x, middle), normal, INK, font(text), "lm")
    draw.text((x, middle + text), "normal max", FAINT, font(round(0.75 * text)), "lm")
    draw.text((x, bottom), f"≤ {low}", INK, font(text), "ld")


def numbers(values: Sequence[float]) -> list[str]:
    """Values with as many decimals as tell them apart: their span has three digits."""
    span = max(values) - min(values)
    decimals = 2 - int(np.floor(np.log10(span))) if span > 0 else 2
    if decimals > 5 or max(map(abs, values)) >= 1e6:
        return [f"{value:.2e}" for value in values]
    return [f"{value:.{max(decimals, 0)}f}" for value in values]


def sheet(rows: Sequence[tuple[str, Sequence[Case]]], columns: int, scale: Scale) -> Image.Image:
    """Rows of cases under their titles, and the colour bar; a row without cases says "none"."""
    gap, text = 10, 14
    step, title_height = 2 * THUMBNAIL + PAIR_GAP + 2 * gap, 2 * text + gap
    case_height = THUMBNAIL + 3 * text + gap
    heights = [title_height + (case_height if cases else 0) for _, cases in rows]
    size = (gap + columns * step + 8 * text, sum(heights) + gap)
    canvas = Image.new("RGB", (size[0], max(size[1], BAR_HEIGHT + title_height + gap)), PAPER)
    draw = ImageDraw.Draw(canvas)
    top = 0
    for (title, cases), height in zip(rows, heights, strict=True):
        title = title if cases else f"{title}: none"
        draw.text((gap, top + gap), title, INK, font(text + 3, bold=True))
        y = top + title_height
        for column, case in enumerate(cases[:columns]):
            x = gap + column * step
            canvas.paste(case.pair, (x, y))
            for line, (words, colour) in enumerate(zip(case.lines, (INK, FAINT), strict=True)):
                words = shortened(words, step - 2 * gap, font(text))
                at = (x, y + THUMBNAIL + 3 + line * (text + 3))
                draw.text(at, words, colour, font(text))
        top += height
    left = gap + columns * step
    bar = (left, title_height, left + text, title_height + max(BAR_HEIGHT, THUMBNAIL))
    colour_bar(canvas, bar, scale, text)
    return canvas


@functools.cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and has Latin, Greek, Cyrillic and more."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), size)


def shortened(text: str, room: int, font: ImageFont.FreeTypeFont) -> str:
    """The text, with an ellipsis for its middle where it is wider than `room` pixels."""
    kept = len(text)
    result = text
    while font.getlength(result) > room and kept > 1:
        kept -= 1
        result = text[: (kept + 1) // 2] + "…" + text[len(text) - kept // 2 :]
    return result
