"""What eight devices compute, against one; `test_many_devices` runs it where there are eight."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_settings import TINY

from jaxad import compile, mesh, sweep, training
from jaxad.data.reading import Reading
from jaxad.data.view import WHOLE, Preprocessing
from jaxad.decision import normals
from jaxad.decision.predictor import Predictor
from jaxad.detector import replace, takes_no_steps
from jaxad.evaluation.evaluate import evaluate
from jaxad.methods import DETECTORS
from jaxad.training import checkpoint, fitting
from jaxad.training.restore import finished

STEPS = 3  # in float64, for which XLA has slow convolutions
STEPPING = [name for name, one in DETECTORS.items() if one.train_step is not takes_no_steps]
GATHERED = re.compile(r"= (\S+|\([^)]*\)) (all-gather|all-to-all|collective-permute)(?:-start)?\(")


def begin(name, steps, tiny, convert=lambda tree: tree):
    """(detector, cfg, pretrained, key of the steps, batches, the state before them) of a run."""
    detector, cfg, pretrained, data, _ = tiny(name)
    cfg, pretrained = replace(cfg, batch_size=8, steps=steps), convert(pretrained)
    init_key, step_key, data_key = fitting.run_keys(jax.random.key(0))
    state = convert(fitting.begun(detector, cfg, pretrained, data.train.images, init_key))
    batches = iter(fitting.train_batches(detector, cfg, data, data_key))
    several = [convert(next(batches)) for _ in range(steps)]
    batches.close()
    return detector, cfg, pretrained, step_key, several, jax.device_get(state)


def stepped(axes, detector, cfg, pretrained, key, batches, state):
    """State and metrics after the batches, on a mesh."""
    with mesh.use(axes):
        state = mesh.placed(jax.tree.map(jnp.asarray, state))  # a copy: it is given away
        return jax.device_get(compile.steps(detector, cfg, pretrained, state, batches, key))


def apart(one, other):
    """The norm of the difference of two trees, by the norm of the first one."""
    pairs = list(zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))
    norm = lambda several: np.sqrt(sum(float(np.sum(np.square(np.float64(x)))) for x in several))
    return norm([x - y for x, y in pairs]) / norm([x for x, _ in pairs])


def gradient(state):
    """What optimisers keep after one step, a multiple of the gradient; not that of its square."""
    return [x for x in jax.tree.leaves(state.opt) if (x < 0).any()]


@pytest.mark.parametrize("name", STEPPING)
def test_the_first_step_is_that_of_one_device(name, tiny):
    start = begin(name, 1, tiny)
    (one, found), (other, again) = stepped(None, *start), stepped("data:8", *start)
    np.testing.assert_allclose(again["loss"], found["loss"], rtol=1e-5)
    assert gradient(one)
    difference = apart(gradient(one), gradient(other))
    if difference >= 1e-5:  # is it more than what one device is off by?
        with jax.enable_x64(True):
            exact, _ = stepped(None, *start[:2], wide(start[2]), start[3], *map(wide, start[4:]))
        assert difference < 2 * apart(gradient(exact), gradient(one))


def wide(tree):
    """In float64: images as well."""

    def one(x):
        if x.dtype == np.uint8:
            return np.float64(x) / 255
        return x.astype(np.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x

    return jax.tree.map(one, tree)


@pytest.mark.parametrize("name", STEPPING)
def test_steps_in_float64_are_those_of_one_device(name, tiny):
    with jax.enable_x64(True):
        start = begin(name, STEPS, tiny, wide)
        (one, found), (other, again) = stepped(None, *start), stepped("data:8", *start)
    assert {x.dtype for x in jax.tree.leaves(one.params)} == {np.dtype(np.float64)}
    np.testing.assert_allclose(again["loss"], found["loss"], rtol=1e-8)
    assert apart(one.params, other.params) < 1e-8


@pytest.mark.parametrize("name", STEPPING)
def test_no_step_brings_pictures_or_parameters_together(name, tiny):
    detector, cfg, pretrained, key, batches, state = begin(name, 1, tiny)
    with mesh.use("data:8"):
        arguments = mesh.placed((pretrained, state)), mesh.batch(batches[0]), mesh.placed(key)
        (pretrained, state), batch, key = arguments
        one = functools.partial(compile.step, detector, cfg)
        lowered = compile.jit(one).lower(pretrained, state, batch, key)
    program = lowered.compile().as_text()
    assert "all-reduce" in program
    assert not GATHERED.findall(program)
    # Nor by a sum, as an index over the pictures of the batch would have it.
    size = cfg.size
    assert not re.findall(
        rf"= \(?[^=]*\[\d+,{size},{size},3\][^=]* all-reduce(?:-start)?\(", program
    )


@pytest.mark.parametrize("name", DETECTORS)
def test_what_is_measured_calibrated_and_predicted_is_that_of_one_device(name, tiny):
    detector, cfg, pretrained, data, _ = tiny(name)
    cfg = replace(cfg, batch_size=8, steps=min(cfg.steps, 1))
    # 13 pictures to measure and 4 to calibrate on: neither divides by eight.
    images = np.concatenate([data.train.images, data.test.images, data.heldout.images[:1]])
    data = data._replace(train=type(data.train)(images))
    found = []
    for axes in (None, "data:8"):
        with mesh.use(axes):
            state = training.fit(detector, cfg, pretrained, data, jax.random.key(0))
            measured = evaluate(detector, cfg, pretrained, state, data.test)
            found.append((jax.device_get(state.stats), measured))
    (one, measured), (other, again) = found
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4 * max(1e-6, np.abs(x).max()))
    scores = lambda all: np.array([picture.score for picture in all.pictures])
    spread = np.ptp(scores(measured))
    np.testing.assert_allclose(scores(again), scores(measured), rtol=1e-3, atol=1e-3 * spread)


def test_a_run_goes_on_with_other_devices(tiny, tmp_path):
    detector, cfg, pretrained, data, _ = tiny("autoencoder")
    cfg, key = replace(cfg, batch_size=8, steps=6), jax.random.key(0)
    arguments = pretrained, data, key, tmp_path
    whole = training.fit(detector, cfg, pretrained, data, key)
    for axes, steps in (("data:8", 2), (None, 4), ("data:2,model:2", 6)):
        with mesh.use(axes):
            state = training.run(detector, replace(cfg, steps=steps), *arguments, save_every=2)
    assert apart(whole.params, jax.device_get(state.params)) < 1e-5
    assert apart(whole.params, finished(tmp_path).state.params) < 1e-5
    with mesh.use("data:8"):
        assert apart(whole.params, jax.device_get(finished(tmp_path).state.params)) < 1e-5


def test_large_parameters_are_split_along_model_and_come_to_the_same(tiny, monkeypatch):
    monkeypatch.setattr(mesh.placement, "RULES", (mesh.Rule("model", 2048),))
    start = begin("uniad", 2, tiny)
    one, found = stepped(None, *start)
    detector, cfg, pretrained, key, batches, state = start
    with mesh.use("data:4,model:2"):
        state = mesh.placed(jax.tree.map(jnp.asarray, state))
        other, again = compile.steps(detector, cfg, pretrained, state, batches, key)
        leaves = jax.tree.leaves(other.params)
        halves = [x for x in leaves if x.addressable_shards[0].data.size * 2 == x.size]
        assert halves
        assert len(halves) < len(leaves)
        other, again = jax.device_get((other, again))
    np.testing.assert_allclose(again["loss"], found["loss"], rtol=1e-5)
    assert apart(one.params, other.params) < 1e-5


@pytest.fixture(scope="module")
def sixteen(tiny):
    """A sweep's arguments, and its members as one device trains them."""
    detector, cfg, pretrained, data, _ = tiny("autoencoder")
    configs = sweep.grid(replace(cfg, batch_size=4, steps=10), lr=[1e-4, 3e-4, 1e-3, 3e-3])
    arguments = detector, configs, pretrained, data, jax.random.split(jax.random.key(0), 4)
    return arguments, sweep.fit(*arguments, at_once=1)


