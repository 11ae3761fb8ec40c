"""UniAD against the numbers that the authors' PyTorch code returns for the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from weights import nchw, nhwc
from weights_b import inputs, parameters

from jaxad.methods import uniad
from jaxad.nets.reconstruction import Transformer
from jaxad.nets.transformer import (
    DecoderLayer,
    EncoderLayer,
    LearnedPositions,
    neighbours,
    sine_positions,
)
from jaxad.ops import maps

every_golden = pytest.mark.parametrize(
    "name", ["uniad_small", "uniad_variant", pytest.param("uniad_full", marks=pytest.mark.slow)]
)


@pytest.fixture(autouse=True)
def full_precision():
    with jax.default_matmul_precision("highest"):
        yield


def dense(arrays, name):
    return {"kernel": arrays[f"{name}.weight"].T, "bias": arrays[f"{name}.bias"]}


def norm(arrays, name):
    return {"scale": arrays[f"{name}.weight"], "bias": arrays[f"{name}.bias"]}


def attention(arrays, name):
    return {
        "in_kernel": arrays[f"{name}.in_proj_weight"].T,
        "in_bias": arrays[f"{name}.in_proj_bias"],
        "out": dense(arrays, f"{name}.out_proj"),
    }


def feed_forward(arrays, name, last_norm):
    names = {"dense1": "linear1", "dense2": "linear2"}
    layers = {ours: dense(arrays, f"{name}.{theirs}") for ours, theirs in names.items()}
    return {**layers, "norm": norm(arrays, f"{name}.{last_norm}")}


def transformer_tree(arrays, settings):
    """Parameters of a `Transformer` from the reference's state dict."""
    tree = {
        "input": dense(arrays, "input_proj"),
        "output": dense(arrays, "output_proj"),
        "norm": norm(arrays, "transformer.decoder.norm"),
    }
    if settings["pos_embed_type"] == "learned":
        tree["positions"] = {
            "rows": arrays["pos_embed.row_embed.weight"],
            "columns": arrays["pos_embed.col_embed.weight"],
        }
    for i in range(settings["num_encoder_layers"]):
        name = f"transformer.encoder.layers.{i}"
        tree[f"encoder_{i}"] = {
            "attention": attention(arrays, f"{name}.self_attn"),
            "norm": norm(arrays, f"{name}.norm1"),
            "ffn": feed_forward(arrays, name, "norm2"),
        }
    for i in range(settings["num_decoder_layers"]):
        name = f"transformer.decoder.layers.{i}"
        tree[f"decoder_{i}"] = {
            "queries": arrays[f"{name}.learned_embed.weight"],
            "attention1": attention(arrays, f"{name}.self_attn"),
            "attention2": attention(arrays, f"{name}.multihead_attn"),
            "norm1": norm(arrays, f"{name}.norm1"),
            "norm2": norm(arrays, f"{name}.norm2"),
            "ffn": feed_forward(arrays, name, "norm3"),
        }
    return jax.tree.map(jnp.asarray, tree)


def network(settings):
    return Transformer(
        tuple(settings["feature_size"]), settings["hidden_dim"], settings["nhead"],
        settings["dim_feedforward"], settings["num_encoder_layers"],
        settings["num_decoder_layers"], True, tuple(settings["mask"]),
        tuple(settings["neighbor_size"]), settings["pos_embed_type"],
    )  # fmt: skip


def grid_noise(stored):
    """The noise of the jitter, (tokens, B, C) in the reference, as `B h w C`."""
    noise = inputs(stored.info)["noise"].transpose(1, 0, 2)
    grid = stored.info["settings"]["feature_size"]
    return jnp.asarray(noise.reshape(len(noise), *grid, -1))


def setting(stored):
    """(settings, parameters, features)."""
    settings = stored.info["settings"]
    params = transformer_tree(parameters(stored.info["networks"]["model"]), settings)
    return settings, params, jnp.asarray(nhwc(inputs(stored.info)["feature"]))


def close(stored, name, value):
    assert stored.error(name, np.asarray(value)) < stored.tolerance(name), name


def close_scalar(stored, name, value):
    assert stored.scalar_error(name, value) < stored.scalar_tolerance(name), name


@every_golden
def test_uniad_reconstruction_map_and_score_equal_the_reference(golden, name):
    stored = golden(name)
    settings, params, features = setting(stored)
    restored = jax.jit(network(settings).apply)({"params": params}, features)
    close(stored, "feature_rec", nchw(restored))
    shape = tuple(side * settings["instride"] for side in settings["feature_size"])
    close(stored, "distance", jnp.linalg.norm(restored - features, axis=-1))
    prediction = uniad.prediction(features, restored, shape, "max_pool", 16)
    close(stored, "pred", prediction.map[:, None])
    close(stored, "pred_edge", prediction.map[:, :, -1])


