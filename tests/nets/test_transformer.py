"""Masks, positions, attention and dropout against stored references, loops and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from weights_b import parameters

from jaxad.nets.reconstruction import Stack, Transformer, with_equal_layers
from jaxad.nets.transformer import (
    EPSILON,
    Attention,
    DecoderLayer,
    LearnedPositions,
    dropped,
    neighbours,
    sine_positions,
)


def count(params):
    return sum(x.size for x in jax.tree.leaves(params))


def positions(stored, network):
    weights = parameters(stored.info["networks"][network])
    rows, columns = weights["row_embed.weight"], weights["col_embed.weight"]
    module = LearnedPositions((len(rows), len(columns)), 2 * rows.shape[1])
    return module.apply({"params": {"rows": rows, "columns": columns}})


def test_uniad_parts_masks_equal_the_reference(golden):
    stored = golden("uniad_parts")
    window = neighbours((14, 14), (7, 7))
    packed = stored.arrays["masked_14_7x7"]
    np.testing.assert_array_equal(np.packbits(window, axis=1), packed)
    np.testing.assert_array_equal(window.sum(1), stored.arrays["masked_count_14_7x7"])
    cells = [name for name in stored.info["outputs"] if name.startswith("masked_cell_")]
    assert len(cells) == 6
    for name in cells:
        row, column = (int(part) for part in name.split("_")[2:])
        np.testing.assert_array_equal(
            np.flatnonzero(window[row * 14 + column]), stored.arrays[name]
        )
    np.testing.assert_array_equal(neighbours((6, 9), (3, 5)), stored.arrays["masked_6x9_3x5"])
    counts = neighbours((8, 8), (4, 4)).sum(1)
    np.testing.assert_array_equal(counts, stored.arrays["masked_8x8_4x4"])


def test_a_corner_does_not_see_16_tokens_and_an_interior_one_49():
    hidden = neighbours((14, 14), (7, 7)).sum(1).reshape(14, 14)
    assert hidden[0, 0] == hidden[13, 13] == 16
    assert (hidden[3:11, 3:11] == 49).all()


def test_uniad_parts_positions_equal_the_reference(golden):
    stored = golden("uniad_parts")
    cells = np.array([0, 1, 13, 14, 100, 195])
    found = {
        "pos_learned": positions(stored, "learned14"),
        "pos_learned_6x9": positions(stored, "learned69"),
        "pos_sine_256": sine_positions((14, 14), 256)[cells],
        "pos_sine_6x9": sine_positions((6, 9), 16),
    }
    for name, value in found.items():
        assert stored.error(name, value) < stored.tolerance(name), name


def loop_attention(params, heads, queries, keys, values, masked):
    """One image, in float64, written out."""
    D = queries.shape[-1]
    d = D // heads
    weight, bias = (np.asarray(params[name], np.float64) for name in ("in_kernel", "in_bias"))
    q, k, v = (
        x @ weight[:, i * D : (i + 1) * D] + bias[None, i * D : (i + 1) * D]
        for i, x in enumerate((queries, keys, values))
    )
    gathered = np.zeros((len(queries), D))
    for t in range(len(queries)):
        for head in range(heads):
            part = slice(head * d, (head + 1) * d)
            seen = [s for s in range(len(keys)) if not masked[t, s]]
            weights = np.exp([q[t, part] @ k[s, part] / np.sqrt(d) for s in seen])
            for weight_, s in zip(weights / weights.sum(), seen, strict=True):
                gathered[t, part] += weight_ * v[s, part]
    out = jax.tree.map(lambda x: np.asarray(x, np.float64), params["out"])
    return gathered @ out["kernel"] + out["bias"][None]


def test_attention_equals_a_slow_loop(key):
    rng = np.random.default_rng(0)
    queries, keys, values = jnp.asarray(rng.normal(size=(3, 2, 12, 8)), jnp.float32)
    masked = neighbours((3, 4), (1, 3))
    attention = Attention(heads=2)
    params = jax.jit(attention.init)(key, queries, keys, values)["params"]
    params["in_bias"] = jnp.asarray(rng.normal(size=24), jnp.float32)
    found = attention.apply({"params": params}, queries, keys, values, masked)
    for i in range(2):
        one = (np.asarray(x[i]) for x in (queries, keys, values))
        wanted = loop_attention(params, 2, *one, masked)
        np.testing.assert_allclose(found[i], wanted, atol=1e-5)


@pytest.mark.parametrize("learned", [True, False])
def test_a_plain_decoder_layer_equals_a_slow_loop(key, learned):
    rng = np.random.default_rng(0)
    x, memory = jnp.asarray(rng.normal(size=(2, 1, 12, 8)), jnp.float32)
    at = jnp.asarray(rng.normal(size=(12, 8)), jnp.float32)
    masks = neighbours((3, 4), (1, 3)), neighbours((3, 4), (3, 1))
    layer = DecoderLayer(heads=2, ffn=16, layer_wise=False, learned=learned)
    params = jax.jit(layer.init)(key, x, memory, at)["params"]
    found = layer.apply({"params": params}, x, memory, at, masks)
    exact = lambda tree: jax.tree.map(lambda v: np.asarray(v, np.float64), tree)
    p, at, whole = exact(params), exact(at), exact(memory[0])

    def norm(values, scale, bias):
        centred = values - values.mean(-1, keepdims=True)
        return centred / np.sqrt(centred.var(-1, keepdims=True) + EPSILON) * scale + bias

    y = p["queries"] if learned else exact(x[0])
    seen = loop_attention(p["attention1"], 2, y + at, y + at, y, masks[0])  # each other
    y = norm(y + seen, **p["norm1"])
    seen = loop_attention(p["attention2"], 2, y + at, whole + at, whole, masks[1])  # the encoder
    y = norm(y + seen, **p["norm2"])
    first, second = p["ffn"]["dense1"], p["ffn"]["dense2"]
    inner = np.maximum(y @ first["kernel"] + first["bias"], 0)
    wanted = norm(y + inner @ second["kernel"] + second["bias"], **p["ffn"]["norm"])
    np.testing.assert_allclose(found[0], wanted, atol=1e-4)


def test_the_bias_of_the_keys_changes_nothing_and_has_no_gradient(key):
    x = jax.random.normal(key, (1, 9, 4))
    attention = Attention(heads=2)
    params = jax.jit(attention.init)(key, x, x, x)["params"]

    @jax.jit
    @jax.value_and_grad
    def output(bias):
        return attention.apply({"params": {**params, "in_bias": bias}}, x, x, x).sum()

    value, gradient = output(jnp.zeros(12))
    shifted, _ = output(jnp.zeros(12).at[4:8].set(jnp.arange(4.0)))
    np.testing.assert_allclose(value, shifted, rtol=1e-4)
    np.testing.assert_array_equal(gradient[4:8], 0)
    assert (gradient[8:] != 0).all()


def test_masked_tokens_have_no_influence(key):
    x = jax.random.normal(key, (1, 9, 4))
    masked = neighbours((3, 3), (1, 1))
    attention = Attention(heads=2)
    variables = jax.jit(attention.init)(key, x, x, x)
    one = attention.apply(variables, x, x, x, masked)
    changed = x.at[:, 4].add(1.0)
    other = attention.apply(variables, x, changed, changed, masked)
    np.testing.assert_array_equal(one[:, 4], other[:, 4])
    assert (one[:, 0] != other[:, 0]).all()


@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_dropout_drops_that_share_and_keeps_the_mean(probability, key):
    x = jnp.full((501, 401), 2.0)  # an odd number of numbers
    y = jax.jit(dropped)(x, probability, key)
    share = round(probability * 256) / 256
    kept = y[y != 0]
    error = np.sqrt(share * (1 - share) / x.size)
    assert abs(1 - kept.size / x.size - share) < 5 * error
    np.testing.assert_allclose(kept, 2 / (1 - share), rtol=1e-6)


def test_dropout_with_probability_zero_changes_nothing(key):
    x = jax.random.normal(key, (3, 7))
    np.testing.assert_array_equal(dropped(x, 0.0, key), x)


@pytest.mark.parametrize(("channels", "parameters"), [(272, 7_717_392), (720, 7_947_216)])
def test_the_papers_transformer_has_its_number_of_parameters(channels, parameters, key):
    features = jax.ShapeDtypeStruct((1, 14, 14, channels), jnp.float32)
    params = jax.eval_shape(Transformer().init, key, features)["params"]
    assert count(params) == parameters
    assert count(params["encoder_0"]) == 789_760
    assert count(params["decoder_3"]) == 1_103_616


def test_without_layer_wise_queries_only_the_first_layer_has_a_table(key):
    features = jax.ShapeDtypeStruct((1, 14, 14, 8), jnp.float32)
    params = jax.eval_shape(Transformer(layer_wise_query=False).init, key, features)["params"]
    with_table = {name for name, layer in params.items() if "queries" in layer}
    assert with_table == {"decoder_0"}


def test_layers_start_equal_in_what_the_reference_copies(key):
    network = Transformer((3, 3), 8, 2, 16, 3, 3, mask_size=(1, 1))
    drawn = jax.jit(network.init)(key, jnp.zeros((1, 3, 3, 5)))["params"]
    params = with_equal_layers(drawn)
    assert jax.tree.structure(params) == jax.tree.structure(drawn)

    def same(one, other, *path):
        for name in path:
            one, other = one[name], other[name]
        return bool((one == other).all())

    for i in (1, 2):
        encoders = params["encoder_0"], params[f"encoder_{i}"]
        decoders = params["decoder_0"], params[f"decoder_{i}"]
        assert same(*encoders, "attention", "in_kernel")
        assert not same(*encoders, "attention", "out", "kernel")
        assert not same(*encoders, "ffn", "dense1", "kernel")
        assert same(*decoders, "queries")
        assert same(*decoders, "attention1", "in_kernel")
        assert same(*decoders, "attention2", "in_kernel")
        assert not same(*decoders, "attention2", "out", "kernel")
    attentions = (params["decoder_0"][f"attention{i}"] for i in (1, 2))
    assert not same(*attentions, "in_kernel")


def test_initial_values_have_the_reference_ranges(key):
    network = Transformer(encoder_layers=1, decoder_layers=1)
    params = jax.jit(network.init)(key, jnp.zeros((1, 14, 14, 272)))["params"]
    layer = params["decoder_0"]

    def assert_uniform(x, low, high):
        assert low <= x.min()
        assert x.max() <= high
        np.testing.assert_allclose(x.std(), (high - low) / np.sqrt(12), rtol=0.05)

    packed, single = np.sqrt(6 / (256 + 768)), np.sqrt(6 / (256 + 256))
    assert_uniform(layer["attention1"]["in_kernel"], -packed, packed)
    assert_uniform(layer["attention1"]["out"]["kernel"], -single, single)
    assert_uniform(layer["ffn"]["dense1"]["kernel"], -np.sqrt(6 / 1280), np.sqrt(6 / 1280))
    assert_uniform(params["positions"]["rows"], 0, 1)
    np.testing.assert_allclose(layer["queries"].std(), 1, rtol=0.02)
    for bias in (layer["attention1"]["in_bias"], params["input"]["bias"]):
        assert not bias.any()


@pytest.mark.parametrize(("convolutions", "reach"), [(False, 0), (True, 2)])
def test_a_token_is_made_from_those_within_reach(convolutions, reach, key):
    network = Stack(convolutions, 8, 2)
    x = jax.random.normal(key, (1, 9, 9, 5))
    variables = jax.jit(network.init)(key, x)
    assert network.apply(variables, x).shape == x.shape
    saliency = jax.grad(lambda x: network.apply(variables, x)[0, 4, 4].sum())(x)
    seen = (saliency[0] != 0).any(-1)
    inside = np.zeros((9, 9), bool)
    inside[4 - reach : 5 + reach, 4 - reach : 5 + reach] = True
    assert not (seen & ~inside).any()
    assert seen[4, 4]
