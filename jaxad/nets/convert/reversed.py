"""Reverse distillation's bottleneck and decoder, as hq-deng/RD4AD saves them."""

import re

import numpy as np

from jaxad.nets.convert.layers import Arrays, batch_norm, conv, get

FUSION = {"1": "0_0", "2": "0_1", "3": "1_1"}  # theirs is for three maps
SIGNS = (
    "bn.bn_layer.0.conv1.weight",
    *(f"decoder.layer{stage}.0.upsample.1.weight" for stage in (1, 2, 3)),
)
SHORTCUTS = {
    "downsample.0": "downsample_conv", "downsample.1": "downsample_bn",
    "upsample.0": "upsample_conv", "upsample.1": "upsample_bn",
}  # fmt: skip


def reverse_distillation(arrays: Arrays) -> dict:
    """Variables of a `nets.reversed_resnet.ReversedResNet` from {"bn": ..., "decoder": ...}.

    The names are "bn.conv1.weight", "bn.bn_layer.0.conv1.weight", "decoder.layer1.0.conv1.weight".
    Their bottleneck's conv4 and bn4, which nothing uses, are left out.

    Raises:
      ValueError: a weight is missing.
    """
    for name in SIGNS:
        get(arrays, name)  # else it is another network's
    params: dict = {"bottleneck": {}, "decoder": {}}
    stats: dict = {"bottleneck": {}, "decoder": {}}
    for name in arrays:
        layer, _, leaf = name.rpartition(".")
        path = place(layer)
        if leaf != "weight" or path is None:
            continue
        *parents, last = path
        if np.ndim(arrays[name]) == 1:
            tree, _put(stats, parents)[last] = batch_norm(arrays, layer)
        elif arrays[name].shape[2:] == (2, 2):  # no other convolution there has this side
            tree = {"kernel": np.asarray(arrays[name], np.float32).transpose(0, 2, 3, 1)}
        else:
            tree = conv(arrays, layer)
        _put(params, parents)[last] = tree
    return {"params": params, "batch_stats": stats}


def place(layer: str) -> tuple[str, ...] | None:
    """Where a layer lies in the tree; None for those that are never used."""
    if match := re.fullmatch(r"bn\.(conv|bn)([1-4])", layer):
        kind, number = match.groups()
        return ("bottleneck", f"{kind}{FUSION[number]}") if number in FUSION else None
    if match := re.fullmatch(r"bn\.bn_layer\.(\d+)\.(.+)", layer):
        unit, name = match.groups()
        return "bottleneck", f"unit{unit}", SHORTCUTS.get(name, name)
    if match := re.fullmatch(r"decoder\.layer(\d+)\.(\d+)\.(.+)", layer):
        stage, unit, name = match.groups()
        return "decoder", f"layer{stage}_{unit}", SHORTCUTS.get(name, name)
    return None


def _put(tree: dict, path: list[str]) -> dict:
    """The part of a tree under a path, made where there is none."""
    for name in path:
        tree = tree.setdefault(name, {})
    return tree
