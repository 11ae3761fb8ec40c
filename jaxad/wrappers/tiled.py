"""Images cut into overlapping tiles, which are the images of the detector inside."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from jaxad.detector import (
    Detector,
    Images,
    ImageSet,
    Nearest,
    Pictures,
    Prediction,
    State,
    config,
    static,
    takes_no_steps,
    unchanged,
)
from jaxad.wrappers.around import Around, inside, of_inside, where


@functools.cache
def tiled(detector: Detector) -> Detector:
    """Cuts images into overlapping tiles, which are the images of the detector inside.

    Training sees every tile of every image. A pixel's anomaly comes from the tile in whose middle
    it lies more, an image's score is its highest tile's. Settings `tiles`: on each side; `overlap`:
    of neighbours, in pixels, for which twice the border that a detector leaves blank is a good
    choice. `inside.size` is the side of a tile, and `size` of the whole image follows from it.

    >>> from jaxad.methods import stfpm
    >>> detector = tiled(stfpm.DETECTOR)
    >>> detector.Config(inside=stfpm.Config(size=128), tiles=3, overlap=16).size
    352
    """

    @config
    class Config(Around):
        """Settings of the detector inside, whose images are the tiles, and how they are cut."""

        inside: Any = detector.Config()
        tiles: int = static(2, least=1)
        overlap: int = static(0, least=0)

        @property
        def size(self) -> int:
            """Side of a whole image in pixels."""
            return self.tiles * self.inside.size - (self.tiles - 1) * self.overlap

    def check(cfg: Any) -> None:
        if cfg.overlap % 2 or cfg.overlap >= cfg.inside.size:
            raise ValueError(
                f"overlap={cfg.overlap}: expected an even number of pixels, and less than the "
                f"{cfg.inside.size} of a tile"
            )
        detector.check(cfg.inside)

    def cut(cfg: Any, images: ImageSet) -> Any:
        return tiles_of(images, cfg.tiles, cfg.inside.size)

    def embed(cfg: Any, pretrained: PyTree, images: Images) -> PyTree:
        features = detector.embed(cfg.inside, pretrained, cut(cfg, images))
        # Features are kept by image, so their first axis is that of images.
        return jax.tree.map(lambda x: x.reshape(images.shape[0], -1, *x.shape[1:]), features)

    def train_step(
        cfg: Any, pretrained: PyTree, state: State, batch: dict, key: Array
    ) -> tuple[State, dict[str, Array]]:
        names = ["image", *(stream.name for stream in detector.streams(cfg.inside))]
        tiles = {name: cut(cfg, batch[name]) for name in names}
        tiles["index"] = jnp.repeat(batch["index"], cfg.tiles**2)
        tiles["features"] = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch["features"])
        return detector.train_step(cfg.inside, pretrained, state, tiles, key)

    def measure(cfg: Any, pretrained: PyTree, state: State, pictures: Pictures) -> State:
        return detector.measure(cfg.inside, pretrained, state, Tiles(pictures, cfg))

    def calibrate(cfg: Any, pretrained: PyTree, state: State, pictures: Pictures) -> State:
        return detector.calibrate(cfg.inside, pretrained, state, Tiles(pictures, cfg))

    def predict(cfg: Any, pretrained: PyTree, state: State, images: Images) -> Prediction:
        map, score, _ = detector.predict(cfg.inside, pretrained, state, cut(cfg, images))
        whole = together(map, cfg.tiles, cfg.overlap)
        return Prediction(whole, score.reshape(images.shape[0], -1).max(1))

    def heldout_loss(
        cfg: Any, pretrained: PyTree, state: State, images: Images
    ) -> Float[Array, "B"]:
        losses = inside(detector.heldout_loss)(cfg, pretrained, state, cut(cfg, images))
        return losses.reshape(images.shape[0], -1).mean(1)

    def nearest(cfg: Any, pretrained: PyTree, state: State, images: Images) -> Nearest:
        found = inside(detector.nearest)(cfg, pretrained, state, cut(cfg, images))
        each = cfg.tiles**2
        distances = found.distance.reshape(-1, each)
        tile = distances.argmax(1)
        best = jnp.arange(distances.shape[0]) * each + tile
        at, place = (
            whole_place(boxes[best], of, cfg)
            for boxes, of in ((found.at, tile), (found.place, found.picture[best] % each))
        )
        return Nearest(at, distances.max(1), found.picture[best] // each, place)

    return of_inside(detector)._replace(
        name=f"tiled({detector.name})",
        Config=Config,
        check=check,
        embed=embed,
        train_step=where(detector.train_step, takes_no_steps, train_step),
        measure=measure,
        calibrate=where(detector.calibrate, unchanged, calibrate),
        predict=predict,
        heldout_loss=where(detector.heldout_loss, None, heldout_loss),
        nearest=where(detector.nearest, None, nearest),
    )


class Tiles:
    """The tiles of pictures, as pictures: those of one after those of the other."""

    def __init__(self, pictures: Pictures, cfg: Any):
        """Cut as the config of a `tiled` detector says."""
        self._pictures, self._tiles, self._side = pictures, cfg.tiles, cfg.inside.size

    def __len__(self) -> int:
        return len(self._pictures) * self._tiles**2

    def __getitem__(self, some: slice) -> Any:
        start, stop, _ = some.indices(len(self))
        each = self._tiles**2
        first = start // each
        whole = tiles_of(self._pictures[first : -(-stop // each)], self._tiles, self._side)
        return whole[start - first * each : stop - first * each]


def tiles_of(images: ImageSet, count: int, side: int) -> Any:
    """`count * count` tiles of each square image, row by row, one image after the other."""
    size = images.shape[1]
    starts = [i * (size - side) // max(count - 1, 1) for i in range(count)]
    rows = [images[:, y : y + side, x : x + side] for y in starts for x in starts]
    module = jnp if isinstance(images, jax.Array) else np
    return module.stack(rows, 1).reshape(-1, side, side, *images.shape[3:])


def whole_place(boxes: Float[Array, "B 4"], tile: Int[Array, "B"], cfg: Any) -> Float[Array, "B 4"]:
    """Places in tiles of these numbers as places in the whole images, all in parts of sides."""
    side, step = cfg.inside.size, cfg.inside.size - cfg.overlap
    corner = step * jnp.stack([tile // cfg.tiles, tile % cfg.tiles], 1)
    return (jnp.tile(corner, (1, 2)) + side * boxes) / cfg.size


def together(maps: Float[Array, "N h h"], count: int, overlap: int) -> Float[Array, "B H H"]:
    """The maps of `tiles_of` as maps of whole images, cut in the middle of the overlaps."""
    side, half = maps.shape[1], overlap // 2
    maps = maps.reshape(-1, count, count, side, side)
    spans = [
        slice(half if i > 0 else 0, side - half if i < count - 1 else side) for i in range(count)
    ]
    rows = [
        jnp.concatenate([maps[:, i, j, spans[i], spans[j]] for j in range(count)], 2)
        for i in range(count)
    ]
    return jnp.concatenate(rows, 1)
