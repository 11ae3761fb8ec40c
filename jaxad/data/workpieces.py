"""The embedded data set: pictures of manufactured parts, rendered on the fly, with exact masks.

Five categories (`CATEGORIES`) of parts on textured ground. Position, light and texture vary from
picture to picture; anomalous pictures have one of five structural defects (a damaged surface) or
five logical ones (every part is as it should be, but one is missing, too many, elsewhere, of a
wrong length or of a wrong colour).
"""

import operator
from collections.abc import Iterable
from typing import SupportsIndex

import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray as NpArray

from jaxad.data.rendering.canvas import Canvas, View
from jaxad.data.rendering.damage import GROUND, LOGICAL, STRUCTURAL, damaged_place
from jaxad.data.rendering.parts import DRAW, Component
from jaxad.data.rendering.scenes import CATEGORIES as SCENES
from jaxad.data.rendering.shading import shade
from jaxad.data.source import Data, Item, Record, Region
from jaxad.data.textures import Textures

CATEGORIES = tuple(SCENES)
DEFECTS = dict.fromkeys(STRUCTURAL, "structural") | dict.fromkeys(LOGICAL, "logical")
SPLITS = ("train", "heldout", "test")

VISIBLE = 8  # levels of 255: smaller changes drown in the sensor noise
NOTICED = 0.0015  # share of the picture that structural damage changes by three times that

Picture = UInt8[NpArray, "H W 3"]
Mask = Bool[NpArray, "H W"]


class Workpieces:
    """Pictures of one category: picture `i` depends on (seed, split, i) and its defect alone.

    A `jaxad.data.source.Source`: the good pictures first, then `per_defect` of each defect.

    Args:
      category: one of `CATEGORIES`.
      split: "train", "heldout" or "test"; no two share a picture.
      good: how many normal pictures.
      per_defect: how many pictures of each of the ten defects.
      size: side in pixels, at least 64.
      seed: another seed, other pictures.

    Raises:
      ValueError: an argument is out of its range.
    """

    has_masks = True
    has_regions = False

    def __init__(
        self,
        category: str = "plate",
        split: str = "train",
        *,
        good: int = 200,
        per_defect: int = 0,
        size: int = 256,
        seed: int = 0,
    ):
        for name, value, choices in (("category", category, CATEGORIES), ("split", split, SPLITS)):
            if value not in choices:
                raise ValueError(f"{name} {value!r}: expected one of {', '.join(choices)}")
        if size < 64:
            raise ValueError(f"size {size}: expected at least 64 pixels")
        if min(good, per_defect, seed) < 0 or good + per_defect == 0:
            raise ValueError(
                f"good={good}, per_defect={per_defect}, seed={seed}: expected no negative number "
                "and at least one picture"
            )
        self.category, self.split, self.size, self.seed = category, split, size, seed
        self.good, self.per_defect = good, per_defect
        self.records = tuple(
            Record(f"good/{i:03d}", category, "good") for i in range(good)
        ) + tuple(
            Record(f"{defect}/{i:03d}", category, defect, kind)
            for defect, kind in DEFECTS.items()
            for i in range(per_defect)
        )

    def __repr__(self) -> str:
        return (
            f"Workpieces({self.category!r}, {self.split!r}, good={self.good}, "
            f"per_defect={self.per_defect}, size={self.size}, seed={self.seed})"
        )

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: SupportsIndex) -> Item:
        index = self._checked(index)
        record = self.records[index]
        if record.kind == "structural":
            image, mask = self._structural(index)
        elif record.kind == "logical":
            image, mask = self._logical(index)
        else:
            image, mask = self.clean(index), np.zeros((self.size, self.size), bool)
        return Item(image=image, mask=mask.astype(np.uint8), label=record.label, index=index)

    def clean(self, index: SupportsIndex) -> UInt8[np.ndarray, "H W 3"]:
        """The same workpiece in the same light without its defect."""
        return shade(assembled(*self._good(self._checked(index))))

    def regions(self, index: int) -> list[Region]:
        """Nothing: single defects have no saturation area here."""
        return []

    def _checked(self, index: SupportsIndex) -> int:
        index = operator.index(index)
        if not 0 <= index < len(self):
            raise IndexError(f"picture {index} of {self!r}")
        return index

    def _rng(self, index: int, purpose: int) -> np.random.Generator:
        """Apart from each other: a defect leaves the rest of its picture as it would have been."""
        numbers = CATEGORIES.index(self.category), SPLITS.index(self.split)
        return np.random.default_rng([self.seed, *numbers, index, purpose])

    def _good(self, index: int) -> tuple[Canvas, tuple[Component, ...]]:
        """The workpiece without its components, and the components as they should be."""
        rng = self._rng(index, 0)
        parts = SCENES[self.category].arranged(rng)
        canvas = Canvas(self.size, View.draw(rng))
        SCENES[self.category].body(canvas)
        return canvas, parts

    def _structural(self, index: int) -> tuple[Picture, Mask]:
        """A picture with a damaged surface; damage that hardly shows is drawn again."""
        rng, defect = self._rng(index, 1), STRUCTURAL[self.records[index].defect]
        canvas = assembled(*self._good(index))
        clean = shade(canvas)
        for _ in range(20):
            damaged = canvas.copy(record=True)
            damaged.stencil = canvas.height > GROUND
            defect(damaged, damaged_place(canvas, SCENES[self.category].area, rng), rng)
            image = shade(damaged)
            change = largest_change(clean, image)
            if np.mean(change > 3 * VISIBLE) > NOTICED:
                break
        return image, damaged.painted() | (change > VISIBLE)

    def _logical(self, index: int) -> tuple[Picture, Mask]:
        """A picture of a wrong arrangement."""
        rng, defect = self._rng(index, 1), LOGICAL[self.records[index].defect]
        canvas, parts = self._good(index)
        wrong = defect(SCENES[self.category], parts, rng)
        clean = shade(assembled(canvas.copy(), parts))
        image = shade(assembled(canvas, wrong))
        # Where parts should be or should not be, not both: of one of a wrong length, the rest.
        area = footprint(canvas, [part for part in parts if part not in wrong])
        area ^= footprint(canvas, [part for part in wrong if part not in parts])
        return image, area | (largest_change(clean, image) > VISIBLE)


