"""DiffusionAD: what is anomalous does not survive one-step denoising, and a network sees that.

An image is noised twice and denoised in one step, the detail of the small noise guided by the
large one's; a segmentation network compares the image with the result. Both learn together, on
synthetic anomalies.

Zhang et al. (arXiv:2303.08730). "Code" is theirs, HuiZhang0812/DiffusionAD.
"""

from collections.abc import Hashable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PyTree

from jaxad import optim
from jaxad.detector import (
    Detector,
    Images,
    Prediction,
    Scalar,
    State,
    Stream,
    config,
    scalar,
    static,
)
from jaxad.methods import diffusionad_check, restoration
from jaxad.methods.restoration import Draws, Restored
from jaxad.nets.applied import output
from jaxad.nets.segmentation import MULTIPLIERS, SegmentationUNet
from jaxad.nets.unet import UNet
from jaxad.ops import diffusion, losses
from jaxad.ops.terms import total
from jaxad.synthesis import perlin
from jaxad.synthesis.recipe import Damaged, damage


@config
class Config:
    """Settings; the defaults are those of the authors' code, but for `foreground` and `tries`."""

    # Differs from the reference: pictures and masks are made smaller with antialiasing.

    size: int = static(256, least=1)  # image side in pixels
    batch_size: int = static(16, least=1)  # pictures in a step
    # 3000 epochs of a category of MVTec AD, 240 images on average
    steps: int = static(45_000, least=0)
    weights: tuple[str, ...] = static((), count=0)  # none
    # Synthetic anomalies. Of objects, half are made of the image itself; of textures, none.
    objects: bool = static(True)
    # Where they may be: in masks (of objects; code), a random part (textures; code), or anywhere.
    foreground: Literal["masks", "part", "everywhere"] = static("everywhere")
    tries: int = static(10, 1)  # masks drawn for one that is not empty; code: 50
    anomalous: Scalar = scalar(0.5, 0, 1)  # probability that an image is damaged
    opacity_low: Scalar = scalar(0.2, 0, 1)  # range of beta, how much of the image shines through
    opacity_high: Scalar = scalar(0.8, 0, 1)  # ... its upper end
    # Restoration; the last two are the paper's ablation (table 3).
    restoration: Literal["guided", "one_step", "iterative", "autoencoder"] = static("guided")
    timesteps: int = static(1000, 2)  # T
    schedule: Literal["linear", "cosine"] = static("linear")  # of the noise
    iterations: int = static(10, 1)  # of the iterative restoration
    noise_seed: int = static(0, least=0)  # of the noise in predictions
    # In training, small timesteps are below, large ones not
    t_boundary: Scalar = scalar(300.0, least=1)
    t_end: Scalar = scalar(1000.0, above=1)  # ... and large ones below this
    t_small: Scalar = scalar(200.0, least=0)  # in predictions
    t_large: Scalar = scalar(400.0, least=0)  # in predictions, too
    guidance: Scalar = scalar(1.0)  # w
    # Networks.
    width: int = static(128, 2)  # channels of the U-Net's first level
    # So many times `width` on each level
    multipliers: tuple[int, ...] = static((1, 1, 2, 2, 4, 4), 1, fewest=1)
    blocks: int = static(2, 1)  # on each level
    attention: tuple[int, ...] = static((32, 16, 8))  # sides of the levels that have it, in cells
    heads: int = static(4, 1)  # of attention
    groups: int = static(32, 1)  # of channels that are normalised together
    segmentation_width: int = static(64, 1)  # channels of the segmentation network's first level
    # So many times `segmentation_width` on each level
    segmentation_multipliers: tuple[int, ...] = static(MULTIPLIERS, 1, fewest=1)
    precision: Literal["float32", "bfloat16"] = static("float32")  # of the U-Net
    remat: bool = static(False)  # compute again for gradients, to save memory
    noise_weight: Scalar = scalar(1.0, least=0)  # of the U-Net's loss
    focal_weight: Scalar = scalar(5.0, least=0)  # of the segmentation's first loss
    smooth_l1_weight: Scalar = scalar(1.0, least=0)  # of its second
    alpha: Scalar = scalar(0.5, least=0)  # of the focal loss
    gamma: Scalar = scalar(4.0, least=0)  # of the focal loss: how little easy pixels count
    lr: Scalar = scalar(1e-4, above=0)  # of the U-Net
    segmentation_lr: Scalar = scalar(1e-5, above=0)  # of the segmentation network
    # Code: half a cosine in `period` steps, back and forth between 0 and the rate above.
    segmentation_schedule: Literal["cosine", "constant"] = static("cosine")
    period: int = static(10, 1)  # of that cosine, in steps
    average: bool = static(False)  # predict with a moving average of the parameters
    decay: Scalar = scalar(0.999, least=0, below=1)  # of that average, once steps are many
    top: int = static(50, 1)  # highest pixels of a map, whose mean is the score


