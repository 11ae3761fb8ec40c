"""torchvision's residual networks."""

from jaxad.nets.convert.layers import Arrays, get, normed_conv
from jaxad.nets.resnet import EPSILON

NORMS = {"conv1": "bn1", "conv2": "bn2", "conv3": "bn3", "downsample.0": "downsample.1"}
OURS = {"downsample.0": "downsample_conv", "downsample.1": "downsample_bn"}


def resnet(arrays: Arrays, layer4: bool = False) -> dict:
    """Variables of a `nets.resnet.ResNet` from a torchvision state dict.

    Batch norm may be folded into weight and bias already.

    Args:
      arrays: the state dict.
      layer4: whether to keep the last stage, which most methods do not use.

    Raises:
      ValueError: a weight of the stem, or of a block that is there, is missing; or there is no last
        stage to keep.
    """
    get(arrays, "layer1.0.conv1.weight")  # else it is another network's
    if layer4:
        get(arrays, "layer4.0.conv1.weight")
    params, stats = _layers(arrays, "", ["conv1"])
    stages = ("layer1", "layer2", "layer3", "layer4")[: 4 if layer4 else 3]
    for stage, block in sorted({tuple(name.split(".")[:2]) for name in arrays}):
        if stage in stages:
            prefix = f"{stage}.{block}."
            present = [n for n in ("conv3", "downsample.0") if f"{prefix}{n}.weight" in arrays]
            name, names = f"{stage}_{block}", ["conv1", "conv2", *present]
            params[name], stats[name] = _layers(arrays, prefix, names)
    return {"params": params, "batch_stats": stats}


def _layers(arrays: Arrays, prefix: str, names: list[str]) -> tuple[dict, dict]:
    """Parameters and statistics of convolutions and of the batch norm that follows each."""
    params, stats = {}, {}
    for name in names:
        norm = NORMS[name]
        ours, our_norm = OURS.get(name, name), OURS.get(norm, norm)
        params[ours], (params[our_norm], stats[our_norm]) = normed_conv(
            arrays, prefix + name, prefix + norm, EPSILON
        )
    return params, stats