def assembled(canvas: Canvas, parts: Iterable[Component]) -> Canvas:
    """The canvas with the components painted on it."""
    for part in parts:
        DRAW[part.kind](canvas, part)
    return canvas


def largest_change(one: Picture, other: Picture) -> UInt8[np.ndarray, "H W"]:
    """By how much a pixel differs in the channel where it differs most."""
    change = np.maximum(one, other) - np.minimum(one, other)
    return np.maximum(np.maximum(change[..., 0], change[..., 1]), change[..., 2])


def footprint(canvas: Canvas, parts: Iterable[Component]) -> Bool[np.ndarray, "H W"]:
    """The pixels that components cover on a canvas of this size and view."""
    return assembled(Canvas(canvas.size, canvas.view, record=True), parts).painted()


def load(
    category: str = "plate",
    size: int = 256,
    train: int = 200,
    heldout: int = 20,
    test: tuple[int, int] = (40, 8),
    seed: int = 0,
) -> Data:
    """The embedded data set, ready to train and evaluate on.

    Procedural textures stand in for natural photographs (the stream `aux`).

    Args:
      category: one of `CATEGORIES`.
      size: side of the pictures in pixels, at least 64.
      train: normal pictures to learn from.
      heldout: normal pictures to calibrate on.
      test: good pictures, and pictures of each of the ten defects.
      seed: another seed, other pictures.

    Raises:
      ValueError: an argument is out of its range.

    >>> data = load("plate", size=64, train=4, heldout=2, test=(2, 1))
    >>> len(data.train), len(data.heldout), len(data.test)
    (4, 2, 12)
    >>> data.test[2]["image"].shape, data.test.records[2].defect
    ((64, 64, 3), 'scratch')
    """
    good, per_defect = test
    return Data(
        train=Workpieces(category, "train", good=train, size=size, seed=seed),
        heldout=Workpieces(category, "heldout", good=heldout, size=size, seed=seed),
        test=Workpieces(category, "test", good=good, per_defect=per_defect, size=size, seed=seed),
        streams={"aux": Textures(size=2 * size, seed=seed)},
    )
