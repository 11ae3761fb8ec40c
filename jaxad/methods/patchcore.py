"""PatchCore: patches are as anomalous as they are far from the nearest normal one in a memory.

The memory bank holds a few of the training pictures' patch features, chosen so that none of the
others is far from all of them. Any patch may resemble any other: positions do not count.

Roth, Pemula, Zepeda, Schoelkopf, Brox & Gehler, CVPR 2022 (arXiv:2106.08265). "Code" is theirs,
amazon-science/patchcore-inspection, and "anomalib" another.
"""

import logging
import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree, UInt

from jaxad import compile
from jaxad.detector import (
    Detector,
    Images,
    Nearest,
    Pictures,
    Prediction,
    Scalar,
    State,
    config,
    scalar,
    static,
)
from jaxad.methods import frozen
from jaxad.nets import extractors, patch_features
from jaxad.ops import coreset, gaussian, maps, neighbours, pool, symmetries
from jaxad.weights.store import weights_of

log = logging.getLogger(__name__)

MOST_NEIGHBOURS = 64  # that a sweep may weigh a score with
STARTS = 10  # rows that the first distances of the authors' code are to
COPIES = 4  # of the patches or rows in float32, while some are chosen


# Differs from the reference: the number of rows in the bank is a setting, theirs is a share of all
# patches (0.25, 0.1 or 0.01), which would compile another program for every size of a set; and of a
# set with more patches than `sample` it is chosen among a random part.
@config
class Config:
    """Settings; the defaults are the paper's but for the extractor, the bank and the crop.

    The authors': `--extractor wide_resnet50_2 --weights wide_resnet50_2 --layers layer2,layer3
    --embedding authors --start mean --projection 128 --score authors`, 10 % of the patches and
    images of 224 pixels.
    """

    size: int = static(256, least=1)  # image side in pixels
    batch_size: int = static(8, least=1)  # nothing is learned in batches
    steps: int = static(0, least=0)  # all is measured
    weights: tuple[str, ...] = static(("efficientnet_lite0",), count=1)  # of the extractor
    extractor: str = static("efficientnet_lite0")  # the frozen network whose features are read
    layers: tuple[str, ...] = static(())  # of the extractor; none for its strides 8 and 16
    # "plain": layers averaged over patches and put side by side (anomalib); "authors": whole
    # neighbourhoods, pooled to a fixed number of channels (code).
    embedding: Literal["plain", "authors"] = static("plain")
    channels: int = static(1024, least=1)  # of the authors' embedding
    pretrain_channels: int = static(1024, least=1)  # of each of its layers
    patch: int = static(3, least=1)  # cells on a side (section 3.1)
    # Rows in the bank at most: of 200 pictures' patches at stride 8 two in a hundred.
    capacity: int = static(4000, least=1)
    sample: int = static(60_000, least=1)  # patches that it is chosen from; of more, at random
    # "row": what is chosen first is a random patch (anomalib); "mean": distances begin as the mean
    # ones to ten random patches (code).
    start: Literal["row", "mean"] = static("row")
    projection: int = static(0, least=0)  # channels while it is chosen; 0 for all (code: 128)
    views: Literal["as_is", "flips", "turns", "all"] = static("as_is")  # of pictures in the bank
    bank: Literal["float32", "float16", "bfloat16"] = static("float32")  # type of its rows
    # Of patches and pictures: "plain", distances and the largest; "paper", that one weighed by its
    # surroundings in the bank (equation 7); "authors", squared distances and the largest (code).
    score: Literal["plain", "paper", "authors"] = static("plain")
    nearest: int = static(1, least=1)  # of the authors' score: rows that a distance is the mean to
    # Rows around the nearest one that weigh the paper's score; it does not say how many, anomalib
    # has 9.
    neighbours: Scalar = scalar(9.0, least=1, most=MOST_NEIGHBOURS)
    blur: Scalar = scalar(4.0, least=0, most=maps.MOST_BLUR)  # deviation in pixels (section 3.3)


