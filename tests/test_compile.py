"""How functions are compiled changes their cost, not what they return."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad import compile, training
from jaxad.compile import finite, programs
from jaxad.data import pipeline
from jaxad.data.pictures import image_set


def double(x):
    return 2 * x


def test_the_same_function_is_compiled_once():
    assert compile.jit(double) is compile.jit(double)


def test_uint8_becomes_the_unit_range_and_all_else_stays():
    tree = compile.unit({"image": jnp.uint8([0, 51, 255]), "index": jnp.int32([3])})
    np.testing.assert_allclose(tree["image"], [0, 0.2, 1])
    assert tree["index"].dtype == jnp.int32


@pytest.mark.parametrize("dtype", [np.int32, np.uint16])
def test_pictures_of_another_type_are_refused(dtype):
    images = np.zeros((2, 4, 4, 3), dtype)
    with pytest.raises(TypeError, match=f"expected uint8, or floats .* not {np.dtype(dtype)}"):
        compile.over_set(double, (), images)


def test_slices_put_together_are_the_whole_set():
    images = np.random.default_rng(0).integers(0, 256, (21, 4, 4, 3), np.uint8)
    parts = list(compile.slices(double, (), images, size=8))
    assert [len(part) for part in parts] == [8, 8, 5]
    np.testing.assert_allclose(np.concatenate(parts), 2 * (images / np.float32(255)), rtol=1e-6)


def test_both_executors_take_the_same_steps(tiny, key):
    detector, cfg, pretrained, data, _ = tiny("stfpm")
    iterator = iter(pipeline.train_batches(detector, cfg, data, 0))
    batches = [next(iterator) for _ in range(3)]
    iterator.close()
    state = lambda: compile.init(detector)(cfg, pretrained, key)
    looped, values = compile.IN_TURNS.steps(detector, cfg, pretrained, state(), batches, key)
    scanned, others = compile.TOGETHER.steps(detector, cfg, pretrained, state(), batches, key)
    assert values.keys() == others.keys()
    for one, other in zip(jax.tree.leaves(looped), jax.tree.leaves(scanned), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(values["loss"], others["loss"], rtol=1e-3)


def test_the_backend_chooses_the_executor(monkeypatch):
    assert compile.executor() is compile.IN_TURNS
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert compile.executor() is compile.TOGETHER


def test_an_option_that_this_jaxlib_does_not_know_is_left_out(monkeypatch):
    monkeypatch.setattr(programs, "CPU_OPTIONS", {"xla_cpu_no_such_option": ""})
    programs.compiler_options.cache_clear()
    try:
        assert programs.compiler_options() == {}
    finally:
        programs.compiler_options.cache_clear()


def test_compiled_programs_are_kept_where_the_user_says(tmp_path, monkeypatch):
    kept = lambda: jax.config.values["jax_compilation_cache_dir"]
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: jax.config.values[name] for name in names}
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
    try:
        compile.enable_cache()
        assert {name: jax.config.values[name] for name in names} == before
        compile.enable_cache(tmp_path / "own")
        assert kept() == str(tmp_path / "own")
        jax.config.update("jax_compilation_cache_dir", None)
        compile.enable_cache()
        assert kept() == str(tmp_path / ".cache" / "jaxad")
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def test_a_step_donates_the_state(tiny, key):
    detector, cfg, pretrained, data, _ = tiny("stfpm")
    state = compile.init(detector)(cfg, pretrained, key)
    iterator = iter(pipeline.train_batches(detector, cfg, data, 0))
    compile.train_step(detector)(cfg, pretrained, state, next(iterator), key)
    iterator.close()
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))


def shifted(offset, images):
    return images * 3 + offset


def test_moments_of_slices_are_the_moments_of_the_set():
    images = np.random.default_rng(0).integers(0, 256, (19, 5, 4, 3), np.uint8)
    mean, std = compile.moments(shifted, (1000.0,), images)
    features = images / 255.0 * 3 + 1000
    np.testing.assert_allclose(mean, features.mean((0, 1, 2), keepdims=True), rtol=1e-6)
    # The offset would leave a difference of sums of squares no digits.
    np.testing.assert_allclose(std, features.std((0, 1, 2), keepdims=True), rtol=1e-3)


class Slow:
    """Pictures that say which slices were asked for."""

    def __init__(self, images):
        self.images, self.asked = images, []

    def __len__(self):
        return len(self.images)

    def __getitem__(self, some):
        self.asked.append((some.start, some.stop))
        return self.images[some]


def test_a_set_is_read_slice_by_slice_and_one_ahead():
    images = np.zeros((21, 4, 4, 3), np.uint8)
    pictures = Slow(images)
    found = iter(compile.slices(double, (), pictures))
    next(found)
    assert len(pictures.asked) <= 2
    assert len(list(found)) == 2
    assert pictures.asked == [(0, 8), (8, 16), (16, 21)]


def test_a_set_without_pictures_is_an_error():
    with pytest.raises(ValueError, match="no pictures to go over"):
        compile.over_set(double, (), np.zeros((0, 4, 4, 3), np.uint8))


def test_a_set_that_cannot_be_read_is_an_error():
    class Broken(Slow):
        def __getitem__(self, some):
            raise OSError("003.png is truncated")

    with pytest.raises(OSError, match="truncated"):
        list(compile.slices(double, (), Broken(np.zeros((3, 4, 4, 3), np.uint8))))


def test_the_first_leaf_that_is_not_finite_is_named():
    tree = {"a": jnp.ones(3), "b": jnp.array([1.0, jnp.inf]), "c": jnp.array(jnp.nan), "n": 3}
    with pytest.raises(FloatingPointError, match=r"\['b'\]"):
        compile.check_finite(tree)
    compile.check_finite({"a": jnp.ones(3), "n": jnp.int32(2)})


def test_looking_at_a_state_is_one_program(monkeypatch):
    """Whatever the number of leaves: one program reduces them all."""
    tree = {str(i): jnp.full((2, i + 1), i, jnp.float32) for i in range(20)}
    calls, real = [], finite._finite
    monkeypatch.setattr(finite, "_finite", lambda *x: calls.append(1) or real(*x))
    compile.check_finite(tree)
    assert compile.finite_members(tree).tolist() == [True, True]
    assert len(calls) == 2


def test_members_that_are_not_finite_are_told_apart():
    states = {"w": jnp.array([[1.0, 2.0], [jnp.nan, 1.0], [1.0, 1.0]]), "step": jnp.arange(3)}
    np.testing.assert_array_equal(compile.finite_members(states), [True, False, True])


def broken_step(metrics):
    return lambda cfg, pretrained, state, batch, key: (state, metrics)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({}, "expected 'loss' among them"),
        ({"error": jnp.float32(1)}, "returned the metrics error: expected 'loss'"),
        ({"loss": jnp.zeros(2)}, "no scalars: loss"),
    ],
)
def test_metrics_that_a_run_cannot_use_are_an_error_of_the_contract(tiny, key, metrics, message):
    detector, cfg, pretrained, data, _ = tiny("stfpm")
    wrong = detector._replace(name="mine", train_step=broken_step(metrics))
    with pytest.raises(ValueError, match=f"mine.*{message}"):
        training.fit(wrong, cfg, pretrained, data, key)


def test_a_batch_without_a_wanted_stream_is_an_error_of_the_contract(tiny, key):
    detector, cfg, pretrained, data, _ = tiny("efficientad")
    batch = {"image": image_set(data.train, cfg.size)[:2], "index": np.arange(2)}
    state = compile.init(detector)(cfg, pretrained, key)
    with pytest.raises(ValueError, match="efficientad wants the stream 'aux', but the batch has"):
        compile.train_step(detector)(cfg, pretrained, state, batch, key)
