"""DAAD: an image is divided into blocks and assembled anew from remembered ones.

How fine the division is decides what can be assembled: fine blocks make up anomalies too, coarse
ones not even what is normal. Each way from encoder to decoder leads through a block-wise memory,
since a plain skip connection copies. With `adversarial` (DAAD+) a discriminator judges the
reconstructions, and its features tell image and reconstruction apart.

Hou et al., ICCV 2021 (arXiv:2107.13118). No code of theirs is public and this was not written from
the paper itself. Established are: encoder and decoder of a U-Net, block-wise memories on its skips
at several scales, items that gradients move, the three losses, and the score R + lambda L. All
else, every number below included, is our choice: no figure of the paper is claimed.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jaxtyping import Array, Float, PyTree

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
from jaxad.methods import autoencoder
from jaxad.methods.autoencoder import prediction, squared_error
from jaxad.nets import memory
from jaxad.nets.discriminator import Discriminator
from jaxad.nets.image_autoencoder import ImageAutoencoder
from jaxad.nets.layers import signed
from jaxad.ops import pairs

Features = Float[Array, "B h w C"]


@config
class Config:
    """Settings; all our choice, after DCGAN (Radford et al., 2016) where it has them.

    `widths`, `rates` and `items` have one number for each level, finest first, the bottleneck last.
    """

    size: int = static(256, least=1)  # image side in pixels
    batch_size: int = static(16, least=1)  # pictures in a step
    # 200 epochs of 242 images, the mean of MVTec AD's categories
    steps: int = static(3_025, least=0)
    weights: tuple[str, ...] = static((), count=0)  # nothing is pretrained
    adversarial: bool = static(True)  # DAAD+; off, there is no discriminator and lambda is not read
    widths: tuple[int, ...] = static((64, 128, 256, 512, 512), 1, fewest=1)  # halving sides
    rates: tuple[int, ...] = static((4, 8, 8, 0, 8), 0)  # blocks along each side; 0 is no skip
    items: tuple[int, ...] = static((500, 500, 500, 0, 500), 0)  # of each memory
    similarity: memory.Similarity = static("cosine")  # of a block to an item
    # Of projected keys; none: blocks are compared in full
    key_channels: int | None = static(None, 1)
    discriminator_widths: tuple[int, ...] = static((64, 128, 256, 512), 1, fewest=1)  # as widths
    # Deviation of the Gaussian that blurs the map, in pixels
    smoothing: float = static(4.0, least=0)
    score: autoencoder.Score = static("mean")  # R: error of all pixels, or the largest of the map
    temperature: Scalar = scalar(0.1, above=0)  # of the softmax over items
    # Threshold of the weights, below 1 / items; 0 for none
    shrinkage: Scalar = scalar(0.0, least=0)
    reconstruction_weight: Scalar = scalar(50.0, least=0)  # of the loss
    adversarial_weight: Scalar = scalar(1.0, least=0)  # of the loss, with `adversarial`
    alignment_weight: Scalar = scalar(1.0, least=0)  # of the loss, with `adversarial`
    lam: Scalar = scalar(0.5, least=0)  # lambda, of the alignment error in the score
    lr: Scalar = scalar(2e-4, above=0)  # of generator and discriminator


class Stats(NamedTuple):
    """What is measured and not moved by gradients.

    Attributes:
      generator: moments of its batch norm.
      discriminator: of its batch norm; empty where there is none.
      range: smallest (row 0) and largest value on held-out images of R and, if adversarial, of L.
    """

    generator: PyTree
    discriminator: PyTree
    range: Float[Array, "2 k"]


def check(cfg: Config) -> None:
    """Raises ValueError for settings that cannot work, and says what would."""
    autoencoder.check_common(cfg)
    levels = len(cfg.widths)
    for name in ("rates", "items"):
        if len(getattr(cfg, name)) != levels:
            raise ValueError(f"{name}={getattr(cfg, name)}: expected {levels}, one for each width")
    for level, (rate, items) in enumerate(zip(cfg.rates, cfg.items, strict=True), start=1):
        side = cfg.size >> level
        if rate == 0 and level < levels:
            continue
        if rate < 1 or side % rate:
            raise ValueError(
                f"rates={cfg.rates}: {rate} blocks do not divide the {side} cells of level "
                f"{level}; expected one of {memory.divisors(side)}"
                + (", or 0 for no skip" if level < levels else "")
            )
        if items < 1:
            raise ValueError(f"items={cfg.items}: expected 1 or more at level {level}")
        if cfg.shrinkage >= 1 / items:
            raise ValueError(
                f"shrinkage={cfg.shrinkage}: expected less than {1 / items:.4g}, "
                f"the weight with which the {items} items of level {level} begin"
            )
    if cfg.adversarial:
        autoencoder.check_size(cfg.size, len(cfg.discriminator_widths), "discriminator_widths")


def init(cfg: Config, pretrained: PyTree, key: Array) -> State:
    """New networks; the moments of batch norm start at 0 and 1."""
    networks: dict[str, nn.Module] = {"generator": _generator(cfg)}
    if cfg.adversarial:
        networks["discriminator"] = Discriminator(cfg.discriminator_widths)
    image = jnp.zeros((1, cfg.size, cfg.size, 3))
    keys = jax.random.split(key, len(networks))
    new = {
        name: network.init(one, image)
        for (name, network), one in zip(networks.items(), keys, strict=True)
    }
    params = {name: variables["params"] for name, variables in new.items()}
    # A discriminator of one level has no batch norm.
    moments = {name: variables.get("batch_stats", {}) for name, variables in new.items()}
    span = jnp.tile(jnp.array([[0.0], [1.0]]), (1, len(networks)))
    stats = Stats(moments["generator"], moments.get("discriminator", {}), span)
    opt = {name: optimizer(cfg).init(x) for name, x in params.items()}
    return State(jnp.int32(0), params, stats, opt)


def train_step(
    cfg: Config, pretrained: PyTree, state: State, batch: dict, key: Array
) -> tuple[State, dict[str, Array]]:
    """One step of the generator, then one of the discriminator on the same reconstructions."""
    images, stats = batch["image"], state.stats
    params, opt = dict(state.params), dict(state.opt)

    def move(name: str, grads: PyTree) -> None:
        updates, opt[name] = optimizer(cfg).update(grads, opt[name], params[name])
        params[name] = optax.apply_updates(params[name], updates)

    gradient = jax.value_and_grad(generator_loss, has_aux=True)
    (loss, (restored, moments, metrics)), grads = gradient(
        params["generator"], cfg, params.get("discriminator"), stats, images
    )
    move("generator", grads)
    stats, metrics = stats._replace(generator=moments), {"loss": loss, **metrics}
    if cfg.adversarial:
        gradient = jax.value_and_grad(discriminator_loss, has_aux=True)
        (loss, (moments, accuracy)), grads = gradient(
            params["discriminator"], cfg, stats, images, jax.lax.stop_gradient(restored)
        )
        move("discriminator", grads)
        stats = stats._replace(discriminator=moments)
        metrics |= {"discriminator": loss, "accuracy": accuracy}
    return State(state.step + 1, params, stats, opt), metrics


def generator_loss(
    params: PyTree, cfg: Config, discriminator: PyTree | None, stats: Stats, images: Images
) -> tuple[Float[Array, ""], tuple[Images, PyTree, dict[str, Array]]]:
    """Weighted sum of reconstruction, adversarial and alignment loss.

    Args:
      params: the generator's.
      discriminator: the other's parameters; read if adversarial.

    Returns:
      the loss, and with it the reconstructions, the generator's new moments, and what to log: the
      three terms unweighted, entropy and items in use of each memory.
    """
    restored, weights, moments = reconstruction(cfg, params, stats.generator, images, train=True)
    metrics = {"reconstruction": squared_error(images, restored).mean()}
    loss = cfg.reconstruction_weight * metrics["reconstruction"]
    if cfg.adversarial:
        features, logits, _ = judgement(cfg, discriminator, stats.discriminator, images, restored)
        metrics["adversarial"] = jax.nn.softplus(-logits[1]).mean()  # taken for real images
        metrics["alignment"] = jnp.square(features[0] - features[1]).mean()
        loss += cfg.adversarial_weight * metrics["adversarial"]
        loss += cfg.alignment_weight * metrics["alignment"]
    for name, several in weights.items():
        metrics[f"{name}_entropy"] = memory.entropy(several)
        metrics[f"{name}_items_used"] = memory.items_used(several)
    return loss, (restored, moments, metrics)


def discriminator_loss(
    params: PyTree, cfg: Config, stats: Stats, images: Images, restored: Images
) -> tuple[Float[Array, ""], tuple[PyTree, Float[Array, ""]]]:
    """Binary cross-entropy of images as real and reconstructions as made.

    Returns:
      the loss, and with it the discriminator's new moments and the share that it tells right.
    """
    _, (real, made), moments = judgement(cfg, params, stats.discriminator, images, restored)
    loss = jax.nn.softplus(-real).mean() + jax.nn.softplus(made).mean()
    accuracy = ((real > 0).mean() + (made < 0).mean()) / 2
    return loss, (moments, accuracy)


def reconstruction(
    cfg: Config, params: PyTree, stats: PyTree, images: Images, train: bool = False
) -> tuple[Images, dict[str, Float[Array, "B _ _"]], PyTree]:
    """The generator's reconstruction, in [0, 1], the weights of each memory, its moments."""
    variables = {"params": params, "batch_stats": stats}
    (restored, weights), moved = _generator(cfg).apply(
        variables, signed(images), cfg.temperature, cfg.shrinkage, train, mutable=["batch_stats"]
    )
    return (jnp.tanh(restored) + 1) / 2, weights, moved["batch_stats"]


