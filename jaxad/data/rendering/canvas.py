"""A workpiece seen from above, before light falls on it: colour, height and gloss, painted.

Lengths are fractions of the picture's side, so that a scene can be rendered at any size.
"""

import math
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool

from jaxad.data.rendering.materials import material
from jaxad.data.rendering.outlines import Field, Outline, Place

Colour = tuple[float, float, float]  # RGB in [0, 1]
Window = tuple[slice, slice]
WHOLE: Window = (slice(None), slice(None))


class View(NamedTuple):
    """All that differs between two pictures of the same scene.

    Attributes:
      pose: where the workpiece lies.
      scale: its magnification.
      light: direction towards the light in the picture's plane, radians.
      gain: exposure.
      tint: gain of each colour channel.
      slope: relative change of brightness over the picture along x and y.
      grain: deviation of the sensor noise, in [0, 1] levels.
      crop: where textures are cut from their stored fields, each in [0, 1).
      phase: of the reflections in glossy surfaces.
    """

    pose: Place
    scale: float
    light: float
    gain: float
    tint: Colour
    slope: tuple[float, float]
    grain: float
    crop: tuple[float, float, float]
    phase: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "View":
        """Moderate variation, as of a fixed camera over a belt."""
        normal, uniform = rng.standard_normal(8).tolist(), rng.random(8).tolist()
        x, y, turn = (u - 0.5 for u in uniform[:3])
        return cls(
            pose=Place(0.024 * x, 0.024 * y, 0.08 * turn),
            scale=1 + 0.03 * (uniform[3] - 0.5),
            light=math.radians(-130 + 10 * normal[0]),
            gain=1 + 0.04 * normal[1],
            tint=(1 + 0.012 * normal[2], 1.0, 1 + 0.012 * normal[3]),
            slope=(0.07 * normal[4], 0.07 * normal[5]),
            grain=0.008 + 0.006 * uniform[4],
            crop=(uniform[5], uniform[6], uniform[7]),
            phase=normal[6],
        )


