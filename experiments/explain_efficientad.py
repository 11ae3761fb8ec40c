"""Two pictures that explain EfficientAD: what one teacher cell sees, and what the hard loss mines.

    python experiments/explain_efficientad.py IMAGE OUT [--resnet18 resnet18.npz]

`receptive_field.png`: the absolute gradient of one output cell by the input pixels, mean over input
and output channels, of the teacher and of ResNet-18's third stage. The teacher's ends where its 33
by 33 pixels do, so what it finds lies where it says; the deep network's spreads over the image.
Without a weights file (torchvision names) that network has random weights, and the picture says so.

`hard_features.png`: how many of a cell's channels have a distance at or above the p_hard quantile,
and so give the loss, for several p_hard, after some steps of training on this one image.

Takes a few minutes on two cores.

Batzner, Heckler & Koenig, WACV 2024 (arXiv:2303.14535), sections 3.1 and 3.2.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree, UInt8
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from jaxad import compile
from jaxad.cli import script
from jaxad.cli.options import asked, expected, leading
from jaxad.data.images import read_image
from jaxad.detector import Images, config, static
from jaxad.methods import efficientad
from jaxad.nets import convert
from jaxad.nets.pdn import RECEPTIVE_FIELD, STRIDE
from jaxad.nets.resnet import resnet18
from jaxad.ops.quantile import quantile
from jaxad.training import fitting
from jaxad.weights.files import read_state_dict
from jaxad.weights.store import load_pretrained

CHANNELS = 16  # output channels that the mean gradient is over, evenly spaced
P_HARD = (0.9, 0.99, 0.999, 0.9999)
STEPS = 50  # until the student is better in some places than in others


@config
class Options:
    """What it is compared with."""

    resnet18: str | None = static(None)  # file of its published weights; none: random ones


def main(words: Sequence[str]) -> None:
    """Draws both pictures of one image."""
    places, rest = leading(words)
    usage = "python experiments/explain_efficientad.py IMAGE OUT"
    (options,) = asked(rest, usage, __doc__, script=Options())
    image, folder = expected(places, "IMAGE", "OUT")
    script.prepare()
    Path(folder).mkdir(parents=True, exist_ok=True)
    cfg = efficientad.Config(steps=STEPS, penalty=False)
    pretrained = load_pretrained(cfg.weights)
    side = (cfg.size, cfg.size)
    pixels = np.asarray(Image.fromarray(read_image(image)).resize(side, Image.Resampling.BILINEAR))

    figure = receptive_fields(cfg, pretrained, options.resnet18, pixels)
    figure.savefig(Path(folder, "receptive_field.png"), dpi=130)
    figure = mined_elements(cfg, pretrained, pixels)
    figure.savefig(Path(folder, "hard_features.png"), dpi=130)


def receptive_fields(
    cfg: efficientad.Config,
    pretrained: PyTree,
    deep_weights: str | None,
    pixels: UInt8[np.ndarray, "H W 3"],
) -> Figure:
    """The image with the teacher's field, and both networks' gradients."""
    if deep_weights is None:
        variables = resnet18().init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
        name = "random ResNet-18, stage 3"
    else:
        variables = convert.resnet(read_state_dict(deep_weights))
        name = "ResNet-18, stage 3"
    gradients = {
        "PDN": gradient(efficientad.embed, (cfg, pretrained), pixels),
        name: gradient(third_stage, (variables,), pixels),
    }
    corner = STRIDE * ((cfg.size - RECEPTIVE_FIELD) // STRIDE // 2 + 1)

    figure = Figure((12.5, 4.2), layout="constrained")
    first, *axes = figure.subplots(1, 3)
    first.imshow(pixels)
    first.set_title(f"input, {RECEPTIVE_FIELD} x {RECEPTIVE_FIELD} pixels marked")
    for axis, (title, values) in zip(axes, gradients.items(), strict=True):
        field = slice(corner, corner + RECEPTIVE_FIELD)
        outside = 1 - values[field, field].sum() / values.sum()
        print(f"{title}: {outside:.1%} of the gradient outside the marked square")
        shown = axis.imshow(
            np.maximum(values / values.max(), 1e-4), cmap="inferno", norm=LogNorm(1e-4, 1)
        )
        axis.set_title(f"{title}: {outside:.0%} outside")
    for axis in (first, *axes):
        box = Rectangle((corner - 0.5, corner - 0.5), RECEPTIVE_FIELD, RECEPTIVE_FIELD)
        box.set(fill=False, edgecolor="cyan", linewidth=1.2)
        axis.add_patch(box)
        axis.set_axis_off()
    figure.colorbar(shown, ax=axes, label="absolute gradient over its maximum")
    return figure


def gradient(
    function: Callable, arguments: tuple, pixels: UInt8[np.ndarray, "H W 3"]
) -> Float[np.ndarray, "H W"]:
    """Mean absolute gradient of the central output cell by the pixels, over CHANNELS channels."""

    def cell(images: Images, channel: Int[Array, ""]) -> Float[Array, ""]:
        features = function(*arguments, images)
        return features[0, features.shape[1] // 2, features.shape[2] // 2, channel]

    by_pixels = compile.jit(jax.grad(cell))
    images = compile.unit(jnp.asarray(pixels[None]))
    count = jax.eval_shape(function, *arguments, images).shape[-1]
    channels = np.linspace(0, count - 1, CHANNELS).astype(int)
    return np.mean([np.abs(by_pixels(images, channel))[0].mean(-1) for channel in channels], axis=0)


def mined_elements(
    cfg: efficientad.Config, pretrained: PyTree, pixels: UInt8[np.ndarray, "H W 3"]
) -> Figure:
    """For each p_hard, the number of mined channels of every cell."""
    distance = trained_distance(cfg, pretrained, pixels)
    # Each cell is drawn as the 4 x 4 pixels in the middle of those it sees.
    start = RECEPTIVE_FIELD // 2 - STRIDE / 2
    end = start + STRIDE * len(distance)
    figure = Figure((15, 3.4), layout="constrained")
    first, *axes = figure.subplots(1, 1 + len(P_HARD))
    first.imshow(pixels)
    first.set_title("training image")
    for axis, level in zip(axes, P_HARD, strict=True):
        mined = distance >= float(quantile(distance, level))
        print(f"p_hard {level}: {mined.sum()} of {mined.size} elements are mined")
        axis.imshow(pixels.mean(-1), cmap="gray", alpha=0.35)
        shown = axis.imshow(
            mined.sum(-1), cmap="inferno", extent=(start, end, end, start), interpolation="nearest"
        )
        axis.set(xlim=first.get_xlim(), ylim=first.get_ylim())
        axis.set_title(f"p_hard = {level}")
        figure.colorbar(shown, ax=axis, shrink=0.66)
    axes[-1].figure.axes[-1].set_ylabel("mined channels of a cell")
    for axis in (first, *axes):
        axis.set_axis_off()
    return figure


def trained_distance(
    cfg: efficientad.Config, pretrained: PyTree, pixels: UInt8[np.ndarray, "H W 3"]
) -> Float[Array, "h w C"]:
    """Squared difference of teacher and student after STEPS steps on the image."""
    key, images = jax.random.key(0), pixels[None]
    state = fitting.begun(efficientad.DETECTOR, cfg, pretrained, images, key)
    for _ in range(STEPS):
        batch = {"image": images, "index": np.zeros(1, np.int32)}
        state, _ = compile.train_step(efficientad.DETECTOR)(cfg, pretrained, state, batch, key)
    distance = compile.of_pictures(local_distance)
    return distance(cfg, pretrained, state.params, state.stats, images)[0]


def local_distance(
    cfg: efficientad.Config,
    pretrained: PyTree,
    params: PyTree,
    stats: efficientad.Stats,
    images: Images,
) -> Float[Array, "B h w C"]:
    """What the hard loss mines, before it takes the mean."""
    teacher = efficientad.normalised(stats, efficientad.embed(cfg, pretrained, images))
    return jnp.square(teacher - efficientad.student(cfg, params, images, "local"))


def third_stage(variables: PyTree, images: Images) -> Float[Array, "B h w C"]:
    """ResNet-18's deepest map."""
    return resnet18().apply(variables, images)["layer3"]


if __name__ == "__main__":
    script.run(main)
