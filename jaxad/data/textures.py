"""Procedural textures and scenes, where no photographs are at hand.

They stand in for natural images in methods that want pictures of "anything else" (the penalty of
EfficientAD, the anomaly source of DRAEM and its kin). They have what matters of photographs for
that purpose, power that falls with frequency, edges at all scales and correlated colours, but not
their content: use photographs where there are some.
"""

import operator
from collections.abc import Callable
from typing import SupportsIndex

import numpy as np
from jaxtyping import Float
from numpy import ndarray as NpArray
from PIL import Image, ImageDraw

from jaxad.data.source import Item, Record, Region

Field = Float[NpArray, "H W"]
Planes = Float[NpArray, "3 H W"]


class Textures:
    """Endless variety, seeded: picture `i` depends on (seed, i) and the size alone.

    A `jaxad.data.source.Source` of normal pictures.

    Args:
      count: how many pictures.
      size: side in pixels, at least 16.
      seed: another seed, other pictures.
    """

    has_masks = True
    has_regions = False

    def __init__(self, count: int = 1000, size: int = 512, seed: int = 0):
        if count < 1 or size < 16:
            raise ValueError(f"expected count >= 1 and size >= 16, not {count} and {size}")
        self.size, self.seed = size, seed
        self.records = tuple(Record(f"texture/{i:05d}", "texture", "good") for i in range(count))

    def __repr__(self) -> str:
        return f"Textures(count={len(self)}, size={self.size}, seed={self.seed})"

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: SupportsIndex) -> Item:
        index = operator.index(index)
        if not 0 <= index < len(self):
            raise IndexError(f"picture {index} of {self!r}")
        rng = np.random.default_rng([self.seed, index])
        picture = texture(rng, self.size)
        mask = np.zeros((self.size, self.size), np.uint8)
        return Item(image=picture, mask=mask, label=0, index=index)

    def regions(self, index: int) -> list[Region]:
        """Nothing: there are no defects."""
        return []


