"""Plain networks that reconstruct features: what UniAD is compared with.

They tend to learn to copy their input, anomalies included: the identical shortcut of You et al.,
NeurIPS 2022 (arXiv:2206.03687), section 3.1. Neck, optimiser, map and score are UniAD's.
"""

from typing import Literal

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from jaxad import optim
from jaxad.detector import Detector, Images, Prediction, Scalar, State, config, scalar, static
from jaxad.methods import uniad
from jaxad.methods.uniad import Features
from jaxad.nets.applied import output
from jaxad.nets.reconstruction import Stack
from jaxad.ops import maps


@config
class Config:
    """Settings; the paper does not tell depth and width of these networks."""

    # Differs from the reference: hidden channels and depth are UniAD's, for all three networks.
    size: int = static(224, least=1)  # image side in pixels
    batch_size: int = static(8, least=1)  # pictures in a step
    steps: int = static(454_000, least=0)  # 1000 epochs of MVTec AD's 3629 images
    weights: tuple[str, ...] = static(("efficientnet_lite0",), count=1)  # of the extractor
    extractor: str = static("efficientnet_lite0")  # the frozen network whose features are read
    layers: tuple[str, ...] = static(())  # of the extractor; none for its own choice
    grid: int = static(14, 1)  # tokens a side
    # Each token on its own, 3x3 convolutions, or encoder and decoder with one table of queries.
    network: Literal["mlp", "cnn", "transformer"] = static("mlp")
    hidden: int = static(256, 2)  # channels between the projections
    depth: int = static(4, 1)  # layers between them; of the encoder and of the decoder
    heads: int = static(8, 1)  # of the transformer
    ffn: int = static(1024, 1)  # of the transformer
    score: Literal["max_pool", "mean"] = static("max_pool")  # of the map
    pool: int = static(16, 1)  # pixels a side of the mean whose maximum is the score
    lr: Scalar = scalar(1e-4, above=0)  # a tenth of it in the last 20 % of the steps
    weight_decay: Scalar = scalar(1e-4, least=0)  # of AdamW
    clip: Scalar = scalar(0.1, above=0, finite=False)  # norm of the gradient
    dropout: Scalar = scalar(0.1, 0, 0.99)  # of the transformer


def as_uniad(cfg: Config) -> uniad.Config:
    """UniAD with its three parts switched off: its neck and optimiser, and the transformer."""
    return uniad.Config(
        size=cfg.size, batch_size=cfg.batch_size, steps=cfg.steps, weights=cfg.weights,
        extractor=cfg.extractor, layers=cfg.layers, grid=cfg.grid, hidden=cfg.hidden,
        heads=cfg.heads, ffn=cfg.ffn, encoder_layers=cfg.depth, decoder_layers=cfg.depth,
        layer_wise_query=False, masked=(False, False, False), score=cfg.score, pool=cfg.pool,
        jitter=0.0, jitter_probability=0.0, lr=cfg.lr, weight_decay=cfg.weight_decay,
        clip=cfg.clip, dropout=cfg.dropout,
    )  # fmt: skip


def check(cfg: Config) -> None:
    """Raises ValueError for settings that cannot work, and says what would."""
    uniad.check(as_uniad(cfg))


def init(cfg: Config, pretrained: PyTree, key: Array) -> State:
    """A new network for the features of these weights."""
    channels = uniad.channels(as_uniad(cfg), pretrained)
    if cfg.network == "transformer":
        params = uniad.new_transformer(as_uniad(cfg), channels, key)
    else:
        params = _network(cfg).init(key, jnp.zeros((1, cfg.grid, cfg.grid, channels)))["params"]
    return State(jnp.int32(0), params, (), optimizer(cfg).init(params))


def embed(cfg: Config, pretrained: PyTree, images: Images) -> Features:
    """UniAD's features of the same settings."""
    return uniad.embed(as_uniad(cfg), pretrained, images)


def loss(
    params: PyTree, cfg: Config, pretrained: PyTree, stats: PyTree, batch: dict, key: Array
) -> tuple[Float[Array, ""], tuple[PyTree, dict[str, Array]]]:
    """Mean squared error of the reconstruction."""
    features = batch["features"].astype(jnp.float32)  # a cache may hold fewer bits
    restored = reconstruction(cfg, params, features, key)
    return jnp.mean(jnp.square(restored - features)), (stats, {})


def reconstruction(
    cfg: Config, params: PyTree, features: Features, key: Array | None = None
) -> Features:
    """The network's output; a transformer's with dropout where a key is given."""
    if cfg.network == "transformer":
        return uniad.reconstruction(as_uniad(cfg), params, features, key)
    return output(_network(cfg), {"params": params}, features)


def optimizer(cfg: Config) -> optax.GradientTransformation:
    """UniAD's."""
    return uniad.optimizer(as_uniad(cfg))


train_step = optim.gradient_steps(loss, optimizer)


def predict(cfg: Config, pretrained: PyTree, state: State, images: Images) -> Prediction:
    """Map and score as UniAD's; parts: the features and their reconstruction."""
    features = embed(cfg, pretrained, images)
    restored = reconstruction(cfg, state.params, features)
    return uniad.prediction(features, restored, maps.sides(images), cfg.score, cfg.pool)


def heldout_loss(
    cfg: Config, pretrained: PyTree, state: State, images: Images
) -> Float[Array, "B"]:
    """Mean squared error of each image's reconstruction."""
    features = embed(cfg, pretrained, images)
    return jnp.square(reconstruction(cfg, state.params, features) - features).mean((1, 2, 3))


def _network(cfg: Config) -> Stack:
    return Stack(cfg.network == "cnn", cfg.hidden, cfg.depth)


DETECTOR = Detector(
    name="feature_reconstruction",
    Config=Config,
    init=init,
    predict=predict,
    train_step=train_step,
    embed=embed,
    check=check,
    heldout_loss=heldout_loss,
)
