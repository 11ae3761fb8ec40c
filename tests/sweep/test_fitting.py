"""Sweeps: members equal runs alone, whatever trains beside them and however often it stops."""

import gc
import json
import logging
import weakref

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from jaxad import compile, sweep, training
from jaxad.data import pipeline
from jaxad.data.image_folder import ImageFolder
from jaxad.data.pictures import image_set
from jaxad.detector import override
from jaxad.ops.stacked import nth, stack
from jaxad.sweep import memory, planning, sets, team
from jaxad.training import checkpoint
from jaxad.training import fitting as single


@pytest.fixture(scope="module")
def job(tiny):
    """(detector, configs, pretrained, data, keys): 2 x 2 settings in two groups, 2 seeds."""
    detector, cfg, pretrained, data, _ = tiny("stfpm")
    cfg = override(cfg, "steps=12")
    configs = sweep.grid(cfg, lr=[0.1, 0.03], upsampling=["twice", "once"])
    return detector, configs, pretrained, data, jax.random.split(jax.random.key(5), 2)


@pytest.fixture(scope="module")
def fitted(job):
    return sweep.fit(*job)


@pytest.fixture(scope="module")
def alone(job):
    """The second setting with the second key, as a run alone trains it."""
    detector, configs, pretrained, data, keys = job
    return training.fit(detector, configs[1], pretrained, data, keys[1])._replace(opt=())


def task_of(job):
    detector, _, pretrained, _, _ = job
    return team.Task(detector, pretrained, sets.Sets(detector, pretrained, None))


