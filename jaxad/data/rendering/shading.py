"""From colour, height and gloss to a picture: diffuse light, highlights, soft shadows, noise."""

import math

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from scipy import ndimage

from jaxad.data.rendering.canvas import Canvas
from jaxad.data.rendering.materials import noise

BAND = 64  # rows that are lit at a time: all that is computed for them stays in the cache


def shade(canvas: Canvas) -> UInt8[np.ndarray, "H W 3"]:
    """The picture that a camera takes of a canvas in the light of its view."""
    size, azimuth = canvas.size, canvas.view.light
    light = 0.55 * math.cos(azimuth), 0.55 * math.sin(azimuth)
    padded = np.pad(canvas.height, 1, "edge")
    around = surroundings(canvas, light)
    picture = np.empty((size, size, 3), np.uint8)
    for top in range(0, size, BAND):
        bottom = min(top + BAND, size)
        lit(canvas, light, padded[top : bottom + 2], around[top:bottom], top, picture[top:bottom])
    return picture


def surroundings(canvas: Canvas, light: tuple[float, float]) -> Float[np.ndarray, "H W"]:
    """The mean height around what lies a little towards the light from each pixel."""
    size = canvas.size
    small = max(size // 4, 16)
    coarse = Image.fromarray(canvas.height).resize((small, small), Image.Resampling.BOX)
    blurred = Image.fromarray(ndimage.gaussian_filter(np.asarray(coarse), small / 64))
    around = np.asarray(blurred.resize((size, size), Image.Resampling.BILINEAR))
    return np.roll(around, (round(-0.04 * light[1] * size), round(-0.04 * light[0] * size)), (0, 1))


def lit(
    canvas: Canvas,
    light: tuple[float, float],
    padded: Float[np.ndarray, "h2 W2"],
    around: Float[np.ndarray, "h W"],
    top: int,
    picture: UInt8[np.ndarray, "h W 3"],
) -> None:
    """Fills a band of the picture.

    Args:
      canvas: the whole canvas.
      light: tangent of the light's direction along x and y.
      padded: heights of the band and one pixel around it.
      around: the band of `surroundings`.
      top: first row of the band.
      picture: the band to fill.
    """
    view, size = canvas.view, canvas.size
    rows = slice(top, top + len(picture))
    x, y, gloss, height = canvas.x, canvas.y[rows], canvas.gloss[rows], padded[1:-1, 1:-1]

    slope_x = (padded[1:-1, 2:] - padded[1:-1, :-2]) * (size / 2)
    slope_y = (padded[2:, 1:-1] - padded[:-2, 1:-1]) * (size / 2)
    steep = 1 / np.sqrt(slope_x * slope_x + slope_y * slope_y + 1)
    away = light[0] * slope_x + light[1] * slope_y

    diffuse = np.maximum((1 - away) * (0.65 * steep) + 0.35, 0.1)
    diffuse *= 1 - np.clip((around - height) * 18, 0, 0.55)
    diffuse *= view.gain * (1 + view.slope[0] * x) + (view.gain * view.slope[1]) * y
    # Glossy surfaces mirror a room with bright and dark sides.
    room = np.sin((4.0 * x + view.phase) + 3.0 * y + (6 * slope_x) * steep)
    diffuse *= 1 + (0.22 * gloss) * room

    # A highlight where the surface faces the middle between the light and the camera above.
    highlight = np.maximum((1 - 0.45 * away) * steep, 0.1) * (1 / math.hypot(1, 0.25))
    for _ in range(4):
        highlight *= highlight
    highlight *= 0.30 * gloss

    first = int(view.crop[0] * size * size) + top * size
    for channel, gain in enumerate(view.tint):
        plane = canvas.albedo[channel, rows] * diffuse
        plane += highlight
        plane *= 255 * gain
        grain = noise(size)[first + channel * size * size :][: plane.size]
        plane += (255 * view.grain) * grain.reshape(plane.shape)
        picture[..., channel] = np.clip(plane, 0, 255, out=plane)