class Stats(NamedTuple):
    """The memory bank, and what was drawn to choose it.

    Attributes:
      rows: patch features less their mean; zeros beyond the count.
      centre: their mean.
      origins: picture (its number among the training pictures), view (as `symmetries.seen` numbers
        them), row and column of the grid; -1 beyond the count.
      count: rows that are there.
      key: of what is drawn at random, as `jax.random.key_data`.
    """

    rows: Float[Array, "M D"]
    centre: Float[Array, "D"]
    origins: Int[Array, "M 4"]
    count: Int[Array, ""]
    key: UInt[Array, "_"]


def check(cfg: Config) -> None:
    """Raises ValueError for settings that cannot work, and says what would."""
    frozen.check_layers(cfg.extractor, layers(cfg), cfg.size)
    if cfg.patch % 2 == 0:
        raise ValueError(
            f"patch={cfg.patch}: expected an odd number of cells, with one in the middle"
        )


def layers(cfg: Config) -> tuple[str, ...]:
    """The layers whose features describe a patch."""
    return extractors.select(
        cfg.extractor, cfg.layers or extractors.last_of(cfg.extractor, (8, 16))
    )


def init(cfg: Config, pretrained: PyTree, key: Array) -> State:
    """An empty bank.

    Raises:
      ValueError: the weights are not the extractor's.
      MemoryError: the bank does not fit the device.
    """
    images = jax.ShapeDtypeStruct((1, cfg.size, cfg.size, 3), jnp.float32)
    width = jax.eval_shape(embed, cfg, pretrained, images).shape[-1]
    number = jnp.dtype(cfg.bank).itemsize
    compile.check_fits(
        cfg.capacity * (width * (number + COPIES * 4) + 16),
        f"a bank of capacity={cfg.capacity} rows of {width} numbers",
        "set a smaller capacity, bank=float16, or layers of fewer channels",
    )
    stats = Stats(
        jnp.zeros((cfg.capacity, width), cfg.bank),
        jnp.zeros(width),
        jnp.full((cfg.capacity, 4), pool.NOWHERE, jnp.int32),
        jnp.int32(0),
        jax.random.key_data(key),
    )
    return State(jnp.int32(0), {}, stats, ())


def embed(cfg: Config, pretrained: PyTree, images: Images) -> Float[Array, "B h w D"]:
    """Patch features on the finest layer's grid (section 3.1)."""
    found = extractors.features(
        cfg.extractor, layers(cfg), weights_of(pretrained, cfg.weights[0]), images
    )
    if cfg.embedding == "plain":
        return patch_features.local_average(found, cfg.patch)
    return patch_features.patchcore(found, cfg.channels, cfg.pretrain_channels, cfg.patch)


def measure(cfg: Config, pretrained: PyTree, state: State, pictures: Pictures) -> State:
    """Fills the bank: one pass over the pictures, then the greedy choice among their patches.

    Raises:
      FloatingPointError: features are not finite.
      MemoryError: the patches to choose from do not fit the device.
    """
    key = jax.random.wrap_key_data(state.stats.key)
    patches, total = remembered(cfg, pretrained, pictures, jax.random.fold_in(key, 0))
    frozen.check_features(patches.rows, cfg.extractor)
    there = int(pool.count(patches))
    if there < total:
        log.info(
            "the bank is chosen among %d of %d patches, drawn at random (sample=%d)",
            there, total, cfg.sample,
        )  # fmt: skip
    if there <= cfg.capacity:
        log.info("the bank takes all %d patches: capacity=%d", there, cfg.capacity)
        chosen = compile.jit(everything)(patches)
    else:
        chosen = compile.jit(selected)(cfg, patches, jax.random.fold_in(key, 1))
        log.info(
            "the bank has %d of %d patches of %d pictures", int(chosen.count), total, len(pictures)
        )
        if cfg.start == "row" and not cfg.projection:
            log.info(
                "of the %d that it was chosen from none is farther than %.3g from it",
                there, float(chosen.radius),
            )  # fmt: skip
        if int(chosen.count) < cfg.capacity:
            log.info(
                "it has place for %d, but all other patches equal one that it has", cfg.capacity
            )
    stats = compile.jit(filled)(cfg, state.stats, patches, chosen)
    if not bool(jnp.isfinite(stats.rows).all()):
        raise FloatingPointError(
            f"features of {cfg.extractor} are too large for bank={cfg.bank}: take bfloat16"
        )
    return state._replace(stats=stats)


