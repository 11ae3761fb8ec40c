"""Anomaly maps as colours over the picture, on one scale for a whole run."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray as NpArray
from PIL import Image

from jaxad.data.outline import OUTLINE, outline

# sRGB of the map "inferno" (matplotlib, CC0) at equal steps from low to high: lightness rises
# steadily, so that the order is right for colour-blind eyes too.
COLOURS = (
    (0, 0, 4),
    (31, 12, 72),
    (85, 15, 109),
    (136, 34, 106),
    (186, 54, 85),
    (227, 89, 51),
    (249, 140, 10),
    (249, 201, 50),
    (252, 255, 164),
)
OPACITY = 0.85  # of the highest colour over the picture; the lowest is transparent
QUANTILE = 0.9  # of pixels of normal pictures that get no colour
HEADROOM = 2.0  # the scale ends this many times as far above `low` as the highest normal value


class Scale(NamedTuple):
    """The values of a map that get the lowest and the highest colour; values beyond are clipped."""

    low: float
    high: float

    @property
    def normal(self) -> float:
        """The highest value on held-out normal pictures, if the scale is from `colour_scale`."""
        return self.low + (self.high - self.low) / HEADROOM

    def __call__(self, map: Float[NpArray, "H W"]) -> Float[NpArray, "H W"]:
        """Places of a map's values on the scale, from 0 (low or less) to 1 (high or more)."""
        return np.clip((map - self.low) / (self.high - self.low), 0, 1)


def colour_scale(
    maps: Float[NpArray, "N H W"], seen: Bool[NpArray, "N H W"] | None = None
) -> Scale:
    """The scale of a run, from the maps of held-out normal pictures.

    `low` is the 0.9 quantile of their pixels, so most of a normal picture stays untouched, and
    `high` is `low + 2 (highest - low)`, so the highest value seen on a normal picture gets the
    colour in the middle. A scale of its own for every picture would make the highest pixel of each
    normal one look like a defect.

    Where nothing is above `low` nothing tells how much is much: `high` is then `low + |low|`, or
    `low + 1` if that is zero too.

    Args:
      maps: unscaled.
      seen: the pixels that count; None for all.

    Raises:
      ValueError: there is no map, or one has NaN or infinite values.
    """
    if maps.size == 0:
        raise ValueError("the colour scale needs the maps of at least one held-out normal picture")
    if not np.isfinite(maps).all():
        bad = sorted({int(i) for i in np.argwhere(~np.isfinite(maps))[:, 0]})
        raise ValueError(f"maps of held-out pictures {bad} have NaN or infinite values")
    levels = maps if seen is None else maps[seen]
    low, highest = float(np.quantile(levels, QUANTILE)), float(levels.max())
    span = highest - low
    if span <= 1e-6 * abs(low):  # what rounding leaves of a constant
        span = (abs(low) or 1.0) / HEADROOM
    return Scale(low, low + HEADROOM * span)


def overlay(
    image: UInt8[NpArray, "H W 3"],
    map: Float[NpArray, "H W"],
    scale: Scale,
    mask: UInt8[NpArray, "H W"] | Bool[NpArray, "H W"] | None = None,
) -> UInt8[NpArray, "H W 3"]:
    """The picture in grey under the map's colours, with the outline of the mask.

    The picture loses its own colours so that every colour is the map's. The higher a value, the
    more opaque its colour.

    Args:
      image: RGB.
      map: at the size of the image.
      scale: of the whole run.
      mask: non-zero where defective.

    Raises:
      ValueError: the sizes differ, or the map has NaN or infinite values.
    """
    for name, other in (("map", map), ("mask", mask)):
        if other is not None and other.shape != image.shape[:2]:
            raise ValueError(f"{name} of size {other.shape} over an image of {image.shape[:2]}")
    if not np.isfinite(map).all():
        raise ValueError("the map has NaN or infinite values")
    result = tint(np.asarray(Image.fromarray(image).convert("L")), scale(map))
    if mask is not None and mask.any():
        inner, outer = outline(mask)
        result[outer] = 0
        result[inner] = OUTLINE
    return result


def tint(grey: UInt8[NpArray, "H W"], position: Float[NpArray, "H W"]) -> UInt8[NpArray, "H W 3"]:
    """Grey values under the colours of positions in 0..1 on the scale."""
    level = np.rint(position * 255).astype(np.uint8)
    opacity = np.linspace(0, OPACITY, 256, dtype=np.float32)
    colour = (opacity[:, None] * table()).astype(np.float32)
    under = grey * (1 - opacity)[level]
    return np.rint(under[..., None] + colour[level]).astype(np.uint8)


def table() -> UInt8[NpArray, "256 3"]:
    """The colours of positions 0, 1/255, ... 1 on the scale."""
    at = np.linspace(0, len(COLOURS) - 1, 256)
    channels = [
        np.interp(at, range(len(COLOURS)), channel) for channel in zip(*COLOURS, strict=True)
    ]
    return np.rint(np.stack(channels, -1)).astype(np.uint8)
