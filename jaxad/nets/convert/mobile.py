"""Networks of inverted bottlenecks: MobileNetV2, EfficientNet, EfficientNet-Lite."""

from collections.abc import Mapping

import numpy as np

from jaxad.nets import efficientnet as network
from jaxad.nets.convert.layers import Arrays, conv, get, normed_conv
from jaxad.nets.mobilenet import BLOCKS, EPSILON

Pairs = Mapping[str, tuple[str, str]]  # our name of a convolution with its norm -> their two


def mobilenet_v2(arrays: Arrays) -> dict:
    """Variables of a `nets.mobilenet.MobileNetV2` from torchvision's `mobilenet_v2`.

    Raises:
      ValueError: a weight is missing.
    """
    params, stats = _layers(arrays, {"stem": ("features.0.0", "features.0.1")}, EPSILON)
    for i in range(1, BLOCKS + 1):
        prefix = f"features.{i}.conv"
        pairs = {
            "expand": (f"{prefix}.0.0", f"{prefix}.0.1"),
            "depthwise": (f"{prefix}.1.0", f"{prefix}.1.1"),
            "project": (f"{prefix}.2", f"{prefix}.3"),
        }
        if i == 1:
            pairs = {
                "depthwise": (f"{prefix}.0.0", f"{prefix}.0.1"),
                "project": (f"{prefix}.1", f"{prefix}.2"),
            }
        params[f"block{i}"], stats[f"block{i}"] = _layers(arrays, pairs, EPSILON)
    last = f"features.{BLOCKS + 1}"
    head, head_stats = _layers(arrays, {"head": (f"{last}.0", f"{last}.1")}, EPSILON)
    return {"params": params | head, "batch_stats": stats | head_stats}


def tf_mobilenet_v2(arrays: Arrays) -> dict:
    """Variables of a `MobileNetV2("same", "signed")` from a TensorFlow Lite file's arrays.

    Their names are numbered operations, "001_conv.w" and "001_conv.b", "002_dw.w", ..., with norms
    folded in; layouts are (out, h, w, in) and, for depthwise kernels, (1, h, w, channels).

    Raises:
      ValueError: the operations are not MobileNetV2's.
    """
    theirs = sorted(name.removesuffix(".w") for name in arrays if name.endswith(".w"))
    kinds = ["conv", *["dw", "conv"], *["conv", "dw", "conv"] * (BLOCKS - 1), "conv"]
    ours = ["0.0", "1.conv.0.0", "1.conv.1"]
    for i in range(2, BLOCKS + 1):
        ours += [f"{i}.conv.0.0", f"{i}.conv.1.0", f"{i}.conv.2"]
    ours.append(f"{BLOCKS + 1}.0")
    for i, kind in enumerate(kinds):
        found = theirs[i] if i < len(theirs) else "nothing"
        if found.partition("_")[2] != kind:
            raise ValueError(
                f"this is not MobileNetV2: where it has its {i + 1}. convolution, "
                f"an operation '..._{kind}', these weights have {found!r}"
            )
    renamed = {}
    for name, kind, our in zip(theirs, kinds, ours, strict=False):  # what is left is the classifier
        axes = (3, 0, 1, 2) if kind == "dw" else (0, 3, 1, 2)
        renamed[f"features.{our}.weight"] = np.transpose(get(arrays, f"{name}.w"), axes)
        renamed[f"features.{our}.bias"] = get(arrays, f"{name}.b")
    return mobilenet_v2(renamed)


