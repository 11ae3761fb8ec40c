"""EfficientAD: a student fails to imitate its teacher where an image is anomalous.

One half of the student imitates the teacher (a 33-pixel view: structural anomalies), the other an
autoencoder that sees the whole image (logical anomalies).

Batzner, Heckler & Koenig, WACV 2024 (arXiv:2303.14535). Section, table and algorithm numbers are
the paper's. It came without code; where it leaves room we follow nelson1425/EfficientAD.
"""

import logging
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

from jaxad import compile, optim
from jaxad.detector import (
    Detector,
    Images,
    Pictures,
    Prediction,
    Sample,
    Scalar,
    State,
    Stream,
    config,
    scalar,
    static,
)
from jaxad.nets.applied import output
from jaxad.nets.autoencoder import Autoencoder
from jaxad.nets.pdn import PDN, RECEPTIVE_FIELD, cells, part
from jaxad.ops import colour, maps, pairs, quantile
from jaxad.ops.terms import total
from jaxad.weights.store import check_tree, weights_of

log = logging.getLogger(__name__)

GREY = 0.3  # probability that a penalty image loses its colours, algorithm 1
LOST_CELLS = 4  # on each side of the unpadded PDN's output, as against a quarter of the image
ROUNDING = 1e-5  # share of a mean: deviations below it are those of rounding
UNCHANGED = ((0.0, 0.1), (0.0, 0.1))  # the range that leaves both maps as they are


@config
class Config:
    """Settings; the defaults are the paper's EfficientAD-S."""

    size: int = static(256, least=33)  # image side in pixels
    medium: bool = static(False)  # EfficientAD-M
    channels: int = static(384, least=1)  # C, of the teacher's output
    width: int | None = static(None, 1)  # first layer of the teacher; None is the paper's
    student_width: int | None = static(None, 1)  # first layer of the student; None is the teacher's
    autoencoder_width: int = static(32, 1)  # table 8
    autoencoder_kernel: int = static(8, 1)  # table 8; its bottleneck is one cell at 32 * 8 pixels
    steps: int = static(70_000, least=0)  # algorithm 1
    batch_size: int = static(1, least=1)  # algorithm 1
    weights: tuple[str, ...] = static(("pdn_free",), count=1)  # the teacher
    penalty: bool = static(True)  # L_pen, section 3.2; off only for an ablation
    map_norm: Literal["quantile", "gaussian", "none"] = static("quantile")  # section 3.4, table 4
    # As nelson1425/EfficientAD: normalise, combine, border, enlarge. "resize_first" is anomalib's.
    map_order: Literal["normalise_first", "resize_first"] = static("normalise_first")
    # Cells of zero around a map before it is enlarged; both codes
    border: int = static(LOST_CELLS, least=0)
    # The teacher's moments are measured on so many training pictures at most.
    measure_pictures: int = static(4096, least=1)
    lr: Scalar = scalar(1e-4, above=0)  # algorithm 1; a tenth of it in the last 5 % of the steps
    weight_decay: Scalar = scalar(1e-5, least=0)  # algorithm 1
    p_hard: Scalar = scalar(0.999, 0, 1)  # section 3.2
    q_a: Scalar = scalar(0.9, 0, 1)  # quantile of the held-out maps that becomes 0, section 3.4
    q_b: Scalar = scalar(0.995, 0, 1)  # ... that becomes 0.1


class Stats(NamedTuple):
    """Numbers measured on normal images.

    Attributes:
      mean: of the teacher's channels over the training set.
      std: of the teacher's channels over the training set.
      range: values of the local (row 0) and global map that become 0 and 0.1.
    """

    mean: Float[Array, "1 1 1 C"]
    std: Float[Array, "1 1 1 C"]
    range: Float[Array, "2 2"]


def check(cfg: Config) -> None:
    """Raises ValueError for settings that cannot work, and says what would; warns of odd ones."""
    smallest = max(RECEPTIVE_FIELD, 32 * cfg.autoencoder_kernel)
    if cfg.size < smallest:
        raise ValueError(
            f"size={cfg.size} is too small: the autoencoder's last convolution needs "
            f"{smallest} pixels; use size={smallest} or more, "
            f"or autoencoder_kernel={max(cfg.size // 32, 1)} or less"
        )
    if cfg.q_a >= cfg.q_b:
        raise ValueError(f"q_a={cfg.q_a} and q_b={cfg.q_b}: expected q_a to be less than q_b")
    if not cfg.penalty:
        log.warning("penalty=false: the student may generalise too well (table 5: -0.4 AUROC)")


def streams(cfg: Config) -> tuple[Stream, ...]:
    """Natural images for the penalty: resized to 512, the centre 256 kept (algorithm 1)."""
    return (Stream("aux", zoom=2),) if cfg.penalty else ()


