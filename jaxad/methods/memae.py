"""MemAE: an autoencoder that may only reconstruct from a few remembered items.

Every cell between encoder and decoder is replaced by a sparse mixture of learned items; what is
normal is made of them, what is anomalous is not.

Gong et al., ICCV 2019 (arXiv:1904.02639). "Code" is theirs, donggong1/memae-anomaly-detection,
which is for video: its 3-D convolutions are 2-D here. It is the limit of DAAD's block-wise memory
where a block is a cell and no skip is kept.
"""

import math

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
from jaxad.methods.autoencoder import Score, check_common, prediction, squared_error
from jaxad.nets import memory
from jaxad.nets.image_autoencoder import ImageAutoencoder
from jaxad.nets.layers import signed

KERNEL = 3  # of the encoder, code


@config
class Config:
    """Settings; the defaults are the code's, but for what images need in place of video.

    The paper takes 100 items for MNIST and 500 for CIFAR-10 (section 4.1), and cosine similarity.
    """

    size: int = static(256)  # image side in pixels, code
    batch_size: int = static(14)  # code
    steps: int = static(1_729)  # code: 100 epochs; of 242 images, the mean of MVTec AD's categories
    weights: tuple[str, ...] = static(())  # nothing is pretrained
    widths: tuple[int, ...] = static((96, 128, 256, 256))  # code
    items: int = static(2000)  # code
    similarity: memory.Similarity = static("dot")  # code
    smoothing: float = static(4.0)  # of the map, in pixels: ours, MemAE has scores of frames only
    score: Score = static("mean")  # of the error of all pixels (paper), or the largest of the map
    # Above 1 / items, where items begin evenly weighted, a row may start out with nothing above it;
    # such rows are not shrunk, see `nets.memory.shrunk`.
    shrinkage: Scalar = 0.0025  # code; the paper advises 1 / items to 3 / items
    temperature: Scalar = 1.0  # of the softmax; code has none
    entropy_weight: Scalar = 2e-4  # paper and code
    lr: Scalar = 1e-4  # paper and code


def check(cfg: Config) -> None:
    """Raises ValueError for settings that cannot work, and says what would."""
    check_common(cfg)
    if cfg.items < 1:
        raise ValueError(f"items={cfg.items}: expected 1 or more")
    in_range = {
        "shrinkage": 0 <= cfg.shrinkage < 1,
        "temperature": 0 < cfg.temperature < math.inf,
        "entropy_weight": 0 <= cfg.entropy_weight < math.inf,
    }
    for name, fine in in_range.items():
        if not fine:
            raise ValueError(
                f"{name}={getattr(cfg, name)}: expected shrinkage from 0 to less than 1, "
                f"temperature > 0 and entropy_weight >= 0; with {cfg.items} items the paper's "
                f"shrinkage is {1 / cfg.items:.2g} to {3 / cfg.items:.2g}"
            )


def init(cfg: Config, pretrained: PyTree, images: ImageSet, key: Array) -> State:
    """A new network; the moments of batch norm start at 0 and 1."""
    params, stats, opt = compile.jitted(_new_parameters)(cfg, key)
    return State(jnp.int32(0), params, stats, opt)


def loss(
    params: PyTree, cfg: Config, pretrained: PyTree, stats: PyTree, batch: dict, key: Array
) -> tuple[Float[Array, ""], tuple[PyTree, dict[str, Array]]]:
    """Squared error plus weighted entropy of the addressing (paper, section 3.4)."""
    restored, weights, stats = reconstruction(cfg, params, stats, batch["image"], train=True)
    error = squared_error(batch["image"], restored).mean()
    entropy = memory.entropy(weights)
    metrics = {
        "reconstruction": error, "entropy": entropy, "items_used": memory.items_used(weights)
    }  # fmt: skip
    return error + cfg.entropy_weight * entropy, (stats, metrics)


def reconstruction(
    cfg: Config, params: PyTree, stats: PyTree, images: Images, train: bool = False
) -> tuple[Images, Float[Array, "B n N"], PyTree]:
    """The reconstruction, what each cell takes of each item, and the moments of batch norm.

    The reconstruction is scaled as the images are, but may leave [0, 1]: code, no function ends it.
    """
    variables = {"params": params, "batch_stats": stats}
    (restored, weights), moved = _network(cfg).apply(
        variables, signed(images), cfg.temperature, cfg.shrinkage, train, mutable=["batch_stats"]
    )
    (last,) = weights.values()
    return (restored + 1) / 2, last, moved["batch_stats"]


def train_step(
    cfg: Config, pretrained: PyTree, state: State, batch: dict, key: Array
) -> tuple[State, dict[str, Array]]:
    """One Adam step."""
    return optim.gradient_step(loss, optimizer(cfg), cfg, pretrained, state, batch, key)


def optimizer(cfg: Config) -> optax.GradientTransformation:
    """Adam (code)."""
    return optax.adam(cfg.lr)


def calibrate(cfg: Config, pretrained: PyTree, state: State, images: ImageSet) -> State:
    """The state as it is: maps and scores are not scaled."""
    return state


def predict(cfg: Config, pretrained: PyTree, state: State, images: Images) -> Prediction:
    """Map and score of the reconstruction's error; parts: the reconstruction."""
    restored, _, _ = reconstruction(cfg, state.params, state.stats, images)
    return prediction(squared_error(images, restored), restored, cfg.smoothing, cfg.score)


def _new_parameters(cfg: Config, key: Array) -> tuple[PyTree, PyTree, PyTree]:
    """Parameters, moments of batch norm, the optimiser's state."""
    variables = _network(cfg).init(key, jnp.zeros((1, cfg.size, cfg.size, 3)))
    params = variables["params"]
    return params, variables["batch_stats"], optimizer(cfg).init(params)


def _network(cfg: Config) -> ImageAutoencoder:
    """A memory of single cells at the last level."""
    levels = len(cfg.widths)
    none = (0,) * (levels - 1)
    cells = cfg.size // 2**levels
    return ImageAutoencoder(cfg.widths, (*none, cells), (*none, cfg.items), KERNEL, cfg.similarity)


DETECTOR = Detector(Config, init, train_step, calibrate, predict, check=check)
