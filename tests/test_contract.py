"""Every detector keeps every promise of the contract."""

import dataclasses
import functools
import itertools
import re
import shutil
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxad import compile, export, training
from jaxad.data import pipeline
from jaxad.data.pictures import image_set
from jaxad.detector import (
    Prediction,
    State,
    check_settings,
    no_features,
    override,
    takes_no_steps,
    unchanged,
)
from jaxad.methods import DETECTORS
from jaxad.training import fitting

STEPPING = [name for name, x in DETECTORS.items() if x.train_step is not takes_no_steps]
LONG = ("diffusionad",)  # compiles for longer than the others
DRAWS_NOTHING = ("spade", "mahalanobis")  # of what they learn nothing is random


def each(names):
    """Long ones are slow."""
    marks = {name: [pytest.mark.slow] * (name in LONG) for name in names}
    return pytest.mark.parametrize("name", [pytest.param(n, marks=x) for n, x in marks.items()])


every_config = pytest.mark.parametrize("name", list(DETECTORS))
every_detector = each(DETECTORS)
every_detector_with_steps = each(STEPPING)
every_detector_without_steps = each(name for name in DETECTORS if name not in STEPPING)


def new_state(detector, cfg, pretrained, data, key):
    """As a run begins."""
    return fitting.begun(detector, cfg, pretrained, image_set(data.train, cfg.size), key)


def some_batches(detector, cfg, data, count=1, seed=0):
    iterator = iter(pipeline.train_batches(detector, cfg, data, seed))
    batches = [next(iterator) for _ in range(count)]
    iterator.close()
    return batches


def ready(detector, cfg, pretrained, batch):
    """A batch as the compiled step hands it to `train_step`."""
    batch = compile.unit(jax.tree.map(jnp.asarray, batch))
    features = compile.jit(detector.embed)(cfg, pretrained, batch["image"])
    return {**batch, "features": features}


def stack(trees):
    return jax.tree.map(lambda *x: jnp.stack(x), *trees)


def nth(tree, n):
    return jax.tree.map(lambda x: x[n], tree)


