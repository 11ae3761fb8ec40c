"""Detectors made of detectors: tiles of large images, flips when predicting, ensembles.

A wrapper keeps the contract, so what it gives can be trained, swept, exported, and wrapped again.
Its settings are those of the detector inside and a few static ones more.
"""

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxad import compile
from jaxad.detector import Detector, Images, ImageSet, Prediction, State, config, static
from jaxad.members import nth, stack

FLIPS = {"none": ((),), "horizontal": ((), (2,)), "both": ((), (2,), (1,), (1, 2))}


@functools.cache
def flipped(detector: Detector) -> Detector:
    """Predicts mirror images too, and takes the mean of maps and scores.

    Setting `flips`: "horizontal", "both" (four images) or "none".
    """
    Config = _extended(
        detector.Config, flips=(Literal["none", "horizontal", "both"], static("horizontal"))
    )

    def predict(cfg: Any, pretrained: PyTree, state: State, images: Images) -> Prediction:
        views = []
        for axes in FLIPS[cfg.flips]:
            map, score, parts = detector.predict(cfg, pretrained, state, jnp.flip(images, axes))
            views.append(Prediction(jnp.flip(map, axes), score, parts))
        mean = sum(view.map for view in views), sum(view.score for view in views)
        return Prediction(*(x / len(views) for x in mean), views[0].parts)

    return detector._replace(Config=Config, predict=predict)


@functools.cache
def ensemble(detector: Detector) -> Detector:
    """Several members that differ in their random numbers; the mean of their maps and scores.

    `parts` are "spread", the standard deviation of the members' maps, and "score_spread". Setting
    `members`: how many.
    """
    Config = _extended(detector.Config, members=(int, static(3)))

    def check(cfg: Any) -> None:
        detector.check(cfg)
        if cfg.members < 1:
            raise ValueError(f"members={cfg.members}: expected 1 or more")

    def init(cfg: Any, pretrained: PyTree, images: ImageSet, key: Array) -> State:
        keys = jax.random.split(key, cfg.members)
        return joined([detector.init(cfg, pretrained, images, k) for k in keys])

    def train_step(
        cfg: Any, pretrained: PyTree, state: State, batch: dict, key: Array
    ) -> tuple[State, dict[str, Array]]:
        def step(params: PyTree, stats: PyTree, opt: PyTree, key: Array) -> tuple[State, dict]:
            member = State(state.step, params, stats, opt)
            return detector.train_step(cfg, pretrained, member, batch, key)

        keys = jax.random.split(key, cfg.members)
        moved, metrics = compile.each(step)(state.params, state.stats, state.opt, keys)
        return moved._replace(step=moved.step[0]), {name: x.mean() for name, x in metrics.items()}

    def calibrate(cfg: Any, pretrained: PyTree, state: State, images: ImageSet) -> State:
        members = [
            detector.calibrate(cfg, pretrained, member, images) for member in several(cfg, state)
        ]
        return joined(members)

    def predict(cfg: Any, pretrained: PyTree, state: State, images: Images) -> Prediction:
        found = [detector.predict(cfg, pretrained, m, images) for m in several(cfg, state)]
        maps, scores = (jnp.stack([x[i] for x in found]) for i in range(2))
        spread = {"spread": maps.std(0), "score_spread": scores.std(0)}
        return Prediction(maps.mean(0), scores.mean(0), spread)

    def several(cfg: Any, state: State) -> list[State]:
        learned = state.params, state.stats, state.opt
        return [State(state.step, *nth(learned, i)) for i in range(cfg.members)]

    def joined(members: list[State]) -> State:
        return stack(members)._replace(step=members[0].step)

    return detector._replace(
        Config=Config, check=check, init=init, train_step=train_step, calibrate=calibrate,
        predict=predict,
    )  # fmt: skip


