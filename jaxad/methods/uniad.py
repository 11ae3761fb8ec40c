"""UniAD: one transformer reconstructs the features of many classes; what is anomalous, it cannot.

Three parts keep it from copying its input: each decoder layer asks with learned queries, attention
does not see a token's neighbours, and the features it restores were disturbed.

You et al., NeurIPS 2022 (arXiv:2206.03687). "Code" is theirs, zhiyuanyou/UniAD, with its settings
for MVTec AD.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from jaxad import optim
from jaxad.detector import Detector, Images, Prediction, Scalar, State, config, scalar, static
from jaxad.nets import extractors
from jaxad.nets.applied import output
from jaxad.nets.reconstruction import Transformer, with_equal_layers
from jaxad.ops import maps
from jaxad.weights.store import weights_of

Features = Float[Array, "B h w C"]


@config
class Config:
    """Settings; the defaults are those of the authors' code for MVTec AD, but for the extractor.

    Theirs is `--extractor efficientnet_b4 --weights efficientnet_b4`, whose own choice of layers is
    block1,block5,block9,block21. For CIFAR-10 they add block31, `--batch-size 16 --score mean`.
    """

    # Differs from the reference: a tenth of the normal pictures is held out (`Data.heldout`),
    # batches run on over the ends of epochs, masks count at their own size, and the last state is
    # the result, not the one with the best pixel AUROC on the test set.
    size: int = static(224, least=1)  # image side in pixels
    batch_size: int = static(8, least=1)  # on one device; the paper trained on eight
    steps: int = static(454_000, least=0)  # 1000 epochs of MVTec AD's 3629 images
    weights: tuple[str, ...] = static(("efficientnet_lite0",), count=1)  # of the extractor
    extractor: str = static("efficientnet_lite0")  # the frozen network whose features are read
    layers: tuple[str, ...] = static(())  # of the extractor; none for its own choice
    grid: int = static(14, 1)  # tokens a side: one for 16 pixels
    hidden: int = static(256, 2)  # channels of a token
    heads: int = static(8, 1)  # of attention, in each layer
    ffn: int = static(1024, 1)  # channels between the two dense layers that end a layer
    encoder_layers: int = static(4, 1)  # of the transformer
    decoder_layers: int = static(4, 1)  # of the transformer
    layer_wise_query: bool = static(True)  # off: only the first layer of the decoder has queries
    # Neighbour mask of the encoder's attention, and of the decoder's first and second.
    masked: tuple[bool, bool, bool] = static((True, True, True))
    mask_size: int = static(7, 1)  # tokens a side of what is hidden
    positions: Literal["learned", "sine", "none"] = static("learned")  # what tells tokens' places
    score: Literal["max_pool", "mean"] = static("max_pool")  # of the map
    pool: int = static(16, 1)  # pixels a side of the mean whose maximum is the score
    jitter: Scalar = scalar(20.0, least=0)  # alpha; its effect depends on the number of channels
    jitter_probability: Scalar = scalar(1.0, 0, 1)  # that a batch is disturbed
    lr: Scalar = scalar(1e-4, above=0)  # a tenth of it in the last 20 % of the steps
    weight_decay: Scalar = scalar(1e-4, least=0)  # of AdamW
    clip: Scalar = scalar(0.1, above=0, finite=False)  # norm of the gradient; inf for none
    dropout: Scalar = scalar(0.1, 0, 0.99)  # of the transformer, in training


def check(cfg: Config) -> None:
    """Raises ValueError for settings that cannot work, and says what would."""
    extractors.select(cfg.extractor, cfg.layers)
    if cfg.size < cfg.grid or cfg.size % cfg.grid:
        raise ValueError(
            f"size={cfg.size} does not fit the tokens: expected a multiple of grid={cfg.grid}, "
            f"such as size={16 * cfg.grid}"
        )
    if cfg.size < cfg.pool:
        raise ValueError(f"pool={cfg.pool}: expected {cfg.size} or less, the size of the map")
    if cfg.hidden % cfg.heads or cfg.hidden % 2:
        raise ValueError(
            f"hidden={cfg.hidden}: expected an even multiple of heads={cfg.heads}, since channels "
            "are shared out between heads, and between rows and columns of positions"
        )
    if cfg.mask_size % 2 == 0:
        # Differs from the reference: it takes an even size for the odd one above it.
        raise ValueError(
            f"mask_size={cfg.mask_size}: expected an odd number, the token itself is in the middle"
        )
    if any(cfg.masked) and cfg.mask_size >= cfg.grid:
        raise ValueError(
            f"mask_size={cfg.mask_size} hides every token from the one in the middle of a grid of "
            f"{cfg.grid}: expected less than {cfg.grid}"
        )


def init(cfg: Config, pretrained: PyTree, key: Array) -> State:
    """A new transformer for the features of these weights."""
    params = new_transformer(cfg, channels(cfg, pretrained), key)
    return State(jnp.int32(0), params, (), optimizer(cfg).init(params))


def embed(cfg: Config, pretrained: PyTree, images: Images) -> Features:
    """The extractor's maps, each resized to the grid of tokens, side by side."""
    weights = weights_of(pretrained, cfg.weights[0])
    layers = extractors.features(cfg.extractor, cfg.layers, weights, images)
    grid = (cfg.grid, cfg.grid)
    return jnp.concatenate([maps.resize_aligned(layer, grid) for layer in layers], -1)


