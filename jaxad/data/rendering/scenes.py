"""The workpieces: what each category is made of and what can be wrong with its arrangement."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxad.data.rendering.canvas import Canvas, Colour, grey
from jaxad.data.rendering.outlines import Place, box, comb, disc, ring, rosette
from jaxad.data.rendering.parts import (
    BLACK,
    BLUE,
    BRASS,
    GREEN,
    RED,
    STEEL,
    WHITE,
    WIRE,
    YELLOW,
    ZINC,
    Component,
)


class Category(NamedTuple):
    """A kind of workpiece.

    Attributes:
      body: paints the ground and all that never varies.
      components: the right arrangement.
      spare: places where a component could be, but should not.
      movable: kind of the components that are missing, extra, misplaced or of a wrong colour.
      sized: kind of the components whose length can be wrong.
      lengths: range of the factor by which it then is.
      colours: wrong colours.
      play: turn, in radians, by which components of a good workpiece differ.
      area: half width and half height of the surface that can be damaged.
    """

    body: Callable[[Canvas], None]
    components: tuple[Component, ...]
    spare: tuple[Place, ...]
    movable: str
    sized: str
    lengths: tuple[float, float]
    colours: tuple[Colour, ...]
    play: float
    area: tuple[float, float]

    def arranged(self, rng: np.random.Generator) -> tuple[Component, ...]:
        """The components of one good workpiece: each lies and turns a little differently."""
        moves = rng.uniform(-1, 1, (len(self.components), 3)).tolist()
        return tuple(
            component._replace(place=component.place.at(0.003 * x, 0.003 * y, self.play * turn))
            for component, (x, y, turn) in zip(self.components, moves, strict=True)
        )


def plate_body(canvas: Canvas) -> None:
    """A brushed steel flange on a rubber mat: bore and threaded holes."""
    canvas.fill((0.17, 0.18, 0.20), ("grain", 0.16), 0.1)
    steel = {"texture": ("brushed", 0.07), "gloss": 0.55}
    canvas.paint(box(0.80, 0.64, 0.07), Place(), STEEL, level=0.0, rise=0.03, bevel=0.014, **steel)
    canvas.paint(disc(0.155), Place(), (0.66, 0.67, 0.69), level=0.03, rise=0.012, **steel)
    canvas.paint(disc(0.115), Place(), (0.05, 0.05, 0.055), level=0.042, rise=-0.05, gloss=0.0)
    for x, y in ((-0.32, -0.23), (0.32, -0.23), (-0.32, 0.23), (0.32, 0.23)):
        hole = Place(x, y)
        canvas.paint(disc(0.024), hole, (0.08, 0.08, 0.09), level=0.03, rise=-0.02, gloss=0.0)
        canvas.paint(ring(0.026, 0.006), hole, (0.75, 0.75, 0.76))


def board_body(canvas: Canvas) -> None:
    """A circuit board on an antistatic mat: solder mask, traces, pads, mounting holes."""
    canvas.fill((0.42, 0.45, 0.50), ("grain", 0.05), 0.0)
    mask, trace = (0.05, 0.26, 0.15), (0.10, 0.36, 0.20)
    canvas.paint(
        box(0.84, 0.68, 0.03),
        Place(),
        mask,
        texture=("clouds", 0.05),
        level=0.0,
        rise=0.014,
        bevel=0.005,
        gloss=0.35,
    )
    for x, y, width in ((-0.10, 0.215, 0.50), (0.02, 0.245, 0.62), (-0.05, -0.20, 0.44)):
        canvas.paint(box(width, 0.008), Place(x, y), trace)
    canvas.paint(comb(0.22, 0.16, 0.022, 0.36), Place(0.04, -0.02, math.pi / 2), trace)
    canvas.paint(comb(0.30, 0.12, 0.025, 0.3), Place(-0.15, -0.19), trace)
    for x, y in ((-0.38, -0.30), (0.38, -0.30), (-0.38, 0.30), (0.38, 0.30)):
        canvas.paint(disc(0.024), Place(x, y), (0.72, 0.62, 0.36), gloss=0.6)
        canvas.paint(disc(0.014), Place(x, y), (0.10, 0.10, 0.11), rise=-0.012, gloss=0.0)
    for y in (-0.13, 0.0, 0.13):
        canvas.paint(ring(0.052, 0.007), Place(0.33, y), (0.78, 0.80, 0.76), alpha=0.7)
        for x in (0.312, 0.348):
            canvas.paint(disc(0.010), Place(x, y), ZINC, gloss=0.6)
    for x, y, width in ((-0.15, -0.112, 0.20), (0.21, 0.10, 0.10), (0.27, -0.06, 0.06)):
        canvas.paint(comb(width, 0.012, 0.013, 0.6), Place(x, y), (0.78, 0.80, 0.76), alpha=0.8)


def tray_body(canvas: Canvas) -> None:
    """A moulded plastic tray with two pockets on a wooden bench."""
    canvas.fill((0.52, 0.38, 0.25), ("wood", 0.09), 0.1)
    skin = {"texture": ("grain", 0.03), "gloss": 0.2}
    tone = (0.33, 0.35, 0.37)
    canvas.paint(box(0.86, 0.72, 0.06), Place(), tone, level=0.0, rise=0.04, bevel=0.02, **skin)
    for x, width in ((-0.19, 0.40), (0.215, 0.33)):
        pocket = box(width, 0.60, 0.03)
        canvas.paint(
            pocket, Place(x), (0.40, 0.42, 0.44), level=0.04, rise=-0.032, bevel=0.014, **skin
        )


def cap_body(canvas: Canvas) -> None:
    """A lacquered jar lid with a knurled rim on a conveyor belt."""
    canvas.fill((0.20, 0.22, 0.21), ("woven", 0.22), 0.05)
    rim, lacquer = (0.62, 0.56, 0.42), (0.80, 0.77, 0.69)
    canvas.paint(
        rosette(0.405, (0.007, 60, 0.0)),
        Place(),
        rim,
        level=0.0,
        rise=0.05,
        bevel=0.045,
        profile="dome",
        gloss=0.8,
    )
    canvas.paint(disc(0.345), Place(), lacquer, texture=("clouds", 0.02), gloss=0.45)
    canvas.paint(ring(0.335, 0.012), Place(), rise=-0.006, bevel=0.006)
    canvas.paint(ring(0.305, 0.008), Place(), GREEN, alpha=0.9)


def cable_body(canvas: Canvas) -> None:
    """Two connectors facing each other on a woven cloth."""
    canvas.fill((0.52, 0.51, 0.48), ("woven", 0.11), 0.0)
    skin = {"texture": ("grain", 0.02), "gloss": 0.25}
    for x, turn in ((-0.335, 0.0), (0.335, math.pi)):
        shell = Place(x, 0.0, turn)
        tone = (0.80, 0.79, 0.75)
        canvas.paint(box(0.20, 0.70, 0.015), shell, tone, level=0.0, rise=0.05, bevel=0.012, **skin)
        canvas.paint(box(0.08, 0.62, 0.01), shell.at(-0.035, 0.0), (0.72, 0.71, 0.67), rise=-0.015)
        for y in (-0.26, -0.13, 0.0, 0.13, 0.26):
            mouth = shell.at(0.07, y)
            canvas.paint(box(0.07, 0.08, 0.01), mouth, grey(0.16), level=0.05, rise=-0.03)
            contact = shell.at(-0.035, y)
            canvas.paint(box(0.045, 0.045, 0.004), contact, BRASS, rise=0.01, gloss=0.7)


CATEGORIES: dict[str, Category] = {
    "plate": Category(
        body=plate_body,
        components=(
            *(Component("bolt", Place(x, y), ZINC) for x in (-0.32, 0.32) for y in (-0.23, 0.23)),
            Component("slot", Place(-0.23, 0.0, math.pi / 2), (0.09, 0.09, 0.10), 0.24),
            Component("slot", Place(0.23, 0.0, math.pi / 2), (0.09, 0.09, 0.10), 0.24),
        ),
        spare=(Place(0.0, -0.235), Place(0.0, 0.235), Place(-0.33, 0.0), Place(0.33, 0.0)),
        movable="bolt",
        sized="slot",
        lengths=(0.45, 0.65),
        colours=(BRASS, (0.15, 0.15, 0.16)),
        play=0.05,
        area=(0.36, 0.28),
    ),
    "board": Category(
        body=board_body,
        components=(
            Component("chip", Place(-0.15, 0.02), BLACK, 0.26),
            Component("chip", Place(0.14, 0.17), BLACK, 0.17),
            Component("header", Place(-0.05, -0.275), BLACK, 0.50),
            Component("lamp", Place(0.33, -0.13), RED),
            Component("lamp", Place(0.33, 0.0), YELLOW),
            Component("lamp", Place(0.33, 0.13), GREEN),
            Component("can", Place(-0.31, 0.21), (0.72, 0.73, 0.75)),
            Component("can", Place(-0.18, 0.21), (0.72, 0.73, 0.75)),
        ),
        spare=(Place(0.14, -0.14), Place(0.14, 0.0), Place(-0.35, -0.06), Place(0.28, 0.265)),
        movable="lamp",
        sized="header",
        lengths=(0.5, 0.7),
        colours=(BLUE, (0.85, 0.85, 0.88), (0.80, 0.38, 0.08)),
        play=0.02,
        area=(0.40, 0.30),
    ),
    "tray": Category(
        body=tray_body,
        components=(
            *(
                Component("capsule", Place(x, y), RED)
                for x in (-0.285, -0.095)
                for y in (-0.20, -0.06, 0.08)
            ),
            *(
                Component("pin", Place(x, 0.0, math.pi / 2), STEEL, 0.50)
                for x in (0.115, 0.215, 0.315)
            ),
        ),
        spare=(Place(-0.285, 0.21), Place(-0.095, 0.21)),
        movable="capsule",
        sized="pin",
        lengths=(0.5, 0.7),
        colours=(BLUE, YELLOW, GREEN),
        play=0.06,
        area=(0.40, 0.33),
    ),
    "cap": Category(
        body=cap_body,
        components=(
            Component("flower", Place(-0.17, -0.13), RED),
            Component("flower", Place(0.0, -0.19), RED),
            Component("flower", Place(0.17, -0.13), RED),
            Component("bar", Place(0.0, 0.02), BLUE, 0.48),
        ),
        spare=(Place(-0.13, 0.17), Place(0.13, 0.17), Place(0.0, 0.20)),
        movable="flower",
        sized="bar",
        lengths=(0.5, 0.7),
        colours=(BLUE, (0.10, 0.45, 0.22), BLACK),
        play=0.03,
        area=(0.25, 0.25),
    ),
    "cable": Category(
        body=cable_body,
        components=tuple(
            Component("wire", Place(0.0, y), colour, WIRE)
            for y, colour in ((-0.26, RED), (-0.13, BLACK), (0.0, YELLOW), (0.26, BLUE))
        ),
        spare=(Place(0.0, 0.13),),
        movable="wire",
        sized="wire",
        lengths=(0.5, 0.75),
        colours=(GREEN, WHITE, (0.55, 0.30, 0.12)),
        play=0.02,
        area=(0.40, 0.30),
    ),
}
