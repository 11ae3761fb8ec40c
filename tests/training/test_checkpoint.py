"""A run's folder: whose it is, what it may be called, what it says of a disk that fails."""

import os
import subprocess
import sys
import threading
import time

import grain
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad import training
from jaxad.detector import State, override
from jaxad.training import disk
from jaxad.training.checkpoint import RunFolder

HOLDER = """
import sys, time
from jaxad.training.checkpoint import RunFolder
with RunFolder(sys.argv[1]):
    print("taken", flush=True)
    time.sleep(300)
"""

# Signs of a pattern, two of which Windows does not take.
NAMES = ["[a] b", "[!a]", *(["b*c?"] if os.name != "nt" else [])]


def state_after(step):
    """Of two members, one of which diverged."""
    params = {"w": jnp.full((2, 3), step, jnp.float32), "B": jnp.full((2, 4), step, jnp.bfloat16)}
    stats, opt = (jnp.array([[1.0], [jnp.nan]]),), {"mu": jnp.zeros((2, 3))}
    return State(jnp.full(2, step, jnp.int32), params, stats, opt)


def template(state):
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), state)


def batches():
    return iter(grain.MapDataset.range(100).to_iter_dataset())


def assert_equal(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def nothing_found(self, pattern):
    """What Orbax finds of its own files where it takes a folder's name for a pattern."""
    return iter(())


def test_a_folder_is_taken_by_one_at_a_time(tmp_path):
    taken = pytest.raises(BlockingIOError, match=f"another process is training in {tmp_path}")
    with RunFolder(tmp_path), taken:
        RunFolder(tmp_path).__enter__()
    with RunFolder(tmp_path):
        pass


def test_the_death_of_its_holder_frees_a_folder(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "taken\n"
        with pytest.raises(BlockingIOError):
            RunFolder(tmp_path).__enter__()
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with RunFolder(tmp_path):
        pass


def test_of_two_runs_in_one_folder_one_trains_and_the_other_says_why_not(tiny, tmp_path):
    detector, cfg, pretrained, data, _ = tiny("autoencoder")
    arguments = (detector, override(cfg, "steps=4"), pretrained, data, jax.random.key(0), tmp_path)
    inside, go_on = threading.Event(), threading.Event()

    def wait(step, state):
        inside.set()
        go_on.wait(60)

    first = threading.Thread(target=training.run, args=arguments, kwargs={"at_save": wait})
    first.start()
    try:
        assert inside.wait(120)
        with pytest.raises(BlockingIOError, match="another process is training"):
            training.run(*arguments)
    finally:
        go_on.set()
        first.join()
    assert (tmp_path / "model").is_dir()
    training.run(*arguments)  # complete: read back, by as many as like


def test_a_run_that_fails_frees_its_folder(tiny, tmp_path):
    detector, cfg, pretrained, data, _ = tiny("autoencoder")

    def broken(cfg, pretrained, state, pictures):
        raise RuntimeError("no")

    arguments = (override(cfg, "steps=4"), pretrained, data, jax.random.key(0), tmp_path)
    with pytest.raises(RuntimeError, match="no"):
        training.run(detector._replace(measure=broken), *arguments)
    started = time.monotonic()
    training.run(detector, *arguments)
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_any_name_keeps_checkpoints_and_model(name, tmp_path):
    iterator = batches()
    with RunFolder(tmp_path / name / "run") as folder:
        for step in (1, 2, 3):
            next(iterator)
            folder.save(step, state_after(step), iterator)
    assert sorted(x.name for x in (folder.path / "checkpoints").iterdir()) == ["2", "3"]
    (folder.path / "checkpoints" / "3" / "state" / "_METADATA").unlink()
    iterator = batches()
    with RunFolder(folder.path) as folder:
        found, step = folder.restore(template(state_after(0)), iterator)
        folder.save_model(found)
    assert (step, next(iterator)) == (2, 2)
    assert_equal(found, state_after(2))
    assert (folder.path / "checkpoints" / "damaged-3").is_dir()
    assert_equal(folder.restore_model(template(found)), found._replace(opt=()))


def test_a_run_in_a_folder_of_any_name_goes_on_and_is_read(tiny, tmp_path):
    detector, cfg, pretrained, data, _ = tiny("autoencoder")
    folder = tmp_path / NAMES[-1] / "[1]"
    for steps in (2, 4):
        longer = override(cfg, f"steps={steps}")
        state = training.run(detector, longer, pretrained, data, jax.random.key(0), folder)
    assert {"model-2", "model"} < {x.name for x in folder.iterdir()}
    assert_equal(training.finished(folder).state, state._replace(opt=()))


def test_a_place_that_loses_what_is_written_is_found_at_the_first_save(tmp_path, monkeypatch):
    monkeypatch.setattr(disk.Literal, "glob", nothing_found)
    lost = pytest.raises(OSError, match=rf"saved to {tmp_path} cannot be read back .*another place")
    with RunFolder(tmp_path) as folder, lost:
        folder.save(1, state_after(1), batches())
    assert (tmp_path / "checkpoints" / "1").is_dir()


def test_a_model_that_cannot_be_read_back_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(disk.Literal, "glob", nothing_found)
    with RunFolder(tmp_path) as folder:
        with pytest.raises(OSError, match="cannot be read back"):
            folder.save_model(state_after(1))
        assert not folder.has_model()
        monkeypatch.undo()
        for step in (1, 2):  # a second one takes the first one's place
            folder.save_model(state_after(step))
    assert sorted(x.name for x in tmp_path.iterdir()) == [".lock", "model"]
    assert_equal(folder.restore_model(template(state_after(0))), state_after(2)._replace(opt=()))


def test_what_is_read_back_must_be_what_was_saved(tmp_path, monkeypatch):
    other = template(state_after(0))
    monkeypatch.setattr(RunFolder, "_state", lambda self, step, template: state_after(2))
    with RunFolder(tmp_path) as folder, pytest.raises(OSError, match="it is not what was saved"):
        folder.save(1, state_after(1), batches())
    with RunFolder(tmp_path) as folder:
        assert_equal(folder.restore(other, batches())[0], state_after(1))


def test_reading_back_happens_once_and_does_not_move_the_data(tmp_path, monkeypatch):
    steps, real, iterator = [], RunFolder._state, batches()
    monkeypatch.setattr(
        RunFolder, "_state", lambda self, step, blank: steps.append(step) or real(self, step, blank)
    )
    with RunFolder(tmp_path) as folder:
        for step in (1, 2, 3):
            assert next(iterator) == step - 1
            folder.save(step, state_after(step), iterator)
    assert steps == [1]


def test_a_folder_that_orbax_takes_for_a_cloud_is_refused():
    with pytest.raises(ValueError, match="/s3/runs cannot lie there"):
        RunFolder("/s3/runs")
