"""Published PyTorch weights -> a weight set beside this file. PyTorch itself is not needed.

    python checkpoints/convert.py teacher_small.pth pdn_small_published
    python checkpoints/convert.py wide_resnet101_2-32ee1156.pth wide_resnet101_2 --licence BSD-3

The network is recognised from the names of its weights. README.md beside this file says the rest.
"""

import argparse
import hashlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
from flax import linen as nn
from jaxtyping import PyTree

from jaxad.nets import convert
from jaxad.nets.autoencoder import Autoencoder
from jaxad.nets.pdn import PDN
from jaxad.nets.resnet import ResNet
from jaxad.nets.weight_file import read_state_dict
from jaxad.pretrained import WEIGHTS, check_tree, save_pretrained

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
    images = jax.ShapeDtypeStruct((1, SIDE, SIDE, 3), "float32")
    expected = jax.eval_shape(network(**settings).init, jax.random.key(0), images)
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


def describe(kind: str, tree: PyTree) -> tuple[type[nn.Module], dict]:
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
    first = params["layer1_0"]
    blocks = [sum(name.startswith(f"layer{i}_") for name in params) for i in (1, 2, 3)]
    return ResNet, {
        "blocks": tuple(blocks),
        "bottleneck": "conv3" in first,
        "base_width": first["conv1"]["conv"]["kernel"].shape[-1],
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