def loss(
    params: PyTree, cfg: Config, pretrained: PyTree, stats: PyTree, batch: dict, key: Array
) -> tuple[Float[Array, ""], tuple[PyTree, dict[str, Array]]]:
    """The reconstruction loss on one batch of features, with everything random drawn."""
    noise_key, jitter_key, dropout_key = jax.random.split(key, 3)
    features = batch["features"].astype(jnp.float32)  # a cache may hold fewer bits
    noise = jax.random.normal(noise_key, features.shape)
    disturbed = jax.random.uniform(jitter_key) < cfg.jitter_probability
    noise = jnp.where(disturbed, noise, 0.0)
    return reconstruction_loss(params, cfg, features, noise, dropout_key), (stats, {})


def reconstruction_loss(
    params: PyTree, cfg: Config, features: Features, noise: Features, key: Array | None = None
) -> Float[Array, ""]:
    """Mean squared error between the clean features and what is made of disturbed ones.

    Args:
      params: the transformer's.
      cfg: settings.
      features: clean.
      noise: standard normal.
      key: of dropout; None switches it off.
    """
    restored = reconstruction(cfg, params, jittered(features, noise, cfg.jitter), key)
    return jnp.mean(jnp.square(restored - features))


def jittered(features: Features, noise: Features, scale: Scalar) -> Features:
    """Features with noise of deviation `scale` times a token's norm over its number of channels.

    Source: feature jittering in section 3; norm over the number of channels, not its root.
    """
    norm = jnp.linalg.norm(features, axis=-1, keepdims=True)
    return features + noise * (norm / features.shape[-1] * scale)


def reconstruction(
    cfg: Config, params: PyTree, features: Features, key: Array | None = None
) -> Features:
    """The transformer's output, with dropout where a key is given."""
    network = _transformer(cfg)
    if key is None:
        return output(network, {"params": params}, features)
    return output(network, {"params": params}, features, cfg.dropout, rngs={"dropout": key})


def optimizer(cfg: Config) -> optax.GradientTransformation:
    """AdamW on clipped gradients, its learning rate dropped at 80 % of the steps (code)."""
    lr = optim.dropped(cfg.lr, cfg.steps, 0.8)
    return optim.clipped_adamw(lr, cfg.weight_decay, cfg.clip)


train_step = optim.gradient_steps(loss, optimizer)


def predict(cfg: Config, pretrained: PyTree, state: State, images: Images) -> Prediction:
    """Map and score; parts: the features and their reconstruction."""
    features = embed(cfg, pretrained, images)
    restored = reconstruction(cfg, state.params, features)
    return prediction(features, restored, maps.sides(images), cfg.score, cfg.pool)


def prediction(
    features: Features,
    restored: Features,
    shape: tuple[int, int],
    score: Literal["max_pool", "mean"],
    pool: int,
) -> Prediction:
    """How far features are from their reconstruction, at the size of the image.

    Source: code; not smoothed, not normalised.
    """
    map_ = maps.resize_aligned(jnp.linalg.norm(restored - features, axis=-1), shape)
    scores = maps.pooled_max(map_, pool) if score == "max_pool" else map_.mean((1, 2))
    return Prediction(map_, scores, {"features": features, "reconstruction": restored})


def channels(cfg: Config, pretrained: PyTree) -> int:
    """Channels of the features that `embed` gives.

    Raises:
      ValueError: the weights are not the extractor's.
    """
    image = jax.ShapeDtypeStruct((1, cfg.size, cfg.size, 3), jnp.float32)
    return jax.eval_shape(embed, cfg, pretrained, image).shape[-1]


def new_transformer(cfg: Config, channels: int, key: Array) -> PyTree:
    """Parameters of the transformer for features of so many channels."""
    params = _transformer(cfg).init(key, jnp.zeros((1, cfg.grid, cfg.grid, channels)))["params"]
    return with_equal_layers(params)


def heldout_loss(
    cfg: Config, pretrained: PyTree, state: State, images: Images
) -> Float[Array, "B"]:
    """The reconstruction loss of each image, of features as they are."""
    features = embed(cfg, pretrained, images)
    restored = reconstruction(cfg, state.params, features)
    return jnp.square(restored - features).mean((1, 2, 3))


def _transformer(cfg: Config) -> Transformer:
    return Transformer(
        (cfg.grid, cfg.grid), cfg.hidden, cfg.heads, cfg.ffn, cfg.encoder_layers,
        cfg.decoder_layers, cfg.layer_wise_query, cfg.masked, (cfg.mask_size, cfg.mask_size),
        cfg.positions,
    )  # fmt: skip


DETECTOR = Detector(
    name="uniad",
    Config=Config,
    init=init,
    predict=predict,
    train_step=train_step,
    embed=embed,
    check=check,
    heldout_loss=heldout_loss,
)
