"""Which network some converted weights belong to, and its settings."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jaxad.nets import efficientnet, efficientnet_lite
from jaxad.nets.autoencoder import Autoencoder
from jaxad.nets.efficientnet import EfficientNet
from jaxad.nets.efficientnet_lite import EfficientNetLite
from jaxad.nets.mobilenet import MobileNetV2
from jaxad.nets.pdn import PDN
from jaxad.nets.resnet import ResNet
from jaxad.nets.reversed_resnet import reversed_resnet
from jaxad.nets.squeezenet import SqueezeNet
from jaxad.nets.vgg import VGG

SIDE = 256  # of the images for which shapes are compared; they are the same for any other


def shapes(network: Callable[..., Any], settings: dict) -> PyTree:
    """The shapes of all weights of a network with these settings."""
    return jax.eval_shape(network(**settings).init, jax.random.key(0), inputs(settings))


def inputs(settings: dict) -> PyTree:
    """Shapes of what a network takes: images or, where it restores them, an encoder's maps."""
    shapes = [(SIDE, 3)]
    if "strides" in settings:
        channels, strides = settings["channels"], settings["strides"]
        sides = SIDE // np.cumprod((4, *strides))
        shapes = list(zip(sides.tolist(), channels, strict=True))
    found = [jax.ShapeDtypeStruct((1, side, side, c), "float32") for side, c in shapes]
    return found if "strides" in settings else found[0]


def network(kind: str, tree: PyTree) -> tuple[Callable[..., Any], dict]:
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
    if kind.startswith("resnet"):
        first = params["layer1_0"]
        blocks = [sum(name.startswith(f"layer{i}_") for name in params) for i in (1, 2, 3, 4)]
        return ResNet, {
            "blocks": tuple(count for count in blocks if count),
            "bottleneck": "conv3" in first,
            "base_width": first["conv1"]["conv"]["kernel"].shape[-1],
        }
    if kind == "reverse_distillation":
        return reversed_resnet, reversed_settings(params)
    if kind == "efficientnet":
        width, depth = efficientnet_scaling(params)
        return EfficientNet, {"width": width, "depth": depth}
    if kind == "efficientnet_lite":
        width, depth = efficientnet_lite_scaling(params)
        return EfficientNetLite, {"width": width, "depth": depth}
    return {
        "vgg16": (VGG, {}),
        "squeezenet": (SqueezeNet, {"normalisation": "caffe"}),
        "squeezenet1_0": (SqueezeNet, {"normalisation": "imagenet"}),
        "mobilenet_v2": (MobileNetV2, {"padding": "symmetric", "normalisation": "imagenet"}),
        "tf_mobilenet_v2": (MobileNetV2, {"padding": "same", "normalisation": "signed"}),
    }[kind]


def efficientnet_scaling(params: PyTree) -> tuple[float, float]:
    """Width and depth of the variant, such as B4, whose blocks have the weights' channels."""
    channels = {
        (width, depth): [block.channels for block in efficientnet.blocks(width, depth)]
        for width, depth, _ in efficientnet.SCALING.values()
    }
    return _with_channels_of(params, channels, "B0 to B4")


def efficientnet_lite_scaling(params: PyTree) -> tuple[float, float]:
    """Width and depth of the variant, such as Lite2, whose blocks have the weights' channels."""
    channels = {
        (width, depth): [
            stage.channels
            for stage in efficientnet_lite.stages(width, depth)
            for _ in range(stage.blocks)
        ]
        for width, depth, _ in efficientnet_lite.SCALING.values()
    }
    return _with_channels_of(params, channels, "Lite0 to Lite4")


def _with_channels_of(
    params: PyTree, channels: dict[tuple[float, float], list[int]], known: str
) -> tuple[float, float]:
    found = [
        params[f"block{i}"]["project_conv"]["conv"]["kernel"].shape[-1]
        for i in range(sum(name.startswith("block") for name in params))
    ]
    for scaling, wanted in channels.items():
        if wanted == found:
            return scaling
    raise ValueError(f"EfficientNet {known} have other channels than these weights: {found}")


def reversed_settings(params: PyTree) -> dict:
    """Of a `reversed_resnet`: three maps, as all that were published."""
    decoder, unit = params["decoder"], params["bottleneck"]["unit0"]
    bottleneck = "conv3" in unit
    channels = tuple(decoder[f"layer{s}_0"]["upsample_bn"]["scale"].size for s in (3, 2, 1))
    inner = unit["conv1"]["conv"]["kernel"].shape[-1]
    return {
        "channels": channels,
        "strides": (2, 2),
        "units": tuple(sum(n.startswith(f"layer{s}_") for n in decoder) for s in (1, 2, 3)),
        "bottleneck": bottleneck,
        # Inside the embedding's blocks, which have twice the last map's channels at their end.
        "base_width": 64 * inner * 4 // (2 * channels[-1]) if bottleneck else 64,
    }
