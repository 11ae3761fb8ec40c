"""DiffusionAD's networks against the numbers that the authors' PyTorch code returns."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from diffusionad_trees import segmentation_tree, unet, unet_tree
from weights import nchw, nhwc
from weights_b import inputs, parameters

from jaxad.nets.segmentation import SegmentationUNet
from jaxad.ops import losses

slow = pytest.mark.slow


@pytest.fixture(autouse=True)
def full_precision():
    with jax.default_matmul_precision("highest"):
        yield


def close(stored, name, value):
    assert stored.error(name, np.asarray(value)) < stored.tolerance(name), name


def close_scalar(stored, name, value):
    assert stored.scalar_error(name, value) < stored.scalar_tolerance(name), name


def setting(stored):
    """(network, parameters, x_t, t)."""
    network = unet(stored.info["settings"])
    params = unet_tree(parameters(stored.info["networks"]["unet"]), network)
    drawn = inputs(stored.info)
    return network, params, jnp.asarray(nhwc(drawn["x_t"])), jnp.asarray(drawn["t"], jnp.int32)


@pytest.mark.parametrize(
    "name",
    [
        "diffusionad_unet_small",
        pytest.param("diffusionad_unet_64", marks=slow),
        pytest.param("diffusionad_unet_args1", marks=slow),
    ],
)
def test_diffusionad_unet_estimate_and_inner_maps_equal_the_reference(golden, name):
    stored = golden(name)
    network, params, x, t = setting(stored)
    fresh = jax.eval_shape(network.init, jax.random.key(0), x, t)["params"]
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda leaf: leaf.shape, fresh)
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert count == stored.info["networks"]["unet"]["parameters"]

    def apply(params, x, t):
        return network.apply({"params": params}, x, t, capture_intermediates=True)

    noise, kept = jax.jit(apply)(params, x, t)
    inner = kept["intermediates"]
    close(stored, "noise", nchw(noise))
    close(stored, "time_embedding", inner["time"]["__call__"][0])
    first = "down_0_attention" if 0 in network.attention else "down_0"
    bottom = len(network.multipliers) - 1
    up = "up_0_attention" if bottom in network.attention else "up_0"
    for reference, ours in (("down_1", first), ("middle", "middle_1"), ("up_0", up)):
        close(stored, reference, nchw(inner[ours]["__call__"][0]))
    if "noise_weak_input" in stored.info["outputs"]:
        noise, _ = jax.jit(apply)(params, 0.01 * x, t)
        close(stored, "noise_weak_input", nchw(noise))


@slow
def test_diffusionad_unet_small_loss_and_gradients_equal_the_reference(golden):
    stored = golden("diffusionad_unet_small")
    network, params, x, t = setting(stored)
    target = nhwc(inputs(stored.info)["target"])

    @jax.jit
    @jax.value_and_grad
    def loss(params):
        return jnp.mean(jnp.square(network.apply({"params": params}, x, t) - target))

    value, grads = loss(params)
    close_scalar(stored, "loss", value)
    close_scalar(stored, "grad_norm", optax.tree.norm(grads))
    close(stored, "grad_first_conv", grads["input"]["conv"]["kernel"].transpose(3, 2, 0, 1))


@pytest.mark.parametrize(
    "name", ["diffusionad_seg_small", pytest.param("diffusionad_seg_full", marks=slow)]
)
def test_diffusionad_seg_equals_the_reference(golden, name):
    stored = golden(name)
    network = SegmentationUNet(stored.info["settings"]["base_channels"])
    variables = segmentation_tree(parameters(stored.info["networks"]["seg"]))
    drawn = inputs(stored.info)
    x = jnp.concatenate([nhwc(drawn[key]) for key in ("image", "reconstruction")], -1)
    fresh = jax.eval_shape(network.init, jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(lambda leaf: leaf.shape, fresh)
    count = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    # Theirs have a bias before each batch norm.
    biases = sum(leaf.size for leaf in jax.tree.leaves(variables["batch_stats"])) // 2
    assert count + biases == stored.info["networks"]["seg"]["parameters"]

    logits, kept = jax.jit(lambda v, x: network.apply(v, x, capture_intermediates=True))(
        variables, x
    )
    inner = kept["intermediates"]
    close(stored, "logits", logits[:, None])
    close(stored, "mask", jax.nn.sigmoid(logits)[:, None])
    close(stored, "b6", nchw(inner["encoder_5"]["__call__"][0]))


@pytest.mark.slow
def test_diffusionad_seg_small_training_mode_equals_the_reference(golden):
    stored = golden("diffusionad_seg_small")
    network = SegmentationUNet(stored.info["settings"]["base_channels"])
    variables = segmentation_tree(parameters(stored.info["networks"]["seg"]))
    drawn = inputs(stored.info)
    x = jnp.concatenate([nhwc(drawn[key]) for key in ("image", "reconstruction")], -1)
    target = jnp.asarray(drawn["target"][:, 0])

    @jax.jit
    def loss(params):
        both = {**variables, "params": params}
        logits, moved = network.apply(both, x, True, mutable=["batch_stats"])
        mask = jax.nn.sigmoid(logits)
        focal = losses.focal(mask, target, 0.5, 4.0).mean()
        smooth_l1 = losses.smooth_l1(mask, target).mean()
        return 5 * focal + smooth_l1, (logits, moved["batch_stats"], focal, smooth_l1)

    gradient = jax.value_and_grad(loss, has_aux=True)
    (value, (logits, stats, focal, smooth_l1)), grads = gradient(variables["params"])
    close(stored, "logits_train", logits[:, None])
    close(stored, "mask_train", jax.nn.sigmoid(logits)[:, None])
    first, last = stats["encoder_0"]["first"]["norm"], stats["encoder_5"]["second"]["norm"]
    bias = parameters(stored.info["networks"]["seg"])["encoder_segment.block1.0.bias"]
    close(stored, "running_mean_block1", first["mean"] + bias)
    close(stored, "running_var_block1", first["var"])
    close(stored, "running_var_block6", last["var"])
    close_scalar(stored, "focal", focal)
    close_scalar(stored, "smooth_l1", smooth_l1)
    close_scalar(stored, "mask_loss", value)
    close_scalar(stored, "grad_norm", optax.tree.norm(grads))
