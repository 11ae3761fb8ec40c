"""SPADE: the nearest normal pictures first, then the nearest cells among them.

A picture's score is its distance to the K training pictures whose pooled features are nearest. Of
these K pictures all cells, at any position, are what its own cells are compared with.

Cohen & Hoshen, 2020 (arXiv:2005.02357). They published no code; "code" is byungjae89/SPADE-pytorch.
"""

import logging
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from jaxad import compile
from jaxad.detector import (
    Detector,
    Images,
    Nearest,
    Pictures,
    Prediction,
    Sample,
    Scalar,
    State,
    config,
    scalar,
    static,
)
from jaxad.methods import frozen
from jaxad.nets import extractors, patch_features
from jaxad.ops import gaussian, maps, neighbours, pool
from jaxad.ops.terms import total
from jaxad.weights.store import weights_of

log = logging.getLogger(__name__)

COPIES = 4  # of what is remembered, while slices are put together

Cells = tuple[Float[Array, "_ _ _ _"], ...]  # of pictures, layer by layer


# Differs from the reference: of more pictures than `capacity` so many are kept, spread evenly.
@config
class Config:
    """Settings; the defaults are the code's but for the extractor and the crop.

    Its: `--extractor wide_resnet50_2 --weights wide_resnet50_2 --layers layer1,layer2,layer3
    --pooled layer4`; the paper has 50 neighbours for MVTec AD and 1 for surveillance pictures, and
    `--together true`.
    """

    size: int = static(256, least=1)  # image side in pixels
    batch_size: int = static(8, least=1)  # nothing is learned in batches
    steps: int = static(0, least=0)  # all is measured
    weights: tuple[str, ...] = static(("efficientnet_lite0",), count=1)  # of the extractor
    extractor: str = static("efficientnet_lite0")  # the frozen network whose features are read
    layers: tuple[str, ...] = static(())  # whose cells are compared; none for strides 8 and 16
    pooled: str | None = static(None)  # the layer that finds pictures; none for the deepest
    together: bool = static(False)  # layers as one vector a cell (paper), or each by itself (code)
    capacity: int = static(200, least=1)  # pictures that are remembered; of more, some
    neighbours: Scalar = scalar(5.0, least=1)  # K, whole numbers
    # Of the K distances to pictures: "distance", their mean (code); "squared", that of squares.
    score: Literal["distance", "squared"] = static("distance")
    blur: Scalar = scalar(4.0, least=0, most=maps.MOST_BLUR)  # deviation in pixels (code)


class Stats(NamedTuple):
    """The pictures that are remembered.

    Attributes:
      pooled: their pooled features; zeros beyond the count.
      cells: their layers.
      numbers: which training pictures they are; -1 beyond the count.
      count: how many.
    """

    pooled: Float[Array, "M P"]
    cells: Cells
    numbers: Int[Array, "M"]
    count: Int[Array, ""]


def check(cfg: Config) -> None:
    """Raises ValueError for settings that cannot work, and says what would."""
    deepest(cfg)
    if cfg.together:
        frozen.check_layers(cfg.extractor, layers(cfg), cfg.size)
    frozen.check_size(cfg.extractor, (*layers(cfg), deepest(cfg)), cfg.size, fewest=1)


def layers(cfg: Config) -> tuple[str, ...]:
    """The layers whose cells are compared."""
    names = cfg.layers or extractors.last_of(cfg.extractor, (8, 16))
    return extractors.select(cfg.extractor, names)


def deepest(cfg: Config, pretrained: PyTree | None = None) -> str:
    """The layer whose pooled features find pictures: the last that the weights, if given, have."""
    if cfg.pooled or pretrained is None:
        name = cfg.pooled or extractors.every(cfg.extractor)[-1]
        return extractors.select(cfg.extractor, (name,))[0]
    return extractors.reached(cfg.extractor, weights_of(pretrained, cfg.weights[0]))[-1]


def init(cfg: Config, pretrained: PyTree, key: Array) -> State:
    """Nothing is remembered yet.

    Raises:
      ValueError: the weights are not the extractor's, or end before a layer.
      MemoryError: the pictures do not fit the device.
    """
    images = jax.ShapeDtypeStruct((1, cfg.size, cfg.size, 3), jnp.float32)
    vector, cells = jax.eval_shape(embed, cfg, pretrained, images)
    numbers = vector.size + sum(x.size for x in cells)
    compile.check_fits(
        4 * COPIES * cfg.capacity * numbers,
        f"capacity={cfg.capacity} pictures of {numbers} numbers",
        "set a smaller capacity, or layers of fewer cells",
    )
    places = lambda x: jnp.zeros((cfg.capacity, *x.shape[1:]))
    nowhere = jnp.full(cfg.capacity, pool.NOWHERE, jnp.int32)
    stats = Stats(places(vector), tuple(map(places, cells)), nowhere, jnp.int32(0))
    return State(jnp.int32(0), {}, stats, ())


def embed(cfg: Config, pretrained: PyTree, images: Images) -> tuple[Float[Array, "B P"], Cells]:
    """The pooled features of pictures, and the layers whose cells are compared."""
    *cells, last = extractors.features(
        cfg.extractor,
        (*layers(cfg), deepest(cfg, pretrained)),
        weights_of(pretrained, cfg.weights[0]),
        images,
    )
    if cfg.together:
        cells = [patch_features.side_by_side(cells, "bilinear")]
    return last.mean((1, 2)), tuple(cells)


