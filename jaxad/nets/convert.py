"""PyTorch names and layouts -> parameter trees, in numpy."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from jaxad.nets.resnet import EPSILON

Arrays = Mapping[str, np.ndarray]

AUTOENCODER = (*(f"enconv{i}" for i in range(1, 7)), *(f"deconv{i}" for i in range(1, 9)))
NORMS = {"conv1": "bn1", "conv2": "bn2", "conv3": "bn3", "downsample.0": "downsample.1"}
OURS = {"downsample.0": "downsample_conv", "downsample.1": "downsample_bn"}


def kernel(weight: Float[np.ndarray, "D C h w"]) -> Float[np.ndarray, "h w C D"]:
    """A convolution's weight, torch's (out, in, h, w), as Flax's (h, w, in, out)."""
    return np.asarray(weight, np.float32).transpose(2, 3, 1, 0)


def conv(arrays: Arrays, name: str) -> dict:
    """Parameters of a `layers.Conv` from `<name>.weight` and, where there is one, `<name>.bias`.

    Raises:
      ValueError: there is no such weight, or it is not a convolution's.
    """
    weight = _get(arrays, f"{name}.weight")
    if weight.ndim != 4:
        raise ValueError(f"{name}.weight has shape {weight.shape}, expected (out, in, h, w)")
    tree = {"kernel": kernel(weight)}
    if f"{name}.bias" in arrays:
        tree["bias"] = _vector(arrays, f"{name}.bias")
    return {"conv": tree}


def pdn(arrays: Arrays) -> dict:
    """Variables of a `nets.pdn.PDN`, small or medium, teacher or student.

    The names are those of nelson1425/EfficientAD's teacher files (an `nn.Sequential`: "0.weight",
    "3.weight", ...) or anomalib's ("conv1.weight", ...).

    Raises:
      ValueError: there are not the four convolutions of PDN-S or the six of PDN-M.
    """
    named = [f"conv{i}" for i in range(1, 7) if f"conv{i}.weight" in arrays]
    names = _sequential(arrays) or named
    if len(names) not in (4, 6):
        raise ValueError(
            f"a PDN has 4 (S) or 6 (M) convolutions, these weights {len(names)}: {_some(arrays)}"
        )
    return {"params": {f"conv{i}": conv(arrays, name) for i, name in enumerate(names, start=1)}}


def autoencoder(arrays: Arrays) -> dict:
    """Variables of a `nets.autoencoder.Autoencoder`.

    The names are anomalib's ("encoder.enconv1.weight", ...) or numbers of an `nn.Sequential`, as in
    nelson1425/EfficientAD.

    Raises:
      ValueError: a convolution is missing.
    """
    groups = {"en": "encoder", "de": "decoder"}
    names = _sequential(arrays) or [f"{groups[name[:2]]}.{name}" for name in AUTOENCODER]
    if len(names) != len(AUTOENCODER):
        raise ValueError(f"the autoencoder has 14 convolutions, these weights have {len(names)}")
    ours = zip(AUTOENCODER, names, strict=True)
    return {"params": {name: conv(arrays, theirs) for name, theirs in ours}}


def resnet(arrays: Arrays) -> dict:
    """Variables of a `nets.resnet.ResNet` from a torchvision state dict (stages 1 to 3).

    Where batch norm is already folded into weight and bias (no `bn1.weight` in `arrays`), the norm
    becomes the identity with the folded bias, so one module serves both.

    Raises:
      ValueError: a weight of the stem, or of a block that is there, is missing.
    """
    _get(arrays, "layer1.0.conv1.weight")  # else it is another network's
    params, stats = _with_norms(arrays, "", ["conv1"])
    stages = ("layer1", "layer2", "layer3")
    for stage, block in sorted({tuple(name.split(".")[:2]) for name in arrays}):
        if stage in stages:
            prefix = f"{stage}.{block}."
            present = [n for n in ("conv3", "downsample.0") if f"{prefix}{n}.weight" in arrays]
            name, names = f"{stage}_{block}", ["conv1", "conv2", *present]
            params[name], stats[name] = _with_norms(arrays, prefix, names)
    return {"params": params, "batch_stats": stats}


def _with_norms(arrays: Arrays, prefix: str, names: list[str]) -> tuple[dict, dict]:
    """Parameters and statistics of convolutions and of the batch norm that follows each."""
    folded = "bn1.weight" not in arrays
    params, stats = {}, {}
    for name in names:
        weights = conv(arrays, f"{prefix}{name}")["conv"]
        norm = NORMS[name]
        if folded:
            bias = _vector(arrays, f"{prefix}{name}.bias")
            scale, mean, var = np.ones_like(bias), np.zeros_like(bias), np.ones_like(bias) - EPSILON
        else:
            parts = ("weight", "bias", "running_mean", "running_var")
            scale, bias, mean, var = (_vector(arrays, f"{prefix}{norm}.{part}") for part in parts)
        name, norm = OURS.get(name, name), OURS.get(norm, norm)
        params[name] = {"conv": {"kernel": weights["kernel"]}}
        params[norm] = {"scale": scale, "bias": bias}
        stats[norm] = {"mean": mean, "var": var}
    return params, stats


CONVERTERS = {"pdn": pdn, "autoencoder": autoencoder, "resnet": resnet}


def kind(arrays: Arrays) -> str:
    """Which of `CONVERTERS` the names in `arrays` belong to.

    Raises:
      ValueError: none.
    """
    convolutions = len(_sequential(arrays))
    if "layer1.0.conv1.weight" in arrays:
        return "resnet"
    if "encoder.enconv1.weight" in arrays or convolutions == 14:
        return "autoencoder"
    if "conv4.weight" in arrays or convolutions in (4, 6):
        return "pdn"
    raise ValueError(f"no network here has weights of these names: {_some(arrays)}")


def below(arrays: Arrays, prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin with `<prefix>.`, without it: a part of a larger model.

    Raises:
      ValueError: there are none.
    """
    prefix = f"{prefix.rstrip('.')}."
    part = {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
    if not part:
        raise ValueError(f"no weight's name begins with {prefix!r}: {_some(arrays)}")
    return part


def _sequential(arrays: Arrays) -> list[str]:
    """The layers of an `nn.Sequential` in order, "0", "3", ...; none where layers have names."""
    layers = {name.split(".")[0] for name in arrays}
    return sorted((layer for layer in layers if layer.isdecimal()), key=int)


def _get(arrays: Arrays, name: str) -> np.ndarray:
    if name not in arrays:
        raise ValueError(f"there is no weight {name!r} among: {_some(arrays)}")
    return arrays[name]


def _vector(arrays: Arrays, name: str) -> Float[np.ndarray, "C"]:
    return np.asarray(_get(arrays, name), np.float32)


def _some(arrays: Arrays) -> str:
    names = list(arrays)
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