def judgement(
    cfg: Config, params: PyTree, stats: PyTree, images: Images, restored: Images, train: bool = True
) -> tuple[tuple[Features, Features], tuple[Float[Array, "B"], Float[Array, "B"]], PyTree]:
    """The discriminator's features and logits, of images and of reconstructions; its moments.

    Both are one batch to it: what batch norm measures in training holds for both in prediction.
    """
    both = signed(pairs.joined(images, restored))
    (features, logits), moved = Discriminator(cfg.discriminator_widths).apply(
        {"params": params, "batch_stats": stats}, both, train, mutable=["batch_stats"]
    )
    return pairs.apart(features), pairs.apart(logits), moved.get("batch_stats", {})


def calibrate(cfg: Config, pretrained: PyTree, state: State, pictures: Pictures) -> State:
    """Measures on held-out normal images which R and L become 0 and 1 in the score."""
    found = compile.over_set(image_errors, (cfg, pretrained, state._replace(opt=())), pictures)
    span = jnp.stack([found.min(0), found.max(0)])
    return state._replace(stats=state.stats._replace(range=span))


def image_errors(
    cfg: Config, pretrained: PyTree, state: State, images: Images
) -> Float[Array, "B k"]:
    """R and, if adversarial, L of each image, as they come."""
    return _errors(cfg, pretrained, state, images)[2]


