"""STFPM: a student imitates several layers of its teacher, and fails where an image is anomalous.

Teacher and student are one network; the student starts from random weights and sees normal images
only. What counts is the direction of a feature vector, at every cell of every layer.

Wang, Han, Ding & Huang, BMVC 2021 (arXiv:2103.04257). "Code" is theirs, gdwang08/STFPM.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from jaxad import optim
from jaxad.detector import Detector, Images, Prediction, Scalar, State, config, scalar, static
from jaxad.methods.students import FEWEST_CELLS, Pyramid
from jaxad.nets import extractors
from jaxad.nets.applied import output
from jaxad.ops import maps
from jaxad.ops.terms import product, total
from jaxad.weights.store import weights_of


# Differs from the reference: its result is the epoch whose held-out images have the lowest mean
# map; here the last state or, by `select="heldout"`, the one of the lowest held-out loss.
@config
class Config:
    """Settings; the defaults are the authors' code for MVTec AD, but for the extractor.

    Theirs is `--extractor resnet18 --weights resnet18`, whose own choice of layers is
    layer1,layer2,layer3. Any extractor's network will do.
    """

    size: int = static(256, least=1)  # image side in pixels
    batch_size: int = static(32, least=1)  # pictures in a step
    # 100 epochs of 7 batches: 80 % of 242 images, MVTec AD's average
    steps: int = static(700, least=0)
    weights: tuple[str, ...] = static(("efficientnet_lite0",), count=1)  # of the teacher
    extractor: str = static("efficientnet_lite0")  # the teacher, pretrained
    layers: tuple[str, ...] = static(())  # of the extractor; none for its pyramid
    # "twice": maps are enlarged to the finest one's size, multiplied, and enlarged to the image's
    # (code); "once": each is enlarged to the image's, then they are multiplied (anomalib).
    upsampling: Literal["twice", "once"] = static("twice")
    lr: Scalar = scalar(0.4, above=0)  # of stochastic gradient descent
    momentum: Scalar = scalar(0.9, least=0, below=1)  # of the same
    weight_decay: Scalar = scalar(1e-4, least=0)  # added to the gradient


def check(cfg: Config) -> None:
    """Raises ValueError for settings that cannot work, and says what would."""
    strides = extractors.strides(cfg.extractor, layers(cfg))
    if cfg.size < FEWEST_CELLS * max(strides):
        raise ValueError(
            f"size={cfg.size} is too small: the layers {', '.join(layers(cfg))} of {cfg.extractor} "
            f"need {FEWEST_CELLS * max(strides)} pixels for {FEWEST_CELLS} cells on a side"
        )


def layers(cfg: Config) -> tuple[str, ...]:
    """The layers that are compared."""
    return extractors.pyramid(cfg.extractor, cfg.layers)


def init(cfg: Config, pretrained: PyTree, key: Array) -> State:
    """A new student with the teacher's shapes.

    Raises:
      ValueError: the weights are not the extractor's, or end before a layer.
    """
    image = jnp.zeros((1, cfg.size, cfg.size, 3))
    jax.eval_shape(embed, cfg, pretrained, image)  # the teacher's weights fit and reach the layers
    network = extractors.network(cfg.extractor, weights_of(pretrained, cfg.weights[0]))
    student = dict(network.init(key, image))
    params = student.pop("params")
    return State(jnp.int32(0), params, student, optimizer(cfg).init(params))


def embed(cfg: Config, pretrained: PyTree, images: Images) -> Pyramid:
    """The teacher's maps."""
    return extractors.features(
        cfg.extractor, layers(cfg), weights_of(pretrained, cfg.weights[0]), images
    )


def loss(
    params: PyTree, cfg: Config, pretrained: PyTree, stats: PyTree, batch: dict, key: Array
) -> tuple[Float[Array, ""], tuple[PyTree, dict[str, Array]]]:
    """Sum over layers of the mean squared distance of unit vectors on one batch.

    Source: code; the paper's loss is half of it.
    """
    student, stats = training_features(cfg, pretrained, params, stats, batch["image"])
    terms = {
        layer: map_.mean()
        for layer, map_ in distances(layers(cfg), batch["features"], student).items()
    }
    return total(terms.values()), (stats, terms)


def distances(
    names: tuple[str, ...], teacher: Pyramid, student: Pyramid
) -> dict[str, Float[Array, "B _ _"]]:
    """{layer: squared distance of the two networks' unit vectors at each cell}, from 0 to 4."""
    pairs = zip(names, teacher, student, strict=True)
    return {layer: 2 * maps.cosine_distance(t, s) for layer, t, s in pairs}


def optimizer(cfg: Config) -> optax.GradientTransformation:
    """Momentum descent with coupled decay and a constant rate."""
    return optim.sgd_l2(cfg.lr, cfg.momentum, cfg.weight_decay)


train_step = optim.gradient_steps(loss, optimizer)


def heldout_loss(
    cfg: Config, pretrained: PyTree, state: State, images: Images
) -> Float[Array, "B"]:
    """The loss of each image, with the running statistics."""
    found = compared(cfg, pretrained, state.params, state.stats, images)
    return total(map_.mean((1, 2)) for map_ in found.values())


def predict(cfg: Config, pretrained: PyTree, state: State, images: Images) -> Prediction:
    """Product of the layers' maps and its maximum; parts: the layers' own maps."""
    found = compared(cfg, pretrained, state.params, state.stats, images)
    return prediction(found, maps.sides(images), cfg.upsampling)


def compared(
    cfg: Config, pretrained: PyTree, params: PyTree, stats: PyTree, images: Images
) -> dict[str, Float[Array, "B _ _"]]:
    """`distances` of teacher and student, with the running statistics."""
    network = extractors.network(cfg.extractor, weights_of(pretrained, cfg.weights[0]))
    student = output(network, {"params": params, **stats}, images)
    names = layers(cfg)
    teacher = embed(cfg, pretrained, images)
    return distances(names, teacher, tuple(student[name] for name in names))


def prediction(
    found: dict[str, Float[Array, "B _ _"]],
    shape: tuple[int, int],
    upsampling: Literal["twice", "once"],
) -> Prediction:
    """Maps of layers as one at the size of the image, and its maximum (code)."""
    each = list(found.values())
    target = max(maps.sides(x) for x in each) if upsampling == "twice" else shape
    map_ = product(maps.resize(x, target) for x in each)
    map_ = maps.resize(map_, shape)
    return Prediction(map_, map_.max((1, 2)), dict(found))


def training_features(
    cfg: Config, pretrained: PyTree, params: PyTree, stats: PyTree, images: Images
) -> tuple[Pyramid, PyTree]:
    """The student's maps with the statistics of the batch, and the running ones after it."""
    network = extractors.network(cfg.extractor, weights_of(pretrained, cfg.weights[0]))
    variables = {"params": params, **stats}
    if stats:
        found, stats = network.apply(variables, images, True, mutable=["batch_stats"])
    else:
        found = output(network, variables, images)
    return tuple(found[layer] for layer in layers(cfg)), stats


DETECTOR = Detector(
    name="stfpm",
    Config=Config,
    init=init,
    predict=predict,
    train_step=train_step,
    embed=embed,
    check=check,
    heldout_loss=heldout_loss,
)