# Learns on two CPU cores in minutes. As in the authors' code the segmentation network learns more
# slowly than the U-Net, so that there are restorations to learn from. In a picture of a quarter of
# the size the same noise hides more, hence smaller timesteps; at them `guidance=1` does little.
# `top` is the same share of the map. Chosen on rendered plates of another seed than README's.
SMALL = Config(
    size=64, batch_size=8, steps=1200, width=16, multipliers=(1, 1, 2, 4), blocks=1,
    attention=(16,), groups=8, segmentation_width=16, segmentation_multipliers=(1, 2, 4, 8, 8),
    t_boundary=90.0, t_end=400.0, t_small=50.0, t_large=150.0,
    lr=1e-3, segmentation_lr=3e-4, segmentation_schedule="constant", average=True, decay=0.995,
    top=3,
)  # fmt: skip


class Stats(NamedTuple):
    """What is set without gradients.

    Attributes:
      batch_stats: running statistics of the segmentation network's batch norms.
      average: of (parameters, running statistics), or () where it is off.
    """

    batch_stats: PyTree
    average: PyTree


def streams(cfg: Config) -> tuple[Stream, ...]:
    """Pictures to make anomalies of and, if wanted, masks of the objects."""
    aux = Stream("aux")
    return (aux, Stream("foreground", paired=True)) if cfg.foreground == "masks" else (aux,)


def init(cfg: Config, pretrained: PyTree, key: Array) -> State:
    """New networks, the U-Net and the one that segments."""
    unet_key, segmentation_key = jax.random.split(key)
    image = jnp.zeros((1, cfg.size, cfg.size, 6))
    network = SegmentationUNet(cfg.segmentation_width, cfg.segmentation_multipliers)
    segmentation = network.init(segmentation_key, image)
    unet = _network(cfg).init(unet_key, image[..., :3], jnp.zeros(1, jnp.int32))
    params = {"unet": unet["params"], "segmentation": segmentation["params"]}
    # A copy: a state is donated to the next step, and no buffer can be donated twice.
    both = (params, segmentation["batch_stats"])
    average = jax.tree.map(jnp.copy, both) if cfg.average else ()
    stats = Stats(segmentation["batch_stats"], average)
    return State(jnp.int32(0), params, stats, optimizer(cfg).init(params))


def loss(
    params: PyTree, cfg: Config, pretrained: PyTree, stats: Stats, batch: dict, key: Array
) -> tuple[Float[Array, ""], tuple[Stats, dict[str, Array]]]:
    """The loss on one batch, with everything random drawn."""
    damage_key, draws_key = jax.random.split(key)
    clean = batch["image"]
    damaged = synthetic(cfg, batch, damage_key)
    draws = training_draws(cfg, clean.shape, draws_key)
    value, (stats, terms, _) = objective(params, cfg, stats, damaged, clean, draws)
    return value, (stats, terms)


