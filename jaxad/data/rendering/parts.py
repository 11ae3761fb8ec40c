"""The parts that workpieces are made of and that may be missing, too many or elsewhere."""

import math
from collections.abc import Callable
from typing import NamedTuple

from jaxad.data.rendering.canvas import Canvas, Colour, grey
from jaxad.data.rendering.outlines import Place, arc, box, comb, disc, hexagon, rosette, until

STEEL, ZINC, BRASS = (0.60, 0.61, 0.63), (0.70, 0.71, 0.73), (0.72, 0.56, 0.27)
BLACK, WHITE, RED = (0.07, 0.07, 0.08), (0.88, 0.87, 0.84), (0.66, 0.10, 0.09)
BLUE, YELLOW, GREEN = (0.12, 0.25, 0.58), (0.85, 0.68, 0.14), (0.13, 0.48, 0.22)

WIRE = 0.56  # length from connector to connector


class Component(NamedTuple):
    """A part of a workpiece that may be wrong.

    Attributes:
      kind: key of `DRAW`.
      place: where it lies.
      colour: its main colour.
      length: along its own x, where it has one.
    """

    kind: str
    place: Place
    colour: Colour
    length: float = 0.0


def bolt(canvas: Canvas, part: Component) -> None:
    """A hexagon head with its washer and the drive in its middle."""
    finish = {"texture": ("grain", 0.04), "gloss": 0.7}
    tone = part.colour
    canvas.paint(disc(0.062), part.place, tone, level=0.03, rise=0.008, bevel=0.006, **finish)
    canvas.paint(hexagon(0.047), part.place, tone, level=0.038, rise=0.026, bevel=0.012, **finish)
    canvas.paint(disc(0.019), part.place, (0.12, 0.12, 0.13), level=0.06, rise=-0.012, gloss=0.1)


def slot(canvas: Canvas, part: Component) -> None:
    """A milled slot."""
    outline = box(part.length, 0.048, 0.024)
    canvas.paint(outline, part.place, part.colour, level=0.03, rise=-0.03, bevel=0.012, gloss=0.1)


def chip(canvas: Canvas, part: Component) -> None:
    """A packaged circuit with its pins."""
    wide, tall = part.length, 0.17
    pins = comb(wide, tall + 0.05, 0.0245, 0.5)
    canvas.paint(pins, part.place, ZINC, level=0.014, rise=0.006, bevel=0.003, gloss=0.6)
    body = {"texture": ("grain", 0.06), "gloss": 0.15}
    canvas.paint(
        box(wide + 0.012, tall, 0.006),
        part.place,
        part.colour,
        level=0.014,
        rise=0.026,
        bevel=0.008,
        **body,
    )
    mark = part.place.at(-wide / 2 + 0.028, tall / 2 - 0.03)
    canvas.paint(disc(0.010), mark, (0.16, 0.16, 0.17), rise=-0.004, bevel=0.004)
    canvas.paint(comb(wide * 0.6, 0.014, 0.014, 0.6), part.place.at(0.01, -0.01), grey(0.45))
    canvas.paint(comb(wide * 0.4, 0.014, 0.012, 0.6), part.place.at(0.0, 0.02), grey(0.45))


def header(canvas: Canvas, part: Component) -> None:
    """A pin header."""
    shell = box(part.length, 0.052, 0.004)
    canvas.paint(shell, part.place, part.colour, level=0.014, rise=0.028, bevel=0.006, gloss=0.1)
    for row in (-0.012, 0.012):
        pins = comb(part.length - 0.006, 0.010, 0.026, 0.4)
        canvas.paint(pins, part.place.at(0.0, row), BRASS, rise=0.02, bevel=0.004, gloss=0.8)


def lamp(canvas: Canvas, part: Component) -> None:
    """A light-emitting diode seen from above."""
    red, green, blue = part.colour
    rim = (0.75 * red, 0.75 * green, 0.75 * blue)
    canvas.paint(disc(0.046), part.place, rim, level=0.014, rise=0.01, bevel=0.004, gloss=0.3)
    canvas.paint(
        disc(0.037),
        part.place,
        part.colour,
        level=0.02,
        rise=0.04,
        bevel=0.04,
        profile="dome",
        gloss=0.9,
    )


def can(canvas: Canvas, part: Component) -> None:
    """An electrolytic capacitor standing upright."""
    canvas.paint(disc(0.052), part.place, BLACK, level=0.014, rise=0.05, bevel=0.010, gloss=0.2)
    canvas.paint(disc(0.042), part.place, part.colour, texture=("brushed", 0.04), gloss=0.6)
    canvas.paint(box(0.06, 0.004), part.place.at(0.0, 0.0, 0.5), grey(0.5))


def capsule(canvas: Canvas, part: Component) -> None:
    """A two-coloured capsule lying in a pocket."""
    outline = box(0.15, 0.066, 0.033)
    canvas.paint(
        outline, part.place, WHITE, level=0.008, rise=0.04, bevel=0.034, profile="dome", gloss=0.8
    )
    canvas.paint(until(outline, 0.0), part.place.at(0.0, 0.0, math.pi), part.colour)


def pin(canvas: Canvas, part: Component) -> None:
    """A turned steel pin with a collar."""
    shaft = {"level": 0.008, "rise": 0.026, "bevel": 0.021, "profile": "dome", "gloss": 0.9}
    canvas.paint(
        box(part.length, 0.044, 0.012), part.place, part.colour, texture=("brushed", 0.05), **shaft
    )
    collar = part.place.at(-part.length / 2 + 0.05, 0.0)
    canvas.paint(
        box(0.03, 0.064, 0.006),
        collar,
        part.colour,
        level=0.008,
        rise=0.035,
        bevel=0.028,
        profile="dome",
    )


def flower(canvas: Canvas, part: Component) -> None:
    """A printed emblem."""
    canvas.paint(rosette(0.062, (0.020, 5, math.pi / 2)), part.place, part.colour, alpha=0.92)
    canvas.paint(disc(0.020), part.place, WHITE, alpha=0.9)


def bar(canvas: Canvas, part: Component) -> None:
    """A printed bar with a line of letters in it."""
    canvas.paint(box(part.length, 0.085, 0.02), part.place, part.colour, alpha=0.92)
    letters = comb(part.length - 0.07, 0.034, 0.029, 0.62)
    canvas.paint(letters, part.place, WHITE, alpha=0.9)


def wire(canvas: Canvas, part: Component) -> None:
    """An insulated wire from connector to connector, a little bent; a short one is cut off."""
    bend = 0.8 * part.place.angle  # what lies askew is also bent
    whole, end = part.place.at((WIRE - part.length) / 2, 0.0), part.length - WIRE / 2
    strip = {"level": 0.0, "profile": "dome", "gloss": 0.5}
    core, skin = arc(WIRE, 0.032, bend), arc(WIRE - 0.06, 0.060, bend)
    canvas.paint(until(core, end), whole, (0.70, 0.42, 0.26), rise=0.03, bevel=0.016, **strip)
    canvas.paint(until(skin, end - 0.03), whole, part.colour, rise=0.055, bevel=0.03, **strip)


DRAW: dict[str, Callable[[Canvas, Component], None]] = {
    f.__name__: f for f in (bolt, slot, chip, header, lamp, can, capsule, pin, flower, bar, wire)
}
