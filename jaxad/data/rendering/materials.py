"""Stored fields that pictures cut their textures and their sensor noise from."""

import functools
import math

import numpy as np
from jaxtyping import Float

from jaxad.data.textures import fractal


@functools.lru_cache(maxsize=32)
def material(name: str, size: int) -> Float[np.ndarray, "S S"]:
    """A stored field of zero mean and about unit deviation, half as wide again as the picture."""
    side = size + size // 2
    unit = max(round(size / 256), 1)
    rng = np.random.default_rng([11, *name.encode()])
    if name == "grain":
        return fractal(rng, side, 0.35, unit)
    if name == "clouds":
        return fractal(rng, side, 1.1, 2 * unit)
    if name == "brushed":
        return 0.8 * fractal(rng, side, 0.25, unit, (1, 64)) + 0.4 * fractal(rng, side, 1.0, 4)
    if name == "wood":
        line = np.linspace(0, 1, side, dtype=np.float32)[:, None]
        rings = np.sin(70 * line + 2.2 * fractal(rng, side, 1.2, 4 * unit, (1, 12)))
        return 0.7 * rings + 0.6 * fractal(rng, side, 0.4, unit, (1, 16))
    if name == "woven":
        line = np.arange(side, dtype=np.float32) * (2 * math.pi * 44 / size)
        x, y = np.sin(line)[None, :], np.sin(line)[:, None]
        over = x * y > 0
        threads = np.where(over, np.abs(np.cos(line))[:, None] - 0.6, np.abs(np.cos(line)) - 0.7)
        return 1.5 * threads + 0.5 * fractal(rng, side, 0.5, unit)
    raise ValueError(f"no material {name!r}")


@functools.lru_cache(maxsize=4)
def noise(size: int) -> Float[np.ndarray, "N"]:
    """A stored run of white noise, from which each picture cuts three planes."""
    return np.random.default_rng(12).standard_normal(4 * size * size, np.float32)
