"""Networks without norms: VGG-16 and SqueezeNet."""

from jaxad.nets.convert.layers import Arrays, conv, get
from jaxad.nets.squeezenet import FIRE

VGG16 = {  # number in torchvision's `features`
    "conv1_1": 0, "conv1_2": 2,
    "conv2_1": 5, "conv2_2": 7,
    "conv3_1": 10, "conv3_2": 12, "conv3_3": 14,
    "conv4_1": 17, "conv4_2": 19, "conv4_3": 21,
    "conv5_1": 24, "conv5_2": 26, "conv5_3": 28,
}  # fmt: skip
SQUEEZENET = {  # number in torchvision's `features` of version 1.0
    "fire2": 3, "fire3": 4, "fire4": 5, "fire5": 7,
    "fire6": 8, "fire7": 9, "fire8": 10, "fire9": 12,
}  # fmt: skip
FIRE_LAYERS = {"squeeze1x1": "squeeze", "expand1x1": "expand1x1", "expand3x3": "expand3x3"}


def vgg16(arrays: Arrays) -> dict:
    """Variables of a `nets.vgg.VGG` from torchvision's `vgg16`.

    Raises:
      ValueError: a convolution is missing.
    """
    params = {name: conv(arrays, f"features.{number}") for name, number in VGG16.items()}
    return {"params": params}


def squeezenet(arrays: Arrays) -> dict:
    """Variables of a `nets.squeezenet.SqueezeNet` from the names and layouts of its Caffe model.

    Raises:
      ValueError: a convolution is missing.
    """
    params = {"conv1": conv(arrays, "conv1")}
    for fire in FIRE:
        params[fire] = {layer: conv(arrays, f"{fire}/{layer}") for layer in FIRE_LAYERS}
    return {"params": params}


def torchvision_squeezenet(arrays: Arrays) -> dict:
    """Variables of a `nets.squeezenet.SqueezeNet("imagenet")` from torchvision's `squeezenet1_0`.

    Raises:
      ValueError: a convolution is missing.
    """
    caffe = {"conv1": "features.0"}
    for fire, number in SQUEEZENET.items():
        caffe |= {f"{fire}/{ours}": f"features.{number}.{x}" for ours, x in FIRE_LAYERS.items()}
    return squeezenet(
        {
            f"{ours}.{part}": get(arrays, f"{theirs}.{part}")
            for ours, theirs in caffe.items()
            for part in ("weight", "bias")
        }
    )
