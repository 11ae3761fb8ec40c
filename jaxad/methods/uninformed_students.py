"""Uninformed Students: several students guess a teacher's descriptors, and err where it is new.

Students know normal images only. Where they miss the teacher's descriptor, or disagree with each
other, the image is anomalous. A teacher describes patches of one size; several make several scales.

Bergmann, Fauser, Sattlegger & Steger, CVPR 2020 (arXiv:1911.02357). It came without code.
"""

from typing import NamedTuple

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
from jaxad.nets.applied import output
from jaxad.nets.layers import IMAGENET_MEAN, pad
from jaxad.nets.patch_network import LAYERS, frame, geometry
from jaxad.ops import maps
from jaxad.ops.terms import total
from jaxad.weights.store import check_tree, weights_of

Descriptors = Float[Array, "B h w C"]
CONSTANT = 1e-3  # of its mean: what deviates less is constant but for rounding to float16
LEAST_DEVIATION = 1e-6  # of what is divided by a deviation; a constant one would give NaN


@config
class Config:
    """Settings; the defaults are the paper's for MVTec AD, but for the teacher.

    The paper's are patch networks for 17, 33 and 65 pixels, one weight set for each scale. The
    weights tell which network they belong to, and the students have the same one. A PDN-S, which
    sees 33 pixels, has a descriptor for every fourth pixel.
    """

    size: int = static(256, least=min(LAYERS))  # image side in pixels
    batch_size: int = static(1, least=1)  # pictures in a step
    steps: int = static(24_200, least=0)  # 100 epochs of 242 images, MVTec AD's average
    # Of the teachers, one for each scale
    weights: tuple[str, ...] = static(("pdn_free",), fewest=1)
    students: int = static(3, least=2)  # M, of each teacher; half of the score is their variance
    # A descriptor for every pixel. Differs from the reference when off: one for every 4 pixels for
    # patches of 33, every 8 for 65, which takes a 16th and a 64th of the time.
    dense: bool = static(True)
    # The teachers' moments are measured on so many training pictures at most.
    measure_pictures: int = static(4096, least=1)
    lr: Scalar = scalar(1e-4, above=0)  # of Adam
    weight_decay: Scalar = scalar(1e-5, least=0)  # added to the gradient


class Stats(NamedTuple):
    """Numbers measured on normal images, for one scale.

    Attributes:
      mean: of the teacher's channels over the training set.
      std: of the teacher's channels over the training set.
      center: mean of regression error and predictive variance over the held-out set.
      spread: their standard deviations.
    """

    mean: Float[Array, "1 1 1 C"]
    std: Float[Array, "1 1 1 C"]
    center: Float[Array, "1 1 1 2"]
    spread: Float[Array, "1 1 1 2"]


def init(cfg: Config, pretrained: PyTree, key: Array) -> State:
    """New students; moments of the teachers' descriptors and of the students' errors come later.

    Raises:
      ValueError: weights are no patch network's, or images are smaller than its patches.
    """
    scales, stats = [], []
    for name, scale_key in zip(cfg.weights, jax.random.split(key, len(cfg.weights)), strict=True):
        network, patch, _ = geometry(weights_of(pretrained, name), cfg.dense)
        image = jnp.zeros((1, patch, patch, 3))
        expected = jax.eval_shape(network.init, key, image)
        check_tree(weights_of(pretrained, name), expected, name)
        if cfg.size < patch:
            raise ValueError(
                f"size={cfg.size} is smaller than the patches of {name}: expected {patch} or more"
            )
        keys = jax.random.split(scale_key, cfg.students)
        scales.append(jax.vmap(network.init, (0, None))(keys, image)["params"])
        channels = jax.eval_shape(network.apply, expected, image).shape[-1]
        zero, one = (value * jnp.ones((1, 1, 1, channels)) for value in (0.0, 1.0))
        stats.append(Stats(zero, one, jnp.zeros((1, 1, 1, 2)), jnp.ones((1, 1, 1, 2))))
    params = tuple(scales)
    return State(jnp.int32(0), params, tuple(stats), optimizer(cfg).init(params))


def measure(cfg: Config, pretrained: PyTree, state: State, pictures: Pictures) -> State:
    """The moments of the teachers' descriptors over the training set."""
    sample, stats = Sample(pictures, cfg.measure_pictures), []
    for name, scale in zip(cfg.weights, state.stats, strict=True):
        mean, std = compile.moments(describe, (cfg, weights_of(pretrained, name)), sample)
        stats.append(scale._replace(mean=mean, std=std))
    return state._replace(stats=tuple(stats))


def describe(cfg: Config, variables: PyTree, images: Images) -> Descriptors:
    """A network's descriptors of the patches around pixels; outside, images have the mean colour.

    Differs from the reference: the paper does not say what lies outside.
    """
    network, patch, stride = geometry(variables, cfg.dense)
    mean = jnp.array(IMAGENET_MEAN)[None, None, None]
    return output(network, variables, pad(images - mean, frame(patch, stride)) + mean)


def embed(cfg: Config, pretrained: PyTree, images: Images) -> tuple[Float[Array, "B _ _ _"], ...]:
    """The teachers' descriptors, not yet normalised."""
    return tuple(describe(cfg, weights_of(pretrained, name), images) for name in cfg.weights)


