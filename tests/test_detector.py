"""Configs: pytrees of scalars, changed by text."""

import copy
import logging
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad import export
from jaxad.data.pictures import Resized, image_set
from jaxad.detector import (
    Detector,
    Pictures,
    Prediction,
    Sample,
    Scalar,
    State,
    check_settings,
    config,
    no_features,
    override,
    replace,
    scalar,
    static,
    static_settings,
    takes_no_steps,
    unchanged,
    values,
)


@config
class Config:
    size: int = static(64)
    width: int | None = static(None)
    weights: tuple[str, ...] = static(("a",))
    mode: Literal["slow", "fast"] = static("slow")
    on: bool = static(True)
    lr: Scalar = 1e-4


def test_only_sweepable_fields_are_leaves():
    assert jax.tree.leaves(Config(lr=0.5)) == [0.5]


def test_another_scalar_keeps_the_tree_and_another_static_field_does_not():
    same, other = Config(lr=1.0), Config(size=32)
    assert jax.tree.structure(same) == jax.tree.structure(Config())
    assert jax.tree.structure(other) != jax.tree.structure(Config())


def test_override_reads_every_kind_of_field():
    settings = ["lr=3e-4", "size=128", "width=8", "weights=a,b", "mode=fast", "on=false"]
    assert override(Config(), settings) == Config(
        lr=3e-4, size=128, width=8, weights=("a", "b"), mode="fast", on=False
    )
    assert override(Config(width=3), "width=none").width is None


def test_a_whole_number_given_for_a_scalar_becomes_a_float():
    assert isinstance(override(Config(), "lr=1").lr, float)


def test_an_unknown_field_names_what_there_is_and_what_is_close():
    with pytest.raises(ValueError, match=r"no setting 'sise'; did you mean 'size'.*weights"):
        override(Config(), "sise=3")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("size=big", "a whole number"),
        ("size=1.5", "a whole number"),
        ("lr=fast", "a number"),
        ("on=perhaps", "true or false"),
        ("mode=medium", "slow, fast"),
        ("size", "name=value"),
    ],
)
def test_an_ill_typed_value_says_what_was_expected(setting, expected):
    with pytest.raises(ValueError, match=expected):
        override(Config(), setting)


@config
class Ranged:
    size: int = static(64, least=1)
    batch_size: int = static(1, least=1)
    steps: int = static(10, least=0)
    weights: tuple[str, ...] = static(("a",), count=1)
    widths: tuple[int, ...] = static((4, 8), 1, fewest=1)
    mode: Literal["slow", "fast"] = static("slow")
    narrow: int | None = static(None, 1)
    lr: Scalar = scalar(1e-4, above=0)
    share: Scalar = scalar(0.5, 0, 1)
    decay: Scalar = scalar(0.5, least=0, below=1)
    clip: Scalar = scalar(0.1, above=0, finite=False)
    low: Scalar = scalar(0.1)


def rule(cfg):
    if cfg.low >= cfg.share:
        raise ValueError(f"low={cfg.low} and share={cfg.share}: expected low to be less")