def remembered(
    cfg: Config, pretrained: PyTree, pictures: Pictures, key: Key[Array, ""]
) -> tuple[pool.Pool, int]:
    """Patches of all pictures, or of too many a random sample; and how many patches there are."""
    images = jax.ShapeDtypeStruct((1, cfg.size, cfg.size, 3), jnp.float32)
    each = jax.eval_shape(described, cfg, pretrained, images)
    width, total = each.shape[-1], len(pictures) * math.prod(each.shape[:-1])
    places = min(cfg.sample, total)
    compile.check_fits(
        COPIES * places * width * each.dtype.itemsize,
        f"the choice among sample={cfg.sample} patches of {width} numbers",
        "set a smaller sample",
    )
    found, number = pool.empty(places, width, 4), 0
    for features in compile.slices(described, (cfg, pretrained), pictures):
        found = compile.jit(added)(cfg, found, features, jnp.int32(number), key)
        number += len(features)
    return found, total


def described(cfg: Config, pretrained: PyTree, images: Images) -> Float[Array, "B V h w D"]:
    """Patch features of every view of pictures."""
    views = symmetries.VIEWS[cfg.views]
    return jnp.stack([embed(cfg, pretrained, symmetries.seen(images, v)) for v in views], 1)


def added(
    cfg: Config,
    found: pool.Pool,
    features: Float[Array, "B V h w D"],
    first: Int[Array, ""],
    key: Key[Array, ""],
) -> pool.Pool:
    """The pool with further pictures' patches, the first of which is picture number `first`."""
    views = symmetries.VIEWS[cfg.views]
    count, *grid, width = features.shape
    numbers = first + jnp.arange(count)
    places = jnp.indices((count, *grid)).reshape(4, -1).T
    tags = places.at[:, 0].add(first).at[:, 1].set(jnp.asarray(views)[places[:, 1]])
    priorities = pool.priorities(key, numbers, math.prod(grid))
    return pool.merged(found, features.reshape(-1, width), priorities.reshape(-1), tags)


def selected(cfg: Config, patches: pool.Pool, key: Key[Array, ""]) -> coreset.Coreset:
    """The patches that the bank is to hold (algorithm 1)."""
    first_key, projection_key = jax.random.split(key)
    vectors, count = patches.rows, pool.count(patches)
    if cfg.projection:
        vectors = coreset.projected(vectors, cfg.projection, projection_key)
    drawn = jax.random.randint(first_key, (STARTS,), 0, count)
    if cfg.start == "row":
        first = coreset.from_row(drawn[0], len(vectors))
    else:
        first = coreset.mean_distances(vectors, drawn)
    return coreset.greedy(vectors, min(cfg.capacity, len(vectors)), first, count)


def everything(patches: pool.Pool) -> coreset.Coreset:
    """All patches, where the bank has place for them."""
    indexes, zero = jnp.arange(len(patches.rows), dtype=jnp.int32), jnp.float32(0)
    return coreset.Coreset(indexes, jnp.zeros(len(indexes)), pool.count(patches), zero)


def filled(cfg: Config, stats: Stats, patches: pool.Pool, chosen: coreset.Coreset) -> Stats:
    """The memory with a bank of the chosen patches."""
    at = jnp.pad(chosen.indexes, (0, cfg.capacity - len(chosen.indexes)))
    bank = neighbours.bank(patches.rows[at], chosen.count, cfg.bank)
    there = jnp.arange(cfg.capacity) < chosen.count
    origins = jnp.where(there[:, None], patches.tags[at], pool.NOWHERE)
    return Stats(bank.rows, bank.centre, origins, chosen.count, stats.key)


def bank_of(stats: Stats) -> neighbours.Bank:
    """The memory bank, to be searched."""
    return neighbours.kept(stats.rows, stats.centre, stats.count)


