"""How functions are compiled changes their cost, not what they return."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxad import compile


def double(x):
    return 2 * x


def test_the_same_function_is_compiled_once():
    assert compile.jitted(double) is compile.jitted(double)


def test_uint8_becomes_the_unit_range_and_all_else_stays():
    tree = compile.unit({"image": jnp.uint8([0, 51, 255]), "index": jnp.int32([3])})
    np.testing.assert_allclose(tree["image"], [0, 0.2, 1])
    assert tree["index"].dtype == jnp.int32


def test_slices_put_together_are_the_whole_set():
    images = np.random.default_rng(0).integers(0, 256, (21, 4, 4, 3), np.uint8)
    parts = list(compile.sliced(double, (), images, size=8))
    assert [len(part) for part in parts] == [8, 8, 5]
    np.testing.assert_allclose(np.concatenate(parts), 2 * (images / np.float32(255)), rtol=1e-6)


def test_steps_in_a_scan_equal_steps_in_a_loop(tiny, key, monkeypatch):
    detector, cfg, pretrained, data, _ = tiny("stfpm")
    from jaxad.data.pictures import image_set
    from jaxad.data import pipeline

    images = image_set(data.train, cfg.size)
    iterator = iter(pipeline.train_batches(detector, cfg, data, 0))
    batches = [next(iterator) for _ in range(3)]
    iterator.close()
    state = lambda: detector.init(cfg, pretrained, images, key)
    looped, values = compile.steps(detector, cfg, pretrained, state(), batches, key)
    compile.compiler_options()  # cached for the real backend before it is said to be another
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    scanned, others = compile.steps(detector, cfg, pretrained, state(), batches, key)
    assert values.keys() == others.keys()
    for one, other in zip(jax.tree.leaves(looped), jax.tree.leaves(scanned), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(values["loss"], others["loss"], rtol=1e-3)


def test_an_option_that_this_jaxlib_does_not_know_is_left_out(monkeypatch):
    monkeypatch.setattr(compile, "CPU_OPTIONS", {"xla_cpu_no_such_option": ""})
    compile.compiler_options.cache_clear()
    try:
        assert compile.compiler_options() == {}
    finally:
        compile.compiler_options.cache_clear()


def test_a_step_donates_the_state(tiny, key):
    detector, cfg, pretrained, data, _ = tiny("stfpm")
    from jaxad.data import pipeline

    state = detector.init(cfg, pretrained, image_set(data.train, cfg.size), key)
    iterator = iter(pipeline.train_batches(detector, cfg, data, 0))
    compile.train_step(detector)(cfg, pretrained, state, next(iterator), key)
    iterator.close()
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))