DETECTOR = Detector(
    name="mine", Config=Ranged, init=None, predict=None, train_step=print, check=rule
)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"lr": -1.0}, "lr=-1.0: expected more than 0"),
        ({"lr": float("nan")}, "lr=nan: expected more than 0"),
        ({"lr": float("inf")}, "lr=inf: expected more than 0"),
        ({"share": 1.5}, "share=1.5: expected 0 to 1"),
        ({"decay": 1.0}, "decay=1.0: expected 0 to less than 1"),
        ({"low": float("inf")}, "low=inf: expected a finite number"),
        ({"steps": -1}, "steps=-1: expected 0 or more"),
        ({"steps": 1e3}, "steps=1000.0: expected a whole number"),
        ({"size": True}, "size=true: expected a whole number"),
        ({"widths": ()}, "widths=: expected 1 or more values"),
        ({"widths": (4, 0)}, "widths=4,0: expected 1 or more"),
        ({"widths": [4, 8]}, "widths=.*: expected a tuple, each a whole number"),
        ({"weights": ("a", "b")}, "weights=a,b: expected 1 value"),
        ({"mode": "medium"}, "mode=medium: expected one of slow, fast"),
        ({"narrow": 0}, "narrow=0: expected 1 or more"),
        ({"low": 0.7}, "low=0.7 and share=0.5: expected low to be less"),
    ],
)
def test_only_what_is_wrong_with_the_field_that_is_wrong_is_said(setting, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        check_settings(DETECTOR, Ranged(**setting))


def test_what_is_in_range_passes():
    check_settings(DETECTOR, Ranged())
    check_settings(DETECTOR, Ranged(clip=float("inf"), narrow=3, share=1, lr=jnp.float32(0.1)))


def test_a_config_without_a_common_setting_is_an_error_of_the_contract():
    with pytest.raises(ValueError, match="config of mine has no batch_size, steps: every"):
        check_settings(DETECTOR, Config())


def test_steps_of_a_detector_that_takes_none_are_refused():
    still = DETECTOR._replace(train_step=takes_no_steps)
    with pytest.raises(ValueError, match="steps=10: expected 0, mine takes no steps"):
        check_settings(still, Ranged())
    check_settings(still, Ranged(steps=0))
    state = State(jnp.int32(0), (), (), ())
    with pytest.raises(ValueError, match="takes no steps"):
        takes_no_steps(Ranged(), {}, state, {}, jax.random.key(0))


def seen(cfg, pretrained, state, images):
    """A predict whose map is what it sees, twice."""
    return Prediction(2 * images.mean(-1), images.mean((1, 2, 3)))


def stepped(cfg, pretrained, state, batch, key):
    return state, {"loss": batch["image"].mean(), "aux": batch["aux"].mean(), "n": batch["index"]}


def measured(cfg, pretrained, state, pictures):
    return state._replace(stats=pictures[0:1])


USERS = Detector(
    name="users", Config=Ranged, init=None, predict=seen, train_step=stepped, measure=measured,
    calibrate=measured, embed=lambda cfg, pretrained, images: images,
    heldout_loss=lambda cfg, pretrained, state, images: images.mean((1, 2, 3)),
)  # fmt: skip
STATE = State(jnp.int32(0), (), (), ())
BYTES = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
UNIT = BYTES / np.float32(255)


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray])
def test_uint8_images_are_those_in_the_unit_range_whatever_is_asked_of_them(array):
    images, arguments = array(BYTES), (Ranged(), {}, STATE)
    expected = USERS.predict(*arguments, array(UNIT))
    np.testing.assert_allclose(expected.map, seen(*arguments, UNIT).map, rtol=1e-6)
    vmapped = jax.vmap(lambda x: USERS.predict(*arguments, x[None]).map[0])
    for found in (
        USERS.predict(*arguments, images).map,
        USERS.predict(*arguments, images=images).map,
        jax.jit(USERS.predict)(*arguments, images).map,
        vmapped(images),
    ):
        np.testing.assert_allclose(found, expected.map, rtol=1e-6)
    np.testing.assert_allclose(USERS.embed(Ranged(), {}, images), UNIT, rtol=1e-6)
    np.testing.assert_allclose(USERS.heldout_loss(*arguments, images), UNIT.mean((1, 2, 3)), 1e-6)
    _, found = USERS.train_step(*arguments, {"image": images, "aux": images, "index": 7}, None)
    np.testing.assert_allclose((found["loss"], found["aux"]), UNIT.mean(), rtol=1e-6)
    assert found["n"] == 7


def test_a_score_has_a_gradient_beside_uint8_images_and_is_exported_for_them():
    scaled = USERS._replace(predict=lambda c, p, s, images: seen(c, p, s, c.low * images))
    score = lambda low: scaled.predict(Ranged(low=low), {}, STATE, BYTES).score.sum()
    assert jax.grad(score)(0.5) == pytest.approx(UNIT.mean((1, 2, 3)).sum(), rel=1e-5)
    cfg = Ranged(size=4)
    map, _ = export.deserialize(export.serialize(USERS, cfg, {}, STATE))(BYTES)
    np.testing.assert_allclose(map, seen(cfg, {}, STATE, UNIT).map, rtol=1e-6)


