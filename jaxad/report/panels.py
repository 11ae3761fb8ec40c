"""What pictures with labels share: paper and ink, a font, sizes, numbers beside a scale."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import ImageFont

PAPER, INK = "white", (25, 25, 25)
THUMBNAIL = 144  # pixels, the side of a picture beside others
PAIR_GAP = 4  # pixels between two of them


def numbers(values: Sequence[float]) -> list[str]:
    """Values with as many decimals as tell them apart: their span has three digits."""
    span = max(values) - min(values)
    decimals = 2 - int(np.floor(np.log10(span))) if span > 0 else 2
    if decimals > 5 or max(map(abs, values)) >= 1e6:
        return [f"{value:.2e}" for value in values]
    return [f"{value:.{max(decimals, 0)}f}" for value in values]


@functools.cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and has Latin, Greek, Cyrillic and more."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), size)
