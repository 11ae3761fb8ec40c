"""A plain convolutional autoencoder: what MemAE and DAAD are compared with.

It sees normal images only; what it reconstructs badly is anomalous. With the SSIM loss: Bergmann et
al., VISAPP 2019 (arXiv:1807.02011), loss and map; the network is not theirs but DAAD's generator
without skips and memory, and so are optimiser and settings, so that a comparison is of the memory.
"""

from typing import Any, Literal

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from jaxad import optim
from jaxad.detector import Detector, Images, Prediction, Scalar, State, config, scalar, static
from jaxad.nets.image_autoencoder import ImageAutoencoder
from jaxad.nets.layers import signed
from jaxad.ops import maps
from jaxad.ops.ssim import ssim

BETAS = (0.5, 0.999)  # of Adam: Radford et al., ICLR 2016 (arXiv:1511.06434), section 4

Score = Literal["mean", "max"]


@config
class Config:
    """Settings; all our choice, the same as DAAD's where both have them."""

    size: int = static(256, least=1)  # image side in pixels
    batch_size: int = static(16, least=1)  # pictures in a step
    # 200 epochs of 242 images, the mean of MVTec AD's categories
    steps: int = static(3_025, least=0)
    weights: tuple[str, ...] = static((), count=0)  # nothing is pretrained
    widths: tuple[int, ...] = static((64, 128, 256, 512, 512), 1, fewest=1)  # halving sides
    loss: Literal["l2", "ssim"] = static("l2")  # also of the map
    # Deviation of the Gaussian that blurs the map, in pixels
    smoothing: float = static(4.0, least=0)
    score: Score = static("mean")  # of the error of all pixels, or the largest of the map
    lr: Scalar = scalar(2e-4, above=0)  # of Adam


def check_common(cfg: Any) -> None:
    """Raises ValueError where an `ImageAutoencoder` does not suit the size of the images."""
    check_size(cfg.size, len(cfg.widths), "widths")


def check_size(size: int, levels: int, name: str) -> None:
    """Raises ValueError where `levels` halvings of an image of this side leave a fraction."""
    least = 2**levels
    if size < least or size % least:
        raise ValueError(
            f"size={size} cannot be halved {levels} times: expected a multiple of {least}, such "
            f"as size={max(round(size / least), 1) * least}, or fewer {name}"
        )


def init(cfg: Config, pretrained: PyTree, key: Array) -> State:
    """A new network; the moments of batch norm start at 0 and 1."""
    variables = _network(cfg).init(key, jnp.zeros((1, cfg.size, cfg.size, 3)))
    params, stats = variables["params"], variables["batch_stats"]
    return State(jnp.int32(0), params, stats, optimizer(cfg).init(params))


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


def optimizer(cfg: Config) -> optax.GradientTransformation:
    """Adam as DCGAN's."""
    return optax.adam(cfg.lr, *BETAS)


train_step = optim.gradient_steps(loss, optimizer)


def predict(cfg: Config, pretrained: PyTree, state: State, images: Images) -> Prediction:
    """Map and score of the reconstruction's error; parts: the reconstruction."""
    restored, _ = reconstruction(cfg, state.params, state.stats, images)
    return prediction(error(cfg, images, restored), restored, cfg.smoothing, cfg.score)


def heldout_loss(
    cfg: Config, pretrained: PyTree, state: State, images: Images
) -> Float[Array, "B"]:
    """Mean error of each image's reconstruction."""
    restored, _ = reconstruction(cfg, state.params, state.stats, images)
    return error(cfg, images, restored).mean((1, 2))


def prediction(
    errors: Float[Array, "B H W"], restored: Images, smoothing: float, score: Score
) -> Prediction:
    """Errors blurred to a map, and the score: their mean, or the map's maximum."""
    map_ = maps.gaussian_blur(errors, smoothing) if smoothing else errors
    scores = errors.mean((1, 2)) if score == "mean" else map_.max((1, 2))
    return Prediction(map_, scores, {"reconstruction": restored})


def _network(cfg: Config) -> ImageAutoencoder:
    none = (0,) * len(cfg.widths)
    return ImageAutoencoder(cfg.widths, rates=none, items=none)


DETECTOR = Detector(
    name="autoencoder",
    Config=Config,
    init=init,
    predict=predict,
    train_step=train_step,
    check=check_common,
    heldout_loss=heldout_loss,
)
