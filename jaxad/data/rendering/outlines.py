"""Outlines of parts as signed distances: negative inside, positive outside, smooth edges for free.

Lengths are fractions of the picture's side.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray as NpArray

Field = Float[NpArray, "H W"]


class Place(NamedTuple):
    """A position and an orientation (radians) in the coordinates of the workpiece."""

    x: float = 0.0
    y: float = 0.0
    angle: float = 0.0

    def at(self, x: float, y: float, angle: float = 0.0) -> "Place":
        """The place that lies at (x, y) as seen from this one."""
        c, s = math.cos(self.angle), math.sin(self.angle)
        return Place(self.x + c * x - s * y, self.y + s * x + c * y, self.angle + angle)


class Outline(NamedTuple):
    """A figure around the origin.

    Attributes:
      distance: (x, y) -> signed distance to the edge.
      reach: nothing of the figure lies further from the origin along x and along y.
    """

    distance: Callable[[Field, Field], Field]
    reach: tuple[float, float]


def box(width: float, height: float, radius: float = 0.0) -> Outline:
    """A rectangle with rounded corners; with `radius` half its height, a capsule."""
    a, b = width / 2 - radius, height / 2 - radius

    def distance(x: Field, y: Field) -> Field:
        x, y = np.abs(x) - a, np.abs(y) - b
        inside = np.minimum(np.maximum(x, y), 0)
        x, y = np.maximum(x, 0), np.maximum(y, 0)
        return inside + np.sqrt(x * x + y * y) - radius

    return Outline(distance, (width / 2, height / 2))


def disc(radius: float) -> Outline:
    """A filled circle."""
    return Outline(lambda x, y: np.sqrt(x * x + y * y) - radius, (radius, radius))


def ring(radius: float, width: float) -> Outline:
    """A circular band of `width` around a circle of `radius`."""
    reach = radius + width / 2
    return Outline(lambda x, y: np.abs(np.sqrt(x * x + y * y) - radius) - width / 2, (reach, reach))


def hexagon(radius: float) -> Outline:
    """A regular hexagon with corners at `radius`."""
    c, s = 0.5, math.sqrt(3) / 2

    def distance(x: Field, y: Field) -> Field:
        x, y = np.abs(x), np.abs(y)
        return np.maximum(y, s * x + c * y) - s * radius

    return Outline(distance, (radius, radius))


def rosette(radius: float, *waves: tuple[float, int, float]) -> Outline:
    """A disc whose edge waves: a knurled cap, a flower, an irregular blot.

    Args:
      radius: mean radius.
      waves: depth, count around the edge and phase (radians) of each.
    """

    def distance(x: Field, y: Field) -> Field:
        turn = np.arctan2(y, x)
        edge = sum(depth * np.cos(count * turn + phase) for depth, count, phase in waves)
        return np.sqrt(x * x + y * y) - radius - edge

    reach = radius + sum(abs(depth) for depth, _, _ in waves)
    return Outline(distance, (reach, reach))


def comb(width: float, height: float, pitch: float, duty: float = 0.5) -> Outline:
    """A row of teeth along x: `duty` of each `pitch` is filled."""

    def distance(x: Field, y: Field) -> Field:
        turns = (x + width / 2) * (1 / pitch)
        tooth = (np.abs(turns - np.floor(turns) - 0.5) - duty / 2) * pitch
        return np.maximum(np.maximum(tooth, np.abs(y) - height / 2), np.abs(x) - width / 2)

    return Outline(distance, (width / 2, height / 2))


def arc(length: float, width: float, bend: float) -> Outline:
    """A strip along x whose middle is displaced by `bend`, with round ends: a wire, a scratch."""

    def distance(x: Field, y: Field) -> Field:
        t = np.clip(x * (2 / length), -1, 1)
        x, y = x - t * (length / 2), y - bend * (1 - t * t)
        return np.sqrt(x * x + y * y) - width / 2

    return Outline(distance, ((length + width) / 2, abs(bend) + width / 2))


def polyline(points: Sequence[tuple[float, float]], width: float) -> Outline:
    """Straight strokes from point to point, each thinner than the one before."""
    ends = np.asarray(points, np.float32)
    widths = width * np.linspace(1, 0.5, max(len(ends) - 1, 1), dtype=np.float32)

    def distance(x: Field, y: Field) -> Field:
        nearest = np.full_like(x, 2.0)
        for (px, py), (qx, qy), stroke in zip(ends[:-1], ends[1:], widths, strict=True):
            ex, ey = qx - px, qy - py
            t = np.clip(((x - px) * ex + (y - py) * ey) / (ex * ex + ey * ey), 0, 1)
            dx, dy = x - px - t * ex, y - py - t * ey
            nearest = np.minimum(nearest, np.sqrt(dx * dx + dy * dy) - stroke / 2)
        return nearest

    reach_x, reach_y = (np.abs(ends).max(0) + width).tolist()
    return Outline(distance, (reach_x, reach_y))


def until(outline: Outline, end: float) -> Outline:
    """The part of a figure with x < end."""
    return Outline(lambda x, y: np.maximum(outline.distance(x, y), x - end), outline.reach)
