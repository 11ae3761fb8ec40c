"""Weights that come from outside a run: found by name, checked, loaded; and written.

A weight set is a folder `<name>/` with two files. `weights.npz` holds the arrays, float16 or
float32, under the tree's keys joined by "/", such as "params/conv1/conv/kernel". `about.json` holds
their checksum under "sha256" and, for people, "origin", "licence", "command" and the like.
"""

import difflib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import DTypeLike, PyTree

from jaxad.weights import packages

WEIGHTS, ABOUT = "weights.npz", "about.json"
Folder = str | os.PathLike[str]


_TORCHVISION = "https://github.com/pytorch/vision"
_LUKEMELAS = "https://github.com/lukemelas/EfficientNet-PyTorch"
_EFFICIENTAD = "https://github.com/nelson1425/EfficientAD"
# The published file of a set that goes by the name of its network, and where it is from.
PUBLISHED = {
    "pdn_small_published": ("teacher_small.pth", _EFFICIENTAD),
    "pdn_medium_published": ("teacher_medium.pth", _EFFICIENTAD),
    "resnet18": ("resnet18-f37072fd.pth", _TORCHVISION),
    "resnet34": ("resnet34-b627a593.pth", _TORCHVISION),
    "resnet50": ("resnet50-0676ba61.pth", _TORCHVISION),
    "wide_resnet50_2": ("wide_resnet50_2-95faca4d.pth", _TORCHVISION),
    "wide_resnet101_2": ("wide_resnet101_2-32ee1156.pth", _TORCHVISION),
    "vgg16": ("vgg16-397923af.pth", _TORCHVISION),
    "mobilenet_v2": ("mobilenet_v2-b0353104.pth", _TORCHVISION),
    "squeezenet1_0": ("squeezenet1_0-b66bff10.pth", _TORCHVISION),
    "efficientnet_b0": ("efficientnet-b0-355c32eb.pth", _LUKEMELAS),
    "efficientnet_b1": ("efficientnet-b1-f1951068.pth", _LUKEMELAS),
    "efficientnet_b2": ("efficientnet-b2-8bb594d6.pth", _LUKEMELAS),
    "efficientnet_b3": ("efficientnet-b3-5fb5a3c3.pth", _LUKEMELAS),
    "efficientnet_b4": ("efficientnet-b4-6ed6700e.pth", _LUKEMELAS),
}


# Sets of this project that a clone has, and an installed package has not: their terms forbid it.
OWN_SETS = ("pdn_small", "patch_17", "patch_33", "patch_65")
OWN = (
    "They lie in checkpoints/ of jaxad's repository, for research only: name that folder in "
    "$JAXAD_CHECKPOINTS"
)


def load_pretrained(names: Sequence[str] | str, folder: Folder | None = None) -> dict[str, PyTree]:
    """The weight sets `names`, each a tree of float32 arrays under the name that was asked for.

    A name with a slash in it is the path of a weight set. Any other is looked for in `folder`, in
    $JAXAD_CHECKPOINTS, in `checkpoints/` of the current directory, in `checkpoints/` of the clone
    that this package runs from, in what is installed with it, then among the Python packages of
    `weights.packages`; the first one wins.

    Raises:
      FileNotFoundError: no such set, or `folder` or $JAXAD_CHECKPOINTS is not a folder; the message
        lists the sets there are and how to make one.
      ValueError: the checksum differs, or an array is not of finite float16 or float32 numbers.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_pretrained(f"{folder}/mine", {"params": {"bias": np.zeros(3)}}, {"licence": "CC0"})
    ...     load_pretrained("mine", folder)["mine"]["params"]["bias"].shape
    (3,)
    """
    names = (names,) if isinstance(names, str) else names
    found = {name: _find(name, folder) for name in names}
    return {
        name: _load(path) if path else jax.tree.map(jnp.asarray, packages.load(name))
        for name, path in found.items()
    }


def about(name: str, folder: Folder | None = None) -> dict[str, Any]:
    """What `about.json` says of a weight set; raises as `load_pretrained` does."""
    path = _find(name, folder)
    return _about(path) if path else packages.about(name)


def available(folder: Folder | None = None) -> dict[str, Path]:
    """{name: file} of the weight sets that `load_pretrained` finds by name."""
    found = [path for place in _places(folder) for path in sorted(place.glob(f"*/{WEIGHTS}"))]
    # The first place wins.
    there = packages.installed() | {path.parent.name: path for path in reversed(found)}
    return dict(sorted(there.items()))


def terms(name: str, folder: Folder | None = None) -> str:
    """The licence of a weight set, as its `about.json` states it; raises as `about`."""
    return about(name, folder).get("licence", "unknown: its about.json names no licence")


def weights_of(pretrained: Mapping[str, PyTree], name: str) -> PyTree:
    """One of the trees that a method is given.

    Raises:
      ValueError: it is not among them.
    """
    if name not in pretrained:
        raise ValueError(
            f"weights={name} is not among the weights that are given ({', '.join(pretrained)}): "
            "give what load_pretrained(cfg.weights) returns"
        )
    return pretrained[name]


