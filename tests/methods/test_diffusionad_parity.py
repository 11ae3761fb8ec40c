"""DiffusionAD's losses and steps against the numbers that the authors' PyTorch code returns."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from diffusionad_trees import segmentation_tree, unet, unet_tree
from weights import nchw, nhwc
from weights_b import inputs, parameters

from jaxad.methods import diffusionad
from jaxad.methods.restoration import Draws
from jaxad.ops import losses
from jaxad.synthesis.recipe import Damaged


@pytest.fixture(autouse=True)
def full_precision():
    with jax.default_matmul_precision("highest"):
        yield


def close(stored, name, value):
    assert stored.error(name, np.asarray(value)) < stored.tolerance(name), name


def close_scalar(stored, name, value):
    assert stored.scalar_error(name, value) < stored.scalar_tolerance(name), name


def mask_loss(probability, target):
    focal = losses.focal(probability, target, 0.5, 4.0).mean()
    return 5 * focal + losses.smooth_l1(probability, target).mean()


def test_diffusionad_losses_equal_the_reference(golden):
    stored = golden("diffusionad_losses")
    x = {name: jnp.asarray(value) for name, value in inputs(stored.info).items()}
    probability, target = x["probability"], x["target"]
    fractional = target * x["fraction"]
    focal = lambda target: losses.focal(probability, target, 0.5, 4.0)
    close_scalar(stored, "focal_binary", focal(target).mean())
    close_scalar(stored, "focal_fractional", focal(fractional).mean())
    close(stored, "focal_map", focal(fractional))
    edge = losses.focal(x["edge_probability"], x["edge_target"], 0.5, 4.0)
    close(stored, "focal_edge", edge)
    close_scalar(stored, "smooth_l1_binary", losses.smooth_l1(probability, target).mean())
    close_scalar(stored, "smooth_l1_wide", losses.smooth_l1(x["wide"], target).mean())


def test_diffusionad_losses_gradients_equal_the_reference(golden):
    stored = golden("diffusionad_losses")
    x = {name: jnp.asarray(value) for name, value in inputs(stored.info).items()}
    # The targets with which the stored sum is the reference's.
    for target in (x["target"], x["target"] * x["fraction"]):
        value, grads = jax.value_and_grad(mask_loss)(x["probability"], target)
        if stored.scalar_error("mask_loss", value) < 1e-3:
            break
    close_scalar(stored, "mask_loss", value)
    close(stored, "grad_probability", grads)

    def through_sigmoid(logit):
        return losses.focal(jax.nn.sigmoid(logit), x["edge_logit_target"], 0.5, 4.0).mean()

    close(stored, "grad_edge_logit", jax.grad(through_sigmoid)(x["edge_logit"]))


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        ([0, 1, 1, 0], "noise_loss_mixed"),
        ([0, 0, 0, 0], "noise_loss_all_normal"),
        ([1, 1, 1, 1], "noise_loss_all_anomalous"),
    ],
)
def test_diffusionad_guided_noise_loss_equals_the_reference(golden, labels, name):
    stored = golden("diffusionad_guided")
    x = inputs(stored.info)
    square = lambda name: jnp.square(jnp.asarray(x[name])).mean((1, 2, 3))
    error = square("error_small") + square("error_large")
    loss = diffusionad.of_normal(error, jnp.array(labels, jnp.float32))
    close_scalar(stored, name, loss)


def step_setting(stored):
    """(cfg, params, stats, images, draws)."""
    settings, networks = stored.info["settings"], stored.info["networks"]
    network = unet(settings)
    cfg = diffusionad.Config(
        size=settings["img_size"],
        width=settings["base_channels"],
        multipliers=tuple(settings["channel_mults"]),
        segmentation_width=settings["seg_base_channels"],
        guidance=float(settings["condition_w"]),
    )
    seg = segmentation_tree(parameters(networks["seg"]))
    params = {
        "unet": unet_tree(parameters(networks["unet"]), network),
        "segmentation": seg["params"],
    }
    stats = diffusionad.Stats(seg["batch_stats"], ())
    x = inputs(stored.info)
    draws = Draws(
        *(jnp.asarray(x[name], jnp.int32) for name in ("t_small", "t_large")),
        *(jnp.asarray(nhwc(x[name])) for name in ("noise_small", "noise_large")),
    )
    return cfg, params, stats, x, draws


@pytest.mark.slow
def test_diffusionad_step_training_equals_the_reference(golden):
    stored = golden("diffusionad_step")
    cfg, params, stats, x, draws = step_setting(stored)
    image = jnp.asarray(nhwc(x["image"]))
    damaged = Damaged(image, jnp.asarray(x["mask"][:, 0]), jnp.asarray(x["label"]))
    gradient = jax.jit(jax.value_and_grad(diffusionad.objective, has_aux=True))
    (loss, (_, terms, (restored, mask))), grads = gradient(
        params, cfg, stats, damaged, image, draws
    )
    close_scalar(stored, "loss", loss)
    close_scalar(stored, "noise_loss", terms["noise"])
    close_scalar(stored, "focal", terms["focal"])
    close_scalar(stored, "smooth_l1", terms["smooth_l1"])
    close(stored, "x0_guided", nchw(restored.image))
    close(stored, "mask_estimate", mask[:, None])
    close_scalar(stored, "grad_norm_unet", optax.tree.norm(grads["unet"]))
    close_scalar(stored, "grad_norm_seg", optax.tree.norm(grads["segmentation"]))


def test_diffusionad_step_evaluation_equals_the_reference(golden):
    stored = golden("diffusionad_step")
    cfg, params, stats, x, draws = step_setting(stored)
    image = jnp.asarray(nhwc(x["image"]))
    times = (jnp.full(4, 200), jnp.full(4, 400))
    draws = draws._replace(t_small=times[0], t_large=times[1])

    @jax.jit
    def evaluate(params, image, draws):
        restored = diffusionad.restored(cfg, params, image, draws, False)
        mask, _ = diffusionad.segmented(cfg, params, stats, image, restored.image, False)
        return restored, mask, diffusionad.score(mask, 50)

    restored, mask, score = evaluate(params, image, draws)
    close(stored, "eval_x0_guided", nchw(restored.image))
    close(stored, "eval_x0_large", nchw(restored.parts["large"]))
    close(stored, "eval_mask", mask[:, None])
    close(stored, "eval_score", score)