@every_golden
def test_uniad_layers_equal_the_reference(golden, name):
    stored = golden(name)
    settings, params, features = setting(stored)
    heads, ffn, grid = settings["nhead"], settings["dim_feedforward"], settings["feature_size"]
    window = neighbours(tuple(grid), tuple(settings["neighbor_size"]))
    encoder_mask, *decoder_masks = (window if on else None for on in settings["mask"])

    def layers(params, features):
        if settings["pos_embed_type"] == "sine":
            at = sine_positions(tuple(grid), settings["hidden_dim"])
        else:
            module = LearnedPositions(tuple(grid), settings["hidden_dim"])
            at = module.apply({"params": params["positions"]})
        x = features.reshape(len(features), -1, features.shape[-1]) @ params["input"]["kernel"]
        x = x + params["input"]["bias"][None, None]
        for i in range(settings["num_encoder_layers"]):
            layer = EncoderLayer(heads, ffn)
            x = layer.apply({"params": params[f"encoder_{i}"]}, x, at, encoder_mask)
        decoder = DecoderLayer(heads, ffn, True, True)
        first = decoder.apply({"params": params["decoder_0"]}, x, x, at, tuple(decoder_masks))
        return x, first

    encoded, first = jax.jit(layers)(params, features)
    close(stored, "encoder_out", encoded.transpose(1, 0, 2)[..., ::4])
    close(stored, "decoder_first", first.transpose(1, 0, 2)[..., ::4])


@every_golden
def test_uniad_losses_and_gradients_equal_the_reference(golden, name):
    stored = golden(name)
    settings, params, features = setting(stored)
    noise = grid_noise(stored)

    @jax.jit
    @jax.value_and_grad
    def jittered_loss(params, noise):
        x = uniad.jittered(features, noise, settings["jitter_scale"])
        return jnp.mean(jnp.square(network(settings).apply({"params": params}, x) - features))

    loss, _ = jittered_loss(params, jnp.zeros_like(noise))
    close_scalar(stored, "loss_clean", loss)
    loss, grads = jittered_loss(params, noise)
    close_scalar(stored, "loss_jittered", loss)
    close_scalar(stored, "grad_norm", optax.tree.norm(grads))
    close(stored, "grad_input_proj", grads["input"]["kernel"].T[:4])
    last = settings["num_decoder_layers"] - 1
    close(stored, "grad_query_last", grads[f"decoder_{last}"]["queries"][:, :4])


def test_uniad_small_the_detectors_settings_reach_the_network(golden):
    stored = golden("uniad_small")
    settings, params, features = setting(stored)
    cfg = uniad.Config(
        hidden=settings["hidden_dim"], heads=settings["nhead"], ffn=settings["dim_feedforward"],
        encoder_layers=settings["num_encoder_layers"], jitter=settings["jitter_scale"],
        decoder_layers=settings["num_decoder_layers"], mask_size=settings["neighbor_size"][0],
    )  # fmt: skip
    loss = jax.jit(uniad.reconstruction_loss)(params, cfg, features, grid_noise(stored))
    close_scalar(stored, "loss_jittered", loss)


def test_uniad_parts_jitter_equals_the_reference(golden):
    stored = golden("uniad_parts")
    drawn = inputs(stored.info)
    tokens, noise = (jnp.asarray(drawn[name])[None] for name in ("tokens", "noise"))
    close(stored, "jittered", uniad.jittered(tokens, noise, 20.0)[0])
    close(stored, "jittered_scale5", uniad.jittered(tokens, noise, 5.0)[0, :3])


def test_uniad_parts_neck_equals_the_reference(golden):
    stored = golden("uniad_parts")
    drawn = inputs(stored.info)
    layers = [jnp.asarray(nhwc(drawn[name])) for name in ("map112", "map56", "map28", "map14f")]
    resized = [maps.resize_aligned(layer, (14, 14)) for layer in layers]
    close(stored, "neck", nchw(jnp.concatenate(resized, -1)))


def test_uniad_parts_map_and_scores_equal_the_reference(golden):
    stored = golden("uniad_parts")
    map_ = maps.resize_aligned(jnp.asarray(inputs(stored.info)["map14"]), (224, 224))
    close(stored, "upsampled", map_)
    close(stored, "score_max", maps.pooled_max(map_, 16))
    close(stored, "score_mean", map_.mean((1, 2)))
