"""The plain networks: they share UniAD's neck and optimiser, and have none of its three parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad import compile
from jaxad.detector import check_settings, override
from jaxad.methods import feature_reconstruction, uniad
from jaxad.training.fitting import begun

TINY = feature_reconstruction.Config(
    size=32, batch_size=2, steps=30, weights=("tiny",), extractor="pdn_small",
    layers=("pool1", "conv4"), grid=4, hidden=8, depth=1, heads=2, ffn=8, pool=4,
    lr=0.01, weight_decay=0.0,
)  # fmt: skip

every_network = pytest.mark.parametrize("network", ["mlp", "cnn", "transformer"])


def new_state(cfg, pretrained):
    images = np.zeros((1, 32, 32, 3), np.uint8)
    return begun(feature_reconstruction.DETECTOR, cfg, pretrained, images, jax.random.key(0))


@every_network
def test_steps_move_every_parameter_and_reduce_the_loss(network, pretrained, images, key):
    cfg = override(TINY, [f"network={network}", "dropout=0"])
    start = state = new_state(cfg, pretrained)
    embed, step = (
        compile.jit(f) for f in (feature_reconstruction.embed, feature_reconstruction.train_step)
    )
    batch, losses = {"features": embed(cfg, pretrained, images)}, []
    for _ in range(30):
        state, metrics = step(cfg, {}, state, batch, key)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.5 * losses[0]
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), state.params, start.params)
    assert all(jax.tree.leaves(moved))


@every_network
def test_an_image_gives_a_map_of_its_size(network, pretrained, images):
    cfg = override(TINY, f"network={network}")
    predict = compile.jit(feature_reconstruction.predict)
    prediction = predict(cfg, pretrained, new_state(cfg, pretrained), images)
    assert prediction.map.shape == images.shape[:3]
    assert np.isfinite(prediction.score).all()


def test_features_are_uniads(pretrained, images):
    fields = ("size", "weights", "extractor", "layers", "grid")
    other = uniad.Config(**{field: getattr(TINY, field) for field in fields})
    np.testing.assert_array_equal(
        compile.jit(feature_reconstruction.embed)(TINY, pretrained, images),
        compile.jit(uniad.embed)(other, pretrained, images),
    )


def test_the_transformer_is_uniads_without_its_three_parts(pretrained, images, key):
    cfg = override(TINY, "network=transformer")
    plain = feature_reconstruction.as_uniad(cfg)
    assert not plain.layer_wise_query
    assert not any(plain.masked)
    assert plain.jitter == 0
    state, batch = new_state(cfg, pretrained), {"features": jax.random.normal(key, (2, 4, 4, 10))}
    without_dropout = override(cfg, "dropout=0")
    loss, _ = jax.jit(feature_reconstruction.loss)(
        state.params, without_dropout, {}, (), batch, key
    )
    expected = uniad.reconstruction_loss(
        state.params, plain, batch["features"], jnp.zeros((2, 4, 4, 10))
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_a_deep_linear_copy_exists():
    """Identity weights make the perceptron copy positive features: the shortcut."""
    cfg = override(TINY, ["hidden=10", "heads=1"])
    features = jnp.abs(jax.random.normal(jax.random.key(0), (1, 4, 4, 10)))
    copy = {"kernel": jnp.eye(10), "bias": jnp.zeros(10)}
    params = {"input": copy, "dense_0": copy, "output": copy}
    restored = feature_reconstruction.reconstruction(cfg, params, features)
    np.testing.assert_array_equal(restored, features)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("depth=0", "depth=0"),
        ("size=230", "multiple of grid=14"),
        ("layers=block9", "no map 'block9'"),
        ("lr=0", "lr=0"),
        ("network=vae", "expected one of mlp, cnn, transformer"),
    ],
)
def test_settings_that_cannot_work_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        check_settings(
            feature_reconstruction.DETECTOR, override(feature_reconstruction.Config(), setting)
        )


def test_the_defaults_are_sound():
    check_settings(feature_reconstruction.DETECTOR, feature_reconstruction.Config())
