"""Deterministic weights and images for the golden tests. Needs numpy only.

A golden is a pair of files. ``<name>.json`` says what was run and lists every weight by name, shape and kind;
``<name>.npz`` holds what came out. The weights themselves are not stored: each is drawn from its own generator,
``np.random.default_rng([seed, index])``, so any one of them can be made alone and in any order.

    golden = load("stfpm")
    teacher = parameters(golden.info["networks"]["teacher"])   # {name: array}, torch layout, float32
    x = images(golden.info["images"]["image"])                 # (N, 3, H, W), float32, in [0, 1]
    error = golden.error("anomaly_map", my_map)                # worst difference / RMS of the reference
    assert error < golden.tolerance("anomaly_map")
"""

import json
import math
import os
import pathlib
from typing import NamedTuple

import numpy as np

HERE = pathlib.Path(os.environ.get("JAXAD_GOLDEN") or pathlib.Path(__file__).parent)


def values(shape, kind, seed, index):
    """One weight: ``index`` is its place in the network's list of entries, ``kind`` the rule that draws it."""
    rng = np.random.default_rng([seed, index])
    shape = tuple(shape)
    if kind in ("conv", "linear"):  # (out, in / groups, height, width) or (out, in)
        x = rng.standard_normal(shape) * math.sqrt(2 / math.prod(shape[1:]))
    elif (
        kind == "conv_transpose"
    ):  # (in, out, 2, 2) with stride 2: one tap per input channel reaches each output
        x = rng.standard_normal(shape) * math.sqrt(2 / shape[0])
    elif kind in ("bias", "norm_bias"):
        x = rng.standard_normal(shape) * 0.05
    elif kind in ("norm_weight", "running_var"):
        x = rng.uniform(0.5, 1.5, shape)
    elif (
        kind == "branch_norm_weight"
    ):  # ends a residual branch: small, or depth would multiply the signal's scale
        x = rng.uniform(0.1, 0.4, shape)
    elif kind == "running_mean":
        x = rng.standard_normal(shape) * 0.1
    else:
        raise ValueError(f"no rule draws a {kind!r}")
    return x.astype(np.float32)


def parameters(network):
    """All weights of one network: ``{name: array}`` in torch layout. Entries of kind ``skip`` are left out."""
    drawn = {
        name: values(shape, kind, network["seed"], i)
        for i, (name, shape, kind) in enumerate(network["entries"])
        if kind != "skip"
    }
    total = float(sum(np.abs(x, dtype=np.float64).sum() for x in drawn.values()))
    if not math.isclose(total, network["abs_sum"], rel_tol=1e-9):
        raise ValueError(
            f"these weights are not the ones that were run: |w| adds to {total}, not {network['abs_sum']}"
        )
    return drawn


def images(recipe):
    """Smooth images in [0, 1], (N, 3, H, W): coarse random cells, interpolated, plus fine noise, times ``gain``, clipped."""
    n, channels, height, width = recipe["shape"]
    cells, noise = recipe["cells"], recipe["noise"]
    rng = np.random.default_rng(recipe["seed"])
    x = rng.random((n, channels, cells, cells))
    for axis, size in ((2, height), (3, width)):
        at = np.linspace(0, cells - 1, size)
        low = np.minimum(at.astype(int), cells - 2)
        part = (at - low).reshape([-1 if a == axis else 1 for a in range(4)])
        x = np.take(x, low, axis) * (1 - part) + np.take(x, low + 1, axis) * part
    x = ((1 - noise) * x + noise * rng.random((n, channels, height, width))).astype(np.float32)
    return np.clip(x * np.float32(recipe.get("gain", 1)), 0, 1)


def hwio(weight):
    """Convolution weight, torch (out, in, h, w) to Flax (h, w, in, out)."""
    return weight.transpose(2, 3, 1, 0)


def nhwc(x):
    return np.moveaxis(np.asarray(x), 1, -1)


def nchw(x):
    return np.moveaxis(np.asarray(x), -1, 1)


class Golden(NamedTuple):
    info: dict  # the json file
    arrays: dict  # the npz file

    def error(self, name, got):
        """Largest difference from the stored output, over the RMS of the reference. ``got`` has the reference's layout."""
        about, got = self.info["outputs"][name], np.asarray(got)
        if list(got.shape) != about["shape"]:
            raise ValueError(f"{name}: shape {list(got.shape)}, the reference has {about['shape']}")
        got = got.astype(np.float64)
        worst = np.abs(got.reshape(-1)[:: about["stride"]] - self.arrays[name].reshape(-1)).max()
        if "channel_mean" in about:
            axes = tuple(a for a in range(got.ndim) if a != 1)
            worst = max(worst, np.abs(got.mean(axes) - self.arrays[about["channel_mean"]]).max())
        return float(worst / about["rms"])

    def tolerance(self, name, slack=10):
        """``slack`` times what rounding to float32 did to the reference itself, and never below 1e-5."""
        return max(1e-5, slack * self.info["outputs"][name]["float32_error"])

    def scalar_error(self, name, got):
        """Relative difference from a stored number (a loss, a gradient's norm)."""
        want = self.info["scalars"][name]["value"]
        return abs(float(got) - want) / max(abs(want), 1e-12)

    def scalar_tolerance(self, name, slack=10):
        """As ``tolerance``; numbers with one prefix (``grad_norm/student/...``) share the worst error among them."""
        prefix = name.rpartition("/")[0]
        group = [
            about["float32_error"]
            for key, about in self.info["scalars"].items()
            if key == name or prefix and key.rpartition("/")[0] == prefix
        ]
        floor = (
            1e-3 if name.startswith(("grad_norm", "moved")) else 1e-5
        )  # a value rounded across a kink moves a gradient
        return max(floor, slack * max(group))


def load(name, folder=HERE):
    folder = pathlib.Path(folder)
    with np.load(folder / f"{name}.npz") as stored:
        return Golden(
            json.loads((folder / f"{name}.json").read_text()), {k: stored[k] for k in stored.files}
        )
