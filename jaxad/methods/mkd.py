"""MKD: a small network clones several layers of a large one, in value and in direction.

Where the image is anomalous the clone fails, and the gradient of that failure with respect to the
image says where.

Salehi et al., CVPR 2021 (arXiv:2011.11108). "Code" is theirs, rohban-lab/Knowledge_Distillation_AD.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
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
    config,
    scalar,
    static,
)
from jaxad.methods import students
from jaxad.methods.students import Pyramid
from jaxad.nets import extractors
from jaxad.nets.applied import output
from jaxad.nets.cloner import Cloner, stages_like
from jaxad.nets.layers import imagenet_normalise
from jaxad.nets.vgg import VGG
from jaxad.ops import maps
from jaxad.ops.terms import total
from jaxad.weights.store import weights_of

AT_ONCE = 256  # noisy images whose gradients are taken together
USUAL = 8  # images, where a program is made for any number of them
LAYERS = {  # where the extractor's own choice leaves some out
    "pdn_small": ("pool1", "pool2", "conv4"),
    "squeezenet": ("conv1", "fire4", "fire8", "fire9"),
    "squeezenet1_0": ("conv1", "fire4", "fire8", "fire9"),
}


@config
class Config:
    """Settings; the defaults are the authors' code for MVTec AD, but for the teacher.

    Theirs is `--extractor vgg16 --weights vgg16 --scaled false`, whose own choice of layers is
    pool2,pool3,pool4,pool5. The clone of another teacher has as many channels as its maps, and as
    narrow ones in between. They take `--value 0.01` for other data, and for CIFAR-10 `--size 224
    --normalisation imagenet`.
    """

    size: int = static(128, least=16)  # image side in pixels
    batch_size: int = static(64, least=1)  # pictures in a step
    steps: int = static(2400, least=0)  # 601 epochs of 4 batches: 242 images, MVTec AD's average
    weights: tuple[str, ...] = static(("efficientnet_lite0",), count=1)  # of the teacher
    extractor: str = static("efficientnet_lite0")  # the teacher, pretrained
    layers: tuple[str, ...] = static(())  # of the extractor, finest first
    unscored: int = static(1, least=0)  # how many of the first layers count in training only
    normalisation: Literal["none", "imagenet"] = static("none")  # of the clone's input, and a VGG's
    # Whether each of the teacher's maps is divided by its root mean square over the training set.
    # Differs from the reference: their VGG-16's maps are not. Other teachers' values are a hundred
    # times as large (SqueezeNet: 43 to 235), and the direction would count for nothing.
    scaled: bool = static(True)
    narrow: int | None = static(16, 1)  # channels inside the clone; none: the teacher's (ablation)
    # The map: gradient of the score by the image, its mean over noisy copies (SmoothGrad), or
    # guided back-propagation through the clone.
    saliency: Literal["gradient", "smooth", "guided"] = static("gradient")
    copies: int = static(50, 1)  # of SmoothGrad
    noise: float = static(0.05, above=0)  # its deviation, as a part of the image's range
    blur: float = static(4.0, above=0)  # deviation of the Gaussian on the map, in pixels
    # The scale of the teacher's maps is measured on so many training pictures at most.
    measure_pictures: int = static(4096, least=1)
    value: Scalar = scalar(0.5, least=0)  # lambda: weight of the values beside the direction
    lr: Scalar = scalar(1e-3, above=0)  # of Adam


def check(cfg: Config) -> None:
    """Raises ValueError for settings that cannot work, and says what would."""
    strides = extractors.strides(cfg.extractor, layers(cfg))
    stages_like([1] * len(strides), strides, cfg.narrow)
    if cfg.unscored >= len(strides):
        raise ValueError(
            f"unscored={cfg.unscored}: expected 0 to {len(strides) - 1}, which leaves one of the "
            f"{len(strides)} layers for the score"
        )
    if cfg.size < max(strides) or cfg.size % max(strides):
        raise ValueError(
            f"size={cfg.size}: expected a multiple of {max(strides)}, the stride of the coarsest "
            f"layer, from {max(strides)} on"
        )
    students.check_blur(cfg)


def layers(cfg: Config) -> tuple[str, ...]:
    """The layers that are cloned."""
    return extractors.select(cfg.extractor, cfg.layers or LAYERS.get(cfg.extractor, ()))


class Stats(NamedTuple):
    """What is set without gradients.

    Attributes:
      batch_stats: the clone's running statistics, as Flax has them.
      scale: of each layer, the root mean square of the teacher's map; () where none is scaled.
    """

    batch_stats: PyTree
    scale: tuple[Float[Array, ""], ...]


def init(cfg: Config, pretrained: PyTree, key: Array) -> State:
    """A new clone for the teacher's maps, which are not yet scaled.

    Raises:
      ValueError: the weights are not the extractor's, or end before a layer.
    """
    image = jnp.zeros((1, cfg.size, cfg.size, 3))
    channels = [x.shape[-1] for x in jax.eval_shape(embed, cfg, pretrained, image)]
    variables = dict(_clone(cfg, channels).init(key, image))
    params = variables.pop("params")
    scale = tuple(jnp.float32(1) for _ in channels) if cfg.scaled else ()
    return State(jnp.int32(0), params, Stats(variables, scale), optimizer(cfg).init(params))


def measure(cfg: Config, pretrained: PyTree, state: State, pictures: Pictures) -> State:
    """The scale of the teacher's maps over the training set, if they are scaled."""
    if not cfg.scaled:
        return state
    sample = Sample(pictures, cfg.measure_pictures)
    squares = compile.over_set(mean_squares, (cfg, pretrained), sample).mean(0)
    scale = tuple(jnp.where(squares > 0, jnp.sqrt(squares), 1))
    return state._replace(stats=state.stats._replace(scale=scale))