class Canvas:
    """What a camera would see if it saw surfaces and not light.

    Attributes:
      x, y: coordinates of the pixels' centres, a row and a column from -0.5 to 0.5.
      albedo: colour planes in [0, 1].
      height: above the ground.
      gloss: strength of reflections.
      cover: when recorded, how much of each pixel has been painted.
      stencil: when set, paint reaches only these pixels.
    """

    def __init__(self, size: int, view: View, record: bool = False):
        self.size, self.view = size, view
        self.albedo = np.zeros((3, size, size), np.float32)
        self.height = np.zeros((size, size), np.float32)
        self.gloss = np.zeros((size, size), np.float32)
        self.cover = np.zeros((size, size), np.float32) if record else None
        self.stencil: Field | None = None
        line = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
        self.x, self.y = line[None, :], line[:, None]

    def copy(self, record: bool = False) -> "Canvas":
        """A canvas that may be painted on without changing this one."""
        twin = Canvas(self.size, self.view, record)
        twin.albedo, twin.height = self.albedo.copy(), self.height.copy()
        twin.gloss = self.gloss.copy()
        return twin

    def height_at(self, place: Place) -> float:
        """The height at the pixel that shows a place of the workpiece."""
        seen = self.view.pose.at(self.view.scale * place.x, self.view.scale * place.y)
        row, column = (
            min(max(int((c + 0.5) * self.size), 0), self.size - 1) for c in (seen.y, seen.x)
        )
        return float(self.height[row, column])

    def painted(self) -> Bool[np.ndarray, "H W"]:
        """The pixels of which more than half has been painted.

        Raises:
          ValueError: nothing was recorded.
        """
        if self.cover is None:
            raise ValueError("this canvas was made without record=True")
        return self.cover > 0.5

    def texture(self, name: str, window: Window = WHOLE) -> Field:
        """The part of a material's stored field that this picture shows."""
        rows, columns, flip = self.view.crop
        field, slack = material(name, self.size), self.size // 2
        top, left = int(rows * slack), int(columns * slack)
        crop = field[top : top + self.size, left : left + self.size]
        return crop[:, ::-1][window] if flip < 0.5 else crop[window]

    def fill(self, colour: Colour, texture: tuple[str, float], gloss: float = 0.0) -> None:
        """Makes the ground of one material."""
        name, amount = texture
        tone = np.asarray(colour, np.float32)[:, None, None]
        self.albedo[:] = tone * (1 + amount * self.texture(name))
        self.gloss[:] = gloss

    def paint(
        self,
        outline: Outline,
        place: Place,
        colour: Colour | None = None,
        *,
        alpha: float = 1.0,
        texture: tuple[str, float] | None = None,
        level: float | None = None,
        rise: float = 0.0,
        bevel: float = 0.01,
        profile: Literal["slant", "dome", "smooth"] = "slant",
        gloss: float | None = None,
        soft: float = 0.0,
    ) -> None:
        """Puts a figure on what is there.

        Args:
          outline: the figure.
          place: where, in the coordinates of the workpiece.
          colour: its colour; None leaves the colours.
          alpha: opacity of the colour.
          texture: material and contrast that modulate the colour.
          level: height of what it stands on; None adds `rise` to the height that is there.
          rise: height above that; negative for a hole.
          bevel: width of the edge over which the height is reached.
          profile: shape of that edge.
          gloss: its gloss; None leaves the gloss.
          soft: width over which the colour fades at the edge.
        """
        window, x, y = self._local(place, outline.reach, soft)
        if x.size == 0:
            return
        distance = outline.distance(x, y)
        cover = distance * (-1 / max(soft, 1.25 / self.size))
        cover += 0.5
        np.clip(cover, 0, 1, out=cover)
        if self.stencil is not None:
            cover *= self.stencil[window]
        if self.cover is not None:
            self.cover[window] = np.maximum(self.cover[window], cover)
        if level is not None or rise:
            ramp = np.clip(distance * (-1 / bevel), 0, 1)
            if profile == "dome":
                ramp = np.sqrt(ramp * (2 - ramp))
            elif profile == "smooth":
                ramp = ramp * ramp * (3 - 2 * ramp)
            ramp *= rise
            if level is None:
                self.height[window] += ramp if self.stencil is None else ramp * self.stencil[window]
            else:
                ramp += level
                blend(self.height[window], ramp, cover)
        if gloss is not None:
            blend(self.gloss[window], gloss, cover)
        if colour is not None:
            if alpha < 1:
                cover *= alpha
            modulation = 1.0
            if texture is not None:
                modulation = 1 + texture[1] * self.texture(texture[0], window)
            for plane, tone in zip(self.albedo, colour, strict=True):
                blend(plane[window], tone * modulation, cover)

    def _local(
        self, place: Place, reach: tuple[float, float], soft: float
    ) -> tuple[Window, Field, Field]:
        """The pixels that a figure may touch and their coordinates as seen from its place."""
        pose, scale = self.view.pose, self.view.scale
        centre = pose.at(scale * place.x, scale * place.y, place.angle)
        c, s = math.cos(centre.angle), math.sin(centre.angle)
        reach_x, reach_y = reach
        rows = self._span(centre.y, scale * (abs(s) * reach_x + abs(c) * reach_y) + soft)
        columns = self._span(centre.x, scale * (abs(c) * reach_x + abs(s) * reach_y) + soft)
        dx = (self.x[:, columns] - centre.x) / scale
        dy = (self.y[rows] - centre.y) / scale
        return (rows, columns), c * dx + s * dy, c * dy - s * dx

    def _span(self, middle: float, extent: float) -> slice:
        """The pixels along one axis up to `extent`, and one more, to each side of a place."""
        extent += 1 / self.size
        return slice(
            max(math.floor((middle - extent + 0.5) * self.size), 0),
            max(math.ceil((middle + extent + 0.5) * self.size), 0),
        )


def grey(level: float) -> Colour:
    """The colour without a hue."""
    return (level, level, level)


def blend(under: Field, over: Field | float, cover: Field) -> None:
    """Covers one field by another, in place."""
    difference = over - under
    difference *= cover
    under += difference
