"""Plain networks that reconstruct features: what UniAD is compared with.

They tend to learn to copy their input, anomalies included: the identical shortcut of You et al.,
NeurIPS 2022 (arXiv:2206.03687), section 3.1. Neck, optimiser, map and score are UniAD's.
"""

from typing import Literal

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from jaxad import compile, optim
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
from jaxad.methods import uniad
from jaxad.methods.uniad import Features
from jaxad.nets.reconstruction import Stack


@config
class Config:
    """Settings; the paper does not tell depth and width of these networks."""

    # Differs from the reference: hidden channels and depth are UniAD's, for all three networks.
    size: int = static(224)  # image side in pixels
    batch_size: int = static(8)
    steps: int = static(454_000)  # 1000 epochs of MVTec AD's 3629 images
    weights: tuple[str, ...] = static(("pdn_small",))  # of the extractor
    extractor: str = static("pdn_small")
    layers: tuple[str, ...] = static(())  # of the extractor; none for its own choice
    grid: int = static(14)  # tokens a side
    # Each token on its own, 3x3 convolutions, or encoder and decoder with one table of queries.
    network: Literal["mlp", "cnn", "transformer"] = static("mlp")
    hidden: int = static(256)  # channels between the projections
    depth: int = static(4)  # layers between them; of the encoder and of the decoder
    heads: int = static(8)  # of the transformer
    ffn: int = static(1024)  # of the transformer
    score: Literal["max_pool", "mean"] = static("max_pool")
    pool: int = static(16)  # pixels a side of the mean whose maximum is the score
    lr: Scalar = 1e-4  # a tenth of it in the last 20 % of the steps
    weight_decay: Scalar = 1e-4
    clip: Scalar = 0.1  # norm of the gradient
    dropout: Scalar = 0.1  # of the transformer


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
    if cfg.depth < 1:
        raise ValueError(f"depth={cfg.depth}: expected 1 or more")
    uniad.check(as_uniad(cfg))


def init(cfg: Config, pretrained: PyTree, images: ImageSet, key: Array) -> State:
    """A new network; nothing is measured on the training set."""
    params, opt = compile.jitted(_new_parameters)(cfg, pretrained, key)
    return State(jnp.int32(0), params, (), opt)


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
    return _network(cfg).apply({"params": params}, features)


def train_step(
    cfg: Config, pretrained: PyTree, state: State, batch: dict, key: Array
) -> tuple[State, dict[str, Array]]:
    """One step on `batch["features"]`."""
    return optim.gradient_step(loss, optimizer(cfg), cfg, pretrained, state, batch, key)


def optimizer(cfg: Config) -> optax.GradientTransformation:
    """UniAD's."""
    return uniad.optimizer(as_uniad(cfg))


def calibrate(cfg: Config, pretrained: PyTree, state: State, images: ImageSet) -> State:
    """The state as it is: maps and scores are not scaled."""
    return state


def predict(cfg: Config, pretrained: PyTree, state: State, images: Images) -> Prediction:
    """Map and score as UniAD's; parts: the features and their reconstruction."""
    features = embed(cfg, pretrained, images)
    restored = reconstruction(cfg, state.params, features)
    return uniad.prediction(features, restored, images.shape[1:3], cfg.score, cfg.pool)


def _new_parameters(cfg: Config, pretrained: PyTree, key: Array) -> tuple[PyTree, PyTree]:
    """Parameters and the optimiser's state."""
    channels = uniad.channels(as_uniad(cfg), pretrained)
    if cfg.network == "transformer":
        params = uniad.new_transformer(as_uniad(cfg), channels, key)
    else:
        params = _network(cfg).init(key, jnp.zeros((1, cfg.grid, cfg.grid, channels)))["params"]
    return params, optimizer(cfg).init(params)


def _network(cfg: Config) -> Stack:
    return Stack(cfg.network == "cnn", cfg.hidden, cfg.depth)


DETECTOR = Detector(Config, init, train_step, calibrate, predict, embed, check=check)
