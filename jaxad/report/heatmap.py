"""Anomaly maps as colours over the picture, on one scale for a whole run."""

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray as NpArray
from PIL import Image

from jaxad.data.outline import OUTLINE, outline
from jaxad.decision.scale import Scale

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
    check(image, map, mask)
    result = tint(np.asarray(Image.fromarray(image).convert("L")), scale(map))
    if mask is not None and mask.any():
        inner, outer = outline(mask)
        result[outer] = 0
        result[inner] = OUTLINE
    return result


def check(
    image: UInt8[NpArray, "H W 3"],
    map: Float[NpArray, "_ _"],
    mask: UInt8[NpArray, "_ _"] | Bool[NpArray, "_ _"] | None,
) -> None:
    """Raises ValueError where sizes differ, or the map has NaN or infinite values."""
    for name, other in (("map", map), ("mask", mask)):
        if other is not None and other.shape != image.shape[:2]:
            raise ValueError(f"{name} of size {other.shape} over an image of {image.shape[:2]}")
    if not np.isfinite(map).all():
        raise ValueError("the map has NaN or infinite values")


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


def gradient() -> str:
    """The colours of the scale from left to right as a style of a page, as opaque as in maps."""
    last = len(COLOURS) - 1
    stops = [f"rgb({r} {g} {b} / {OPACITY * i / last:.3f})" for i, (r, g, b) in enumerate(COLOURS)]
    return f"linear-gradient(to right, {', '.join(stops)})"