def mean_squares(cfg: Config, pretrained: PyTree, images: Images) -> Float[Array, "B K"]:
    """Of each image and layer, over the teacher's map."""
    return jnp.stack([jnp.square(x).mean((1, 2, 3)) for x in embed(cfg, pretrained, images)], -1)


def embed(cfg: Config, pretrained: PyTree, images: Images) -> Pyramid:
    """The teacher's maps."""
    variables = weights_of(pretrained, cfg.weights[0])
    module = extractors.network(cfg.extractor, variables)
    if isinstance(module, VGG):
        found = output(module.clone(normalisation=cfg.normalisation), variables, images)
        return tuple(found[layer] for layer in layers(cfg))
    return extractors.features(cfg.extractor, layers(cfg), variables, images)


def target(stats: Stats, teacher: Pyramid) -> Pyramid:
    """What the clone is to return: the teacher's maps, scaled if any are."""
    if not stats.scale:
        return teacher
    return tuple(x / scale for x, scale in zip(teacher, stats.scale, strict=True))


def cloned(
    cfg: Config, params: PyTree, stats: Stats, teacher: Pyramid, images: Images, train: bool
) -> tuple[Pyramid, Stats]:
    """The clone's maps of the teacher's shapes, and its running statistics after them.

    Only its shapes are read of `teacher`. Maps of another side (SqueezeNet does not pad) are
    resized.
    """
    x = imagenet_normalise(images) if cfg.normalisation == "imagenet" else images
    guided = cfg.saliency == "guided" and not train
    clone = _clone(cfg, [x.shape[-1] for x in teacher], guided)
    variables = {"params": params, **stats.batch_stats}
    found, moved = clone.apply(variables, x, train, mutable=["batch_stats"])
    sizes = [maps.sides(x) for x in teacher]
    fitted = [
        x if maps.sides(x) == size else maps.resize(x, size)
        for x, size in zip(found, sizes, strict=True)
    ]
    return tuple(fitted), stats._replace(batch_stats=moved)


def loss(
    params: PyTree, cfg: Config, pretrained: PyTree, stats: Stats, batch: dict, key: Array
) -> tuple[Float[Array, ""], tuple[Stats, dict[str, Array]]]:
    """Direction plus `value` times value loss over all layers on one batch."""
    teacher = target(stats, batch["features"])
    student, stats = cloned(cfg, params, stats, teacher, batch["image"], train=True)
    directions, values = (x.mean(0) for x in direction_and_value(student, teacher))
    terms = {"direction": directions.sum(), "value": values.sum()}
    return terms["direction"] + cfg.value * terms["value"], (stats, terms)


def direction_and_value(
    student: Pyramid, teacher: Pyramid
) -> tuple[Float[Array, "B K"], Float[Array, "B K"]]:
    """Of each image and layer: 1 - cosine of the whole maps, and their mean squared difference."""
    pairs = [
        (s.reshape(s.shape[0], -1), t.reshape(t.shape[0], -1))
        for s, t in zip(student, teacher, strict=True)
    ]
    directions = [maps.cosine_distance(s, t) for s, t in pairs]
    values = [jnp.square(s - t).mean(-1) for s, t in pairs]
    return jnp.stack(directions, -1), jnp.stack(values, -1)


