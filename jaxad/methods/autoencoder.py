"""A plain convolutional autoencoder: what MemAE and DAAD are compared with.

It sees normal images only; what it reconstructs badly is anomalous. With the SSIM loss: Bergmann et
al., VISAPP 2019 (arXiv:1807.02011), loss and map; the network is not theirs but DAAD's generator
without skips and memory, and so are optimiser and settings, so that a comparison is of the memory.
"""

import math
from typing import Any, Literal

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from jaxad import compile, maps, optim
from jaxad.detector import (
    Detector,
    Images,
    ImageSet,
    Prediction,
    Scalar,
    State,
    config,
    static,
)
from jaxad.nets.image_autoencoder import ImageAutoencoder
from jaxad.nets.layers import signed
from jaxad.ssim import ssim

BETAS = (0.5, 0.999)  # of Adam: Radford et al., ICLR 2016 (arXiv:1511.06434), section 4

Score = Literal["mean", "max"]


@config
class Config:
    """Settings; all our choice, the same as DAAD's where both have them."""

    size: int = static(256)  # image side in pixels
    batch_size: int = static(16)
    steps: int = static(3_025)  # 200 epochs of 242 images, the mean of MVTec AD's categories
    weights: tuple[str, ...] = static(())  # nothing is pretrained
    widths: tuple[int, ...] = static((64, 128, 256, 512, 512))  # each level halves the sides
    loss: Literal["l2", "ssim"] = static("l2")  # also of the map
    smoothing: float = static(4.0)  # deviation of the Gaussian that blurs the map, in pixels
    score: Score = static("mean")  # of the error of all pixels, or the largest of the map
    lr: Scalar = 2e-4


def check(cfg: Config) -> None:
    """Raises ValueError for settings that cannot work, and says what would."""
    check_common(cfg)


def check_common(cfg: Any) -> None:
    """What has to hold for each method that reconstructs images by `ImageAutoencoder`."""
    if not cfg.widths or min(cfg.widths) < 1:
        raise ValueError(f"widths={cfg.widths}: expected channels of at least one level")
    check_size(cfg.size, len(cfg.widths), "widths")
    for name in ("batch_size", "steps"):
        if getattr(cfg, name) < 1:
            raise ValueError(f"{name}={getattr(cfg, name)}: expected 1 or more")
    if cfg.weights:
        raise ValueError(f"weights={','.join(cfg.weights)}: expected none, nothing is pretrained")
    if not 0 <= cfg.smoothing < math.inf:
        raise ValueError(f"smoothing={cfg.smoothing}: expected 0 or more pixels")
    if not 0 < cfg.lr < math.inf:
        raise ValueError(f"lr={cfg.lr}: expected more than 0")


def check_size(size: int, levels: int, name: str) -> None:
    """Raises ValueError where `levels` halvings of an image of this side leave a fraction."""
    least = 2**levels
    if size < least or size % least:
        raise ValueError(
            f"size={size} cannot be halved {levels} times: expected a multiple of {least}, such "
            f"as size={max(round(size / least), 1) * least}, or fewer {name}"
        )


def init(cfg: Config, pretrained: PyTree, images: ImageSet, key: Array) -> State:
    """A new network; the moments of batch norm start at 0 and 1."""
    params, stats, opt = compile.jitted(_new_parameters)(cfg, key)
    return State(jnp.int32(0), params, stats, opt)


def loss(
    params: PyTree, cfg: Config, pretrained: PyTree, stats: PyTree, batch: dict, key: Array
) -> tuple[Float[Array, ""], tuple[PyTree, dict[str, Array]]]:
    """Mean error of the reconstruction over pixels and images."""
    restored, stats = reconstruction(cfg, params, stats, batch["image"], train=True)
    return error(cfg, batch["image"], restored).mean(), (stats, {})


def error(cfg: Config, images: Images, restored: Images) -> Float[Array, "B H W"]:
    """How badly each pixel is reconstructed, from 0: squared difference, or 1 - SSIM."""
    if cfg.loss == "ssim":
        return 1 - ssim(images, restored)
    return squared_error(images, restored)


def squared_error(images: Images, restored: Images) -> Float[Array, "B H W"]:
    """Squared difference of images in [0, 1] scaled to [-1, 1], mean over channels."""
    return jnp.square(signed(images) - signed(restored)).mean(-1)


def reconstruction(
    cfg: Config, params: PyTree, stats: PyTree, images: Images, train: bool = False
) -> tuple[Images, PyTree]:
    """The reconstruction, in [0, 1], and the moments of batch norm, which move in training."""
    variables = {"params": params, "batch_stats": stats}
    (restored, _), moved = _network(cfg).apply(
        variables, signed(images), train=train, mutable=["batch_stats"]
    )
    return (jnp.tanh(restored) + 1) / 2, moved["batch_stats"]


def train_step(
    cfg: Config, pretrained: PyTree, state: State, batch: dict, key: Array
) -> tuple[State, dict[str, Array]]:
    """One Adam step."""
    return optim.gradient_step(loss, optimizer(cfg), cfg, pretrained, state, batch, key)


def optimizer(cfg: Config) -> optax.GradientTransformation:
    """Adam as DCGAN's."""
    return optax.adam(cfg.lr, *BETAS)


def calibrate(cfg: Config, pretrained: PyTree, state: State, images: ImageSet) -> State:
    """The state as it is: maps and scores are not scaled."""
    return state


def predict(cfg: Config, pretrained: PyTree, state: State, images: Images) -> Prediction:
    """Map and score of the reconstruction's error; parts: the reconstruction."""
    restored, _ = reconstruction(cfg, state.params, state.stats, images)
    return prediction(error(cfg, images, restored), restored, cfg.smoothing, cfg.score)


def prediction(
    errors: Float[Array, "B H W"], restored: Images, smoothing: float, score: Score
) -> Prediction:
    """Errors blurred to a map, and the score: their mean, or the map's maximum."""
    map_ = maps.gaussian_blur(errors, smoothing) if smoothing else errors
    scores = errors.mean((1, 2)) if score == "mean" else map_.max((1, 2))
    return Prediction(map_, scores, {"reconstruction": restored})


def _new_parameters(cfg: Config, key: Array) -> tuple[PyTree, PyTree, PyTree]:
    """Parameters, moments of batch norm, the optimiser's state."""
    variables = _network(cfg).init(key, jnp.zeros((1, cfg.size, cfg.size, 3)))
    params = variables["params"]
    return params, variables["batch_stats"], optimizer(cfg).init(params)


def _network(cfg: Config) -> ImageAutoencoder:
    none = (0,) * len(cfg.widths)
    return ImageAutoencoder(cfg.widths, rates=none, items=none)


DETECTOR = Detector(Config, init, train_step, calibrate, predict, check=check)