def train_step(
    cfg: Config, pretrained: PyTree, state: State, batch: dict, key: Array
) -> tuple[State, dict[str, Array]]:
    """One Adam step on every student; none knows of the others.

    The metric is the mean of the students' losses.
    """
    found = [
        gradients(cfg, students, batch["image"], normalised(stats, features))
        for students, stats, features in zip(
            state.params, state.stats, batch["features"], strict=True
        )
    ]
    losses, grads = zip(*found, strict=True)
    updates, opt = optimizer(cfg).update(tuple(grads), state.opt, state.params)
    params = optax.apply_updates(state.params, updates)
    moved = state._replace(step=state.step + 1, params=params, opt=opt)
    return moved, {"loss": jnp.stack(losses).mean()}


def gradients(
    cfg: Config, students: PyTree, images: Images, target: Descriptors
) -> tuple[Float[Array, "M"], PyTree]:
    """Each student's loss and its gradient, of students stacked in front."""

    def one(params: PyTree) -> tuple[Float[Array, ""], PyTree]:
        loss = lambda p: regression_loss(describe(cfg, {"params": p}, images), target)
        return jax.value_and_grad(loss)(params)

    return compile.each(one)(students)


def regression_loss(guess: Descriptors, target: Descriptors) -> Float[Array, ""]:
    """Mean over pixels of the squared distance: a Gaussian's negative log-likelihood."""
    return jnp.square(guess - target).sum(-1).mean()


def normalised(stats: Stats, features: Descriptors) -> Descriptors:
    """The teacher's descriptors with mean 0 and deviation 1 over the training set.

    Constant channels have no deviation to divide by; a cache's fewer bits would look like one.
    """
    varies = stats.std > CONSTANT * jnp.abs(stats.mean) + LEAST_DEVIATION
    return (features - stats.mean) / jnp.where(varies, stats.std, 1.0)


def optimizer(cfg: Config) -> optax.GradientTransformation:
    """Adam with coupled decay and a constant rate."""
    return optim.adam_l2(cfg.lr, cfg.weight_decay)


def calibrate(cfg: Config, pretrained: PyTree, state: State, pictures: Pictures) -> State:
    """Measures error and variance on held-out normal images, over all their pixels."""
    stats = []
    for name, students, scale in zip(cfg.weights, state.params, state.stats, strict=True):
        arguments = cfg, weights_of(pretrained, name), students, scale
        center, spread = compile.moments(uncertainty, arguments, pictures)
        stats.append(scale._replace(center=center, spread=spread))
    return state._replace(stats=tuple(stats))


def heldout_loss(
    cfg: Config, pretrained: PyTree, state: State, images: Images
) -> Float[Array, "B"]:
    """The mean of the students' losses on each image."""
    losses = []
    for name, students, stats in zip(cfg.weights, state.params, state.stats, strict=True):
        target = normalised(stats, describe(cfg, weights_of(pretrained, name), images))
        guess = lambda params: describe(cfg, {"params": params}, images)
        guesses = compile.each(guess)(students)
        losses.append(jnp.square(guesses - target[None]).sum(-1).mean((0, 2, 3)))
    return total(losses) / len(losses)


def predict(cfg: Config, pretrained: PyTree, state: State, images: Images) -> Prediction:
    """Sum of error and variance, mean over the scales; parts: the two.

    The score is the maximum of the map; the paper has none.
    """
    scales = []
    for name, students, stats in zip(cfg.weights, state.params, state.stats, strict=True):
        both = standardised(
            stats, uncertainty(cfg, weights_of(pretrained, name), students, stats, images)
        )
        scales.append(maps.resize(both, maps.sides(images)))
    error, variance = jnp.moveaxis(total(scales) / len(scales), -1, 0)
    map_ = error + variance
    return Prediction(map_, map_.max((1, 2)), {"error": error, "variance": variance})


def uncertainty(
    cfg: Config, teacher: PyTree, students: PyTree, stats: Stats, images: Images
) -> Float[Array, "B h w 2"]:
    """Regression error and predictive variance of one scale, in the teacher's cells."""
    guesses = compile.each(lambda params: describe(cfg, {"params": params}, images))(students)
    return error_and_variance(guesses, normalised(stats, describe(cfg, teacher, images)))


def error_and_variance(
    guesses: Float[Array, "M B h w C"], target: Descriptors
) -> Float[Array, "B h w 2"]:
    """Squared distance of the students' mean from the teacher, and their own from their mean.

    The latter is the mean of |mu_i|^2 less the squared length of their mean, without the loss of
    digits of that difference.
    """
    mean = guesses.mean(0)
    error = jnp.square(mean - target).sum(-1)
    variance = jnp.square(guesses - mean[None]).sum(-1).mean(0)
    return jnp.stack([error, variance], -1)


def standardised(stats: Stats, both: Float[Array, "B h w 2"]) -> Float[Array, "B h w 2"]:
    """Error and variance with mean 0 and deviation 1 over the held-out set."""
    return (both - stats.center) / jnp.maximum(stats.spread, LEAST_DEVIATION)


DETECTOR = Detector(
    name="uninformed_students",
    Config=Config,
    init=init,
    predict=predict,
    measure=measure,
    train_step=train_step,
    calibrate=calibrate,
    embed=embed,
    heldout_loss=heldout_loss,
)
