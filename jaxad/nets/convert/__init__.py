"""Published names and layouts -> parameter trees, in numpy."""

from functools import partial

import numpy as np

from jaxad.nets.convert.chains import squeezenet, torchvision_squeezenet, vgg16
from jaxad.nets.convert.layers import Arrays, batch_norm, conv, kernel, sequential, some
from jaxad.nets.convert.mobile import (
    efficientnet,
    efficientnet_lite,
    mobilenet_v2,
    tf_mobilenet_v2,
)
from jaxad.nets.convert.patches import autoencoder, pdn
from jaxad.nets.convert.residual import resnet
from jaxad.nets.convert.reversed import reverse_distillation

__all__ = [
    "CONVERTERS",
    "Arrays",
    "autoencoder",
    "batch_norm",
    "below",
    "conv",
    "efficientnet",
    "efficientnet_lite",
    "kernel",
    "kind",
    "mobilenet_v2",
    "pdn",
    "resnet",
    "reverse_distillation",
    "squeezenet",
    "tf_mobilenet_v2",
    "torchvision_squeezenet",
    "vgg16",
]

CONVERTERS = {
    "pdn": pdn,
    "autoencoder": autoencoder,
    "resnet": resnet,
    "resnet_layer4": partial(resnet, layer4=True),
    "vgg16": vgg16,
    "squeezenet": squeezenet,
    "squeezenet1_0": torchvision_squeezenet,
    "mobilenet_v2": mobilenet_v2,
    "tf_mobilenet_v2": tf_mobilenet_v2,
    "efficientnet": efficientnet,
    "efficientnet_lite": efficientnet_lite,
    "reverse_distillation": reverse_distillation,
}
SIGNS = {  # names that only this network, or none before it, has
    "layer1.0.conv1.weight": "resnet",
    "fire2/squeeze1x1.weight": "squeezenet",
    "features.3.squeeze.weight": "squeezenet1_0",
    "features.1.conv.0.0.weight": "mobilenet_v2",
    "001_conv.w": "tf_mobilenet_v2",
    "blocks.0.0.se.conv_reduce.weight": "efficientnet",
    "_blocks.0._se_reduce.weight": "efficientnet",
    "blocks.0.0.conv_dw.weight": "efficientnet_lite",
    "_blocks.0._depthwise_conv.weight": "efficientnet_lite",
    "encoder.enconv1.weight": "autoencoder",
    "conv4.weight": "pdn",
    "bn.bn_layer.0.conv1.weight": "reverse_distillation",
}


def kind(arrays: Arrays) -> str:
    """Which of `CONVERTERS` the names in `arrays` belong to.

    Raises:
      ValueError: none.
    """
    for sign, network in SIGNS.items():
        if sign in arrays:
            return network
    # Other VGGs share names with VGG-16, not all; the plain one has convolution 28, and no 16.
    last = arrays.get("features.28.weight")
    if "features.16.weight" not in arrays and last is not None and last.ndim == 4:
        return "vgg16"
    convolutions = len(sequential(arrays))
    if convolutions in (4, 6, 14):
        return "autoencoder" if convolutions == 14 else "pdn"
    raise ValueError(f"no network here has weights of these names: {some(arrays)}")


def below(arrays: Arrays, prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin with `<prefix>.`, without it: a part of a larger model.

    Raises:
      ValueError: there are none.
    """
    prefix = f"{prefix.rstrip('.')}."
    part = {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
    if not part:
        raise ValueError(f"no weight's name begins with {prefix!r}: {some(arrays)}")
    return part
