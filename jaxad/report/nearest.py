"""Beside an alarm the normal picture that is nearest to it: the first question of an inspector."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, PyTree, UInt8
from numpy import ndarray as NpArray
from PIL import Image, ImageDraw

from jaxad import compile
from jaxad.data.outline import OUTLINE
from jaxad.data.source import Source
from jaxad.data.view import WHOLE
from jaxad.detector import Detector, State
from jaxad.report.panels import PAIR_GAP, PAPER, THUMBNAIL

Box = Float[NpArray, "4"]  # top, left, bottom, right, in parts of the sides


class Comparison(NamedTuple):
    """A test picture, its most anomalous place, and the training picture's that is nearest.

    Attributes:
      index: of the test picture.
      normal: name of the training picture.
      distance: between the two places, in the method's units.
      image: what is to be seen, as `drawn` gives it.
    """

    index: int
    normal: str
    distance: float
    image: Image.Image


def comparisons(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    state: State,
    test: Source,
    learned: Source,
    indices: Sequence[int],
) -> Iterator[Comparison]:
    """Comparisons of these test pictures, one after the other.

    Args:
      detector: one that has `nearest`.
      cfg: its settings.
      pretrained: {name: tree} for `cfg.weights`.
      state: trained.
      test: where the pictures are.
      learned: what `measure` got.
      indices: of pictures in `test`.

    Raises:
      OSError, ValueError: a picture cannot be read.
    """
    if detector.nearest is None:
        raise ValueError(f"{detector.name} remembers no pictures")
    nearest = compile.of_pictures(detector.nearest)
    several = len({record.category for record in learned.records}) > 1
    for start in range(0, len(indices), cfg.batch_size):
        some = indices[start : start + cfg.batch_size]
        squares = [square(test, i, cfg.size) for i in some]
        # The last batch is filled up, for nothing to compile anew.
        filled = np.stack(squares + squares[-1:] * (cfg.batch_size - len(some)))
        found = [np.asarray(x) for x in nearest(cfg, pretrained, state, filled)]
        for i, index in enumerate(some):
            at, distance, picture, place = (x[i] for x in found)
            normal = square(learned, int(picture), cfg.size)
            image = drawn(squares[i], at, normal, place)
            of = learned.records[picture]
            name = f"{of.category}/{of.name}" if several else of.name
            yield Comparison(index, name, float(distance), image)


def square(source: Source, index: int, size: int) -> UInt8[NpArray, "{size} {size} 3"]:
    """A picture as a detector sees it."""
    item = source[index]
    return item.get("view", WHOLE).square(item["image"], size)


def drawn(
    image: UInt8[NpArray, "S S 3"], at: Box, normal: UInt8[NpArray, "S S 3"], place: Box
) -> Image.Image:
    """Side by side: the picture, its place enlarged, the normal one's, the normal picture.

    Only the two pictures, where the places are they.
    """
    parts = [outlined(image, at), cut(image, at), cut(normal, place), outlined(normal, place)]
    if is_whole(at) and is_whole(place):
        parts = [cut(image, at), cut(normal, place)]
    step = THUMBNAIL + PAIR_GAP
    canvas = Image.new("RGB", (len(parts) * step - PAIR_GAP, THUMBNAIL), PAPER)
    for i, part in enumerate(parts):
        canvas.paste(part, (i * step, 0))
    return canvas


def is_whole(box: Box) -> bool:
    """Whether the place is the whole picture."""
    return bool((box[:2] <= 0).all() and (box[2:] >= 1).all())


def outlined(image: UInt8[NpArray, "S S 3"], box: Box) -> Image.Image:
    """The picture, small, with a frame around a place in it."""
    small = Image.fromarray(image).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR)
    top, left, bottom, right = (np.clip(box, 0, 1) * (THUMBNAIL - 1)).round().tolist()
    draw = ImageDraw.Draw(small)
    draw.rectangle((left, top, right, bottom), outline=(0, 0, 0), width=3)
    draw.rectangle((left, top, right, bottom), outline=tuple(OUTLINE), width=1)
    return small


def cut(image: UInt8[NpArray, "S S 3"], box: Box) -> Image.Image:
    """A place in the picture, enlarged; moved inside where it reaches out."""
    side = len(image)
    top, left, bottom, right = (box * side).tolist()
    down = max(0.0, -top) - max(0.0, bottom - side)
    across = max(0.0, -left) - max(0.0, right - side)
    frame = (
        max(left + across, 0.0), max(top + down, 0.0),
        min(right + across, side), min(bottom + down, side),
    )  # fmt: skip
    return Image.fromarray(image).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BICUBIC, frame)