def synthetic(cfg: Config, batch: dict, key: Array) -> Damaged:
    """The images of a batch, some of them damaged with pictures of `batch["aux"]`."""
    images = batch["image"]
    shape = images.shape[:3]
    part_key, damage_key = jax.random.split(key)
    if cfg.foreground == "masks":
        foreground = batch["foreground"].mean(-1)
    elif cfg.foreground == "part":
        keys = jax.random.split(part_key, shape[0])
        foreground = jax.vmap(lambda key: perlin.random_part(key, shape[1:]))(keys)
    else:
        foreground = jnp.ones(shape)
    opacity = (cfg.opacity_low, cfg.opacity_high)

    def one(key: Array, image: Array, texture: Array, foreground: Array) -> Damaged:
        return damage(
            key, image, texture, foreground, cfg.objects, cfg.anomalous, opacity, cfg.tries
        )

    keys = jax.random.split(damage_key, shape[0])
    return jax.vmap(one)(keys, images, batch["aux"], foreground)


def training_draws(cfg: Config, shape: tuple[int, ...], key: Array) -> Draws:
    """Timesteps below and above the boundary, and noise, for a batch of images."""
    small_key, large_key, *keys = jax.random.split(key, 4)
    small = jax.random.uniform(small_key, shape[:1]) * cfg.t_boundary
    large = jax.random.uniform(large_key, shape[:1]) * (cfg.t_end - cfg.t_boundary)
    times = (_timestep(cfg, small), _timestep(cfg, cfg.t_boundary + large))
    return Draws(*times, *(jax.random.normal(key, shape) for key in keys))


def objective(
    params: PyTree, cfg: Config, stats: Stats, damaged: Damaged, clean: Images, draws: Draws
) -> tuple[Float[Array, ""], tuple[Stats, dict[str, Array], tuple[Restored, Array]]]:
    """L_noise + L_mask of given images, timesteps and noise.

    Gradients of the mask's loss reach the U-Net through the restoration.

    Returns:
      the loss, and (stats, {term: value before it is weighted}, (restored, predicted mask)).
    """
    result = restored(cfg, params, damaged.image, draws, True)
    probability, batch_stats = segmented(cfg, params, stats, damaged.image, result.image, True)
    if cfg.restoration == "autoencoder":
        noise = jnp.mean(jnp.square(result.image - clean))  # as DRAEM, without its SSIM
    else:
        noise = of_normal(result.error, damaged.label)
    terms = {
        "noise": noise,
        "focal": losses.focal(probability, damaged.mask, cfg.alpha, cfg.gamma).mean(),
        "smooth_l1": losses.smooth_l1(probability, damaged.mask).mean(),
    }
    value = total(getattr(cfg, f"{name}_weight") * term for name, term in terms.items())
    return value, (stats._replace(batch_stats=batch_stats), terms, (result, probability))


def of_normal(error: Float[Array, "B"], label: Float[Array, "B"]) -> Float[Array, ""]:
    """The mean over images with label 0; 0 if there is none."""
    normal = 1 - label
    return (normal * error).sum() / jnp.maximum(normal.sum(), 1)


def restored(cfg: Config, params: PyTree, images: Images, draws: Draws, train: bool) -> Restored:
    """Images without their anomalies; in training "iterative" is "one_step"."""
    unet = lambda x, t: _unet(cfg, params, x, t)
    if cfg.restoration == "autoencoder":
        image = unet(images, jnp.zeros_like(draws.t_small))
        return Restored(image, jnp.zeros(image.shape[:1]), {})
    table = (diffusion.linear if cfg.schedule == "linear" else diffusion.cosine)(cfg.timesteps)
    if cfg.restoration == "guided":
        return restoration.guided(table, unet, images, draws, cfg.guidance)
    if cfg.restoration == "iterative" and not train:
        return restoration.iterative(table, unet, images, draws, cfg.iterations)
    return restoration.one_step(table, unet, images, draws)


def segmented(
    cfg: Config, params: PyTree, stats: Stats, images: Images, restored: Images, train: bool
) -> tuple[Float[Array, "B H W"], PyTree]:
    """Probability that each pixel is anomalous, and the batch norms' statistics."""
    variables = {"params": params["segmentation"], "batch_stats": stats.batch_stats}
    both = jnp.concatenate([images, restored], -1)
    network = SegmentationUNet(cfg.segmentation_width, cfg.segmentation_multipliers)
    logits, moved = network.apply(variables, both, train, mutable=["batch_stats"])
    return jax.nn.sigmoid(logits), moved["batch_stats"]


