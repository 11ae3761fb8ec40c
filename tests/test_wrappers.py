"""Detectors made of detectors keep the contract."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad import compile, export, sweep, training, wrappers
from jaxad.data.pictures import image_set
from jaxad.detector import check_settings, override, takes_no_steps

WRAPPERS = {
    "flipped": (wrappers.flipped, {"flips": "both"}),
    "ensemble": (wrappers.ensemble, {"members": 2}),
    "tiled": (wrappers.tiled, {"tiles": 2, "overlap": 16}),
}
every_wrapper = pytest.mark.parametrize("name", list(WRAPPERS))


@pytest.fixture(scope="module")
def wrapped(tiny, striped):
    """name -> (detector, cfg, pretrained, data), ten steps."""

    def get(name):
        inside, cfg, pretrained, _data, _ = tiny("stfpm")
        wrap, settings = WRAPPERS[name]
        outside = wrap(inside)
        cfg = outside.Config(inside=override(cfg, "steps=10"), **settings)
        return outside, cfg, pretrained, striped(cfg.size)

    return get


@pytest.fixture(scope="module")
def fitted(wrapped):
    found = {}

    def get(name):
        if name not in found:
            found[name] = training.fit(*wrapped(name), jax.random.key(0))
        return found[name]

    return get


def assert_equal(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


@every_wrapper
def test_wrapping_twice_gives_the_same_detector_and_nothing_recompiles(name, tiny):
    inside = tiny("stfpm")[0]
    wrap, _ = WRAPPERS[name]
    assert wrap(inside) is wrap(inside)


@every_wrapper
def test_settings_are_the_inner_ones_and_some_more(name, wrapped):
    detector, cfg, _, _ = wrapped(name)
    assert detector.name == f"{name}(stfpm)"
    assert override(cfg, "lr=0.5").lr == override(cfg, "lr=0.5").inside.lr == 0.5
    assert cfg.steps == cfg.inside.steps == 10
    check_settings(detector, cfg)
    for setting, value in WRAPPERS[name][1].items():
        assert getattr(override(detector.Config(), f"{setting}={value}"), setting) == value


@pytest.mark.parametrize(
    "name", [*(pytest.param(x, marks=pytest.mark.slow) for x in ("flipped", "ensemble")), "tiled"]
)
def test_a_wrapped_detector_trains_resumes_and_predicts(name, wrapped, fitted, tmp_path):
    detector, cfg, pretrained, data = wrapped(name)
    images = image_set(data.test, cfg.size)
    prediction = compile.predict(detector)(cfg, pretrained, fitted(name), images)
    assert prediction.map.shape == images.shape[:3]
    assert prediction.score.shape == images.shape[:1]
    assert np.isfinite(prediction.map).all()

    class Stop(Exception):
        pass

    def stop(step, state):
        if step == 4:
            raise Stop

    arguments = detector, cfg, pretrained, data, jax.random.key(0), tmp_path
    with pytest.raises(Stop):
        training.run(*arguments, save_every=2, at_save=stop)
    resumed = training.run(*arguments, save_every=2)
    assert_equal(resumed._replace(opt=()), fitted(name)._replace(opt=()))


@every_wrapper
def test_a_wrapped_detector_takes_uint8_images_and_refuses_other_whole_numbers(name, wrapped, key):
    detector, cfg, pretrained, data = wrapped(name)
    state = jax.eval_shape(functools.partial(detector.init, cfg, pretrained), key)
    images = image_set(data.test, cfg.size)
    outside = lambda *x: detector.predict(*x[:-1], compile.unit(x[-1]))
    found, expected = (
        re.sub("0x[0-9a-f]+", "", str(jax.make_jaxpr(f)(cfg, pretrained, state, images)))
        for f in (detector.predict, outside)
    )
    assert found == expected
    with pytest.raises(TypeError, match=r"images: expected uint8, or floats .* not int32"):
        detector.predict(cfg, pretrained, state, images.astype(np.int32))
    batch = {"image": images.astype(np.int32)}
    with pytest.raises(TypeError, match=r"batch\['image'\]: expected uint8"):
        detector.train_step(cfg, pretrained, state, batch, key)


@every_wrapper
def test_a_wrapped_detector_is_exported(name, wrapped, fitted):
    detector, cfg, pretrained, data = wrapped(name)
    images = image_set(data.test, cfg.size)[:2]
    run = export.deserialize(export.serialize(detector, cfg, pretrained, fitted(name)))
    prediction = compile.predict(detector)(cfg, pretrained, fitted(name), images)
    np.testing.assert_allclose(run(images)[0], prediction.map, rtol=1e-4, atol=1e-5)


def test_a_wrapper_is_swept_over_its_own_setting_too(wrapped, fitted):
    detector, cfg, pretrained, data = wrapped("flipped")
    configs = sweep.grid(cfg, flips=["both", "none"], lr=[cfg.lr])
    members = sweep.fit(detector, configs, pretrained, data, jax.random.key(0)[None])
    assert_equal(members.state(configs, 0, 0), fitted("flipped")._replace(opt=()))
    scores = sweep.evaluate(detector, configs, pretrained, members, data.test)
    assert scores.image_auroc.shape == (2, 1)


def test_flips_are_the_mean_of_mirrored_predictions(wrapped, fitted, tiny):
    detector, cfg, pretrained, data = wrapped("flipped")
    inside = tiny("stfpm")[0]
    images = image_set(data.test, cfg.size)
    state = fitted("flipped")
    views = [
        (
            rows,
            columns,
            compile.predict(inside)(cfg.inside, pretrained, state, images[:, ::rows, ::columns]),
        )
        for rows in (1, -1)
        for columns in (1, -1)
    ]
    mean = np.mean([np.asarray(view.map)[:, ::r, ::c] for r, c, view in views], 0)
    found = compile.predict(detector)(cfg, pretrained, state, images)
    np.testing.assert_allclose(found.map, mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.score, np.mean([v.score for *_, v in views], 0), rtol=1e-4)


def test_an_ensemble_is_the_mean_of_its_members_and_tells_their_spread(wrapped, fitted, tiny):
    detector, cfg, pretrained, data = wrapped("ensemble")
    inside = tiny("stfpm")[0]
    images = image_set(data.test, cfg.size)
    state = fitted("ensemble")
    members = [
        state._replace(
            **{
                field: jax.tree.map(lambda x, i=i: x[i], getattr(state, field))
                for field in ("params", "stats", "opt")
            }
        )
        for i in range(2)
    ]
    views = [compile.predict(inside)(cfg.inside, pretrained, m, images) for m in members]
    assert (views[0].map != views[1].map).any()
    found = compile.predict(detector)(cfg, pretrained, state, images)
    maps = np.stack([view.map for view in views])
    np.testing.assert_allclose(found.map, maps.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.parts["spread"], maps.std(0), rtol=1e-3, atol=1e-5)


def test_an_ensemble_of_a_sweeps_states_is_a_vmap_of_predict(tiny, trained):
    detector, cfg, pretrained, data, _ = tiny("stfpm")
    configs = sweep.grid(override(cfg, "steps=4"), lr=[1e-3])
    keys = jax.random.split(jax.random.key(0), 2)
    members = sweep.fit(detector, configs, pretrained, data, keys)
    images = compile.unit(jnp.asarray(image_set(data.test, cfg.size)))
    (states,) = members.states
    predict = lambda state: detector.predict(configs[0], pretrained, state, images).map
    maps = jax.jit(jax.vmap(predict))(jax.tree.map(lambda x: x[0], states))
    single = jax.jit(predict)(members.state(configs, 0, 1))
    np.testing.assert_allclose(maps[1], single, rtol=1e-3, atol=1e-4)
    assert maps.std(0).shape == images.shape[:3]


@pytest.mark.parametrize(("count", "overlap"), [(1, 0), (2, 0), (2, 8), (3, 4)])
def test_tiles_put_together_are_the_image(count, overlap):
    side = 20
    size = count * side - (count - 1) * overlap
    images = np.arange(2 * size * size * 3, dtype=np.float32).reshape(2, size, size, 3)
    tiles = wrappers.tiles_of(images, count, side)
    assert tiles.shape == (2 * count * count, side, side, 3)
    whole = wrappers.together(jnp.asarray(tiles[..., 0]), count, overlap)
    np.testing.assert_array_equal(whole, images[..., 0])


@pytest.mark.slow
def test_a_single_tile_is_the_detector_inside(wrapped, tiny):
    inside, cfg, pretrained, data, _ = tiny("stfpm")
    detector = wrappers.tiled(inside)
    one = detector.Config(inside=override(cfg, "steps=3"), tiles=1)
    state = training.fit(detector, one, pretrained, data, jax.random.key(0))
    plain = training.fit(inside, override(cfg, "steps=3"), pretrained, data, jax.random.key(0))
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("tiles=0", "tiles=0"),
        ("overlap=3", "overlap=3"),
        ("overlap=64", "overlap=64: expected an even number of pixels, and less than the 64"),
        ("size=3 overlap=0", "size=3 is too small"),
        ("lr=-1", "lr=-1.0: expected more than 0"),
    ],
)
def test_tiles_that_do_not_fit_are_refused(wrapped, settings, message):
    detector, cfg, _, _ = wrapped("tiled")
    with pytest.raises(ValueError, match=message):
        check_settings(detector, override(cfg, settings.split()))


def test_an_ensemble_of_nobody_is_refused(wrapped):
    detector, cfg, _, _ = wrapped("ensemble")
    with pytest.raises(ValueError, match="members=0"):
        check_settings(detector, override(cfg, "members=0"))


def test_the_side_of_a_whole_image_follows_from_its_tiles(wrapped):
    _, cfg, _, _ = wrapped("tiled")
    assert cfg.size == 2 * 64 - 16
    assert override(cfg, ["tiles=3", "overlap=8"]).size == 3 * 64 - 2 * 8


def test_a_run_of_one_composition_is_not_taken_for_another(tiny, tmp_path):
    inside, cfg, pretrained, data, _ = tiny("stfpm")
    one = wrappers.flipped(wrappers.ensemble(inside))
    other = wrappers.ensemble(wrappers.flipped(inside))
    assert one.name == "flipped(ensemble(stfpm))"
    cfg = override(cfg, "steps=0")
    settings = one.Config(inside=one.Config().inside.__class__(inside=cfg, members=1))
    training.run(one, settings, pretrained, data, jax.random.key(0), tmp_path)
    settings = other.Config(inside=other.Config().inside.__class__(inside=cfg), members=1)
    with pytest.raises(ValueError, match=r"method is 'flipped\(ensemble\(stfpm\)\)' there"):
        training.run(other, settings, pretrained, data, jax.random.key(0), tmp_path)


def test_settings_of_tiles_within_tiles_are_told_apart(tiny):
    inside, cfg, _, _, _ = tiny("stfpm")
    twice = wrappers.tiled(wrappers.tiled(inside))
    cfg = override(twice.Config(), ["tiles=3", "inside.tiles=2", f"inside.inside.size={cfg.size}"])
    assert (cfg.tiles, cfg.inside.tiles, cfg.inside.size, cfg.size) == (3, 2, 128, 384)


@every_wrapper
def test_a_wrapper_of_a_detector_without_steps_takes_none(name, tiny):
    inside = tiny("stfpm")[0]._replace(train_step=takes_no_steps, heldout_loss=None)
    outside = WRAPPERS[name][0](inside)
    assert outside.train_step is takes_no_steps
    assert outside.heldout_loss is None


def test_tiles_of_pictures_are_read_in_any_slices(striped):
    class Cfg:
        tiles, overlap = 2, 4
        inside = type("Inside", (), {"size": 10})

    images = image_set(striped(16).train, 16)
    tiles = wrappers.Tiles(images, Cfg)
    whole = wrappers.tiles_of(images, 2, 10)
    assert len(tiles) == len(whole) == 24
    for some in (slice(0, 8), slice(8, 16), slice(3, 5), slice(21, 40), slice(None)):
        np.testing.assert_array_equal(tiles[some], whole[some])


@every_wrapper
def test_what_is_nearest_is_told_by_wrappers_too(name, tiny):
    """Of noise, so that every patch is nearest to itself."""
    inside, cfg, pretrained, _, _ = tiny("patchcore")
    wrap, settings = WRAPPERS[name]
    outside = wrap(inside)
    cfg = outside.Config(inside=override(cfg, "capacity=4096"), **settings)
    noise = np.random.default_rng(0).integers(0, 256, (3, cfg.size, cfg.size, 3), np.uint8)
    state = outside.measure(
        cfg, pretrained, outside.init(cfg, pretrained, jax.random.key(0)), noise
    )
    found = compile.of_pictures(outside.nearest)(cfg, pretrained, state, noise)
    np.testing.assert_array_equal(found.picture, np.arange(3))
    np.testing.assert_allclose(found.place, found.at, atol=1e-5)
    middle = (found.at[:, :2] + found.at[:, 2:]) / 2
    assert ((middle > 0) & (middle < 1)).all()
    plain = wrap(tiny("stfpm")[0])
    assert plain.nearest is None