def optimizer(cfg: Config) -> optax.GradientTransformation:
    """Adam with a constant rate and no decay."""
    return optax.adam(cfg.lr)


train_step = optim.gradient_steps(loss, optimizer)


def predict(cfg: Config, pretrained: PyTree, state: State, images: Images) -> Prediction:
    """Smoothed saliency, and the score: the loss itself over the later layers.

    Differs from the reference: maps are not scaled image by image, so that they can be compared.
    """
    scores, gradients = score_and_gradient(cfg, pretrained, state, images)
    if cfg.saliency == "smooth":
        gradients = smooth_gradient(cfg, pretrained, state, images)
    saliency = jnp.abs(gradients).sum(-1)
    return Prediction(maps.gaussian_blur(saliency, cfg.blur), scores, {"saliency": saliency})


def score(cfg: Config, pretrained: PyTree, state: State, images: Images) -> Float[Array, "B"]:
    """The loss of each image over the layers that are scored."""
    return layer_losses(cfg, pretrained, state, images)[:, cfg.unscored :].sum(-1)


def heldout_loss(
    cfg: Config, pretrained: PyTree, state: State, images: Images
) -> Float[Array, "B"]:
    """The loss of each image over all layers, with the running statistics."""
    return layer_losses(cfg, pretrained, state, images).sum(-1)


def layer_losses(
    cfg: Config, pretrained: PyTree, state: State, images: Images
) -> Float[Array, "B K"]:
    """Direction plus `value` times value loss of each image and layer."""
    teacher = target(state.stats, embed(cfg, pretrained, images))
    student, _ = cloned(cfg, state.params, state.stats, teacher, images, train=False)
    directions, values = direction_and_value(student, teacher)
    return directions + cfg.value * values


def score_and_gradient(
    cfg: Config, pretrained: PyTree, state: State, images: Images
) -> tuple[Float[Array, "B"], Float[Array, "B H W 3"]]:
    """Scores, and the gradient of each by its image: through the clone and the teacher."""

    def total(images: Images) -> tuple[Float[Array, ""], Float[Array, "B"]]:
        scores = score(cfg, pretrained, state, images)
        return scores.sum(), scores  # images do not see each other

    (_, scores), gradients = jax.value_and_grad(total, has_aux=True)(images)
    return scores, gradients


def smooth_gradient(
    cfg: Config, pretrained: PyTree, state: State, images: Images
) -> Float[Array, "B H W 3"]:
    """Mean of the absolute gradients at noisy copies; the noise is the same in every call.

    Smilkov et al., 2017 (arXiv:1706.03825), whose deviation is a part of the image's range.
    Differs from the reference: the MKD code divides by the range, and squares the gradients before
    their mean; the paper of SmoothGrad takes the mean of signed ones.
    """
    span = images.max((1, 2, 3), keepdims=True) - images.min((1, 2, 3), keepdims=True)
    noise = jax.random.normal(jax.random.key(0), (cfg.copies, 1, *images.shape[1:]))

    def one(noise: Float[Array, "1 H W 3"]) -> Float[Array, "B H W 3"]:
        noisy = images + cfg.noise * span * noise
        return jnp.abs(score_and_gradient(cfg, pretrained, state, noisy)[1])

    count = images.shape[0]
    size = max(1, AT_ONCE // (count if isinstance(count, int) else USUAL))
    parts = [noise[start : start + size] for start in range(0, cfg.copies, size)]
    return total(jax.vmap(one)(part).sum(0) for part in parts) / cfg.copies


def _clone(cfg: Config, channels: Sequence[int], guided: bool = False) -> Cloner:
    """The clone for layers of so many channels."""
    strides = extractors.strides(cfg.extractor, layers(cfg))
    signed = extractors.signed(cfg.extractor, layers(cfg))
    return Cloner(stages_like(channels, strides, cfg.narrow, signed), guided)


DETECTOR = Detector(
    name="mkd",
    Config=Config,
    init=init,
    predict=predict,
    measure=measure,
    train_step=train_step,
    embed=embed,
    check=check,
    heldout_loss=heldout_loss,
)