def assert_equal(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def assert_close(one, other, tolerance=1e-3):
    """Equal but for rounding, which is measured by each leaf's own scale.

    Of parameters one number in a thousand may be off: Adam's first step makes a gradient that is
    nothing but rounding as large as any other. Its moments, which tell the gradient, may not.
    """
    assert jax.tree.structure(one) == jax.tree.structure(other)
    leaves = zip(jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(other), strict=True)
    for (path, a), b in leaves:
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        off = np.abs(a - b) > tolerance * np.abs(b).max(initial=0.0)
        name = jax.tree_util.keystr(path)
        allowed = a.size // 1000 if name.startswith(".params") else 0
        assert off.sum() <= allowed, f"{name}: {off.sum()} of {a.size} are off"


def kinds(tree):
    return jax.tree.map(lambda x: (x.shape, x.dtype), tree)


@every_config
def test_config_is_a_frozen_pytree_with_the_common_settings(name):
    cfg = DETECTORS[name].Config()
    fields = {field.name: field for field in dataclasses.fields(cfg)}
    for common in ("size", "batch_size", "steps", "weights"):
        assert fields[common].metadata.get("static"), common
    for field in fields.values():
        if not field.metadata.get("static"):
            assert isinstance(getattr(cfg, field.name), float), f"{field.name} is not a float"
    assert len(jax.tree.leaves(cfg)) == sum(not f.metadata.get("static") for f in fields.values())
    with pytest.raises(dataclasses.FrozenInstanceError):
        cfg.steps = 1


@every_config
def test_the_list_of_methods_uses_their_own_names(name):
    assert DETECTORS[name].name == name


@every_config
def test_every_setting_survives_being_written_and_read_as_text(name):
    cfg = DETECTORS[name].Config()
    for field in dataclasses.fields(cfg):
        value = getattr(cfg, field.name)
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        assert getattr(override(cfg, f"{field.name}={text}"), field.name) == value


@every_config
def test_settings_that_cannot_work_are_refused_by_name(name):
    detector = DETECTORS[name]
    check_settings(detector, detector.Config())
    check_settings(detector, override(detector.Config(), "steps=0"))
    for wrong in ("size=8", "size=0", "steps=-1", "batch_size=0"):
        with pytest.raises(ValueError, match=rf"^{wrong}"):
            check_settings(detector, override(detector.Config(), wrong))


@every_config
def test_every_number_has_a_range_that_its_default_lies_in(name):
    for field in dataclasses.fields(DETECTORS[name].Config):
        if field.type in (int, float) or "Scalar" in str(field.type) or field.type is float:
            assert "range" in field.metadata, field.name


@every_detector_with_steps
def test_a_step_keeps_structure_shapes_and_types_of_the_state(name, tiny, key):
    detector, cfg, pretrained, data, _ = tiny(name)
    state = new_state(detector, cfg, pretrained, data, key)
    before = kinds(state)
    (batch,) = some_batches(detector, cfg, data)
    after, metrics = compile.train_step(detector)(cfg, pretrained, state, batch, key)
    assert kinds(after) == before
    assert int(after.step) == 1
    assert metrics["loss"].shape == ()
    assert all(np.isfinite(value) for value in metrics.values())


@every_detector_with_steps
def test_neither_a_second_call_nor_another_scalar_setting_recompiles(name, tiny, key):
    detector, cfg, pretrained, data, _ = tiny(name)
    step = compile.train_step(detector)
    state = new_state(detector, cfg, pretrained, data, key)
    first, second, *others = some_batches(detector, cfg, data, 4)
    state, _ = step(cfg, pretrained, state, first, key)
    state, _ = step(cfg, pretrained, state, second, key)
    compiled = step._cache_size()
    changes = [f for f in dataclasses.fields(cfg) if not f.metadata.get("static")]
    for field, batch in zip(changes, itertools.cycle(others), strict=False):
        changed = override(cfg, f"{field.name}={0.9 * getattr(cfg, field.name)}")
        state, _ = step(changed, pretrained, state, batch, key)
    assert step._cache_size() == compiled


@every_detector_with_steps
def test_every_parameter_has_had_a_gradient_within_eight_steps(name, tiny, key):
    detector, cfg, pretrained, data, untouched = tiny(name)
    state = new_state(detector, cfg, pretrained, data, key)
    start = jax.device_get(state.params)
    state, _ = compile.steps(
        detector, cfg, pretrained, state, some_batches(detector, cfg, data, 8), key
    )
    moved = {
        jax.tree_util.keystr(path): bool((before != after).any())
        for (path, before), after in zip(
            jax.tree_util.tree_leaves_with_path(start), jax.tree.leaves(state.params), strict=True
        )
    }
    assert {path for path, changed in moved.items() if not changed} == set(untouched)


@every_detector
def test_init_needs_no_data_and_suits_every_transformation(name, tiny, key):
    detector, cfg, pretrained, data, _ = tiny(name)
    init = functools.partial(detector.init, cfg, pretrained)
    shapes = jax.eval_shape(init, key)
    single = jax.jit(init)(key)
    assert kinds(single) == kinds(shapes)
    assert_equal(single, compile.init(detector)(cfg, pretrained, key))
    assert kinds(new_state(detector, cfg, pretrained, data, key)) == kinds(shapes)
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    shardings = jax.tree.map(lambda x: place, shapes)
    assert kinds(jax.jit(init, out_shardings=shardings).lower(key).out_info) == kinds(shapes)


@every_detector_with_steps
def test_vmapped_init_and_step_match_single_ones(name, tiny, key):
    detector, cfg, pretrained, data, _ = tiny(name)
    pictures = image_set(data.train, cfg.size)
    keys = jax.random.split(key, 2)
    states = jax.jit(jax.vmap(functools.partial(detector.init, cfg, pretrained)))(keys)
    assert_close(nth(states, 1), compile.init(detector)(cfg, pretrained, keys[1]))
    several = [detector.measure(cfg, pretrained, nth(states, i), pictures) for i in range(2)]

    rates = (1e-4, 1e-3)
    configs = [dataclasses.replace(cfg, lr=rate) for rate in rates]
    (batch,) = some_batches(detector, cfg, data)
    shared = ready(detector, cfg, pretrained, batch)

    def step(cfg, state, key):  # as the compiled one of single runs
        key = jax.random.fold_in(key, state.step)
        return detector.train_step(cfg, pretrained, state, shared, key)[0]

    together = jax.jit(jax.vmap(step))(stack(configs), stack(several), keys)
    alone, _ = compile.train_step(detector)(configs[1], pretrained, several[1], batch, keys[1])
    assert_close(nth(together, 1), alone)


@every_detector
def test_the_same_key_gives_the_same_bits_and_another_key_does_not(name, tiny):
    detector, cfg, pretrained, data, _ = tiny(name)

    def begun(key):  # whole runs are compared below
        init_key, step_key, data_key = fitting.run_keys(key)
        iterator = iter(fitting.train_batches(detector, cfg, data, data_key))
        batches = [next(iterator) for _ in range(3)]
        iterator.close()
        state = new_state(detector, cfg, pretrained, data, init_key)
        if name not in STEPPING:
            return state
        return compile.steps(detector, cfg, pretrained, state, batches, step_key)[0]

    one, again, other = (begun(jax.random.key(seed)) for seed in (0, 0, 1))
    assert_equal(one, again)
    if name in DRAWS_NOTHING:
        assert_equal(one, other)
        return
    learned = [(x.params or x.stats) for x in (one, other)]
    pairs = zip(*map(jax.tree.leaves, learned), strict=True)
    assert any((a != b).any() for a, b in pairs)


@every_detector_with_steps
def test_a_run_resumed_from_disk_equals_one_that_never_stopped(name, tiny, finished, tmp_path):
    """From two thirds of its steps on, with what an interruption there would have left."""
    detector, cfg, pretrained, data, _ = tiny(name)
    state, folder = finished(name)
    shutil.copytree(folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "model")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / str(cfg.steps))
    arguments = (detector, cfg, pretrained, data, jax.random.key(0), tmp_path / "run")
    resumed = training.run(*arguments, save_every=cfg.steps // 3)
    assert int(resumed.step) == cfg.steps
    assert_equal(resumed._replace(opt=()), state._replace(opt=()))
    assert_equal(training.run(*arguments), state._replace(opt=()))  # complete: read back


@every_detector
def test_frozen_features_read_static_settings_only(name, tiny):
    detector, cfg, pretrained, data, _ = tiny(name)
    images = compile.unit(jnp.asarray(image_set(data.train, cfg.size)))
    scalars = [f.name for f in dataclasses.fields(cfg) if not f.metadata.get("static")]
    changed = dataclasses.replace(cfg, **dict.fromkeys(scalars, 0.5))
    embed = compile.jit(detector.embed)
    assert_equal(embed(cfg, pretrained, images), embed(changed, pretrained, images))


@every_detector_with_steps
def test_features_from_a_cache_give_the_same_step(name, tiny, key):
    detector, cfg, pretrained, data, _ = tiny(name)
    if detector.embed is no_features:
        return  # a step without features is the one that all other tests take
    (batch,) = some_batches(detector, cfg, data)
    features = compile.jit(detector.embed)(
        cfg, pretrained, compile.unit(jnp.asarray(batch["image"]))
    )
    step = compile.train_step(detector)
    inside, _ = step(cfg, pretrained, new_state(detector, cfg, pretrained, data, key), batch, key)
    cached, _ = step(
        cfg, pretrained, new_state(detector, cfg, pretrained, data, key),
        {**batch, "features": features}, key,
    )  # fmt: skip
    assert_close(cached, inside)


@every_detector
def test_maps_are_finite_and_of_the_images_size(name, tiny, trained):
    detector, cfg, pretrained, data, _ = tiny(name)
    images = image_set(data.test, cfg.size)
    prediction = compile.predict(detector)(cfg, pretrained, trained(name), images)
    assert isinstance(prediction, Prediction)
    assert prediction.map.shape == images.shape[:3]
    assert prediction.score.shape == images.shape[:1]
    assert np.isfinite(prediction.map).all()
    assert np.isfinite(prediction.score).all()


@every_detector
def test_uint8_images_are_predicted_by_the_program_of_those_in_the_unit_range(name, tiny, key):
    detector, cfg, pretrained, data, _ = tiny(name)
    state = jax.eval_shape(functools.partial(detector.init, cfg, pretrained), key)
    arguments = cfg, pretrained, state, image_set(data.test, cfg.size)
    outside = lambda *x: detector.predict(*x[:-1], compile.unit(x[-1]))
    found, expected = (
        re.sub("0x[0-9a-f]+", "", str(jax.make_jaxpr(predict)(*arguments)))
        for predict in (detector.predict, outside)
    )
    assert found == expected


@every_detector
def test_images_that_are_neither_uint8_nor_floats_are_refused(name, tiny, key):
    detector, cfg, pretrained, data, _ = tiny(name)
    state = jax.eval_shape(functools.partial(detector.init, cfg, pretrained), key)
    images = image_set(data.train, cfg.size).astype(np.int32)
    lacking = takes_no_steps, unchanged, no_features, None
    calls = {
        detector.predict: (state, images),
        detector.train_step: (state, {"image": images}, key),
        detector.measure: (state, images),
        detector.calibrate: (state, images),
        detector.embed: (images,),
        detector.heldout_loss: (state, images),
    }
    for function, arguments in calls.items():
        if function not in lacking:
            with pytest.raises(TypeError, match=r"expected uint8, or floats in .* not int32"):
                function(cfg, pretrained, *arguments)


@every_detector_without_steps
def test_without_steps_all_is_learned_in_one_pass_over_the_pictures(name, tiny, trained, key):
    detector, cfg, pretrained, _, _ = tiny(name)
    assert detector.Config().steps == 0
    with pytest.raises(ValueError, match=f"^steps=5: expected 0, {name} takes no steps"):
        check_settings(detector, override(cfg, "steps=5"))
    state = trained(name)
    assert not jax.tree.leaves((state.params, state.opt))
    assert int(state.step) == 0
    assert kinds(state) == kinds(compile.init(detector)(cfg, pretrained, key))


@every_detector_without_steps
def test_another_scalar_setting_does_not_compile_predict_anew(name, tiny, trained):
    detector, cfg, pretrained, data, _ = tiny(name)
    images = image_set(data.test, cfg.size)
    predict = compile.predict(detector)
    predict(cfg, pretrained, trained(name), images)
    compiled = predict._cache_size()
    for field in dataclasses.fields(cfg):
        if not field.metadata.get("static"):
            changed = override(cfg, f"{field.name}={0.9 * getattr(cfg, field.name)}")
            predict(changed, pretrained, trained(name), images)
    assert predict._cache_size() == compiled


@every_detector_without_steps
def test_what_several_categories_left_predicts_under_vmap_as_alone(name, tiny, key):
    detector, cfg, pretrained, data, _ = tiny(name)
    pictures, images = image_set(data.train, cfg.size), image_set(data.test, cfg.size)
    begun = compile.init(detector)(cfg, pretrained, key)
    several = [
        detector.measure(cfg, pretrained, begun, some) for some in (pictures, 255 - pictures[:5])
    ]
    many = jax.jit(jax.vmap(detector.predict, (None, None, 0, None)))
    together = many(cfg, pretrained, stack(several), images)
    for i, state in enumerate(several):
        alone = compile.predict(detector)(cfg, pretrained, state, images)
        assert_close(nth(together, i), alone, 2e-3)


@pytest.mark.parametrize("name", [n for n, x in DETECTORS.items() if x.nearest is not None])
def test_what_is_nearest_is_a_place_in_a_training_picture(name, tiny, trained):
    detector, cfg, pretrained, data, _ = tiny(name)
    nearest = compile.of_pictures(detector.nearest)
    train, test = (image_set(some, cfg.size) for some in (data.train, data.test))
    found = nearest(cfg, pretrained, trained(name), test)
    for boxes in (found.at, found.place):
        assert boxes.shape == (len(test), 4)
        assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert ((found.picture >= 0) & (found.picture < len(train))).all()
    np.testing.assert_allclose(
        found.distance[4:5], nearest(cfg, pretrained, trained(name), test[4:5]).distance, rtol=1e-4
    )
    itself = nearest(cfg, pretrained, trained(name), train)
    assert (itself.distance < found.distance.max()).all()


@every_detector
def test_maps_and_scores_are_higher_on_a_painted_defect(name, tiny, trained):
    detector, cfg, pretrained, data, _ = tiny(name)
    images = image_set(data.test, cfg.size)
    masks = data.test.masks.astype(bool)
    painted = masks.any((1, 2))
    prediction = compile.predict(detector)(cfg, pretrained, trained(name), images)
    assert prediction.score[painted].min() > prediction.score[~painted].max()
    inside = prediction.map[masks].mean()
    assert inside > np.quantile(prediction.map[painted][~masks[painted]], 0.8)


@every_detector
def test_a_prediction_does_not_depend_on_its_neighbours_in_the_batch(name, tiny, trained):
    detector, cfg, pretrained, data, _ = tiny(name)
    predict = compile.predict(detector)
    images = image_set(data.test, cfg.size)
    both = predict(cfg, pretrained, trained(name), images)
    alone = predict(cfg, pretrained, trained(name), images[4:5])
    np.testing.assert_allclose(both.map[4], alone.map[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(both.score[4], alone.score[0], rtol=1e-4)
    others = predict(cfg, pretrained, trained(name), np.roll(images, 2, 0))
    np.testing.assert_allclose(others.map[0], both.map[4], rtol=1e-4, atol=1e-5)


@every_detector
def test_prediction_needs_no_optimiser_state(name, tiny, trained):
    detector, cfg, pretrained, data, _ = tiny(name)
    images = image_set(data.test, cfg.size)
    state: State = trained(name)
    predict = compile.predict(detector)
    whole = predict(cfg, pretrained, state, images)
    assert_close(predict(cfg, pretrained, state._replace(opt=()), images), whole)


@every_detector
def test_calibration_keeps_the_structure_and_the_parameters(name, tiny, trained):
    detector, cfg, pretrained, data, _ = tiny(name)
    state = trained(name)
    heldout = image_set(data.heldout, cfg.size)
    again = detector.calibrate(cfg, pretrained, state, heldout)
    assert kinds(again) == kinds(state)
    assert_equal(again.params, state.params)


@every_detector
def test_a_run_of_no_steps_is_measured_saved_and_read_back(name, tiny, tmp_path, key):
    detector, cfg, pretrained, data, _ = tiny(name)
    cfg = dataclasses.replace(cfg, steps=0)
    state = training.run(detector, cfg, pretrained, data, key, tmp_path)
    assert int(state.step) == 0
    again = training.run(detector, cfg, pretrained, data, key, tmp_path)
    assert_equal(state._replace(opt=()), again)


@every_detector
def test_the_heldout_loss_is_of_each_image_and_repeats(name, tiny, trained):
    detector, cfg, pretrained, data, _ = tiny(name)
    if detector.heldout_loss is None:
        with pytest.raises(ValueError, match="has no held-out loss"):
            training.fit(detector, cfg, pretrained, data, jax.random.key(0), select="heldout")
        return
    images = image_set(data.heldout, cfg.size)
    loss = compile.of_pictures(detector.heldout_loss)
    state = trained(name)._replace(opt=())
    found = loss(cfg, pretrained, state, images)
    assert found.shape == (len(images),)
    np.testing.assert_array_equal(found, loss(cfg, pretrained, state, images))
    turned = loss(cfg, pretrained, state, images[::-1].copy())
    np.testing.assert_allclose(found[::-1], turned, rtol=1e-4)
    new = new_state(detector, cfg, pretrained, data, jax.random.key(0))._replace(opt=())
    assert found.mean() < loss(cfg, pretrained, new, images).mean()


@every_detector
def test_the_exported_program_agrees_with_predict_for_any_batch_size(name, tiny, trained):
    detector, cfg, pretrained, data, _ = tiny(name)
    images = image_set(data.test, cfg.size)
    program = export.serialize(detector, cfg, pretrained, trained(name))
    run = export.deserialize(program)
    prediction = compile.predict(detector)(cfg, pretrained, trained(name), images)
    for count in (1, len(images)):
        map_, score = run(images[:count])
        # A map's values may be what large ones leave: its range tells how small an error is.
        range_ = float(jnp.ptp(prediction.map))
        close = {"rtol": 1e-4, "atol": 1e-5 * max(1.0, range_)}
        np.testing.assert_allclose(map_, prediction.map[:count], **close)
        np.testing.assert_allclose(score, prediction.score[:count], rtol=1e-4)


@every_detector
def test_the_score_has_a_gradient_with_respect_to_the_image(name, tiny, trained):
    detector, cfg, pretrained, data, _ = tiny(name)
    image = compile.unit(jnp.asarray(image_set(data.test, cfg.size, limit=1)))
    state = trained(name)
    score = lambda x: detector.predict(cfg, pretrained, state, x).score.sum()
    saliency = jax.jit(jax.grad(score))(image)
    assert np.isfinite(saliency).all()
    assert (saliency != 0).any()


@every_detector
def test_a_state_that_is_not_finite_is_not_exported(name, tiny, trained):
    detector, cfg, pretrained, _, _ = tiny(name)
    spoil = lambda x: jnp.full_like(x, jnp.nan) if jnp.issubdtype(x.dtype, jnp.floating) else x
    part = "params" if trained(name).params else "stats"
    wrong = jax.tree.map(spoil, getattr(trained(name), part))
    spoiled = trained(name)._replace(**{part: wrong})
    with pytest.raises(FloatingPointError, match=part):
        export.serialize(detector, cfg, pretrained, spoiled)


@every_detector
def test_no_public_function_of_a_method_takes_or_returns_a_module(name, tiny, trained, key):
    """Looks at the values themselves, in every call while the detector is traced once.

    Its images are uint8, as they travel, in each of its functions.
    """
    detector, cfg, pretrained, data, _ = tiny(name)
    file, seen, found = sys.modules[detector.predict.__module__].__file__, set(), []

    def holds_a_module(value):
        leaves = jax.tree.leaves(value, is_leaf=lambda x: isinstance(x, nn.Module))
        return any(isinstance(leaf, nn.Module) for leaf in leaves)

    def look(frame, event, value):
        code = frame.f_code
        if code.co_filename != file or code.co_name.startswith(("_", "<")):
            return
        if "<locals>" in code.co_qualname or event not in ("call", "return"):
            return
        seen.add(code.co_name)
        given = value if event == "return" else dict(frame.f_locals)
        if holds_a_module(given):
            found.append(f"{code.co_name} {event}")

    (batch,) = some_batches(detector, cfg, data)
    batch = {**batch, "features": ready(detector, cfg, pretrained, batch)["features"]}
    image = image_set(data.test, cfg.size, limit=1)
    arguments = cfg, pretrained, trained(name)
    sys.setprofile(look)
    try:
        jax.eval_shape(functools.partial(detector.init, cfg, pretrained), key)
        if name in STEPPING:
            jax.eval_shape(detector.train_step, *arguments, batch, key)
        jax.eval_shape(detector.predict, *arguments, image)
        jax.eval_shape(detector.embed, cfg, pretrained, image)
        if detector.heldout_loss is not None:
            jax.eval_shape(detector.heldout_loss, *arguments, image)
        detector.measure(*arguments, image_set(data.train, cfg.size))
        detector.calibrate(*arguments, image_set(data.heldout, cfg.size))
    finally:
        sys.setprofile(None)
    assert "predict" in seen
    assert not found
