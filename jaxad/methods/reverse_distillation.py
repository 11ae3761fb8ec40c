"""Reverse distillation: a decoder restores the encoder's maps from one small code of the image.

Teacher and student see different things: the frozen encoder the image, the decoder a code with room
for what is normal only. Where they disagree, the image is anomalous.

Deng & Li, CVPR 2022 (arXiv:2201.10703). "Code" is theirs, hq-deng/RD4AD.
"""

import itertools
from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from jaxad import optim
from jaxad.detector import Detector, Images, Prediction, Scalar, State, config, scalar, static
from jaxad.methods import students
from jaxad.methods.students import FEWEST_CELLS, Pyramid
from jaxad.nets import extractors
from jaxad.nets.resnet import ResNet
from jaxad.nets.reversed_resnet import ReversedResNet, reversed_resnet
from jaxad.ops import maps
from jaxad.ops.terms import product, total
from jaxad.weights.store import weights_of


@config
class Config:
    """Settings; the defaults are the authors' code for MVTec AD, but for the encoder.

    Theirs is `--extractor wide_resnet50_2 --weights wide_resnet50_2`; `resnet18` is the smallest of
    their others. For a residual network without bottlenecks, and for any other whose maps have
    sides that divide each other, the decoder's blocks are two 3x3 convolutions. Those that restore
    maps with negative values end without a rectifier.
    """

    size: int = static(256, least=1)  # image side in pixels
    batch_size: int = static(16, least=1)  # pictures in a step
    steps: int = static(3200, least=0)  # 200 epochs of 16 batches: 242 images, MVTec AD's average
    weights: tuple[str, ...] = static(("efficientnet_lite0",), count=1)  # of the encoder
    extractor: str = static("efficientnet_lite0")  # the teacher, pretrained
    layers: tuple[str, ...] = static(())  # of the extractor, finest first; none for its pyramid
    # Cosine of each image's whole map (code; users find that it trains better), or of each cell's
    # channels (paper, section 3.1).
    cosine: Literal["flattened", "cell"] = static("flattened")
    combine: Literal["add", "multiply"] = static("add")  # the layers' maps
    blur: float = static(4.0, above=0)  # deviation of the Gaussian in pixels
    border: Literal["symmetric", "reflect"] = static("symmetric")  # of the blur; reflect: anomalib
    lr: Scalar = scalar(0.005, above=0)  # of Adam
    b1: Scalar = scalar(0.5, least=0, below=1)  # of Adam


def check(cfg: Config) -> None:
    """Raises ValueError for settings that cannot work, and says what would."""
    coarsest = max(extractors.strides(cfg.extractor, layers(cfg)))
    if cfg.size < FEWEST_CELLS * coarsest or cfg.size % (2 * coarsest):
        raise ValueError(
            f"size={cfg.size} does not suit the encoder: its coarsest map has {coarsest} pixels a "
            f"cell and is halved once more; use a multiple of {2 * coarsest} from "
            f"{FEWEST_CELLS * coarsest} on"
        )
    students.check_blur(cfg)


def layers(cfg: Config) -> tuple[str, ...]:
    """The layers that are restored."""
    return extractors.pyramid(cfg.extractor, cfg.layers)


def init(cfg: Config, pretrained: PyTree, key: Array) -> State:
    """A new bottleneck and decoder.

    Raises:
      ValueError: the weights are not the extractor's or end before a layer, or the sides of its
        maps do not divide each other.
    """
    image = jnp.zeros((1, cfg.size, cfg.size, 3))
    variables = _network(cfg, pretrained).init(key, embed(cfg, pretrained, image))
    params, stats = variables["params"], variables["batch_stats"]
    return State(jnp.int32(0), params, stats, optimizer(cfg).init(params))


def embed(cfg: Config, pretrained: PyTree, images: Images) -> Pyramid:
    """The encoder's maps."""
    return extractors.features(
        cfg.extractor, layers(cfg), weights_of(pretrained, cfg.weights[0]), images
    )


def loss(
    params: PyTree, cfg: Config, pretrained: PyTree, stats: PyTree, batch: dict, key: Array
) -> tuple[Float[Array, ""], tuple[PyTree, dict[str, Array]]]:
    """Sum over layers of the cosine distance between the encoder's and the decoder's maps."""
    encoded = batch["features"]
    decoded, stats = _network(cfg, pretrained).restored(params, stats, encoded, train=True)
    terms = dict(zip(layers(cfg), cosine_losses(encoded, decoded, cfg.cosine), strict=True))
    return total(terms.values()), (stats, terms)


