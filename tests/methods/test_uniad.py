"""What is particular to UniAD, beside the stored reference."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad import compile
from jaxad.detector import check_settings, override
from jaxad.methods import uniad
from jaxad.nets import extractors
from jaxad.training.fitting import begun

TINY = uniad.Config(
    size=32, batch_size=2, steps=10, weights=("tiny",), extractor="pdn_small",
    layers=("pool1", "conv4"), grid=4, hidden=8, heads=2, ffn=8, encoder_layers=1,
    decoder_layers=1, mask_size=3, pool=4,
)  # fmt: skip


def new_state(cfg, pretrained):
    return begun(
        uniad.DETECTOR, cfg, pretrained, np.zeros((1, 32, 32, 3), np.uint8), jax.random.key(0)
    )


def features_of(cfg, pretrained, images):
    return compile.jit(uniad.embed)(cfg, pretrained, images)


def loss(cfg, state, features, key):
    return compile.jit(eager_loss)(cfg, state, features, key)


def eager_loss(cfg, state, features, key):
    return uniad.loss(state.params, cfg, {}, (), {"features": features}, key)[0]


def test_the_defaults_are_sound():
    check_settings(uniad.DETECTOR, uniad.Config())


def test_features_are_the_extractors_maps_on_the_grid_side_by_side(pretrained, images):
    features = features_of(TINY, pretrained, images)
    assert features.shape == (2, 4, 4, 4 + 6)
    assert features.dtype == jnp.float32
    first, last = extractors.features("pdn_small", TINY.layers, pretrained["tiny"], images)
    for cell in (0, -1):  # corners lie on corners
        np.testing.assert_allclose(features[:, cell, cell, :4], first[:, cell, cell], atol=1e-6)
        np.testing.assert_allclose(features[:, cell, 0, 4:], last[:, cell, 0], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layers", "channels"), [((), 272), (("block1", "block5", "block9", "block21", "block31"), 720)]
)
def test_the_papers_extractor_gives_its_number_of_channels(layers, channels, key):
    cfg = uniad.Config(extractor="efficientnet_b4", weights=("b4",), layers=layers)
    image = jax.ShapeDtypeStruct((2, cfg.size, cfg.size, 3), jnp.float32)
    variables = jax.eval_shape(extractors.extractor("efficientnet_b4").network({}).init, key, image)
    embed = partial(uniad.embed, cfg)
    assert jax.eval_shape(embed, {"b4": variables}, image).shape == (2, 14, 14, channels)


def test_jitter_has_alpha_times_the_mean_size_of_a_tokens_channels(key):
    features = jax.random.normal(key, (1, 40, 40, 64)) * 3
    noise = jax.random.normal(jax.random.key(1), features.shape)
    added = uniad.jittered(features, noise, 20.0) - features
    unit = added / (jnp.linalg.norm(features, axis=-1, keepdims=True) / 64)
    np.testing.assert_allclose(unit.std(), 20, rtol=0.01)


def test_the_loss_is_that_of_clean_features_without_jitter_and_dropout(pretrained, images, key):
    cfg = override(TINY, "dropout=0")
    state = new_state(cfg, pretrained)
    features = features_of(cfg, pretrained, images)
    nothing = jnp.zeros_like(features)
    clean = jax.jit(uniad.reconstruction_loss)(state.params, cfg, features, nothing)
    never = loss(override(cfg, "jitter_probability=0"), state, features, key)
    none = loss(override(cfg, "jitter=0"), state, features, key)
    np.testing.assert_allclose([never, none], clean, rtol=1e-6)
    assert abs(loss(cfg, state, features, key) - clean) > 1e-4


def test_jitter_probability_is_drawn_once_for_a_batch(pretrained, images):
    cfg = override(TINY, ["dropout=0", "jitter_probability=0.3"])
    state = new_state(cfg, pretrained)
    features = features_of(cfg, pretrained, images)
    clean = loss(override(cfg, "jitter=0"), state, features, jax.random.key(0))
    losses = [loss(cfg, state, features, key) for key in jax.random.split(jax.random.key(0), 200)]
    disturbed = np.mean([not np.isclose(x, clean, rtol=1e-6) for x in losses])
    assert abs(disturbed - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 200)


def test_dropout_is_drawn_from_the_key_and_never_in_prediction(pretrained, images, key):
    cfg = override(TINY, "jitter=0")
    state = new_state(cfg, pretrained)
    features = features_of(cfg, pretrained, images)
    other = jax.random.key(9)
    assert loss(cfg, state, features, key) == loss(cfg, state, features, key)
    assert loss(cfg, state, features, key) != loss(cfg, state, features, other)
    predict = compile.jit(uniad.predict)
    with_dropout = predict(override(cfg, "dropout=0.5"), pretrained, state, images)
    np.testing.assert_array_equal(with_dropout.map, predict(cfg, pretrained, state, images).map)


def test_features_of_a_cache_in_half_precision_give_the_same_loss(pretrained, images, key):
    state = new_state(TINY, pretrained)
    features = features_of(TINY, pretrained, images)
    half = loss(TINY, state, features.astype(jnp.float16), key)
    np.testing.assert_allclose(half, loss(TINY, state, features, key), rtol=1e-2)


def test_a_step_on_cached_features_has_no_convolution(pretrained, images, key):
    features = uniad.embed(TINY, pretrained, images)
    batch = {"image": jnp.zeros(images.shape, jnp.uint8), "index": jnp.arange(len(images))}
    state = new_state(TINY, pretrained)

    def convolutions(batch):
        traced = compile.train_step(uniad.DETECTOR).trace(TINY, pretrained, state, batch, key)
        return str(traced.jaxpr).count("conv_general_dilated")

    assert convolutions({**batch, "features": features.astype(jnp.float16)}) == 0
    assert convolutions(batch) > 0


def test_the_map_is_the_distance_from_the_reconstruction(pretrained, images):
    state = new_state(TINY, pretrained)
    prediction = compile.jit(uniad.predict)(TINY, pretrained, state, images)
    difference = prediction.parts["reconstruction"] - prediction.parts["features"]
    distance = np.sqrt(np.sum(np.square(np.asarray(difference, np.float64)), -1))
    np.testing.assert_allclose(prediction.map[:, 0, 0], distance[:, 0, 0], rtol=1e-4)
    np.testing.assert_allclose(prediction.map[:, -1, -1], distance[:, -1, -1], rtol=1e-4)
    mean = compile.jit(uniad.predict)(override(TINY, "score=mean"), pretrained, state, images)
    np.testing.assert_allclose(mean.score, prediction.map.mean((1, 2)), rtol=1e-5)


def test_the_optimiser_is_adamw_on_clipped_gradients_with_a_drop_at_80_percent():
    cfg = override(TINY, ["steps=5", "lr=0.01", "weight_decay=0.5", "clip=0.1"])
    optimizer = uniad.optimizer(cfg)
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(5, 3)) * np.array([[1, 0.01, 1, 1, 1]]).T
    params = p = np.array([1.0, -2.0, 0.5])
    opt = optimizer.init(jnp.asarray(params))
    update = jax.jit(optimizer.update)
    m = v = np.zeros(3)
    for i, g in enumerate(gradients):
        step, opt = update(jnp.asarray(g), opt, jnp.asarray(params))
        params = params + np.asarray(step)
        g = g * min(1, 0.1 / np.linalg.norm(g))
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        adam = (m / (1 - 0.9 ** (i + 1))) / (np.sqrt(v / (1 - 0.999 ** (i + 1))) + 1e-8)
        lr = 0.01 if i < 4 else 0.001
        p = p * (1 - lr * 0.5) - lr * adam
        np.testing.assert_allclose(params, p, rtol=1e-5)


@pytest.mark.parametrize(
    "setting",
    [
        "layer_wise_query=false",
        "masked=false,false,false",
        "masked=true,false,true",
        "mask_size=1",
        "positions=sine",
        "positions=none",
    ],
)
def test_each_part_can_be_switched(setting, key):
    cfg = override(TINY, setting)
    check_settings(uniad.DETECTOR, cfg)
    features = jax.random.normal(key, (2, 4, 4, 10))

    def restored(cfg):  # op by op: what compiles for one setting serves the others
        return uniad.reconstruction(cfg, uniad.new_transformer(cfg, 10, key), features)

    assert np.isfinite(restored(cfg)).all()
    assert (restored(cfg) != restored(TINY)).any()


def test_steps_reduce_the_loss(pretrained, images, key):
    cfg = override(TINY, ["lr=0.01", "jitter=0", "dropout=0", "steps=30"])
    state = new_state(cfg, pretrained)
    batch = {"features": features_of(cfg, pretrained, images)}
    step, losses = compile.jit(uniad.train_step), []
    for _ in range(30):
        state, metrics = step(cfg, {}, state, batch, key)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("size=230", "multiple of grid=14, such as size=224"),
        ("size=8", "size=8 does not fit"),
        ("mask_size=6", "odd"),
        ("grid=7", "hides every token .* expected less than 7"),
        ("layers=block9", "no map 'block9'"),
        ("extractor=pdn_smal", "did you mean 'pdn_small'"),
        ("weights=a,b", "expected 1 value"),
        ("hidden=100", "even multiple of heads=8"),
        ("pool=300", "224 or less"),
        ("decoder_layers=0", "decoder_layers=0"),
        ("clip=0", "clip=0"),
        ("dropout=1", "dropout=1"),
        ("jitter_probability=1.5", "jitter_probability=1.5"),
    ],
)
def test_settings_that_cannot_work_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        check_settings(uniad.DETECTOR, override(uniad.Config(), setting))


def test_a_mask_may_be_as_large_as_the_grid_where_nothing_is_masked():
    check_settings(uniad.DETECTOR, override(uniad.Config(), ["grid=7", "masked=false,false,false"]))


def test_weights_of_another_network_are_refused(pretrained):
    wrong = {"tiny": {"params": {"conv1": pretrained["tiny"]["params"]["conv1"]}}}
    with pytest.raises(ValueError, match="cannot use the weights"):
        new_state(TINY, wrong)


def test_a_setting_that_shapes_the_network_is_static():
    shapes = {"grid", "hidden", "heads", "mask_size", "masked", "layer_wise_query", "layers"}
    fields = {f.name for f in dataclasses.fields(TINY) if f.metadata.get("static")}
    assert shapes <= fields