def train_step(
    cfg: Config, pretrained: PyTree, state: State, batch: dict, key: Array
) -> tuple[State, dict[str, Array]]:
    """One step, and the average if it is on.

    The average forgets its start: its decay is (1 + n) / (10 + n) in step n while that is smaller,
    as in TensorFlow's `ExponentialMovingAverage`.
    """
    decay = jnp.minimum(cfg.decay, (1 + state.step) / (10 + state.step))
    state, metrics = optim.gradient_step(loss, optimizer(cfg), cfg, pretrained, state, batch, key)
    if cfg.average:
        mix = lambda old, new: decay * old + (1 - decay) * new
        average = jax.tree.map(mix, state.stats.average, (state.params, state.stats.batch_stats))
        state = state._replace(stats=state.stats._replace(average=average))
    return state, metrics


def optimizer(cfg: Config) -> optax.GradientTransformation:
    """Adam with a learning rate for each network."""

    def cosine(step: ArrayLike) -> Array:
        return cfg.segmentation_lr * (1 + jnp.cos(jnp.pi * step / cfg.period)) / 2

    rate = cosine if cfg.segmentation_schedule == "cosine" else cfg.segmentation_lr
    rules: dict[Hashable, optax.GradientTransformation] = {
        "unet": optax.adam(cfg.lr),
        "segmentation": optax.adam(rate),
    }
    return optax.partition(rules, {name: name for name in rules})


def predict(cfg: Config, pretrained: PyTree, state: State, images: Images) -> Prediction:
    """Map and score; parts: the restoration and its intermediate results.

    Differs from the reference: every image gets the same noise, of a fixed key, so that scores
    repeat; theirs is drawn anew for each batch.
    """
    now = (state.params, state.stats.batch_stats)
    params, batch_stats = state.stats.average if cfg.average else now
    stats = state.stats._replace(batch_stats=batch_stats)
    count, shape = images.shape[0], (2, 1, *images.shape[1:])
    noises = jax.random.normal(jax.random.key(cfg.noise_seed), shape)
    noises = (jnp.broadcast_to(noise, images.shape) for noise in noises)
    times = (jnp.full((count,), _timestep(cfg, t)) for t in (cfg.t_small, cfg.t_large))
    draws = Draws(*times, *noises)
    image, _, parts = restored(cfg, params, images, draws, False)
    map_, _ = segmented(cfg, params, stats, images, image, False)
    return Prediction(map_, score(map_, cfg.top), {"reconstruction": image, **parts})


def score(map_: Float[Array, "B H W"], top: int) -> Float[Array, "B"]:
    """Mean of the `top` highest pixels of each map."""
    highest, _ = jax.lax.top_k(map_.reshape(map_.shape[0], -1), top)
    return highest.mean(-1)


def _unet(cfg: Config, params: PyTree, x: Images, t: Int[Array, "B"]) -> Images:
    dtype = x.dtype if cfg.precision == "float32" else jnp.dtype(cfg.precision)
    weights = jax.tree.map(lambda leaf: leaf.astype(dtype), params["unet"])
    return output(_network(cfg), {"params": weights}, x.astype(dtype), t).astype(x.dtype)


def _network(cfg: Config) -> UNet:
    levels = range(len(cfg.multipliers))
    attention = tuple(level for level in levels if cfg.size >> level in cfg.attention)
    return UNet(
        cfg.width, cfg.multipliers, cfg.blocks, attention, cfg.heads, cfg.groups,
        cfg.restoration != "autoencoder", cfg.remat,
    )  # fmt: skip


def _timestep(cfg: Config, t: Scalar) -> Int[Array, "..."]:
    return jnp.clip(jnp.floor(t).astype(jnp.int32), 0, cfg.timesteps - 1)


DETECTOR = Detector(
    name="diffusionad",
    Config=Config,
    init=init,
    predict=predict,
    train_step=train_step,
    streams=streams,
    check=diffusionad_check.check,
)