@pytest.mark.parametrize("axes", ["member:8", "member:4,data:2"])
@pytest.mark.parametrize("way", [compile.IN_TURNS, compile.TOGETHER])
def test_a_sweep_of_sixteen_members_is_that_of_one_device(axes, way, sixteen, monkeypatch):
    arguments, one = sixteen
    with mesh.use(axes):
        monkeypatch.setattr(compile.execution, "executor", lambda: way)
        other = sweep.fit(*arguments, at_once=16)
    assert (one.diverged == other.diverged).all()
    for x, y in zip(one.states, other.states, strict=True):
        assert apart(x.params, y.params) < 1e-5


def test_a_sweep_that_does_not_divide_gives_every_member_once(tiny, tmp_path):
    detector, cfg, pretrained, data, _ = tiny("autoencoder")
    configs = sweep.grid(replace(cfg, batch_size=4, steps=4), lr=[1e-4, 1e-3, 1e-2])
    arguments = detector, configs, pretrained, data, jax.random.split(jax.random.key(0), 3)
    one = sweep.fit(*arguments)
    with mesh.use("member:8"):
        other = sweep.run(*arguments, tmp_path, save_every=2)
        again = sweep.run(*arguments, tmp_path, save_every=2)  # from its folder
    for x, y, z in zip(one.states, other.states, again.states, strict=True):
        assert apart(x.params, y.params) < 1e-5
        assert apart(y.params, z.params) == 0


