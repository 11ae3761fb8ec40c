"""Parameter trees of DiffusionAD's networks from the reference's state dicts."""

import jax
import jax.numpy as jnp
from weights import hwio

from jaxad.nets.unet import UNet


def unet(settings):
    """The U-Net that the settings of a golden describe."""
    sides = [int(side) for side in settings.get("attention_resolutions", "32,16,8").split(",")]
    multipliers = tuple(settings["channel_mults"])
    levels = range(len(multipliers))
    attention = tuple(level for level in levels if settings["img_size"] >> level in sides)
    return UNet(settings["base_channels"], multipliers, attention=attention)


def conv(arrays, name):
    return {"conv": {"kernel": hwio(arrays[f"{name}.weight"]), "bias": arrays[f"{name}.bias"]}}


def dense(arrays, name):
    weight = arrays[f"{name}.weight"]
    return {"kernel": weight.reshape(weight.shape[:2]).T, "bias": arrays[f"{name}.bias"]}


def scale(arrays, name):
    return {"scale": arrays[f"{name}.weight"], "bias": arrays[f"{name}.bias"]}


def residual(arrays, name):
    tree = {
        "norm1": scale(arrays, f"{name}.in_layers.0"),
        "conv1": conv(arrays, f"{name}.in_layers.2"),
        "time": dense(arrays, f"{name}.embed_layers.1"),
        "norm2": scale(arrays, f"{name}.out_layers.0"),
        "conv2": conv(arrays, f"{name}.out_layers.3"),
    }
    if f"{name}.skip_connection.weight" in arrays:
        tree["skip"] = conv(arrays, f"{name}.skip_connection")
    return tree


def attention(arrays, name):
    return {
        "norm": scale(arrays, f"{name}.norm"),
        "qkv": dense(arrays, f"{name}.to_qkv"),
        "output": dense(arrays, f"{name}.proj_out"),
    }


def unet_tree(arrays, network):
    """Parameters of a `UNet`."""
    tree = {
        "time": {
            "dense1": dense(arrays, "time_embedding.1"),
            "dense2": dense(arrays, "time_embedding.3"),
        },
        "input": conv(arrays, "down.0.0"),
        "middle_0": residual(arrays, "middle.0"),
        "middle_attention": attention(arrays, "middle.1"),
        "middle_1": residual(arrays, "middle.2"),
        "norm": scale(arrays, "out.0"),
        "output": conv(arrays, "out.2"),
    }
    downs = len(network.multipliers) * (network.blocks + 1) - 1
    ups = len(network.multipliers) * (network.blocks + 1)
    # "down.0" is the first convolution; within a stage a second part is attention or resampling.
    stages = [(f"down_{i}", f"down.{i + 1}") for i in range(downs)]
    stages += [(f"up_{i}", f"up.{i}") for i in range(ups)]
    for ours, theirs in stages:
        tree[ours] = residual(arrays, f"{theirs}.0")
        for part in (1, 2):
            if f"{theirs}.{part}.to_qkv.weight" in arrays:
                tree[f"{ours}_attention"] = attention(arrays, f"{theirs}.{part}")
            elif f"{theirs}.{part}.in_layers.2.weight" in arrays:
                tree[f"{ours}_resample"] = residual(arrays, f"{theirs}.{part}")
    return jax.tree.map(jnp.asarray, tree)


def segmentation_tree(arrays):
    """Variables of a `SegmentationUNet`."""
    params, stats = {}, {}

    def conv_norm(theirs, first):
        norm = f"{theirs}.{first + 1}"
        kernel, bias = (arrays[f"{theirs}.{first}.{part}"] for part in ("weight", "bias"))
        params = {"conv": {"conv": {"kernel": hwio(kernel)}}, "norm": scale(arrays, norm)}
        mean, var = arrays[f"{norm}.running_mean"] - bias, arrays[f"{norm}.running_var"]
        return params, {"norm": {"mean": mean, "var": var}}

    def block(ours, theirs):
        halves = conv_norm(theirs, 0), conv_norm(theirs, 3)
        params[ours], stats[ours] = (
            dict(zip(("first", "second"), part, strict=True)) for part in zip(*halves, strict=True)
        )

    for level in range(6):
        block(f"encoder_{level}", f"encoder_segment.block{level + 1}")
    for level, name in zip((4, 3, 2, 1, 0), ("b", "1", "2", "3", "4"), strict=True):
        theirs = f"decoder_segment.up{'_b' if name == 'b' else name}"
        params[f"up_{level}"], stats[f"up_{level}"] = conv_norm(theirs, 1)
        block(f"decoder_{level}", f"decoder_segment.db{'_b' if name == 'b' else name}")
    params["output"] = conv(arrays, "decoder_segment.fin_out.0")
    return jax.tree.map(jnp.asarray, {"params": params, "batch_stats": stats})