def init(cfg: Config, pretrained: PyTree, key: Array) -> State:
    """A new student and autoencoder; the teacher's moments and the range of maps come later.

    Raises:
      ValueError: the weights are not the teacher's.
    """
    teacher = PDN(cfg.medium, cfg.channels, width=cfg.width)
    image = jnp.zeros((1, cfg.size, cfg.size, 3))
    expected = jax.eval_shape(teacher.init, key, image)
    check_tree(weights_of(pretrained, cfg.weights[0]), expected, cfg.weights[0])
    student_key, autoencoder_key = jax.random.split(key)
    pdn = PDN(cfg.medium, 2 * cfg.channels, width=cfg.student_width or cfg.width)
    params = {
        "student": pdn.init(student_key, image)["params"],
        "autoencoder": _autoencoder(cfg).init(autoencoder_key, image)["params"],
    }
    shape = (1, 1, 1, cfg.channels)
    stats = Stats(jnp.zeros(shape), jnp.ones(shape), jnp.array(UNCHANGED))
    return State(jnp.int32(0), params, stats, optimizer(cfg).init(params))


def measure(cfg: Config, pretrained: PyTree, state: State, pictures: Pictures) -> State:
    """The moments of the teacher's channels over the training set.

    Raises:
      ValueError: the channels do not vary, as over pictures of one colour: nothing can be learned.
    """
    sample = Sample(pictures, cfg.measure_pictures)
    mean, std = compile.moments(embed, (cfg, pretrained), sample)
    varies = np.asarray(std) > ROUNDING * np.abs(mean)
    if not varies.any() or not np.all(std):
        raise ValueError(
            f"the teacher's features of {len(sample)} training pictures are the same everywhere: "
            "are all of them of one colour, or one picture that is the same everywhere? Look at "
            "the pictures; no learning rate helps"
        )
    return state._replace(stats=state.stats._replace(mean=mean, std=std))


def embed(cfg: Config, pretrained: PyTree, images: Images) -> Float[Array, "B h w C"]:
    """The teacher's features, not yet normalised."""
    teacher = PDN(cfg.medium, cfg.channels, width=cfg.width)
    return output(teacher, {"params": weights_of(pretrained, cfg.weights[0])["params"]}, images)


def loss(
    params: PyTree, cfg: Config, pretrained: PyTree, stats: Stats, batch: dict, key: Array
) -> tuple[Float[Array, ""], tuple[Stats, dict[str, Array]]]:
    """L_hard + L_pen + L_AE + L_STAE on one batch (algorithm 1), with everything random drawn."""
    jitter_key, grey_key, dropout_key = jax.random.split(key, 3)
    jittered = colour.jitter(batch["image"], jitter_key)
    aux = colour.grey(batch["aux"], grey_key, GREY) if cfg.penalty else None
    teacher = batch["features"]
    terms = losses(
        params, cfg, pretrained, stats, batch["image"], teacher, jittered, aux, dropout_key
    )
    return total(terms.values()), (stats, terms)


def losses(
    params: PyTree,
    cfg: Config,
    pretrained: PyTree,
    stats: Stats,
    images: Images,
    features: Float[Array, "B h w C"],
    jittered: Images,
    aux: Images | None,
    dropout_key: Array | None = None,
) -> dict[str, Float[Array, ""]]:
    """The four terms of algorithm 1.

    Gradients of L_STAE reach student and autoencoder; nothing reaches the teacher.

    Args:
      features: the teacher's of `images`.
      jittered: the same images with other colours, for teacher, autoencoder and student.
      aux: natural images of the penalty; None leaves L_pen out.
      dropout_key: None switches dropout off.
    """
    # One pass over both sets: the same weights, half the calls.
    local = student(cfg, params, images if aux is None else pairs.joined(images, aux), "local")
    local, of_aux = (local, None) if aux is None else pairs.apart(local)
    distance = jnp.square(normalised(stats, features) - local)
    # Differs from the reference: one quantile per image, theirs is one per batch; equal at their
    # batch size of 1.
    hard = jax.vmap(quantile.mined_mean, (0, None))(distance, cfg.p_hard)
    terms = {"hard": hard.mean()}
    if of_aux is not None:
        terms["penalty"] = jnp.mean(jnp.square(of_aux))

    teacher = normalised(stats, embed(cfg, pretrained, jittered))
    reconstruction = autoencoder(cfg, params, jittered, dropout_key)
    terms["ae"] = jnp.mean(jnp.square(teacher - reconstruction))
    terms["stae"] = jnp.mean(jnp.square(reconstruction - student(cfg, params, jittered, "global")))
    return terms


def optimizer(cfg: Config) -> optax.GradientTransformation:
    """Adam with coupled decay; the rate drops to a tenth at 95 % of the steps (algorithm 1)."""
    return optim.adam_l2(optim.dropped(cfg.lr, cfg.steps, at=0.95), cfg.weight_decay)


train_step = optim.gradient_steps(loss, optimizer)


def calibrate(cfg: Config, pretrained: PyTree, state: State, pictures: Pictures) -> State:
    """Measures on held-out normal images which map values become 0 and 0.1 (section 3.4)."""
    if cfg.map_norm == "none":
        return state._replace(stats=state.stats._replace(range=jnp.array(UNCHANGED)))
    arguments = (cfg, pretrained, state._replace(opt=()))
    if cfg.map_norm == "gaussian":  # table 4's ablation: mean 0, deviation 0.1
        mean, std = (x[0, 0, 0] for x in compile.moments(_maps_last, arguments, pictures))
        span = jnp.stack([mean, mean + std], 1)
    else:
        span = compile.quantiles(raw_maps, arguments, pictures, (cfg.q_a, cfg.q_b))
    return state._replace(stats=state.stats._replace(range=span))