def save_pretrained(
    folder: Folder, tree: PyTree, about: dict[str, Any], dtype: DTypeLike = np.float16
) -> None:
    """Writes `tree` as the weight set `folder`, and `about` with the checksum added.

    An interruption leaves what was there before, or a mixture that fails its checksum.

    Raises:
      ValueError: a number is not finite, or too large for `dtype`.
    """
    folder = Path(folder)
    arrays = {}
    for leaf, value in _leaves(jax.device_get(tree)).items():
        _check_finite(value, leaf, str(folder))
        with np.errstate(over="ignore"):
            arrays[leaf] = np.asarray(value, dtype)
        if not np.isfinite(arrays[leaf]).all():
            raise ValueError(
                f"{leaf} reaches {np.abs(value).max():g}, too large for {np.dtype(dtype)}: "
                "save with dtype=float32"
            )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        weights, text = Path(temporary, WEIGHTS), Path(temporary, ABOUT)
        np.savez(weights, **arrays)
        about = {**about, "sha256": _sha256(weights)}
        text.write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        weights.replace(folder / WEIGHTS)
        text.replace(folder / ABOUT)


def check_tree(tree: PyTree, expected: PyTree, name: str) -> None:
    """Checks that the weights `name` fit a network.

    Args:
      tree: the weights.
      expected: a tree whose leaves have a shape, such as `jax.eval_shape(network.init, ...)` gives.
      name: for the message.

    Raises:
      ValueError: names the first leaf that is missing, unknown or of another shape.
    """
    found, wanted = (_shapes(x) for x in (tree, expected))
    for leaf in [*wanted, *(leaf for leaf in found if leaf not in wanted)]:
        if found.get(leaf) == wanted.get(leaf):
            continue
        if leaf not in found:
            what = f"{leaf} is missing"
        elif leaf not in wanted:
            what = f"{leaf} is unknown to it"
        else:
            what = f"{leaf} has shape {found[leaf]}, expected {wanted[leaf]}"
        raise ValueError(f"wrong file for this network: in the weights {name!r}, {what}")


def _find(name: str, folder: Folder | None) -> Path | None:
    """The folder of a weight set; None where a Python package that is installed has it."""
    if "/" in name or os.sep in name:
        path = Path(name).expanduser()
        if not (path / WEIGHTS).is_file():
            raise FileNotFoundError(f"there are no weights at {path}: {path / WEIGHTS} is missing")
        return path
    places = _places(folder)
    for place in places:
        if (place / name / WEIGHTS).is_file():
            return place / name
    there = sorted(available(folder))
    if name in packages.installed():
        return None
    close = difflib.get_close_matches(name, there, n=1)
    raise FileNotFoundError(
        f"there are no weights {name!r}{f' (did you mean {close[0]!r}?)' if close else ''}; there "
        f"are: {', '.join(there) or 'none'}; looked for {name}/{WEIGHTS} in: "
        f"{', '.join(map(str, places))}. {_remedy(name)}"
    )


def _remedy(name: str) -> str:
    """How weights of this name are had."""
    if name in OWN_SETS:
        return OWN
    if name in packages.PACKAGES:
        return packages.remedy(name)
    file, origin = PUBLISHED.get(name, ("FILE", "the sources that checkpoints/README.md lists"))
    return f"`jaxad weights convert {file} {name}` makes them of {file} from {origin}"


def _places(folder: Folder | None) -> list[Path]:
    places = []
    for given in (folder, os.environ.get("JAXAD_CHECKPOINTS")):
        if given:
            place = Path(given).expanduser()
            if not place.is_dir():
                raise FileNotFoundError(f"there is no folder of weights {place}")
            places.append(place)
    package = Path(__file__).resolve().parents[1]
    places += [Path.cwd() / "checkpoints", package.parent / "checkpoints", package / "checkpoints"]
    return list(dict.fromkeys(places))


def _about(folder: Path) -> dict[str, Any]:
    if not (folder / ABOUT).is_file():
        raise FileNotFoundError(
            f"{folder / ABOUT} is missing, so the weights beside it cannot be checked: copy both"
        )
    try:
        found = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        found["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / ABOUT} is not JSON with a 'sha256'") from error
    return found


def _load(folder: Path) -> PyTree:
    said = _about(folder)
    found, expected = _sha256(folder / WEIGHTS), said["sha256"]
    if found != expected:
        raise ValueError(
            f"{folder / WEIGHTS} is damaged or was changed: its sha256 is {found}, {ABOUT} says "
            f"{expected}; restore it, or make it again: {said.get('command', 'no command known')}"
        )
    tree = {}
    with np.load(folder / WEIGHTS, allow_pickle=False) as arrays:
        for leaf in arrays.files:
            value = arrays[leaf]
            _check_finite(value, leaf, str(folder / WEIGHTS))
            tree[leaf] = jnp.asarray(value, jnp.float32)
    return unflatten_dict(tree, sep="/")


def _check_finite(value: Any, leaf: str, where: str) -> None:
    if not np.issubdtype(np.asarray(value).dtype, np.floating):
        raise ValueError(f"{where}: {leaf} holds {np.asarray(value).dtype}, expected floats")
    if not np.isfinite(value).all():
        raise ValueError(f"{where}: {leaf} holds NaN or infinity")


def _shapes(tree: PyTree) -> dict[str, tuple[int, ...]]:
    return {leaf: tuple(x.shape) for leaf, x in _leaves(tree).items()}


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _leaves(tree: PyTree) -> dict[str, Any]:
    return flatten_dict(tree, sep="/")
