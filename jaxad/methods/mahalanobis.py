"""Gaussian anomaly detection: Mahalanobis distances of pooled features, level by level.

A frozen classifier's maps at each of its levels are averaged over their cells; of these vectors the
training pictures give a mean and a covariance per level. A picture's score is the sum of its
distances. What varies little among normal pictures decides.

Rippel, Mertens & Merhof, ICPR 2020 (arXiv:2005.14140). "Code" is ORippler/gaussian-ad-mvtec.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from jaxad import compile
from jaxad.detector import (
    Detector,
    Images,
    Pictures,
    Prediction,
    Scalar,
    State,
    config,
    scalar,
    static,
)
from jaxad.methods import frozen
from jaxad.nets import extractors
from jaxad.ops import gaussian, maps
from jaxad.ops.terms import total
from jaxad.weights.store import weights_of

ALIKE = 1e-5  # deviation of vectors over their size: about what float32 keeps of a deep network
SINGULAR = 16.0  # the smallest pivot over the variance, in roundings
FEWEST = 3  # pictures: of two, Ledoit and Wolf's covariance has no inverse


@config
class Config:
    """Settings; the defaults are the paper's but for the extractor and the image size.

    The paper's is EfficientNet-B4 at 380 pixels: `--extractor efficientnet_b4 --weights
    efficientnet_b4 --size 380 --layers stem,block1,block5,block9,block15,block21,block29,block31`.
    """

    # Differs from the reference: the paper's ninth level, the convolution before the classifier, is
    # no part of the EfficientNet here; the EfficientNet-Lite here has it.

    size: int = static(256, least=1)  # image side in pixels
    batch_size: int = static(8, least=1)  # nothing is learned in batches
    steps: int = static(0, least=0)  # all is measured
    weights: tuple[str, ...] = static(("efficientnet_lite0",), count=1)  # of the extractor
    extractor: str = static("efficientnet_lite0")  # the frozen network whose features are read
    layers: tuple[str, ...] = static(())  # the levels; none for all that the extractor has
    combine: Literal["sum", "mean"] = static("sum")  # of the levels: paper, code; the same ranking
    # Of covariances: Ledoit and Wolf's (paper), or `shrinkage`.
    estimator: Literal["ledoit_wolf", "fixed"] = static("ledoit_wolf")
    shrinkage: Scalar = scalar(0.1, above=0, most=1)  # where it is fixed; no paper's
    blur: Scalar = scalar(4.0, least=0, most=maps.MOST_BLUR)  # deviation in pixels, of the map


class Level(NamedTuple):
    """Mean of the pooled features, and lower Cholesky factor of their covariance."""

    mean: Float[Array, "C"]
    factor: Float[Array, "C C"]


def check(cfg: Config) -> None:
    """Raises ValueError for settings that cannot work, and says what would."""
    frozen.check_size(cfg.extractor, layers(cfg), cfg.size, fewest=1)


def layers(cfg: Config, pretrained: PyTree | None = None) -> tuple[str, ...]:
    """The levels; of an extractor's own choice those that the weights, if given, have."""
    if cfg.layers or pretrained is None:
        return extractors.select(cfg.extractor, cfg.layers or extractors.every(cfg.extractor))
    return extractors.reached(cfg.extractor, weights_of(pretrained, cfg.weights[0]))


def init(cfg: Config, pretrained: PyTree, key: Array) -> State:
    """Standard Gaussians.

    Raises:
      ValueError: the weights are not the extractor's.
    """
    images = jax.ShapeDtypeStruct((1, cfg.size, cfg.size, 3), jnp.float32)
    widths = [level.shape[-1] for level in jax.eval_shape(embed, cfg, pretrained, images)]
    levels = tuple(Level(jnp.zeros(width), jnp.eye(width)) for width in widths)
    return State(jnp.int32(0), {}, levels, ())


def embed(cfg: Config, pretrained: PyTree, images: Images) -> tuple[Float[Array, "B _ _ _"], ...]:
    """The levels' maps."""
    return extractors.features(
        cfg.extractor, layers(cfg, pretrained), weights_of(pretrained, cfg.weights[0]), images
    )


def pooled(cfg: Config, pretrained: PyTree, images: Images) -> tuple[Float[Array, "B _"], ...]:
    """The levels' maps, averaged over their cells."""
    return tuple(level.mean((1, 2)) for level in embed(cfg, pretrained, images))


def measure(cfg: Config, pretrained: PyTree, state: State, pictures: Pictures) -> State:
    """The Gaussians of all levels.

    Raises:
      ValueError: there are fewer than three pictures, or they vary too little.
      FloatingPointError: features are not finite.
    """
    if len(pictures) < FEWEST:
        raise ValueError(
            f"Mahalanobis distances need {FEWEST} normal pictures or more to see how they vary, "
            f"given are {len(pictures)}; PatchCore works with one"
        )
    found = compile.over_set(pooled, (cfg, pretrained), pictures)
    frozen.check_features(found, cfg.extractor)
    levels = compile.jit(gaussians)(cfg, found)
    degenerate = compile.jit(are_degenerate)(found, levels)
    for name, hopeless in zip(layers(cfg, pretrained), degenerate, strict=True):
        if bool(hopeless):
            raise ValueError(
                f"the {len(pictures)} normal pictures vary too little: their covariance at {name} "
                "has no inverse; give more pictures that differ, or estimator=fixed"
            )
    return state._replace(stats=levels)


def gaussians(cfg: Config, levels: tuple[Float[Array, "N _"], ...]) -> tuple[Level, ...]:
    """Mean and covariance of each level's vectors."""

    def one(x: Float[Array, "N C"]) -> Level:
        if cfg.estimator == "ledoit_wolf":
            covariance, _ = gaussian.ledoit_wolf(x)
        else:
            covariance = gaussian.shrunk(gaussian.sample_covariance(x), cfg.shrinkage)
        return Level(x.mean(0), jnp.linalg.cholesky(covariance))

    return tuple(map(one, levels))


def are_degenerate(
    levels: tuple[Float[Array, "N _"], ...], found: tuple[Level, ...]
) -> tuple[Bool[Array, ""], ...]:
    """Whether a level's covariance has no inverse, or one that only rounding gave it.

    Vectors that are equal differ in their last digits where they are computed at different places
    of a batch, in a way of each processor; what is below them by far is no variation.
    """

    def one(x: Float[Array, "N C"], level: Level) -> Bool[Array, ""]:
        pivots, variance = jnp.diagonal(level.factor) ** 2, x.var(0).mean()
        alike = variance <= ALIKE**2 * jnp.square(x).mean()
        singular = pivots.min() <= SINGULAR * jnp.finfo(x.dtype).eps * variance
        return ~jnp.isfinite(level.factor).all() | alike | singular

    return tuple(one(x, level) for x, level in zip(levels, found, strict=True))


def split(
    level: Level, features: Float[Array, "B h w C"]
) -> tuple[Float[Array, "B"], Float[Array, "B h w"]]:
    """The distance of the pooled features, and what each cell adds to it.

    With M the distance and z the cells, whose mean is z', the shares are (z - mean)' S^-1 (z' -
    mean) / M. They have a sign, and their mean over the cells is M.
    """
    # Differs from the reference: the paper has no map.
    apart = features - level.mean[None, None, None]
    white = gaussian.whitened(apart, level.factor)
    whole = white.mean((1, 2), keepdims=True)
    distance = gaussian.length(whole)
    return distance[:, 0, 0], (white * whole).sum(-1) / distance


def predict(cfg: Config, pretrained: PyTree, state: State, images: Images) -> Prediction:
    """The sum of the levels' distances, and their shares by place; parts: the levels' distances."""
    shape = maps.sides(images)
    found = [
        split(level, x)
        for level, x in zip(state.stats, embed(cfg, pretrained, images), strict=True)
    ]
    scale = 1 / len(found) if cfg.combine == "mean" else 1.0
    score = scale * total(distance for distance, _ in found)
    map_ = scale * total(maps.resize(shares, shape) for _, shares in found)
    parts = {
        name: distance for name, (distance, _) in zip(layers(cfg, pretrained), found, strict=True)
    }
    return Prediction(maps.gaussian_blur(map_, cfg.blur), score, parts)


DETECTOR = Detector(
    name="mahalanobis",
    Config=Config,
    init=init,
    predict=predict,
    measure=measure,
    check=check,
)
