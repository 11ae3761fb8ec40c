"""Input tensors and lookup tables for the golden tests of UniAD, DiffusionAD and the smaller methods (numpy only).

Adds to `weights.py`, whose json layout and tolerances these goldens share:

    golden = load("uniad_small")
    params = parameters(golden.info["networks"]["model"])  # {name: array}, torch layout, float32
    x = inputs(golden.info)                                # {name: array}, torch layout
    assert golden.error("feature_rec", mine) < golden.tolerance("feature_rec")
    assert golden.scalar_error("loss_clean", loss) < golden.scalar_tolerance("loss_clean")

Every input has a generator of its own, `np.random.default_rng(seed)` with the pair `seed` from the json.
"""

import math

import numpy as np

from weights import load, values  # noqa: F401


def parameters(network):
    """All weights of one network, as `weights.parameters` but with one more kind: `embedding`, standard normal."""
    drawn = {}
    for i, (name, shape, kind) in enumerate(network["entries"]):
        if kind == "embedding":  # lookup tables: learned queries, row and column positions
            drawn[name] = (
                np.random.default_rng([network["seed"], i])
                .standard_normal(shape)
                .astype(np.float32)
            )
        elif kind != "skip":
            drawn[name] = values(shape, kind, network["seed"], i)
    total = float(sum(np.abs(x, dtype=np.float64).sum() for x in drawn.values()))
    if not math.isclose(total, network["abs_sum"], rel_tol=1e-9):
        raise ValueError(
            f"these weights are not the ones that were run: |w| adds to {total}, not {network['abs_sum']}"
        )
    return drawn


def draw(kind, shape, seed, scale=1.0, shift=0.0):
    """One input tensor: scale * draw + shift, drawn in float64 and rounded to float32."""
    rng = np.random.default_rng(seed)
    shape = tuple(shape)
    if kind == "normal":
        x = rng.standard_normal(shape)
    elif kind == "uniform":  # [0, 1)
        x = rng.uniform(0.0, 1.0, shape)
    elif kind == "relu_normal":  # like features after a rectifier
        x = np.maximum(rng.standard_normal(shape), 0.0)
    elif kind == "image":  # (..., height, width) in [0, 1): flat blocks of 8 x 8 plus noise
        x = 0.7 * blocks(rng, shape, 8) + 0.3 * rng.uniform(0.0, 1.0, shape)
    elif (
        kind == "binary"
    ):  # (..., height, width): blocks of 4 x 4, one with probability 0.3, else zero
        x = np.float64(blocks(rng, shape, 4) < 0.3)
    else:
        raise ValueError(f"no rule draws a {kind!r}")
    return (scale * x + shift).astype(np.float32)


def blocks(rng, shape, side):
    *lead, height, width = shape
    x = rng.uniform(0.0, 1.0, (*lead, -(-height // side), -(-width // side)))
    return np.repeat(np.repeat(x, side, -2), side, -1)[..., :height, :width]


def inputs(info):
    """All input tensors of one golden: {name: array}. Short ones are written out in the json under `values`."""
    made = {}
    for name, about in info["inputs"].items():
        if about["kind"] == "values":
            made[name] = np.asarray(about["values"], about["dtype"]).reshape(about["shape"])
            continue
        x = draw(
            about["kind"],
            about["shape"],
            about["seed"],
            about.get("scale", 1.0),
            about.get("shift", 0.0),
        )
        total = float(np.abs(x, dtype=np.float64).sum())
        if not math.isclose(total, about["abs_sum"], rel_tol=1e-9):
            raise ValueError(f"{name}: |x| adds to {total}, not {about['abs_sum']}")
        made[name] = x
    return made