def test_pictures_to_measure_stay_as_they_travel():
    for measure in (USERS.measure, USERS.calibrate):
        assert measure(Ranged(), {}, STATE, BYTES).stats.dtype == np.uint8
        assert measure(Ranged(), {}, STATE, UNIT).stats.dtype == np.float32
        assert measure(Ranged(), {}, STATE, Sample(BYTES, 1)).stats.dtype == np.uint8


@pytest.mark.parametrize("dtype", [np.int32, np.uint16, np.int8, bool])
def test_images_of_another_type_are_refused_by_name(dtype):
    images, arguments = BYTES.astype(dtype), (Ranged(), {}, STATE)
    message = rf"images: expected uint8, or floats in \[0, 1\], not {np.dtype(dtype)}"
    for function in (USERS.predict, USERS.heldout_loss, jax.jit(USERS.predict)):
        with pytest.raises(TypeError, match=message):
            function(*arguments, images)
    with pytest.raises(TypeError, match=message):
        USERS.embed(Ranged(), {}, images)
    for function in (USERS.measure, USERS.calibrate):
        with pytest.raises(TypeError, match=f"pictures: .* not {np.dtype(dtype)}"):
            function(*arguments, images)
    for name in ("image", "aux"):
        batch = {"image": BYTES, "aux": BYTES, "index": np.arange(2), name: images}
        with pytest.raises(TypeError, match=rf"batch\['{name}'\]: .* not {np.dtype(dtype)}"):
            USERS.train_step(*arguments, batch, None)


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16, np.float32])
def test_floats_stay_as_they_are(dtype):
    images = jnp.asarray(UNIT, dtype)
    assert USERS.embed(Ranged(), {}, images) is images


def test_functions_of_a_detector_are_always_the_same_objects():
    assert USERS.predict is USERS.predict
    assert USERS.predict is USERS._replace(name="other").predict
    assert USERS.predict.__wrapped__ is seen
    assert USERS._replace(predict=stepped).predict is not USERS.predict
    assert copy.copy(USERS) == USERS
    assert hash(copy.copy(USERS)) == hash(USERS)
    least = Detector("least", Ranged, None, seen)
    assert least.train_step is takes_no_steps
    assert least.measure is least.calibrate is unchanged
    assert least.embed is no_features
    assert least.heldout_loss is None


@config
class Outer:
    inside: Ranged = Ranged()
    size: int = static(3)


def test_settings_of_a_config_inside_are_found_by_name_or_by_path():
    cfg = override(Outer(), ["lr=0.5", "size=7", "inside.size=32"])
    assert (cfg.inside.lr, cfg.size, cfg.inside.size) == (0.5, 7, 32)
    assert replace(Outer(), mode="fast").inside.mode == "fast"
    assert values(cfg)["inside.size"] == 32
    assert "inside.size" in static_settings(cfg)
    assert "lr" not in static_settings(cfg)
    with pytest.raises(ValueError, match="no setting 'nothing'"):
        replace(Outer(), nothing=1)


def test_a_sample_is_spread_evenly_and_said(caplog):
    pictures = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    with caplog.at_level(logging.INFO):
        some = Sample(pictures, 4)
    assert "measured on 4 of 10 pictures" in caplog.text
    assert len(some) == 4
    np.testing.assert_array_equal(some[0:4][:, 0, 0, 0], [0, 3, 6, 9])
    np.testing.assert_array_equal(some[1:3][:, 0, 0, 0], [3, 6])
    np.testing.assert_array_equal(Sample(pictures, 20)[0:20], pictures)


def test_an_array_and_a_source_that_reads_are_both_pictures(striped):
    source = striped(16).train
    read, kept = Resized(source, 16), image_set(source, 16)
    assert isinstance(read, Pictures)
    assert isinstance(kept, Pictures)
    for some in (slice(0, 4), slice(4, 6), slice(3, 100), slice(None)):
        np.testing.assert_array_equal(read[some], kept[some])
    np.testing.assert_array_equal(read[0:2], read[0:2])