def test_halving_drops_the_same_settings(tiny):
    detector, cfg, pretrained, data, _ = tiny("autoencoder")
    configs = sweep.grid(replace(cfg, batch_size=4, steps=6), lr=[1e-6, 1e-3, 3e-3])
    arguments = detector, configs, pretrained, data, jax.random.split(jax.random.key(0), 3), [3]
    one = sweep.halve(*arguments)
    with mesh.use("member:8"):
        other = sweep.halve(*arguments)
    assert [cut.kept for cut in one.cuts] == [cut.kept for cut in other.cuts]
    for name, value in one.cuts[0].values.items():
        np.testing.assert_allclose(other.cuts[0].values[name], value, rtol=1e-5)
    for x, y in zip(one.members.states, other.members.states, strict=True):
        assert apart(x.params, y.params) < 1e-5


@pytest.mark.parametrize("way", [compile.IN_TURNS, compile.TOGETHER])
def test_a_device_holds_its_own_members_one_copy_of_the_weights_and_the_batch(way, tiny):
    detector, cfg, pretrained, data, _ = tiny("stfpm")
    cfg = replace(cfg, batch_size=4, steps=10)
    keys = [jax.random.key(n) for n in range(16)]
    with mesh.use("member:8") as used:
        state = fitting.begun(detector, cfg, pretrained, data.train.images, keys[0])
        states = compile.together([state] * 16)
        batch = next(iter(fitting.train_batches(detector, cfg, data, keys[0])))
        size = lambda tree: sum(x.nbytes for x in jax.tree.leaves(tree))
        for leaf in jax.tree.leaves(states):
            assert {shard.data.nbytes * 8 for shard in leaf.addressable_shards} == {leaf.nbytes}
        split = compile.split
        several = split._members([cfg] * 16, states, keys)
        if way is compile.IN_TURNS:
            program, batches, last = split._nth(detector, True, used), batch, (jnp.int32(0),)
        else:
            program, last = split._scan(detector, True, used), ()
            batches = jax.tree.map(lambda x: x[None], batch)
        configs, states, stacked = several
        arguments = mesh.placed(pretrained), states, mesh.placed(batches), stacked, *last
        program = functools.partial(program, configs)
        lowered = compile.jit(program, donate=1, free=True).lower(*arguments)
    found = lowered.compile().memory_analysis()
    room = size(states) / 8 + size(pretrained) + size(batch) + 4096  # settings, keys
    assert found.argument_size_in_bytes <= room


def test_a_predictor_finds_the_same(tiny, trained):
    detector, cfg, pretrained, data, _ = tiny("autoencoder")
    state = trained("autoencoder")
    card = normals.scored(detector, cfg, pretrained, state, data.heldout)
    found = []
    for axes in (None, "data:8"):
        with mesh.use(axes):
            seen = Preprocessing(Reading(), WHOLE)
            predictor = Predictor(
                detector, cfg, pretrained, state, card, preprocessing=seen, batch_size=6
            )
            found.append(predictor(list(data.test.images)))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(other.map, one.map, rtol=1e-4, atol=1e-6)
        assert other.judgement.label == one.judgement.label


def test_a_batch_that_does_not_divide_is_an_error_that_names_what_would(tiny):
    detector, cfg, pretrained, data, _ = tiny("autoencoder")
    cfg = replace(cfg, batch_size=6, steps=1)
    with mesh.use("data:4"), pytest.raises(ValueError, match=r"4 or 8, or --mesh data:3"):
        training.fit(detector, cfg, pretrained, data, jax.random.key(0))


def test_the_mesh_of_a_command(caplog):
    caplog.set_level("INFO")
    assert dict(mesh.chosen(None, 8).shape) == {"data": 8}
    assert mesh.chosen(None, 6) is None
    assert "--batch-size 8 or --mesh data:6 would use more" in caplog.text
    assert dict(mesh.chosen(None, 6, "member").shape) == {"member": 8}
    assert dict(mesh.chosen("data:2,model:2", 6).shape) == {"data": 2, "model": 2}
    with pytest.raises(ValueError, match="a single run wants data:4"):
        mesh.chosen("member:4", 8)
    with pytest.raises(ValueError, match="wants 16 devices, but there are 8"):
        mesh.chosen("data:16", 16)


def test_templates_say_where_arrays_lie(tiny):
    detector, cfg, pretrained, _, _ = tiny("autoencoder")
    with mesh.use("data:8"):
        template = checkpoint.abstract_state(detector, cfg, pretrained)
    assert {len(x.sharding.device_set) for x in jax.tree.leaves(template)} == {8}


assert set(STEPPING) < set(TINY)