def cosine_losses(
    encoded: Pyramid, decoded: Pyramid, cosine: Literal["flattened", "cell"]
) -> list[Float[Array, ""]]:
    """The mean cosine distance of each pair of maps."""
    return [x.mean() for x in compared(encoded, decoded, cosine)]


def compared(
    encoded: Pyramid, decoded: Pyramid, cosine: Literal["flattened", "cell"]
) -> list[Float[Array, "B *cells"]]:
    """Cosine distances of each pair of maps: of each image, or of each of its cells."""
    if cosine == "flattened":
        encoded, decoded = (
            tuple(x.reshape(x.shape[0], -1) for x in pyramid) for pyramid in (encoded, decoded)
        )
    return [maps.cosine_distance(e, d) for e, d in zip(encoded, decoded, strict=True)]


def optimizer(cfg: Config) -> optax.GradientTransformation:
    """Adam, b2 = 0.999, with a constant rate and no decay."""
    return optax.adam(cfg.lr, cfg.b1, 0.999)


train_step = optim.gradient_steps(loss, optimizer)


def predict(cfg: Config, pretrained: PyTree, state: State, images: Images) -> Prediction:
    """The layers' maps put together and smoothed, its maximum; parts: the layers' own maps."""
    encoded = embed(cfg, pretrained, images)
    decoded, _ = _network(cfg, pretrained).restored(state.params, state.stats, encoded)
    found = dict(zip(layers(cfg), distances(encoded, decoded), strict=True))
    map_ = maps.gaussian_blur(
        combined(list(found.values()), maps.sides(images), cfg.combine), cfg.blur, cfg.border
    )
    return Prediction(map_, map_.max((1, 2)), found)


def distances(encoded: Pyramid, decoded: Pyramid) -> list[Float[Array, "B _ _"]]:
    """Cosine distance of the channels at each cell of each pair of maps."""
    return [maps.cosine_distance(e, d) for e, d in zip(encoded, decoded, strict=True)]


def combined(
    found: list[Float[Array, "B _ _"]],
    shape: tuple[int, int],
    combine: Literal["add", "multiply"],
) -> Float[Array, "B H W"]:
    """Sum or product of the maps at the size of the image, corners on corners (code)."""
    enlarged = [maps.resize_aligned(x, shape) for x in found]
    return total(enlarged) if combine == "add" else product(enlarged)


def _network(cfg: Config, pretrained: PyTree) -> ReversedResNet:
    """Bottleneck and decoder for the encoder's maps.

    Raises:
      ValueError: the sides of its maps do not divide each other.
    """
    image = jax.ShapeDtypeStruct((1, cfg.size, cfg.size, 3), "float32")
    shapes = [x.shape for x in jax.eval_shape(embed, cfg, pretrained, image)]
    sides, channels = [x[1] for x in shapes], tuple(x[-1] for x in shapes)
    pairs = list(itertools.pairwise(sides))
    if any(fine % coarse for fine, coarse in pairs) or sides[-1] % 2:
        raise ValueError(
            f"the maps {', '.join(layers(cfg))} of {cfg.extractor} have sides of "
            f"{', '.join(map(str, sides))} cells for size={cfg.size}: expected each to be a "
            "multiple of the next, and the last one even; choose other layers or another size"
        )
    strides = tuple(fine // coarse for fine, coarse in pairs)
    encoder = extractors.network(cfg.extractor, weights_of(pretrained, cfg.weights[0]))
    units, kind = (2,) * len(sides), (False, 64)
    if isinstance(encoder, ResNet):
        stages = [min(i, len(encoder.blocks) - 1) for i in range(len(sides))]
        units = tuple(encoder.blocks[i] for i in stages)
        kind = encoder.bottleneck, encoder.base_width
    signed = extractors.signed(cfg.extractor, layers(cfg))
    return reversed_resnet(channels, strides, units, *kind, signed)


def heldout_loss(
    cfg: Config, pretrained: PyTree, state: State, images: Images
) -> Float[Array, "B"]:
    """The loss of each image, with the running statistics."""
    encoded = embed(cfg, pretrained, images)
    decoded, _ = _network(cfg, pretrained).restored(state.params, state.stats, encoded)
    found = compared(encoded, decoded, cfg.cosine)
    return total(x.reshape(x.shape[0], -1).mean(-1) for x in found)


DETECTOR = Detector(
    name="reverse_distillation",
    Config=Config,
    init=init,
    predict=predict,
    train_step=train_step,
    embed=embed,
    check=check,
    heldout_loss=heldout_loss,
)