@functools.cache
def tiled(detector: Detector) -> Detector:
    """Cuts images into overlapping tiles, which are the images of the detector inside.

    Training sees every tile of every image. A pixel's anomaly comes from the tile in whose middle
    it lies more, an image's score is its highest tile's. Settings `tiles`: on each side; `overlap`:
    of neighbours, in pixels, for which twice the border that a detector leaves blank is a good
    choice. `size` stays that of the whole image.
    """
    Config = _extended(detector.Config, tiles=(int, static(2)), overlap=(int, static(0)))

    def inside(cfg: Any) -> Any:
        names = [field.name for field in dataclasses.fields(detector.Config)]
        settings = {name: getattr(cfg, name) for name in names}
        return detector.Config(**settings | {"size": tile_side(cfg)})

    def check(cfg: Any) -> None:
        if cfg.tiles < 1 or cfg.overlap < 0 or cfg.overlap % 2:
            raise ValueError(
                f"tiles={cfg.tiles}, overlap={cfg.overlap}: expected 1 or more tiles on a side, "
                "and an even overlap of 0 or more pixels"
            )
        whole = cfg.size + (cfg.tiles - 1) * cfg.overlap
        if whole % cfg.tiles or tile_side(cfg) <= cfg.overlap:
            side = -(-whole // cfg.tiles)
            fits = cfg.tiles * side - (cfg.tiles - 1) * cfg.overlap
            raise ValueError(
                f"size={cfg.size} is not {cfg.tiles} tiles that overlap by {cfg.overlap} pixels; "
                f"size={fits} is, with tiles of {side}"
            )
        detector.check(inside(cfg))

    def cut(cfg: Any, images: ImageSet) -> Any:
        return tiles_of(images, cfg.tiles, tile_side(cfg))

    def init(cfg: Any, pretrained: PyTree, images: ImageSet, key: Array) -> State:
        return detector.init(inside(cfg), pretrained, cut(cfg, images), key)

    def embed(cfg: Any, pretrained: PyTree, images: Images) -> PyTree:
        features = detector.embed(inside(cfg), pretrained, cut(cfg, images))
        # Features are kept by image, so their first axis is that of images.
        return jax.tree.map(lambda x: x.reshape(images.shape[0], -1, *x.shape[1:]), features)

    def train_step(
        cfg: Any, pretrained: PyTree, state: State, batch: dict, key: Array
    ) -> tuple[State, dict[str, Array]]:
        names = ["image", *(stream.name for stream in detector.streams(cfg))]
        count = cfg.tiles**2
        tiles = {name: cut(cfg, batch[name]) for name in names}
        tiles["index"] = jnp.repeat(batch["index"], count)
        tiles["features"] = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch["features"])
        return detector.train_step(inside(cfg), pretrained, state, tiles, key)

    def calibrate(cfg: Any, pretrained: PyTree, state: State, images: ImageSet) -> State:
        return detector.calibrate(inside(cfg), pretrained, state, cut(cfg, images))

    def predict(cfg: Any, pretrained: PyTree, state: State, images: Images) -> Prediction:
        map, score, _ = detector.predict(inside(cfg), pretrained, state, cut(cfg, images))
        whole = together(map, cfg.tiles, cfg.overlap)
        return Prediction(whole, score.reshape(images.shape[0], -1).max(1))

    return detector._replace(
        Config=Config, check=check, init=init, embed=embed, train_step=train_step,
        calibrate=calibrate, predict=predict,
    )  # fmt: skip


def tile_side(cfg: Any) -> int:
    """Side of the tiles of a `tiled` detector."""
    return (cfg.size + (cfg.tiles - 1) * cfg.overlap) // cfg.tiles


def tiles_of(images: ImageSet, count: int, side: int) -> Any:
    """`count * count` tiles of each square image, row by row, one image after the other."""
    size = images.shape[1]
    starts = [i * (size - side) // max(count - 1, 1) for i in range(count)]
    rows = [images[:, y : y + side, x : x + side] for y in starts for x in starts]
    module = jnp if isinstance(images, jax.Array) else np
    return module.stack(rows, 1).reshape(-1, side, side, *images.shape[3:])


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


def _extended(cls: type, **fields: tuple[Any, Any]) -> type:
    """A config class with more fields: {name: (type, default)}."""
    body = {
        "__annotations__": {name: kind for name, (kind, _) in fields.items()},
        "__module__": cls.__module__,
        "__doc__": cls.__doc__,
        **{name: default for name, (_, default) in fields.items()},
    }
    return config(type(cls.__name__, (cls,), body))