def heldout_loss(
    cfg: Config, pretrained: PyTree, state: State, images: Images
) -> Float[Array, "B"]:
    """Mean squared error of each image's reconstruction; no term is of the discriminator's game."""
    return _errors(cfg, pretrained, state, images)[0].mean((1, 2))


def predict(cfg: Config, pretrained: PyTree, state: State, images: Images) -> Prediction:
    """Blurred squared error, and R + lambda L, each as a share of its range on normal images.

    Parts: the reconstruction; R and L of each image.
    """
    error, restored, errors = _errors(cfg, pretrained, state, images)
    low, high = (x[None] for x in state.stats.range)
    # A constant held-out error has no range; the floor keeps its scores finite.
    errors = (errors - low) / jnp.maximum(high - low, jnp.finfo(jnp.float32).tiny ** 0.5)
    plain = prediction(error, restored, cfg.smoothing, cfg.score)
    parts = {**plain.parts, "R": errors[:, 0]}
    if not cfg.adversarial:
        return Prediction(plain.map, errors[:, 0], parts)
    score = errors[:, 0] + cfg.lam * errors[:, 1]
    return Prediction(plain.map, score, {**parts, "L": errors[:, 1]})


def _errors(
    cfg: Config, pretrained: PyTree, state: State, images: Images
) -> tuple[Float[Array, "B H W"], Images, Float[Array, "B k"]]:
    """Error of each pixel, reconstruction; R and, if adversarial, L of each image, as they come."""
    params, stats = state.params, state.stats
    restored, _, _ = reconstruction(cfg, params["generator"], stats.generator, images)
    error = squared_error(images, restored)
    errors = [prediction(error, restored, cfg.smoothing, cfg.score).score]
    if cfg.adversarial:
        (features, made), _, _ = judgement(
            cfg, params["discriminator"], stats.discriminator, images, restored, train=False
        )
        errors.append(jnp.square(features - made).mean((1, 2, 3)))
    return error, restored, jnp.stack(errors, -1)


def optimizer(cfg: Config) -> optax.GradientTransformation:
    """Adam as DCGAN's, one for each network."""
    return optax.adam(cfg.lr, *autoencoder.BETAS)


def _generator(cfg: Config) -> ImageAutoencoder:
    similarity, key_channels = cfg.similarity, cfg.key_channels
    return ImageAutoencoder(cfg.widths, cfg.rates, cfg.items, 4, similarity, key_channels)


DETECTOR = Detector(
    name="daad",
    Config=Config,
    init=init,
    predict=predict,
    train_step=train_step,
    calibrate=calibrate,
    check=check,
    heldout_loss=heldout_loss,
)