def texture(rng: np.random.Generator, size: int) -> np.ndarray:
    """One picture, uint8 (size, size, 3)."""
    makers: tuple[Callable[..., Planes], ...] = (clouds, cells, stripes, leaves, scene)
    planes = makers[int(rng.integers(len(makers)))](rng, size)
    contrast, brightness = float(rng.uniform(0.12, 0.28)), float(rng.uniform(0.3, 0.65))
    planes = (planes - planes.mean()) * (contrast / (planes.std() + 1e-6)) + brightness
    planes += fractal(rng, size, 0.0, 2) * float(rng.uniform(0, 0.03))  # sensor grain
    levels = np.clip(planes * 255 + 0.5, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(levels.transpose(1, 2, 0))


def fractal(
    rng: np.random.Generator,
    size: int,
    slope: float = 1.0,
    finest: int = 1,
    stretch: tuple[int, int] = (1, 1),
) -> Field:
    """Noise whose amplitude falls as 1 / frequency ** slope, zero mean and unit deviation.

    Args:
      rng: source of the noise.
      size: side in pixels.
      slope: 0 white, 1 the mean of natural images, 2 clouds.
      finest: smallest wavelength in pixels.
      stretch: by how much structures are longer along y and x.
    """
    total = np.zeros((2, 2), np.float32)
    octaves = max(int(np.log2(size / 3 / finest)), 0)
    for cell in (finest * 2**k for k in reversed(range(octaves + 1))):
        height, width = (max(round(size / (cell * s)), 2) for s in stretch)
        octave = rng.random((height, width), np.float32) - 0.5
        total = resized(total, (height, width)) + octave * float(cell**slope)
    total = resized(total, (size, size))
    total = total - total.mean()
    return total / (total.std() + 1e-6)


def resized(field: Field, shape: tuple[int, int]) -> Float[np.ndarray, "h w"]:
    """A field smoothly brought to another shape."""
    if field.shape == shape:
        return field
    height, width = shape
    return np.asarray(Image.fromarray(field).resize((width, height), Image.Resampling.BICUBIC))


def palette(rng: np.random.Generator, count: int) -> Float[np.ndarray, "count 3"]:
    """Mostly dull colours around one hue, as things of one place have them, with some accents."""
    hue, vivid = rng.normal(0, 1, 3), float(rng.choice([0.04, 0.10, 0.20]))
    light = rng.uniform(0.3, 0.7) + rng.normal(0, 0.2, (count, 1))
    accents = rng.normal(0, 1, (count, 3)) * rng.choice([0.03, 0.03, 0.15], (count, 1))
    return np.clip(light + vivid * hue + accents, 0.02, 0.98).astype(np.float32)


def coloured(rng: np.random.Generator, field: Field) -> Planes:
    """A field mapped through a random ramp of colours."""
    ramp = palette(rng, 5)
    low, high = np.quantile(field[::4, ::4], [0.02, 0.98])
    levels = (field - float(low)) / float(high - low + 1e-6)
    knots = np.linspace(0, 1, 5)
    table = np.stack([np.interp(np.linspace(0, 1, 256), knots, ramp[:, c]) for c in range(3)])
    return np.take(table.astype(np.float32), np.clip(levels * 255, 0, 255).astype(np.uint8), axis=1)


def clouds(rng: np.random.Generator, size: int) -> Planes:
    """1/f noise in correlated colours, at times stretched to fibres or bark."""
    stretch = ((1, 1), (1, 1), (1, 6), (8, 1))[int(rng.integers(4))]
    slope = float(rng.uniform(0.6, 1.6))
    shared = fractal(rng, size, slope, stretch=stretch)
    planes = coloured(rng, shared)
    return planes + 0.1 * fractal(rng, size, slope) * rng.normal(1, 0.3, (3, 1, 1)).astype("f4")


def nearest_seed(
    rng: np.random.Generator, size: int, cells: int
) -> tuple[Field, Field, np.ndarray]:
    """Distances (in cells) to the nearest and second nearest seed, and the nearest one's number.

    One seed lies somewhere in each square of a grid (Worley, SIGGRAPH 1996).
    """
    seeds = rng.random((2, cells + 2, cells + 2), np.float32)
    seeds += np.mgrid[-1 : cells + 1, -1 : cells + 1].astype(np.float32)
    numbers = np.arange((cells + 2) ** 2).reshape(cells + 2, cells + 2)
    line = np.linspace(0, cells, size, endpoint=False, dtype=np.float32)
    square = line.astype(np.int32)
    first = np.full((size, size), 9.0, np.float32)
    second, number = first.copy(), np.zeros((size, size), np.int64)
    for i in range(3):
        for j in range(3):
            y, x, candidate = (
                grid.take(square + i, 0).take(square + j, 1) for grid in (*seeds, numbers)
            )
            y -= line[:, None]
            x -= line[None, :]
            distance = y * y + x * x
            np.minimum(second, np.maximum(first, distance), out=second)
            np.copyto(number, candidate, where=distance < first)
            np.minimum(first, distance, out=first)
    return np.sqrt(first), np.sqrt(second), number


def cells(rng: np.random.Generator, size: int) -> Planes:
    """Pebbles, scales, cracked ground."""
    count = int(rng.integers(4, 24))
    first, second, number = nearest_seed(rng, size, count)
    colours = palette(rng, (count + 2) ** 2)
    relief = np.clip((second - first) * float(rng.uniform(2, 8)), 0, 1) * (1 - 0.4 * first)
    return np.take(colours.T, number, axis=1) * relief + 0.08 * fractal(rng, size, 0.8)


def stripes(rng: np.random.Generator, size: int) -> Planes:
    """Bars, corrugation, weave: waves bent by noise."""
    line = np.linspace(-1, 1, size, dtype=np.float32)
    bends = fractal(rng, size, 1.6, 8) * float(rng.uniform(0, 1.5))
    total = np.zeros((size, size), np.float32)
    angle = rng.uniform(0, np.pi)
    for turn in range(int(rng.integers(1, 3))):
        wave = float(np.exp(rng.uniform(np.log(10), np.log(max(size / 4, 16)))))
        c, s = float(np.cos(angle + turn * np.pi / 2)), float(np.sin(angle + turn * np.pi / 2))
        phase = wave * (c * line[None, :] + s * line[:, None]) + bends
        total += np.tanh(np.sin(phase) * float(rng.uniform(0.8, 6)))
    return coloured(rng, total + 0.25 * fractal(rng, size, 1.0))


def leaves(rng: np.random.Generator, size: int) -> Planes:
    """Dead leaves: opaque shapes of all sizes, one over the other (Lee et al., IJCV 2001)."""
    count = int(rng.integers(40, 250))
    canvas = Image.new("L", (size, size))
    draw = ImageDraw.Draw(canvas)
    radii = size * 0.35 / np.sqrt(1 + 60 * rng.random(count))
    centres, corners = rng.uniform(0, size, (count, 2)), rng.choice([3, 4, 4, 5, 24, 24], count)
    for leaf in range(count):
        angles = np.linspace(0, 2 * np.pi, corners[leaf], endpoint=False) + rng.uniform(0, 6.28)
        reach = radii[leaf] * rng.uniform(0.6, 1.2, len(angles) if corners[leaf] < 24 else 2)
        x, y = np.cos(angles) * reach[0], np.sin(angles) * reach[1]
        if corners[leaf] < 24:
            x, y = np.cos(angles) * reach, np.sin(angles) * reach
        points = np.stack([x, y], 1) + centres[leaf]
        draw.polygon([tuple(p) for p in points.tolist()], fill=1 + leaf)
    colours = palette(rng, 256)
    shade = 1 + 0.15 * fractal(rng, size, 1.2) + 0.05 * fractal(rng, size, 0.3)
    return np.take(colours.T, np.asarray(canvas), axis=1) * shade


def scene(rng: np.random.Generator, size: int) -> Planes:
    """Things in front of a background, each with its own texture, under one light."""
    makers = (clouds, cells, stripes, leaves)
    planes = clouds(rng, size)
    for _ in range(int(rng.integers(2, 4))):
        things = makers[int(rng.integers(len(makers)))](rng, size)
        shape = fractal(rng, size, 2.0, 16) + float(rng.uniform(-1, 0))
        planes = np.where(shape > 0, things, planes)
    line = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    light = 1 + rng.normal(0, 0.4) * line[None, :] + rng.normal(0, 0.4) * line[:, None]
    return planes * np.maximum(light, 0.3).astype(np.float32)