def measure(cfg: Config, pretrained: PyTree, state: State, pictures: Pictures) -> State:
    """Remembers the pictures; of too many some, spread evenly.

    Raises:
      FloatingPointError: features are not finite.
    """
    sample = Sample(pictures, cfg.capacity)
    there = len(sample)
    if there < cfg.neighbours:
        log.warning(
            "neighbours=%g, but only %d pictures are remembered: the nearest %d count",
            cfg.neighbours, there, there,
        )  # fmt: skip
    vectors, cells = compile.over_set(embed, (cfg, pretrained), sample)
    frozen.check_features((vectors, cells), cfg.extractor)
    return state._replace(stats=filled(cfg, vectors, cells, sample.places))


def filled(
    cfg: Config, vectors: Float[Array, "N P"], cells: Cells, numbers: Int[np.ndarray, "N"]
) -> Stats:
    """A memory of these pictures, which are so numbered."""
    there = len(vectors)
    fill = lambda x: jnp.pad(x, ((0, cfg.capacity - there), *((0, 0),) * (x.ndim - 1)))
    vectors, cells = jax.tree.map(fill, (vectors, cells))
    nowhere = jnp.full(cfg.capacity, pool.NOWHERE, jnp.int32)
    return Stats(vectors, cells, nowhere.at[:there].set(numbers), jnp.int32(there))


def neighbourhood(
    stats: Stats, vectors: Float[Array, "B P"]
) -> tuple[Float[Array, "B M"], Int[Array, "B M"]]:
    """Distances to all pictures that are remembered, ascending, and which they are."""
    bank = neighbours.bank(stats.pooled, stats.count)
    squares, index = neighbours.k_nearest(bank, vectors, len(stats.pooled))
    return gaussian.root(squares), index


def picture_score(
    cfg: Config, distances: Float[Array, "B M"], count: Int[Array, ""]
) -> Float[Array, "B"]:
    """The mean of the K smallest distances, or of their squares (section 3.2)."""
    if cfg.score == "squared":
        distances = jnp.square(distances)
    counted = jnp.arange(distances.shape[1])[None] < count
    return jnp.where(counted, distances, 0).sum(1) / count


def cell_distances(
    remembered: Float[Array, "M h w C"],
    index: Int[Array, "B M"],
    count: Int[Array, ""],
    features: Float[Array, "B h w C"],
) -> Float[Array, "B h w"]:
    """Distance of each cell to the nearest cell, at any position, of the first `count` pictures.

    It has no gradient: how many pictures there are to look at is known only while it runs.

    Source: section 3.3, with one nearest cell.
    """
    # Differs from the reference: the code leaves out the pictures' last (K h w) mod 100 cells, and
    # adds 1e-6 to differences.
    flat = lambda x: x.reshape(x.shape[0], -1, x.shape[-1])
    queries, gallery = flat(features), flat(remembered)

    def between(rows: Float[Array, "N C"], some: Float[Array, "N C"]) -> Float[Array, "N"]:
        return neighbours.nearest(neighbours.bank(rows), some)

    def closer(k: Int[Array, ""], least: Float[Array, "B N"]) -> Float[Array, "B N"]:
        return jnp.minimum(least, jax.vmap(between)(gallery[index[:, k]], queries))

    least = jnp.full(queries.shape[:2], jnp.inf)
    squares = jax.lax.fori_loop(0, count, closer, least)
    return gaussian.root(squares).reshape(features.shape[:-1])


def predict(cfg: Config, pretrained: PyTree, state: State, images: Images) -> Prediction:
    """Distances of cells enlarged, averaged over layers and blurred; the score is of pictures.

    Parts: the layers' distances of cells.
    """
    stats, shape = state.stats, maps.sides(images)
    vectors, layers_ = embed(cfg, pretrained, images)
    distances, index = neighbourhood(stats, vectors)
    count = jnp.minimum(jnp.int32(cfg.neighbours), stats.count)
    found = [
        cell_distances(one, index, count, features)
        for one, features in zip(stats.cells, layers_, strict=True)
    ]
    map_ = total(maps.resize(x, shape) for x in found) / len(found)
    names = ("together",) if cfg.together else layers(cfg)
    return Prediction(
        maps.gaussian_blur(map_, cfg.blur),
        picture_score(cfg, distances, count),
        dict(zip(names, found, strict=True)),
    )


def nearest(cfg: Config, pretrained: PyTree, state: State, images: Images) -> Nearest:
    """The training picture that is nearest to each image, both as a whole."""
    vectors, _ = embed(cfg, pretrained, images)
    distances, index = neighbourhood(state.stats, vectors)
    whole = jnp.tile(jnp.array([[0.0, 0.0, 1.0, 1.0]]), (vectors.shape[0], 1))
    return Nearest(whole, distances[:, 0], state.stats.numbers[index[:, 0]], whole)


DETECTOR = Detector(
    name="spade",
    Config=Config,
    init=init,
    predict=predict,
    measure=measure,
    check=check,
    nearest=nearest,
)
