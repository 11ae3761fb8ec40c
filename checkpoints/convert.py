"""Published PyTorch weights -> a weight set beside this file. PyTorch itself is not needed.

    python checkpoints/convert.py teacher_small.pth pdn_small_published
    python checkpoints/convert.py wide_resnet101_2-32ee1156.pth wide_resnet101_2 --licence BSD-3

The network is recognised from the names of its weights. README.md beside this file says the rest.
"""

import argparse
import hashlib
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jaxad.nets import convert, efficientnet
from jaxad.nets.autoencoder import Autoencoder
from jaxad.nets.efficientnet import EfficientNet
from jaxad.nets.mobilenet import MobileNetV2
from jaxad.nets.pdn import PDN
from jaxad.nets.resnet import ResNet
from jaxad.nets.reversed_resnet import reversed_resnet
from jaxad.nets.squeezenet import SqueezeNet
from jaxad.nets.vgg import VGG
from jaxad.weights.files import read_state_dict
from jaxad.weights.store import WEIGHTS, check_tree, save_pretrained

SIDE = 256  # of the images for which shapes are compared; they are the same for any other

README = """# {name}

{network}, converted from `{file}`.

| | |
|---|---|
| origin | {origin} |
| licence | {licence} |
| command | `{command}` |

`about.json` has the checksum of `weights.npz` and that of the file it was made from.
"""


def main(arguments: Sequence[str]) -> None:
    """Converts one file and prints what it found."""
    options = parser().parse_args(arguments)
    if Path(options.name).name != options.name or options.name in ("", ".."):
        raise ValueError(f"{options.name!r} is not a name: give one without slashes")
    folder = Path(options.folder, options.name)
    if (folder / WEIGHTS).exists():
        raise FileExistsError(f"{folder} holds weights already: choose another name or delete it")

    arrays = read_state_dict(options.file)
    if options.prefix:
        arrays = convert.below(arrays, options.prefix)
    kind = options.kind or convert.kind(arrays)
    tree = convert.CONVERTERS[kind](arrays)
    network, settings = describe(kind, tree)
    expected = jax.eval_shape(network(**settings).init, jax.random.key(0), inputs(settings))
    check_tree(tree, expected, options.name)

    file = Path(options.file).expanduser()
    with open(file, "rb") as content:
        checksum = hashlib.file_digest(content, "sha256").hexdigest()
    about = {
        "origin": options.origin or f"{file.name}, converted",
        "licence": options.licence,
        "command": "python checkpoints/convert.py " + shlex.join(arguments),
        "source_sha256": checksum,
        "settings": {"network": network.__name__, **settings},
    }
    save_pretrained(folder, tree, about, options.dtype)
    short = f"{network.__name__}({', '.join(f'{k}={v}' for k, v in settings.items())})"
    text = README.format(name=options.name, network=short, file=file.name, **about)
    (folder / "README.md").write_text(text, encoding="utf-8")

    size = sum(leaf.size for leaf in jax.tree.leaves(tree))
    print(f"{file}: {len(arrays)} arrays, {short}")
    print(f"{folder / WEIGHTS}: {size:,} numbers, {options.dtype}")


def inputs(settings: dict) -> PyTree:
    """Shapes of what a network takes: images or, where it restores them, an encoder's maps."""
    shapes = [(SIDE, 3)]
    if "strides" in settings:
        channels, strides = settings["channels"], settings["strides"]
        sides = SIDE // np.cumprod((4, *strides))
        shapes = list(zip(sides.tolist(), channels, strict=True))
    found = [jax.ShapeDtypeStruct((1, side, side, c), "float32") for side, c in shapes]
    return found if "strides" in settings else found[0]


def describe(kind: str, tree: PyTree) -> tuple[Callable[..., Any], dict]:
    """The network that the weights belong to, and its settings."""
    params = tree["params"]
    channels = {name: x["conv"]["kernel"].shape[-1] for name, x in params.items() if "conv" in x}
    if kind == "pdn":
        medium = "conv6" in params
        last = channels["conv6" if medium else "conv4"]
        return PDN, {"medium": medium, "channels": last, "width": channels["conv1"]}
    if kind == "autoencoder":
        side = params["enconv6"]["conv"]["kernel"].shape[0]
        width = channels["enconv1"]
        return Autoencoder, {"channels": channels["deconv8"], "width": width, "kernel": side}
    if kind.startswith("resnet"):
        first = params["layer1_0"]
        blocks = [sum(name.startswith(f"layer{i}_") for name in params) for i in (1, 2, 3, 4)]
        return ResNet, {
            "blocks": tuple(count for count in blocks if count),
            "bottleneck": "conv3" in first,
            "base_width": first["conv1"]["conv"]["kernel"].shape[-1],
        }
    if kind == "reverse_distillation":
        return reversed_resnet, reversed_settings(params)
    if kind == "efficientnet":
        width, depth, _ = efficientnet.SCALING[efficientnet_variant(params)]
        return EfficientNet, {"width": width, "depth": depth}
    return {
        "vgg16": (VGG, {}),
        "squeezenet": (SqueezeNet, {"normalisation": "caffe"}),
        "squeezenet1_0": (SqueezeNet, {"normalisation": "imagenet"}),
        "mobilenet_v2": (MobileNetV2, {"padding": "symmetric", "normalisation": "imagenet"}),
        "tf_mobilenet_v2": (MobileNetV2, {"padding": "same", "normalisation": "signed"}),
    }[kind]


def efficientnet_variant(params: PyTree) -> str:
    """The variant, such as "b4", whose blocks have as many channels as the weights."""
    found = [
        params[f"block{i}"]["project_conv"]["conv"]["kernel"].shape[-1]
        for i in range(sum(name.startswith("block") for name in params))
    ]
    for variant, (width, depth, _) in efficientnet.SCALING.items():
        if [block.channels for block in efficientnet.blocks(width, depth)] == found:
            return variant
    known = ", ".join(efficientnet.SCALING)
    raise ValueError(f"EfficientNet {known} have other channels than these weights: {found}")


def reversed_settings(params: PyTree) -> dict:
    """Of a `reversed_resnet`: three maps, as all that were published."""
    decoder, unit = params["decoder"], params["bottleneck"]["unit0"]
    bottleneck = "conv3" in unit
    channels = tuple(decoder[f"layer{s}_0"]["upsample_bn"]["scale"].size for s in (3, 2, 1))
    inner = unit["conv1"]["conv"]["kernel"].shape[-1]
    return {
        "channels": channels,
        "strides": (2, 2),
        "units": tuple(sum(n.startswith(f"layer{s}_") for n in decoder) for s in (1, 2, 3)),
        "bottleneck": bottleneck,
        # Inside the embedding's blocks, which have twice the last map's channels at their end.
        "base_width": 64 * inner * 4 // (2 * channels[-1]) if bottleneck else 64,
    }


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    result.add_argument(
        "file", help=".pth, .pt, .bin, .ckpt (PyTorch's zip format), .safetensors, .npz"
    )
    result.add_argument("name", help="of the weight set to write")
    result.add_argument("--kind", choices=convert.CONVERTERS, help="network, if not recognised")
    result.add_argument("--prefix", help="take this part of the file only: teacher, module")
    result.add_argument("--dtype", choices=("float32", "float16"), default="float32")
    result.add_argument("--origin", default="", help="where the file comes from")
    result.add_argument("--licence", default="unknown: see where the file comes from")
    result.add_argument("--folder", default=Path(__file__).parent, help="to write into")
    return result


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
