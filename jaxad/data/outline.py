"""Outlines of masks, to be drawn over pictures."""

import numpy as np
from jaxtyping import Bool, UInt8
from scipy import ndimage

OUTLINE = (0, 235, 235)  # colour of a mask's outline: none of a heat map's is near it


def outline(
    mask: UInt8[np.ndarray, "H W"] | Bool[np.ndarray, "H W"],
) -> tuple[Bool[np.ndarray, "H W"], Bool[np.ndarray, "H W"]]:
    """Where to draw a mask's outline: a line just outside the mask, and a darker one around it.

    One pixel wide up to a side of 400, more on larger pictures. Along the picture's border there is
    no line where the mask runs out of it.
    """
    width = max(1, round(max(mask.shape) / 400))
    square = np.ones((3, 3), bool)
    mask = np.asarray(mask, bool)
    line = np.asarray(ndimage.binary_dilation(mask, square, iterations=width), bool)
    around = np.asarray(ndimage.binary_dilation(line, square, iterations=width), bool)
    return line & ~mask, around & ~line
