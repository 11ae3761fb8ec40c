"""PaDiM: a Gaussian of patch features at every place of the picture.

A frozen network's maps of several layers are put on the finest grid; of their channels a random
choice is kept. What lies far from the training pictures' Gaussian of the same place is anomalous:
for objects that are aligned.

Defard, Setkov, Loesch & Audigier, ICPR workshops 2021 (arXiv:2011.08785). They published no code;
"code" is xiahaifeng1995/PaDiM-Anomaly-Detection-Localization-master.
"""

import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

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
from jaxad.nets import extractors, patch_features
from jaxad.ops import gaussian, maps
from jaxad.weights.store import weights_of

COPIES = 5  # of the covariances, while those of slices are put together


@config
class Config:
    """Settings; the defaults are the paper's but for the extractor, the channels and the crop.

    The paper's: `--extractor resnet18 --weights resnet18 --channels 100` or `--extractor
    wide_resnet50_2 --weights wide_resnet50_2 --channels 550`, whose own choice of layers is
    layer1,layer2,layer3; images of 224 pixels.
    """

    size: int = static(256, least=1)  # image side in pixels
    batch_size: int = static(8, least=1)  # nothing is learned in batches
    steps: int = static(0, least=0)  # all is measured
    weights: tuple[str, ...] = static(("efficientnet_lite0",), count=1)  # of the extractor
    extractor: str = static("efficientnet_lite0")  # the frozen network whose features are read
    layers: tuple[str, ...] = static(())  # of the extractor; none for its pyramid
    channels: int = static(100, least=1)  # that are kept, at random (section IV.C)
    # How coarse maps are enlarged: the code repeats cells.
    enlarged: Literal["nearest", "bilinear"] = static("nearest")
    # 0, or as many pictures as there are or more, but fewer than channels: what the same distance
    # takes is then (channels + pictures) x pictures numbers a place, and not channels x channels.
    pictures: int = static(0, least=0)
    epsilon: Scalar = scalar(0.01, above=0)  # added to variances (section III.B)
    blur: Scalar = scalar(4.0, least=0, most=maps.MOST_BLUR)  # deviation in pixels (code)


class Gaussians(NamedTuple):
    """At each place a mean and the Cholesky factor of the covariance."""

    mean: Float[Array, "h w C"]
    factor: Float[Array, "h w C C"]


class Rows(NamedTuple):
    """At each place a mean, what each picture deviates from it, and the factor of their products.

    Attributes:
      mean: of the pictures.
      deviations: Y; rows beyond the count of pictures are 0.
      factor: lower Cholesky factor of epsilon (N - 1) I + Y Y'.
      ridge: epsilon (N - 1).
      epsilon: added to variances.
    """

    mean: Float[Array, "h w C"]
    deviations: Float[Array, "h w N C"]
    factor: Float[Array, "h w N N"]
    ridge: Float[Array, ""]
    epsilon: Float[Array, ""]


class Stats(NamedTuple):
    """What is remembered; `kept` are the numbers of the channels that count."""

    kept: Int[Array, "C"]
    places: Gaussians | Rows


def check(cfg: Config) -> None:
    """Raises ValueError for settings that cannot work, and says what would."""
    frozen.check_layers(cfg.extractor, layers(cfg), cfg.size)
    if cfg.pictures >= cfg.channels:
        raise ValueError(
            f"pictures={cfg.pictures}: expected less than channels={cfg.channels}, or 0 for a "
            "covariance at every place, which then takes less"
        )


def layers(cfg: Config) -> tuple[str, ...]:
    """The layers whose channels are put together."""
    return extractors.pyramid(cfg.extractor, cfg.layers)


def init(cfg: Config, pretrained: PyTree, key: Array) -> State:
    """Nothing is remembered yet, and the channels are drawn.

    Raises:
      ValueError: the weights are not the extractor's, or the layers have fewer channels.
      MemoryError: the Gaussians do not fit the device.
    """
    images = jax.ShapeDtypeStruct((1, cfg.size, cfg.size, 3), jnp.float32)
    _, height, width, there = jax.eval_shape(embed, cfg, pretrained, images).shape
    if cfg.channels > there:
        raise ValueError(
            f"channels={cfg.channels}: the layers {', '.join(layers(cfg))} of {cfg.extractor} have "
            f"{there} together"
        )
    kept = jax.random.choice(key, there, (cfg.channels,), replace=False)
    c, n = cfg.channels, cfg.pictures
    numbers = height * width * (n * (c + n) if n else c * c)
    compile.check_fits(
        4 * COPIES * numbers,
        f"PaDiM with {height} x {width} places and channels={c}",
        "set fewer channels, coarser layers or, for few pictures, their number as pictures",
    )
    mean = jnp.zeros((height, width, c))
    places = Gaussians(mean, jnp.broadcast_to(jnp.eye(c), (height, width, c, c)))
    if n:
        factor = jnp.broadcast_to(jnp.eye(n), (height, width, n, n))
        one = jnp.float32(1)
        places = Rows(mean, jnp.zeros((height, width, n, c)), factor, one, one)
    return State(jnp.int32(0), {}, Stats(kept, places), ())


