"""MemAE: an autoencoder that may only reconstruct from a few remembered items.

Every cell between encoder and decoder is replaced by a sparse mixture of learned items; what is
normal is made of them, what is anomalous is not.

Gong et al., ICCV 2019 (arXiv:1904.02639). "Code" is theirs, donggong1/memae-anomaly-detection,
which is for video: its 3-D convolutions are 2-D here. It is the limit of DAAD's block-wise memory
where a block is a cell and no skip is kept.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from jaxad import optim
from jaxad.detector import Detector, Images, Prediction, Scalar, State, config, scalar, static
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

    size: int = static(256, least=1)  # image side in pixels, code
    batch_size: int = static(14, least=1)  # code
    # Code: 100 epochs; of 242 images, the mean of MVTec AD's categories
    steps: int = static(1_729, least=0)
    weights: tuple[str, ...] = static((), count=0)  # nothing is pretrained
    widths: tuple[int, ...] = static((96, 128, 256, 256), 1, fewest=1)  # code
    items: int = static(2000, least=1)  # code
    similarity: memory.Similarity = static("dot")  # code
    # Of the map, in pixels: ours, MemAE has scores of frames only
    smoothing: float = static(4.0, least=0)
    score: Score = static("mean")  # of the error of all pixels (paper), or the largest of the map
    # Above 1 / items, where items begin evenly weighted, a row may start out with nothing above it;
    # such rows are not shrunk, see `nets.memory.shrunk`.
    # Code; the paper advises 1 / items to 3 / items
    shrinkage: Scalar = scalar(0.0025, least=0, below=1)
    temperature: Scalar = scalar(1.0, above=0)  # of the softmax; code has none
    entropy_weight: Scalar = scalar(2e-4, least=0)  # paper and code
    lr: Scalar = scalar(1e-4, above=0)  # paper and code


def init(cfg: Config, pretrained: PyTree, key: Array) -> State:
    """A new network; the moments of batch norm start at 0 and 1."""
    variables = _network(cfg).init(key, jnp.zeros((1, cfg.size, cfg.size, 3)))
    params, stats = variables["params"], variables["batch_stats"]
    return State(jnp.int32(0), params, stats, optimizer(cfg).init(params))


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


def optimizer(cfg: Config) -> optax.GradientTransformation:
    """Adam (code)."""
    return optax.adam(cfg.lr)


train_step = optim.gradient_steps(loss, optimizer)


def predict(cfg: Config, pretrained: PyTree, state: State, images: Images) -> Prediction:
    """Map and score of the reconstruction's error; parts: the reconstruction."""
    restored, _, _ = reconstruction(cfg, state.params, state.stats, images)
    return prediction(squared_error(images, restored), restored, cfg.smoothing, cfg.score)


def heldout_loss(
    cfg: Config, pretrained: PyTree, state: State, images: Images
) -> Float[Array, "B"]:
    """Squared error of each image plus weighted entropy of its addressing."""
    restored, weights, _ = reconstruction(cfg, state.params, state.stats, images)
    entropy = jax.vmap(lambda rows: memory.entropy(rows[None]))(weights)
    return squared_error(images, restored).mean((1, 2)) + cfg.entropy_weight * entropy


def _network(cfg: Config) -> ImageAutoencoder:
    """A memory of single cells at the last level."""
    levels = len(cfg.widths)
    none = (0,) * (levels - 1)
    cells = cfg.size // 2**levels
    return ImageAutoencoder(cfg.widths, (*none, cells), (*none, cfg.items), KERNEL, cfg.similarity)


DETECTOR = Detector(
    name="memae",
    Config=Config,
    init=init,
    predict=predict,
    train_step=train_step,
    check=check_common,
    heldout_loss=heldout_loss,
)
