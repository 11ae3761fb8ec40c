"""What can be wrong with a workpiece: its surface (structural) or its arrangement (logical)."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from jaxad.data.rendering.canvas import Canvas, Colour, grey
from jaxad.data.rendering.outlines import Place, arc, polyline, rosette
from jaxad.data.rendering.parts import Component
from jaxad.data.rendering.scenes import Category

Parts = tuple[Component, ...]

GROUND = 0.005  # what is not higher is no part of the workpiece
TRIES = 50  # to hit the workpiece


def damaged_place(canvas: Canvas, area: tuple[float, float], rng: np.random.Generator) -> Place:
    """Somewhere on the workpiece: not on the ground and not in a hole."""
    place, tries = _place(area, rng), 1
    while canvas.height_at(place) <= GROUND and tries < TRIES:
        place, tries = _place(area, rng), tries + 1
    return place


def _place(area: tuple[float, float], rng: np.random.Generator) -> Place:
    x, y, turn = rng.uniform(-1, 1, 3).tolist()
    return Place(area[0] * x, area[1] * y, math.pi * turn)


def scratch(canvas: Canvas, place: Place, rng: np.random.Generator) -> None:
    """One or two long thin grooves, brighter or darker than the surface."""
    tone = (grey(0.98), grey(0.10))[int(rng.integers(2))]
    length, bend = float(rng.uniform(0.14, 0.32)), float(rng.uniform(-0.03, 0.03))
    alpha = float(rng.uniform(0.45, 0.9))
    for stroke in range(int(rng.integers(1, 3))):
        width = float(rng.uniform(0.006, 0.011))
        offset = place.at(0.03 * stroke, 0.022 * stroke, float(rng.uniform(-0.1, 0.1)))
        outline = arc(length / (1 + stroke), width, bend)
        canvas.paint(outline, offset, tone, alpha=alpha, rise=-0.004, bevel=width, soft=0.006)


def dent(canvas: Canvas, place: Place, rng: np.random.Generator) -> None:
    """A smooth hollow, visible by its shading alone."""
    radius = float(rng.uniform(0.045, 0.08))
    depth = float(rng.uniform(0.35, 0.65)) * radius
    outline = rosette(radius, *waves(rng, 0.12 * radius, 2))
    canvas.paint(outline, place, rise=-depth, bevel=0.8 * radius, profile="smooth")


def stain(canvas: Canvas, place: Place, rng: np.random.Generator) -> None:
    """A blot that lets the surface show through."""
    tones: Sequence[Colour] = (
        (0.28, 0.17, 0.07),
        (0.08, 0.08, 0.10),
        (0.55, 0.25, 0.08),
        (0.80, 0.80, 0.72),
    )
    tone = tones[int(rng.integers(len(tones)))]
    radius, alpha = float(rng.uniform(0.045, 0.09)), float(rng.uniform(0.32, 0.65))
    canvas.stencil = None  # a spill does not stop at the edge
    edge, mottle = waves(rng, 0.12 * radius, 7), ("clouds", 0.12)
    canvas.paint(rosette(radius, *edge), place, tone, texture=mottle, alpha=alpha, soft=0.014)
    inner = rosette(0.8 * radius, *edge)
    canvas.paint(inner, place.at(0.004, 0.003), tone, alpha=alpha / 3, soft=0.03)


def crack(canvas: Canvas, place: Place, rng: np.random.Generator) -> None:
    """A dark jagged line with a branch."""
    width = float(rng.uniform(0.008, 0.013))
    trunk = jagged(rng, steps=int(rng.integers(6, 10)), stride=float(rng.uniform(0.022, 0.034)))
    fork = trunk[int(rng.integers(2, len(trunk) - 2))]
    branch = jagged(rng, steps=3, stride=0.022)
    turn = float(rng.choice([-1, 1]) * rng.uniform(0.6, 1.0))
    for points, start, thickness in (
        (trunk, place, width),
        (branch, place.at(*fork, turn), 0.6 * width),
    ):
        canvas.paint(
            polyline(points, thickness),
            start,
            (0.05, 0.045, 0.04),
            alpha=0.85,
            rise=-0.01,
            bevel=width,
        )


def contamination(canvas: Canvas, place: Place, rng: np.random.Generator) -> None:
    """Things that do not belong there: a fibre or some crumbs."""
    tones: Sequence[Colour] = (
        (0.45, 0.36, 0.22),
        (0.10, 0.10, 0.11),
        (0.75, 0.74, 0.70),
        (0.35, 0.12, 0.10),
    )
    tone = tones[int(rng.integers(len(tones)))]
    canvas.stencil = None  # it lies on top and may stick out
    if rng.random() < 0.4:
        bend = float(rng.choice([-1, 1]) * rng.uniform(0.04, 0.10))
        fibre = arc(float(rng.uniform(0.14, 0.24)), 0.009, bend)
        canvas.paint(fibre, place, tone, rise=0.008, bevel=0.004, profile="dome")
        return
    for _ in range(int(rng.integers(4, 9))):
        x, y = (0.035 * rng.standard_normal(2)).tolist()
        radius = float(rng.uniform(0.007, 0.018))
        crumb = rosette(radius, *waves(rng, 0.2 * radius, 3))
        canvas.paint(
            crumb, place.at(x, y), tone, rise=1.2 * radius, bevel=radius, profile="dome", gloss=0.1
        )


def waves(rng: np.random.Generator, depth: float, count: int) -> list[tuple[float, int, float]]:
    """Irregularities of an edge: `count` waves, the longest first."""
    phases = rng.uniform(0, 2 * math.pi, count).tolist()
    return [(depth / (1 + 0.6 * k), k + 2, phase) for k, phase in enumerate(phases)]


def jagged(rng: np.random.Generator, steps: int, stride: float) -> list[tuple[float, float]]:
    """A walk in the direction of x that swerves at each step."""
    turns = rng.uniform(-0.8, 0.8, steps)
    strides = stride * rng.uniform(0.6, 1.4, steps)
    x = np.cumsum(strides * np.cos(turns)).tolist()
    y = np.cumsum(strides * np.sin(turns)).tolist()
    return [(0.0, 0.0), *zip(x, y, strict=True)]


def choose(parts: Parts, kind: str, rng: np.random.Generator) -> int:
    """The number of one component of a kind."""
    return int(rng.choice([number for number, part in enumerate(parts) if part.kind == kind]))


def missing(category: Category, parts: Parts, rng: np.random.Generator) -> Parts:
    """One component less."""
    gone = choose(parts, category.movable, rng)
    return parts[:gone] + parts[gone + 1 :]


def spare(category: Category, part: Component, rng: np.random.Generator) -> Component:
    """A component where none should be."""
    place = category.spare[int(rng.integers(len(category.spare)))]
    return part._replace(place=place._replace(angle=part.place.angle))


def extra(category: Category, parts: Parts, rng: np.random.Generator) -> Parts:
    """One component more."""
    return (*parts, spare(category, parts[choose(parts, category.movable, rng)], rng))


def misplaced(category: Category, parts: Parts, rng: np.random.Generator) -> Parts:
    """One component elsewhere."""
    moved = choose(parts, category.movable, rng)
    return (*parts[:moved], spare(category, parts[moved], rng), *parts[moved + 1 :])


def wrong_length(category: Category, parts: Parts, rng: np.random.Generator) -> Parts:
    """One component shorter, one of its ends where it belongs."""
    cut = choose(parts, category.sized, rng)
    part = parts[cut]
    length = part.length * float(rng.uniform(*category.lengths))
    place = part.place.at((length - part.length) / 2, 0.0)
    return (*parts[:cut], part._replace(place=place, length=length), *parts[cut + 1 :])


def wrong_colour(category: Category, parts: Parts, rng: np.random.Generator) -> Parts:
    """One component of another colour."""
    dyed = choose(parts, category.movable, rng)
    colours = [colour for colour in category.colours if colour != parts[dyed].colour]
    part = parts[dyed]._replace(colour=colours[int(rng.integers(len(colours)))])
    return (*parts[:dyed], part, *parts[dyed + 1 :])


STRUCTURAL: dict[str, Callable[[Canvas, Place, np.random.Generator], None]] = {
    f.__name__: f for f in (scratch, dent, stain, crack, contamination)
}
LOGICAL: dict[str, Callable[[Category, Parts, np.random.Generator], Parts]] = {
    f.__name__: f for f in (missing, extra, misplaced, wrong_length, wrong_colour)
}