def efficientnet(arrays: Arrays) -> dict:
    """Variables of a `nets.efficientnet.EfficientNet`, B0 to B4.

    The names are timm's ("blocks.0.0.conv_dw.weight", ...) or those of
    lukemelas/EfficientNet-PyTorch ("_blocks.0._depthwise_conv.weight", ...). The layers are the
    same; timm's `tf_` networks pad for the images at hand, the others for those trained on.

    Raises:
      ValueError: a weight is missing.
    """
    tree = _bottlenecks(arrays)
    timm = _is_timm(arrays)
    for i, prefix in enumerate(_blocks(arrays)):
        names = ("se.conv_reduce", "se.conv_expand") if timm else ("_se_reduce", "_se_expand")
        squeeze, excite = (conv(arrays, f"{prefix}{name}") for name in names)
        tree["params"][f"block{i}"] |= {"squeeze": squeeze, "excite": excite}
    return tree


def efficientnet_lite(arrays: Arrays) -> dict:
    """Variables of a `nets.efficientnet_lite.EfficientNetLite`, Lite0 to Lite4.

    The names are timm's or those of the package `efficientnet-lite-pytorch`, which are those of
    lukemelas/EfficientNet-PyTorch.

    Raises:
      ValueError: a weight is missing.
    """
    tree = _bottlenecks(arrays)
    head = {"head": ("conv_head", "bn2") if _is_timm(arrays) else ("_conv_head", "_bn1")}
    for part, layers in zip(tree, _layers(arrays, head, network.EPSILON), strict=True):
        tree[part] |= layers
    return tree


def _bottlenecks(arrays: Arrays) -> dict:
    """Stem and blocks, without squeeze and excitation."""
    timm = _is_timm(arrays)
    stem = {"stem": ("conv_stem", "bn1") if timm else ("_conv_stem", "_bn0")}
    params, stats = _layers(arrays, stem, network.EPSILON)
    for i, prefix in enumerate(_blocks(arrays)):
        pairs = (_timm if timm else _lukemelas)(arrays, prefix)
        params[f"block{i}"], stats[f"block{i}"] = _layers(arrays, pairs, network.EPSILON)
    return {"params": params, "batch_stats": stats}


def _is_timm(arrays: Arrays) -> bool:
    return "conv_stem.weight" in arrays


def _blocks(arrays: Arrays) -> list[str]:
    """What the names of each block's weights begin with, in order."""
    split = [name.split(".") for name in arrays]
    timm = {(int(s[1]), int(s[2])) for s in split if s[0] == "blocks"}
    lukemelas = {int(s[1]) for s in split if s[0] == "_blocks"}
    return [f"blocks.{i}.{j}." for i, j in sorted(timm)] + [
        f"_blocks.{i}." for i in sorted(lukemelas)
    ]


def _timm(arrays: Arrays, prefix: str) -> Pairs:
    if f"{prefix}conv_pwl.weight" in arrays:
        return {
            "expand": (f"{prefix}conv_pw", f"{prefix}bn1"),
            "depthwise": (f"{prefix}conv_dw", f"{prefix}bn2"),
            "project": (f"{prefix}conv_pwl", f"{prefix}bn3"),
        }
    return {
        "depthwise": (f"{prefix}conv_dw", f"{prefix}bn1"),
        "project": (f"{prefix}conv_pw", f"{prefix}bn2"),
    }


def _lukemelas(arrays: Arrays, prefix: str) -> Pairs:
    pairs = {
        "depthwise": (f"{prefix}_depthwise_conv", f"{prefix}_bn1"),
        "project": (f"{prefix}_project_conv", f"{prefix}_bn2"),
    }
    if f"{prefix}_expand_conv.weight" in arrays:
        pairs["expand"] = (f"{prefix}_expand_conv", f"{prefix}_bn0")
    return pairs


def _layers(arrays: Arrays, pairs: Pairs, epsilon: float) -> tuple[dict, dict]:
    """Parameters and statistics of convolutions and of the batch norm that follows each."""
    params, stats = {}, {}
    for ours, (theirs, norm) in pairs.items():
        conv_name, norm_name = f"{ours}_conv", f"{ours}_bn"
        params[conv_name], (params[norm_name], stats[norm_name]) = normed_conv(
            arrays, theirs, norm, epsilon
        )
    return params, stats