def assert_equal(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_member_is_bit_for_bit_a_run_alone(job, fitted, alone):
    assert_equal(fitted.state(job[1], 1, 1), alone)


def test_how_many_train_at_once_changes_nothing(job, fitted):
    detector, configs, pretrained, data, keys = job
    some = sweep.fit(detector, configs, pretrained, data, keys, at_once=3)
    assert_equal(some, fitted)


def test_states_are_stacked_by_group_setting_and_seed(job, fitted):
    _detector, configs, _pretrained, _data, _keys = job
    assert len(fitted.states) == len(sweep.groups(configs)) == 2
    for states in fitted.states:
        assert all(leaf.shape[:2] == (2, 2) for leaf in jax.tree.leaves(states))
    assert (fitted.diverged == -1).all()
    with pytest.raises(IndexError, match="no setting 4"):
        fitted.state(configs, 4, 0)


def test_other_values_of_the_same_fields_do_not_recompile(job, fitted):
    detector, configs, pretrained, data, keys = job
    before = compile.train_step(detector)._cache_size()
    cfg = override(configs[0], "steps=12")
    sweep.fit(detector, sweep.grid(cfg, lr=[0.07], momentum=[0.8]), pretrained, data, keys[:1])
    assert compile.train_step(detector)._cache_size() == before


def begun(job, configs):
    """New states of several settings with the first key, stacked."""
    detector, _, pretrained, data, keys = job
    pictures = image_set(data.train, configs[0].size)
    return stack([single.begun(detector, cfg, pretrained, pictures, keys[0]) for cfg in configs])


def some_batches(job, cfg, count):
    detector, _, _, data, _ = job
    iterator = iter(pipeline.train_batches(detector, cfg, data, 0))
    batches = [next(iterator) for _ in range(count)]
    iterator.close()
    return batches


def test_a_vmapped_sweep_agrees_with_calls_of_the_one_step(job):
    """What an accelerator runs: with batches that all members share, and with their own."""
    detector, configs, pretrained, _data, keys = job
    several = (configs[0], configs[2])
    one, other = some_batches(job, configs[0], 2)
    for batches in ([[one, one], [other, other]], [[one, other]]):
        (called, metrics), (vmapped, same) = (
            way.steps_of_many(
                detector, several, pretrained, begun(job, several), batches, list(keys)
            )
            for way in (compile.IN_TURNS, compile.TOGETHER)
        )
        assert same["loss"].shape == (len(batches), 2)
        np.testing.assert_allclose(same["loss"], metrics["loss"], rtol=1e-5)
        for a, b in zip(
            jax.tree.leaves(vmapped.params), jax.tree.leaves(called.params), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_vmapped_sweep_follows_calls_of_the_one_step_over_fifty_steps(job):
    """Within rounding; later the hard threshold, which is discrete, sets them apart."""
    detector, configs, pretrained, _data, keys = job
    several = tuple(override(cfg, "steps=50") for cfg in (configs[0], configs[2]))
    batches = [[one, one] for one in some_batches(job, several[0], 50)]
    (_, called), (_, vmapped) = (
        way.steps_of_many(detector, several, pretrained, begun(job, several), batches, list(keys))
        for way in (compile.IN_TURNS, compile.TOGETHER)
    )
    np.testing.assert_allclose(vmapped["loss"][:10], called["loss"][:10], rtol=1e-5)
    np.testing.assert_allclose(vmapped["loss"][49], called["loss"][49], rtol=1e-3)


@pytest.mark.slow
def test_a_vmapped_sweep_holds_pretrained_and_batch_once(job, monkeypatch):
    """By the compiled program's own analysis: what is not shared grows with the members."""
    detector, configs, pretrained, _data, keys = job
    batch = jax.tree.map(lambda x: x[None], some_batches(job, configs[0], 1)[0])

    # Lowering describes arguments by objects that are no arrays.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)

    def analysis(count):
        arguments = (
            sweep.stack([configs[0]] * count), pretrained, begun(job, [configs[0]] * count), batch,
            jnp.stack([keys[0]] * count),
        )  # fmt: skip
        step = compile.jit(compile.split.scan_of_many(detector, True), donate=2)
        return step.lower(*arguments).compile().memory_analysis()

    def whole(found):
        results = found.output_size_in_bytes - found.alias_size_in_bytes  # donated states aside
        return found.argument_size_in_bytes + found.temp_size_in_bytes + results

    shared = sum(x.nbytes for x in jax.tree.leaves((pretrained, batch)))
    two, four = whole(analysis(2)), whole(analysis(4))
    assert four - shared <= 2 * (two - shared)


def test_one_data_set_for_each_setting(job, tiny):
    detector, configs, pretrained, data, keys = job
    twice = (configs[0], configs[0])
    turned = data._replace(train=data.heldout, heldout=data.train)
    found = sweep.fit(detector, twice, pretrained, [data, turned], keys[:1], at_once=2)
    alone = training.fit(detector, configs[0], pretrained, turned, keys[0])
    assert_equal(found.state(twice, 1, 0), alone._replace(opt=()))
    with pytest.raises(ValueError, match="1 data sets for 2 settings"):
        sweep.fit(detector, twice, pretrained, [data], keys)


def test_data_that_no_team_needs_any_more_are_let_go(job):
    detector, configs, pretrained, data, _keys = job
    other = data._replace(train=data.heldout, heldout=data.train)
    held = sets.Sets(detector, pretrained, "memory")
    last = data._replace(train=data.test)
    before = held.left
    gone = weakref.ref(held.pictures(last.train, configs[0].size))
    kept = held.pictures(data.train, configs[0].size)
    features = weakref.ref(held.features(configs[0], last)[0])
    assert held.left == before - gone().nbytes - kept.nbytes
    held.keep([data, other])
    gc.collect()
    assert gone() is None
    assert features() is None
    assert held.pictures(data.train, configs[0].size) is kept
    assert held.left == before - kept.nbytes


@pytest.mark.slow
def test_what_is_done_leaves_the_device(job, states_on_device):
    """However many teams there are, one team's states live on the device at a time."""
    detector, configs, pretrained, data, keys = job
    counts = states_on_device(detector, configs[0], pretrained)
    found = sweep.fit(detector, configs[::2], pretrained, data, keys, at_once=1)
    assert len(counts) == 4
    assert max(counts) == min(counts)
    for states in found.states:
        assert states.opt == ()
        assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(states))


def test_a_sweep_selects_each_member_as_a_run_alone_does(job):
    detector, configs, pretrained, data, keys = job
    several = (override(configs[0], "lr=0.5"), configs[2])
    options = {"select": "heldout", "looks": 4}
    found = sweep.fit(detector, several, pretrained, data, keys, at_once=4, **options)
    for s, k in ((0, 0), (1, 1)):
        alone = training.fit(detector, several[s], pretrained, data, keys[k], **options)
        assert_equal(found.state(several, s, k), alone._replace(opt=()))


def test_a_sweep_of_no_steps_is_measured_and_calibrated(tiny):
    detector, cfg, pretrained, data, _ = tiny("efficientad")
    configs = sweep.grid(override(cfg, "steps=0"), q_a=[0.5, 0.9])
    found = sweep.fit(detector, configs, pretrained, data, jax.random.key(0)[None])
    alone = training.fit(detector, configs[1], pretrained, data, jax.random.key(0))
    assert_equal(found.state(configs, 1, 0), alone._replace(opt=()))


def test_a_member_that_diverges_is_marked_and_touches_no_other(job, fitted, caplog):
    detector, configs, pretrained, data, keys = job
    mixed = (configs[0], override(configs[0], "lr=1e30"), configs[2])
    found = sweep.fit(detector, mixed, pretrained, data, keys, at_once=6)
    assert (found.diverged[1] > 0).all()
    assert (found.diverged[[0, 2]] == -1).all()
    assert "diverged at step" in caplog.text
    assert_equal(found.state(mixed, 0, 1), fitted.state(configs, 0, 1))
    assert_equal(found.state(mixed, 2, 0), fitted.state(configs, 2, 0))

    alone = sweep.fit(detector, mixed[1:2], pretrained, data, keys[:1])
    assert alone.diverged[0, 0] == found.diverged[1, 0]

    scores = sweep.evaluate(detector, mixed, pretrained, found, data.test)
    assert np.isnan(scores.image_auroc[1]).all()
    assert np.isfinite(scores.image_auroc[[0, 2]]).all()
    assert scores.evaluations[1] == (None, None)


class Interruption(Exception):
    pass


@pytest.mark.parametrize("at_once", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_an_interrupted_sweep_continues_bit_for_bit(
    job, fitted, tmp_path, monkeypatch, at_once, caplog
):
    """Stopped within the second group, whose first group is complete."""
    real, saves = checkpoint.RunFolder.save, []

    def save(self, step, state, iterator):
        real(self, step, state, iterator)
        saves.append((self.path.name, step))
        if self.path.name == ("0005" if at_once == 1 else "0001") and step == 8:
            raise Interruption

    options = {"at_once": at_once, "save_every": 4}
    monkeypatch.setattr(checkpoint.RunFolder, "save", save)
    with pytest.raises(Interruption):
        sweep.run(*job, tmp_path, **options)
    stopped = len(saves)
    monkeypatch.setattr(checkpoint.RunFolder, "save", real)

    trained = []
    init = team.new_states
    monkeypatch.setattr(team, "new_states", lambda *x: trained.append(x[1].places) or init(*x))
    members = sweep.run(*job, tmp_path, **options)
    assert stopped
    assert len(trained) == (2 if at_once == 1 else 0)  # members never begun before
    for s in range(4):
        for k in range(2):
            expected = fitted.state(job[1], s, k)._replace(opt=())
            assert_equal(members.state(job[1], s, k), expected)
    assert_equal(sweep.run(*job, tmp_path, **options), members)  # complete: read back


def test_a_member_that_diverged_stays_marked_in_a_complete_sweep(job, tmp_path):
    detector, configs, pretrained, data, keys = job
    several = (configs[0], override(configs[0], "lr=1e30"))
    arguments = (detector, several, pretrained, data, keys[:1], tmp_path)
    first = sweep.run(*arguments, at_once=2)
    again = sweep.run(*arguments, at_once=2)
    assert first.diverged[1, 0] > 0
    np.testing.assert_array_equal(first.diverged, again.diverged)


def test_the_folder_of_another_sweep_is_refused(job, tmp_path):
    detector, configs, pretrained, data, keys = job
    sweep.run(detector, configs[:1], pretrained, data, keys[:1], tmp_path)
    with pytest.raises(ValueError, match="belongs to another run"):
        sweep.run(detector, configs[:2], pretrained, data, keys[:1], tmp_path)
    with pytest.raises(ValueError, match="keys"):
        sweep.run(detector, configs[:1], pretrained, data, keys[1:], tmp_path)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["sweep"][0]["settings"]["lr"] == 0.1


@pytest.mark.parametrize(
    "keys",
    [
        jax.random.key(0),
        jax.random.split(jax.random.key(0), 1)[:0],
        jax.random.PRNGKey(0),  # two numbers, which are not the keys of two seeds
    ],
    ids=["one", "none", "old"],
)
def test_missing_keys_are_an_error_that_says_how_to_make_them(job, keys):
    with pytest.raises(ValueError, match=r"jax\.random\.split"):
        sweep.fit(*job[:4], keys)


def test_the_log_says_which_fields_divide_a_sweep(job, caplog):
    _detector, configs, _pretrained, data, keys = job
    with caplog.at_level(logging.INFO):
        planning.planned(task_of(job), configs, [data] * len(configs), keys, None)
        assert "upsampling: 2 groups of settings" in caplog.text


def test_no_settings_are_refused(job):
    detector, _, pretrained, data, keys = job
    with pytest.raises(ValueError, match="a sweep of no settings"):
        sweep.fit(detector, (), pretrained, data, keys)


@pytest.mark.parametrize("train", [sweep.fit, sweep.run])
def test_pictures_that_are_missing_are_named_before_anything_trains(job, tmp_path, train):
    detector, configs, pretrained, data, keys = job
    without = data._replace(heldout=ImageFolder([]))
    place = [tmp_path] if train is sweep.run else []
    with pytest.raises(ValueError, match="looks at held-out normal pictures"):
        train(detector, configs, pretrained, without, keys, *place, select="heldout")
    without = data._replace(train=ImageFolder([]))
    with pytest.raises(ValueError, match="no pictures to learn from"):
        train(detector, configs, pretrained, [data, data, data, without], keys, *place)


def test_settings_that_cannot_work_are_refused_before_anything_trains(job):
    detector, configs, pretrained, data, keys = job
    with pytest.raises(ValueError, match="momentum"):
        sweep.fit(detector, sweep.grid(configs[0], momentum=[0.9, 2]), pretrained, data, keys)


def test_more_at_once_than_fits_is_halved_and_said(job, monkeypatch, caplog):
    detector, configs, pretrained, _data, _keys = job
    need = memory.member_bytes(detector, configs[0], pretrained, dict)
    monkeypatch.setattr(memory, "free_bytes", lambda: 3 * need / memory.SHARE)
    arguments = (detector, configs[0], pretrained, dict)
    assert memory.members_at_once(*arguments, count=16, asked=8) == 2
    assert "at_once=8 needs" in caplog.text
    with caplog.at_level(logging.INFO):
        assert memory.members_at_once(*arguments, count=16, asked=3) == 3
        assert "3 of 16 members at once" in caplog.text
    monkeypatch.setattr(memory, "free_bytes", lambda: need / 2)
    assert memory.members_at_once(*arguments, count=16, asked=3) == 1
    assert "it trains alone, and may not fit" in caplog.text
    assert memory.members_at_once(*arguments, count=16, asked=None) == 1  # they take turns
    with pytest.raises(ValueError, match="at_once=0"):
        memory.members_at_once(*arguments, count=16, asked=0)


def test_an_accelerator_takes_as_many_members_as_fit(job, monkeypatch):
    detector, configs, pretrained, data, keys = job
    one = planning.team_of([(0, 0)], configs, [data] * len(configs), keys)
    batch = lambda: planning._some_batch(task_of(job), one)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    compile.compiler_options.cache_clear()
    need = memory.member_bytes(detector, configs[0], pretrained, batch)
    monkeypatch.setattr(memory, "free_bytes", lambda: 5.5 * need / memory.SHARE)
    arguments = (detector, configs[0], pretrained, batch)
    assert memory.members_at_once(*arguments, count=16, asked=None) == 5
    assert memory.members_at_once(*arguments, count=3, asked=None) == 3
    monkeypatch.undo()
    compile.compiler_options.cache_clear()


def test_free_memory_is_a_number_of_bytes():
    assert 2**20 < memory.free_bytes() < 2**50


def test_members_of_other_shapes_cannot_be_stacked():
    with pytest.raises(ValueError, match=r"member 1.*\['w'\] has the shapes \(3,\) and \(2,\)"):
        stack([{"w": np.zeros(2)}, {"w": np.zeros(3)}])
    with pytest.raises(ValueError, match="structures"):
        stack([{"w": np.zeros(2)}, {"v": np.zeros(2)}])
    with pytest.raises(ValueError, match="no members"):
        stack([])


def test_each_is_a_vmap(key):
    weights = jax.random.normal(key, (3, 4, 2))
    x = jnp.arange(4.0)
    function = lambda x, w: {"y": x @ w}
    found = jax.jit(compile.each(function, (None, 0)))(x, weights)
    np.testing.assert_allclose(
        found["y"], jax.vmap(function, (None, 0))(x, weights)["y"], rtol=1e-6
    )
    assert nth(found, 1)["y"].shape == (2,)