def embed(cfg: Config, pretrained: PyTree, images: Images) -> Float[Array, "B h w D"]:
    """All channels of the layers, on the finest layer's grid."""
    found = extractors.features(
        cfg.extractor, layers(cfg), weights_of(pretrained, cfg.weights[0]), images
    )
    return patch_features.side_by_side(found, cfg.enlarged)


def described(
    cfg: Config, pretrained: PyTree, kept: Int[Array, "C"], images: Images
) -> Float[Array, "B h w C"]:
    """The channels that count."""
    return embed(cfg, pretrained, images)[..., kept]


def measure(cfg: Config, pretrained: PyTree, state: State, pictures: Pictures) -> State:
    """The Gaussian of every place.

    Raises:
      ValueError: there are fewer than two pictures, or more than `cfg.pictures` says.
      FloatingPointError: features are not finite.
    """
    if len(pictures) < 2:
        raise ValueError(
            "PaDiM needs 2 normal pictures or more to see how they vary, given is "
            f"{len(pictures)}; PatchCore works with one"
        )
    arguments = cfg, pretrained, state.stats.kept
    if cfg.pictures:
        if len(pictures) > cfg.pictures:
            raise ValueError(
                f"pictures={cfg.pictures}, but there are {len(pictures)} to learn from: give as "
                "many or more, or 0 for a covariance at every place"
            )
        places = compile.jit(of_rows)(cfg, compile.over_set(described, arguments, pictures))
    else:
        parts = map(compile.jit(gaussian.moments), compile.slices(described, arguments, pictures))
        places = compile.jit(of_moments)(cfg, functools.reduce(compile.jit(gaussian.merged), parts))
    frozen.check_features(places, cfg.extractor)
    return state._replace(stats=state.stats._replace(places=places))


def of_moments(cfg: Config, found: gaussian.Moments) -> Gaussians:
    """The Gaussians with such moments (section III.B)."""
    return Gaussians(found.mean, jnp.linalg.cholesky(gaussian.regularised(found, cfg.epsilon)))


def of_rows(cfg: Config, features: Float[Array, "B h w C"]) -> Rows:
    """The same of fewer pictures than channels, without a covariance."""
    count = len(features)
    mean = features.mean(0)
    rows = jnp.moveaxis(features - mean[None], 0, 2)
    rows = jnp.pad(rows, ((0, 0), (0, 0), (0, cfg.pictures - count), (0, 0)))
    epsilon = jnp.float32(cfg.epsilon)
    ridge = epsilon * (count - 1)
    products = jnp.einsum("hwnc,hwmc->hwnm", rows, rows, precision=gaussian.EXACT)
    ridges = ridge * jnp.broadcast_to(jnp.eye(cfg.pictures), products.shape)
    return Rows(mean, rows, jnp.linalg.cholesky(products + ridges), ridge, epsilon)


def distance(places: Gaussians | Rows, features: Float[Array, "B h w C"]) -> Float[Array, "B h w"]:
    """Mahalanobis distance of every cell to the Gaussian of its place.

    With Y the pictures' deviations, r = x - Y' w, w = (epsilon (N - 1) I + Y Y')^-1 Y x, the
    squared distance is (|r|^2 + epsilon (N - 1) |w|^2) / epsilon: no difference loses digits.
    """
    x = features - places.mean[None]
    if isinstance(places, Gaussians):
        return gaussian.mahalanobis(x, places.factor)
    columns = jnp.einsum("hwnc,bhwc->hwnb", places.deviations, x, precision=gaussian.EXACT)
    solve = functools.partial(jax.lax.linalg.triangular_solve, places.factor, left_side=True)
    weights = solve(solve(columns, lower=True), lower=True, transpose_a=True)
    rest = x - jnp.einsum("hwnc,hwnb->bhwc", places.deviations, weights, precision=gaussian.EXACT)
    squares = jnp.square(rest).sum(-1)
    inside = places.ridge * jnp.moveaxis(jnp.square(weights).sum(2), -1, 0)
    return gaussian.root((squares + inside) / places.epsilon)


def predict(cfg: Config, pretrained: PyTree, state: State, images: Images) -> Prediction:
    """Distances enlarged and blurred, and the map's maximum; part: the distances of the cells."""
    # Differs from the reference: maps keep their values; the code then scales those of a test set
    # together to [0, 1], which changes no ranking.
    kept, places = state.stats
    cells = distance(places, described(cfg, pretrained, kept, images))
    map_ = maps.gaussian_blur(maps.resize(cells, maps.sides(images)), cfg.blur)
    return Prediction(map_, map_.max((1, 2)), {"distance": cells})


DETECTOR = Detector(
    name="padim",
    Config=Config,
    init=init,
    predict=predict,
    measure=measure,
    check=check,
)
