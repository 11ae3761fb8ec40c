"""Single layers out of a PyTorch state dict."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

Arrays = Mapping[str, np.ndarray]


def kernel(weight: Float[np.ndarray, "D C h w"]) -> Float[np.ndarray, "h w C D"]:
    """A convolution's weight, torch's (out, in, h, w), as Flax's (h, w, in, out)."""
    return np.asarray(weight, np.float32).transpose(2, 3, 1, 0)


def conv(arrays: Arrays, name: str) -> dict:
    """Parameters of a `layers.Conv` from `<name>.weight` and, where there is one, `<name>.bias`.

    Raises:
      ValueError: there is no such weight, or it is not a convolution's.
    """
    weight = get(arrays, f"{name}.weight")
    if weight.ndim != 4:
        raise ValueError(f"{name}.weight has shape {weight.shape}, expected (out, in, h, w)")
    tree = {"kernel": kernel(weight)}
    if f"{name}.bias" in arrays:
        tree["bias"] = vector(arrays, f"{name}.bias")
    return {"conv": tree}


def batch_norm(arrays: Arrays, name: str) -> tuple[dict, dict]:
    """Parameters and statistics of a `norms.BatchNorm`.

    Raises:
      ValueError: one of the four vectors is missing.
    """
    parts = ("weight", "bias", "running_mean", "running_var")
    scale, bias, mean, var = (vector(arrays, f"{name}.{part}") for part in parts)
    return {"scale": scale, "bias": bias}, {"mean": mean, "var": var}


def normed_conv(
    arrays: Arrays, name: str, norm: str, epsilon: float
) -> tuple[dict, tuple[dict, dict]]:
    """Parameters of a convolution without bias, and its batch norm's parameters and statistics.

    Where the norm is already folded into the convolution's weight and bias (there is a bias and no
    norm), the norm becomes the identity with that bias, so that one module serves both.

    Raises:
      ValueError: a weight is missing.
    """
    tree = conv(arrays, name)["conv"]
    bias = tree.pop("bias", None)
    if f"{norm}.weight" in arrays or bias is None:
        return {"conv": tree}, batch_norm(arrays, norm)
    one, zero = np.ones_like(bias), np.zeros_like(bias)
    identity = {"scale": one, "bias": bias}, {"mean": zero, "var": one - np.float32(epsilon)}
    return {"conv": tree}, identity


def sequential(arrays: Arrays) -> list[str]:
    """The layers of an `nn.Sequential` in order, "0", "3", ...; none where layers have names."""
    layers = {name.split(".")[0] for name in arrays}
    return sorted((layer for layer in layers if layer.isdecimal()), key=int)


def get(arrays: Arrays, name: str) -> np.ndarray:
    """The array `name`; ValueError where there is none."""
    if name not in arrays:
        raise ValueError(f"there is no weight {name!r} among: {some(arrays)}")
    return arrays[name]


def vector(arrays: Arrays, name: str) -> Float[np.ndarray, "C"]:
    """The array `name` as float32; ValueError where there is none."""
    return np.asarray(get(arrays, name), np.float32)


def some(arrays: Arrays) -> str:
    """The first names, for a message."""
    names = list(arrays)
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