def predict(cfg: Config, pretrained: PyTree, state: State, images: Images) -> Prediction:
    """Mean of the normalised local and global map, enlarged; its maximum (algorithm 2)."""
    raw = raw_maps(cfg, pretrained, state, images)
    low, high = jnp.moveaxis(state.stats.range[None, :, :, None, None], 2, 0)
    # A constant held-out map has no range; the floor keeps its maps finite.
    scale = 0.1 / jnp.maximum(high - low, jnp.finfo(jnp.float32).tiny ** 0.5)
    local, global_ = jnp.moveaxis((raw - low) * scale, 1, 0)
    combined = (local + global_) / 2
    if cfg.map_order == "normalise_first":
        # A border of 0 stands for "at the lower quantile", so it follows the normalisation.
        combined = maps.resize(maps.bordered(combined, cfg.border), maps.sides(images))
    # Differs from the reference: the maximum at the size of the network's input; nelson1425's is at
    # that of the picture on disk.
    return Prediction(combined, combined.max((1, 2)), {"local": local, "global": global_})


def distances(
    cfg: Config, pretrained: PyTree, params: PyTree, stats: Stats, images: Images
) -> tuple[Float[Array, "B h w"], Float[Array, "B h w"]]:
    """Local and global map of algorithm 2: squared differences, mean over channels."""
    teacher = normalised(stats, embed(cfg, pretrained, images))
    local, global_ = jnp.split(student(cfg, params, images, "both"), 2, -1)
    reconstruction = autoencoder(cfg, params, images)
    return (
        jnp.square(teacher - local).mean(-1),
        jnp.square(reconstruction - global_).mean(-1),
    )


def heldout_loss(
    cfg: Config, pretrained: PyTree, state: State, images: Images
) -> Float[Array, "B"]:
    """L_hard + L_AE + L_STAE of each image: in its own colours, without dropout and penalty."""
    teacher = normalised(state.stats, embed(cfg, pretrained, images))
    local, global_ = jnp.split(student(cfg, state.params, images, "both"), 2, -1)
    reconstruction = autoencoder(cfg, state.params, images)
    hard = jax.vmap(quantile.mined_mean, (0, None))(jnp.square(teacher - local), cfg.p_hard)
    pairs = (teacher, reconstruction), (reconstruction, global_)
    return hard + total(jnp.square(one - other).mean((1, 2, 3)) for one, other in pairs)


def normalised(stats: Stats, features: Float[Array, "B h w C"]) -> Float[Array, "B h w C"]:
    """The teacher's features with mean 0 and deviation 1 over the training set."""
    return (features - stats.mean) / stats.std


def student(
    cfg: Config, params: PyTree, images: Images, half: Literal["local", "global", "both"]
) -> Float[Array, "B h w D"]:
    """The student's channels that imitate the teacher, the autoencoder, or both in this order.

    Only the asked half of the last layer is computed.
    """
    weights, C = params["student"], cfg.channels
    outputs = 2 * C if half == "both" else C
    if half != "both":
        weights = part(weights, slice(None, C) if half == "local" else slice(C, None))
    network = PDN(cfg.medium, 2 * C, outputs, cfg.student_width or cfg.width)
    return output(network, {"params": weights}, images)


def autoencoder(
    cfg: Config, params: PyTree, images: Images, dropout_key: Array | None = None
) -> Float[Array, "B h w C"]:
    """The autoencoder's output, with dropout where a key is given."""
    return output(
        _autoencoder(cfg),
        {"params": params["autoencoder"]},
        images,
        dropout_key is not None,
        rngs=None if dropout_key is None else {"dropout": dropout_key},
    )


def _autoencoder(cfg: Config) -> Autoencoder:
    side = cells(cfg.size)
    return Autoencoder(cfg.channels, (side, side), cfg.autoencoder_width, cfg.autoencoder_kernel)


def raw_maps(
    cfg: Config, pretrained: PyTree, state: State, images: Images
) -> Float[Array, "B 2 h w"]:
    """Local and global map before normalisation, at the resolution that `map_order` says."""
    both = distances(cfg, pretrained, state.params, state.stats, images)
    if cfg.map_order == "resize_first":
        both = [maps.resize(maps.bordered(x, cfg.border), maps.sides(images)) for x in both]
    return jnp.stack(both, 1)


def _maps_last(*arguments: PyTree) -> Float[Array, "B h w 2"]:
    return jnp.moveaxis(raw_maps(*arguments), 1, -1)


DETECTOR = Detector(
    name="efficientad",
    Config=Config,
    init=init,
    predict=predict,
    measure=measure,
    train_step=train_step,
    calibrate=calibrate,
    embed=embed,
    streams=streams,
    check=check,
    heldout_loss=heldout_loss,
)
