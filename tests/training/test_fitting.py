"""Runs: what is saved, what is refused, what an interruption costs."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad import training
from jaxad.detector import override
from jaxad.training import checkpoint, fitting


@pytest.fixture
def job(tiny):
    """(detector, cfg, pretrained, data) of a run of 6 steps."""
    return job_of("stfpm", tiny)


@pytest.fixture
def penalised_job(tiny):
    """The same of a detector that is given photographs too; it learns nothing from them."""
    detector, *others = job_of("efficientad", tiny)
    idle = lambda cfg, pretrained, state, batch, key: (
        state._replace(step=state.step + 1),
        {"loss": jnp.float32(1)},
    )
    return detector._replace(train_step=idle), *others


def job_of(name, tiny):
    detector, cfg, pretrained, data, _ = tiny(name)
    return detector, override(cfg, "steps=6"), pretrained, data


def run(job, workdir, key=0, **options):
    return training.run(*job, jax.random.key(key), workdir, **({"save_every": 2} | options))


def assert_equal(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_run_leaves_settings_metrics_checkpoints_and_a_model(job, tmp_path):
    run(job, tmp_path)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["method"] == "stfpm"
    assert record["settings"]["steps"] == 6
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 6
    assert {"loss", "pool1", "pool2"} < set(lines[-1])
    assert sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir()) == [4, 6]
    assert (tmp_path / "model").is_dir()


@pytest.mark.slow
def test_a_killed_process_loses_nothing_that_matters(tiny, trained, tmp_path):
    """SIGKILL at any moment; the run started again ends bit for bit as one that never stopped."""
    script = os.path.join(os.path.dirname(__file__), "killed_run.py")
    victim = subprocess.Popen([sys.executable, script, str(tmp_path)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (tmp_path / "checkpoints" / "10").is_dir():
        assert victim.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert not (tmp_path / "model").exists()

    detector, cfg, pretrained, data, _ = tiny("efficientad")
    state = run((detector, cfg, pretrained, data), tmp_path, save_every=10)
    assert_equal(state._replace(opt=()), trained("efficientad")._replace(opt=()))


def test_a_folder_of_other_settings_is_refused_and_kept(job, tmp_path):
    detector, cfg, *rest = job
    run(job, tmp_path)
    with pytest.raises(ValueError, match=r"another run.*lr is 0.1 there, 0.01 now"):
        run((detector, override(cfg, "lr=0.01"), *rest), tmp_path)
    with pytest.raises(ValueError, match="key"):
        run(job, tmp_path, key=1)
    assert (tmp_path / "model").is_dir()


def test_a_folder_of_another_method_is_refused(job, tmp_path):
    run(job, tmp_path)
    record = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**record, "method": "another"}))
    with pytest.raises(ValueError, match="method is 'another' there, 'stfpm' now"):
        run(job, tmp_path)


def test_a_read_only_folder_is_an_error_that_names_it(job, tmp_path, monkeypatch):
    def refuse(*, dir):  # root, who may run these tests, writes anywhere
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(OSError, match=r"cannot write to the run folder .*Permission denied"):
        run(job, tmp_path / "run")


def test_a_file_in_the_folders_place_is_an_error_that_names_it(job, tmp_path):
    (tmp_path / "run").write_text("taken")
    with pytest.raises(OSError, match=r"cannot write to the run folder .*run"):
        run(job, tmp_path / "run")


def test_a_full_disk_is_an_error_that_names_the_folder(job, tmp_path, monkeypatch):
    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.ocp.CheckpointManager, "save", full)
    with pytest.raises(OSError, match=r"cannot save to .*free some space"):
        run(job, tmp_path)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(job, tmp_path, caplog):
    class Stop(Exception):
        pass

    def stop(step, state):
        if step == 4:
            raise Stop

    with pytest.raises(Stop):
        run(job, tmp_path / "damaged", at_save=stop)
    files = [p for p in (tmp_path / "damaged" / "checkpoints" / "4").rglob("*") if p.is_file()]
    for file in files:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    state = run(job, tmp_path / "damaged")
    assert "checkpoint 4" in caplog.text
    assert (tmp_path / "damaged" / "checkpoints" / "damaged-4").is_dir()
    assert_equal(state.params, run(job, tmp_path / "whole").params)


def test_when_no_checkpoint_can_be_read_it_says_so_and_touches_nothing(job, tmp_path):
    class Stop(Exception):
        pass

    def stop(step, state):
        raise Stop

    with pytest.raises(Stop):
        run(job, tmp_path, at_save=stop)
    for file in (tmp_path / "checkpoints" / "2" / "state").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    with pytest.raises(ValueError, match=r"none of the checkpoints .* can be read"):
        run(job, tmp_path)
    assert (tmp_path / "checkpoints" / "2").is_dir()


def test_a_state_that_an_update_spoiled_is_not_saved(job, tmp_path):
    detector, cfg, pretrained, data = job

    def spoiled(cfg, pretrained, state, batch, key):
        state, metrics = detector.train_step(cfg, pretrained, state, batch, key)
        params = jax.tree.map(lambda x: jnp.where(state.step > 3, jnp.nan, x), state.params)
        return state._replace(params=params), {name: jnp.float32(1) for name in metrics}

    job = (detector._replace(train_step=spoiled), cfg, pretrained, data)
    with pytest.raises(FloatingPointError, match="params"):
        run(job, tmp_path)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["2"]


def test_heldout_pictures_are_read_before_training(job, tmp_path):
    class Truncated:
        def __init__(self, source):
            self.records, self.has_masks, self.has_regions = source.records, True, False

        def __len__(self):
            return len(self.records)

        def __getitem__(self, index):
            raise OSError("heldout/003.png is truncated")

        def __repr__(self):
            return "Truncated"

        def regions(self, index):
            raise NotImplementedError

    detector, cfg, pretrained, data = job
    broken = data._replace(heldout=Truncated(data.heldout))
    with pytest.raises(OSError, match="truncated"):
        run((detector, cfg, pretrained, broken), tmp_path)
    assert not (tmp_path / "metrics.jsonl").exists()


def test_other_penalty_pictures_or_weights_are_another_run(penalised_job, tmp_path):
    detector, cfg, pretrained, data = penalised_job
    run(penalised_job, tmp_path)
    aux = data.streams["aux"]
    fewer = data.with_streams(aux=type(aux)(aux.images[:3]))
    with pytest.raises(ValueError, match=r"data\.streams\.aux"):
        run((detector, cfg, pretrained, fewer), tmp_path)
    other = jax.tree.map(lambda x: x + 1, pretrained)
    with pytest.raises(ValueError, match=r"pretrained\.tiny"):
        run((detector, cfg, other, data), tmp_path)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_what_was_saved(job, tmp_path):
    detector, cfg, pretrained, data = job

    def spoiled(cfg, pretrained, state, batch, key):
        state, metrics = detector.train_step(cfg, pretrained, state, batch, key)
        late = state.step > 3
        return state, {name: jnp.where(late, jnp.nan, x) for name, x in metrics.items()}

    job = (detector._replace(train_step=spoiled), cfg, pretrained, data)
    with pytest.raises(FloatingPointError, match="is nan at step 4"):
        run(job, tmp_path)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["2"]
    assert not (tmp_path / "model").exists()


def test_metrics_of_a_run_that_was_interrupted_are_not_repeated(job, tmp_path):
    class Stop(Exception):
        pass

    def stop(step, state):
        raise Stop

    with pytest.raises(Stop):
        run(job, tmp_path, at_save=stop)
    with open(tmp_path / "metrics.jsonl", "a") as lines:
        lines.write(json.dumps({"step": 3, "loss": 9.0}) + "\n" + '{"step": 4, "lo')
    run(job, tmp_path)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == sorted(set(steps))
    assert steps[-1] == 6


def test_progress_without_a_terminal_is_plain_lines(job, tmp_path, capfd):
    run(job, tmp_path)
    lines = capfd.readouterr().err.splitlines()
    last = [line for line in lines if line.startswith("step 6/6")]
    assert len(last) == 1
    assert "images/s" in last[0]
    assert "\r" not in "".join(lines)


def test_a_missing_stream_says_which(penalised_job):
    detector, cfg, pretrained, data = penalised_job
    with pytest.raises(ValueError, match="aux"):
        training.fit(detector, cfg, pretrained, data._replace(streams={}), jax.random.key(0))


def test_a_run_that_could_not_start_does_not_claim_its_folder(penalised_job, tmp_path):
    detector, cfg, pretrained, data = penalised_job
    with pytest.raises(ValueError, match="aux"):
        run((detector, cfg, pretrained, data._replace(streams={})), tmp_path)
    run(penalised_job, tmp_path)
    assert (tmp_path / "model").is_dir()


def test_a_size_too_small_is_refused_before_anything_is_read(penalised_job):
    detector, cfg, pretrained, data = penalised_job
    unread = data._replace(train=[])
    with pytest.raises(ValueError, match="size=40 is too small"):
        training.fit(detector, override(cfg, "size=40"), pretrained, unread, jax.random.key(0))


def test_keys_decide_the_order_of_the_pictures(penalised_job):
    detector, cfg, _, data = penalised_job

    def order(key):
        iterator = iter(fitting.train_batches(detector, cfg, data, jax.random.key(key)))
        batches = [next(iterator)["index"].tolist() for _ in range(6)]
        iterator.close()
        return batches

    assert order(0) == order(0)
    assert order(0) != order(1)
