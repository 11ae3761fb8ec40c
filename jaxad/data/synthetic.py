"""A labelled set made of normal pictures: some of them damaged.

It serves where a choice has to be made and no real anomalies may be looked at. What it says holds
for synthetic anomalies: real ones are other, and mostly harder.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from numpy import ndarray as NpArray

from jaxad import compile
from jaxad.data.pictures import image_set, resized
from jaxad.data.source import Item, Record, Region, Source
from jaxad.synthesis.recipe import damage

BATCH = 8  # pictures damaged at once
DEFECT = "synthetic"


class SyntheticSet:
    """Normal and damaged pictures in memory, as a source.

    Attributes:
      images: all.
      masks: of them, 1 where damaged.
    """

    has_masks = True
    has_regions = False

    def __init__(
        self,
        images: UInt8[NpArray, "N H W 3"],
        masks: UInt8[NpArray, "N H W"],
        records: tuple[Record, ...],
    ):
        """Pictures, their masks, and what they were before."""
        self.images, self.masks = images, masks
        self.records = tuple(
            Record(f"{DEFECT}/{record.name}", record.category, DEFECT) if mask.any() else record
            for record, mask in zip(records, masks, strict=True)
        )

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        damaged = sum(record.label for record in self.records)
        return f"SyntheticSet({len(self)} pictures, {damaged} damaged)"

    def __getitem__(self, index: int) -> Item:
        index = range(len(self))[index]
        label = self.records[index].label
        return Item(image=self.images[index], mask=self.masks[index], label=label, index=index)

    def regions(self, index: int) -> list[Region]:
        """Nothing: masks do not tell single defects apart."""
        return []


def synthetic_set(
    normal: Source,
    textures: Source,
    size: int,
    key: Array,
    *,
    share: float = 0.5,
    foreground: Source | None = None,
    objects: bool = True,
) -> SyntheticSet:
    """A labelled set of normal pictures, of which a share is damaged as DiffusionAD does it.

    A picture whose masks all miss the foreground stays normal.

    Args:
      normal: such as `Data.heldout`; never training pictures of the detector that is judged.
      textures: pictures of anything else.
      size: side in pixels, a multiple of 8.
      key: of everything drawn.
      share: of the pictures to damage, more than 0; which ones is drawn.
      foreground: masks of the objects, one for each picture; None: damage may be anywhere.
      objects: whether half of the damage is made of the picture itself.

    Raises:
      ValueError: an argument is out of its range, there are no pictures, or nothing got damaged.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share={share}: expected a part above 0, at most 1, of the pictures")
    if size < 8 or size % 8:
        raise ValueError(f"size={size}: expected a multiple of 8, which strips divide")
    if foreground is not None and len(foreground) != len(normal):
        raise ValueError(f"{len(foreground)} foreground masks for {len(normal)} pictures")
    images = image_set(normal, size)
    which_key, texture_key, damage_key = jax.random.split(key, 3)
    chosen = np.asarray(jax.random.permutation(which_key, len(images)))
    chosen = np.sort(chosen[: max(1, round(share * len(images)))])
    draws = jax.random.randint(texture_key, (len(images),), 0, len(textures))
    masks = np.zeros(images.shape[:3], np.uint8)
    keys = jax.random.split(damage_key, len(images))
    areas = None if foreground is None else image_set(foreground, size)
    # The last batch is filled with pictures of before, so that one shape compiles.
    padded = np.resize(chosen, -(-len(chosen) // BATCH) * BATCH)
    clean = images.copy()
    for places in padded.reshape(-1, BATCH):
        pasted = [resized(textures[int(draws[i])]["image"], size) for i in places]
        area = np.full((BATCH, size, size), 255, np.uint8)
        area = area if areas is None else areas[places].max(-1)
        damaged = _damaged(objects)(keys[places], clean[places], np.stack(pasted), area)
        images[places], masks[places] = (np.asarray(part) for part in damaged)
    if not masks.any():
        raise ValueError(f"none of {len(chosen)} pictures got damaged: the foreground is empty")
    return SyntheticSet(images, masks, normal.records)


@functools.cache
def _damaged(objects: bool) -> Callable:
    """Compiled: uint8 pictures, textures and foregrounds to damaged ones, and masks of 0 and 1."""

    def one(
        key: Array,
        image: Float[Array, "H W 3"],
        texture: Float[Array, "H W 3"],
        foreground: Float[Array, "H W"],
    ) -> tuple[Array, Array]:
        done = damage(key, image, texture, foreground, objects, 1.0)
        return jnp.uint8(jnp.round(255 * done.image)), jnp.uint8(done.mask > 0)

    def several(keys: Array, *pictures: Array) -> tuple[Array, Array]:
        return jax.vmap(one)(keys, *compile.unit(pictures))

    return compile.jit(several)