def patch_scores(
    cfg: Config, bank: neighbours.Bank, features: Float[Array, "B h w D"]
) -> Float[Array, "B h w"]:
    """How far each patch is from the bank: a distance or, by the authors' code, its square."""
    queries = features.reshape(-1, features.shape[-1])
    if cfg.score != "authors":
        squares = neighbours.nearest(bank, queries)
        return gaussian.root(squares).reshape(features.shape[:-1])
    if cfg.nearest == 1:
        return neighbours.nearest(bank, queries).reshape(features.shape[:-1])
    squares, _ = neighbours.k_nearest(bank, queries, cfg.nearest)
    there = jnp.isfinite(squares)
    means = jnp.where(there, squares, 0).sum(1) / there.sum(1)
    return means.reshape(features.shape[:-1])


def worst(
    cells: Float[Array, "B h w"], features: Float[Array, "B h w D"]
) -> tuple[Int[Array, "B"], Float[Array, "B D"]]:
    """Of each picture the most anomalous patch: its number in reading order, and its features."""
    at = cells.reshape(cells.shape[0], -1).argmax(1)
    flat = features.reshape(features.shape[0], -1, features.shape[-1])
    return at, jnp.take_along_axis(flat, at[:, None, None], 1)[:, 0]


def weight(bank: neighbours.Bank, query: Float[Array, "B D"], count: Scalar) -> Float[Array, "B"]:
    """What multiplies a largest distance: from 1 - 1/b, where the bank is dense, up to 1.

    With m* the row nearest to the query and N_b the b rows nearest to m*, itself among them,
    1 - exp |q - m*| / sum over N_b of exp |q - m|.

    Args:
      bank: to search.
      query: q, the patch that is farthest from the bank.
      count: b; where it is 1, or the bank has a single row, nothing is weighed.

    Source: equation 7.
    """
    most = min(MOST_NEIGHBOURS, len(bank.rows))
    own = neighbours.rows_at(bank, neighbours.nearest_rows(bank, query))
    near, around = neighbours.k_nearest(bank, own, most)
    counted = (jnp.arange(most)[None] < count) & jnp.isfinite(near)
    distances = gaussian.length(query[:, None] - neighbours.rows_at(bank, around))
    nearest = gaussian.length(query - own)
    exponents = jnp.where(counted, distances, -jnp.inf)
    share = jnp.exp(nearest - jax.nn.logsumexp(exponents, axis=1))
    return jnp.where(counted.sum(1) < 2, 1.0, 1 - share)


def predict(cfg: Config, pretrained: PyTree, state: State, images: Images) -> Prediction:
    """The patches' scores enlarged and blurred, and the largest; part: the patches' scores."""
    features, bank = embed(cfg, pretrained, images), bank_of(state.stats)
    cells = patch_scores(cfg, bank, features)
    score = cells.max((1, 2))
    if cfg.score == "paper":
        score = score * weight(bank, worst(cells, features)[1], cfg.neighbours)
    map_ = maps.gaussian_blur(maps.resize(cells, maps.sides(images)), cfg.blur)
    return Prediction(map_, score, {"distance": cells})


def nearest(cfg: Config, pretrained: PyTree, state: State, images: Images) -> Nearest:
    """Each image's most anomalous patch, and the patch of a training picture nearest to it."""
    features, bank = embed(cfg, pretrained, images), bank_of(state.stats)
    cells = patch_scores(cfg, bank, features)
    at, query = worst(cells, features)
    picture, view, row, column = state.stats.origins[neighbours.nearest_rows(bank, query)].T
    side, coarsest = cells.shape[2], max(extractors.strides(cfg.extractor, layers(cfg)))
    reach = cfg.patch * coarsest / cfg.size / 2

    def around(row: Int[Array, "B"], column: Int[Array, "B"]) -> Float[Array, "B 4"]:
        middle = (jnp.stack([row, column, row, column], 1) + 0.5) / side
        return middle + jnp.array([[-reach, -reach, reach, reach]])

    return Nearest(
        around(at // side, at % side),
        cells.max((1, 2)),
        picture,
        around(*symmetries.place(row, column, view, side)),
    )


DETECTOR = Detector(
    name="patchcore",
    Config=Config,
    init=init,
    predict=predict,
    measure=measure,
    embed=embed,
    check=check,
    nearest=nearest,
)
