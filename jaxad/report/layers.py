"""A picture, its map and its mask as layers that lie on one another in a page.

The map's layer has the colour and the opacity that `heatmap.overlay` has, so that it looks the same
over the picture in grey; in a page it can be made fainter, and the picture below keeps its colours.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray as NpArray
from PIL import Image

from jaxad.data.outline import OUTLINE, outline
from jaxad.decision.scale import Scale
from jaxad.report.heatmap import OPACITY, check, table


class Layers(NamedTuple):
    """Layers of one size, the last one None where there is no mask."""

    picture: UInt8[NpArray, "h w 3"]
    map: UInt8[NpArray, "h w 4"]
    truth: UInt8[NpArray, "h w 4"] | None


def layers(
    image: UInt8[NpArray, "H W 3"],
    map: Float[NpArray, "H W"],
    mask: UInt8[NpArray, "H W"] | Bool[NpArray, "H W"] | None,
    scale: Scale,
    side: int | None = None,
) -> Layers:
    """The layers of a picture.

    Args:
      image: RGB.
      map: at the size of the image.
      mask: non-zero where defective; None or all zeros without one.
      scale: of the whole run.
      side: of the square that they are made small for, keeping their shape; None for the picture's
        own size. Smaller pictures stay as they are.

    Raises:
      ValueError: the sizes differ, or the map has NaN or infinite values.
    """
    check(image, map, mask)
    height, width = _size(image.shape[:2], side)
    small = lambda pixels, how: np.asarray(Image.fromarray(pixels).resize((width, height), how))
    position = small(scale(map).astype(np.float32), Image.Resampling.BILINEAR)
    truth = None
    if mask is not None and mask.any():
        # A defect of a few pixels must not vanish: what a small pixel touches is in.
        inside = small((np.asarray(mask) > 0).astype(np.float32), Image.Resampling.BOX) > 0
        truth = outlined(inside)
    return Layers(small(image, Image.Resampling.BILINEAR), tinted(position), truth)


def tinted(position: Float[NpArray, "h w"]) -> UInt8[NpArray, "h w 4"]:
    """The colours of positions in 0..1 on the scale, the lowest transparent."""
    level = np.rint(np.clip(position, 0, 1) * 255).astype(np.uint8)
    alpha = np.rint(level[..., None] * OPACITY).astype(np.uint8)
    return np.concatenate([table()[level], alpha], -1)


def outlined(inside: Bool[NpArray, "h w"]) -> UInt8[NpArray, "h w 4"]:
    """The outline of a mask, and a dark line around it, on nothing."""
    line, around = outline(inside)
    pixels = np.zeros((*inside.shape, 4), np.uint8)
    pixels[around] = (0, 0, 0, 160)
    pixels[line] = (*OUTLINE, 255)
    return pixels


def _size(shape: tuple[int, ...], side: int | None) -> tuple[int, int]:
    height, width = shape
    factor = 1.0 if side is None else min(1.0, side / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))
