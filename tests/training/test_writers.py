"""Writers are told what `metrics.jsonl` holds, and cannot change or end a run."""

import contextlib
import json
import logging
import math
import struct
import sys
import types

import jax
import numpy as np
import pytest
from scripts import category
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c

from jaxad import sweep, training
from jaxad.cli.main import main
from jaxad.detector import override
from jaxad.training import writers


@pytest.fixture(scope="module")
def job(tiny):
    """(detector, cfg, pretrained, data) of a run of 12 steps."""
    detector, cfg, pretrained, data, _ = tiny("stfpm")
    return detector, override(cfg, "steps=12"), pretrained, data


@pytest.fixture(scope="module")
def untold(job, tmp_path_factory):
    """(state, folder) of a run without a writer."""
    folder = tmp_path_factory.mktemp("untold")
    return run(job, folder, None), folder


@pytest.fixture
def wandb(monkeypatch):
    """A module in the place of `wandb`: the calls that it had, by name."""
    calls = []
    noted = lambda name: lambda *values, **named: calls.append((name, values, named))
    run = types.SimpleNamespace(**{name: noted(name) for name in ("define_metric", "log")})
    run.finish = noted("finish")

    def init(**named):
        calls.append(("init", (), named))
        return run

    module = types.ModuleType("wandb")
    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    return calls


class Told:
    """A writer that remembers."""

    def __init__(self, fails_at=None):
        self.rows, self.begun, self.fails_at = [], 0, fails_at

    def begin(self):
        self.begun += 1

    def scalars(self, step, values):
        if self.fails_at is not None and step >= self.fails_at:
            raise OSError(28, "No space left on device")
        self.rows.append((step, dict(values)))

    def close(self):
        raise AssertionError("who made it closes it")


class Stop(Exception):
    pass


def stop_at(step):
    def stop(now, state):
        if now == step:
            raise Stop

    return stop


def run(job, workdir, writer, **options):
    return training.run(
        *job, jax.random.key(0), workdir, writer=writer, **({"save_every": 4} | options)
    )


def on_board(folder):
    """TensorBoard's writer of a run, closed in the end."""
    return contextlib.closing(writers.make("tensorboard", folder, {}))


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def rows(folder):
    """The lines as a writer is told them."""
    return [(row.pop("step"), row) for row in lines(folder)]


def events(folder):
    """Step and values of every event in the files of a folder, in order."""
    found = []
    for file in sorted(folder.glob("*tfevents*"), key=lambda file: file.stat().st_mtime_ns):
        rest, versions = file.read_bytes(), []
        while rest:
            (length,) = struct.unpack("<Q", rest[:8])
            data = rest[12 : 12 + length]
            checksums = rest[8:12] + rest[12 + length : 16 + length]
            assert struct.unpack("<II", checksums) == tuple(map(masked_crc32c, (rest[:8], data)))
            event = Event.FromString(data)
            versions.append(event.file_version)
            if event.summary.value:
                values = {value.tag: value.simple_value for value in event.summary.value}
                found.append((event.step, values))
            rest = rest[16 + length :]
        assert versions[0] == "brain.Event:2"
        assert not any(versions[1:])
    return found


def test_the_event_file_holds_the_numbers_of_the_metrics(job, tmp_path):
    with on_board(tmp_path) as writer:
        run(job, tmp_path, writer, select="heldout", looks=3)
    found, expected = events(tmp_path / "tensorboard"), rows(tmp_path)
    assert [step for step, _ in found] == [step for step, _ in expected]
    for (_, values), (_, numbers) in zip(found, expected, strict=True):
        assert values == pytest.approx(numbers, rel=1e-6)
    assert {"loss", "heldout_loss"} < {name for _, values in found for name in values}


def test_steps_of_a_run_that_was_killed_and_went_on_are_there_once(job, tmp_path):
    with on_board(tmp_path) as writer:
        with pytest.raises(Stop):
            run(job, tmp_path, writer, at_save=stop_at(4))
        # As if it had been killed later, between two values of the step 8.
        writer.scalars(8, {"loss": 0.5})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write(json.dumps({"step": 8, "loss": 0.5}) + "\n")
    with on_board(tmp_path) as writer:
        run(job, tmp_path, writer)
    found = events(tmp_path / "tensorboard")
    steps = [step for step, values in found if "loss" in values]
    assert steps == [4, 8, 12]
    assert [step for step, values in found if "pool1" in values] == [4, 8, 12]


def test_a_writer_changes_neither_the_state_nor_the_record(job, untold, tmp_path):
    other, folder = untold
    one = run(job, tmp_path, Told())
    jax.tree.map(np.testing.assert_array_equal, one, other)
    for file in ("run.json", "metrics.jsonl"):
        assert (tmp_path / file).read_text() == (folder / file).read_text()


def test_a_run_that_is_complete_tells_nothing(job, untold):
    writer = Told()
    run(job, untold[1], writer)
    assert not writer.begun
    assert not writer.rows


def test_a_run_in_memory_tells_its_metrics_too(job, tmp_path):
    writer = Told()
    training.fit(*job, jax.random.key(0), writer=writer)
    assert writer.begun == 1
    assert [step for step, _ in writer.rows] == [10, 12]


def test_a_writer_that_fails_is_warned_of_once_and_the_training_goes_on(job, tmp_path, caplog):
    writer = Told(fails_at=8)
    state = run(job, tmp_path, writer)
    assert int(state.step) == 12
    assert [step for step, _ in writer.rows] == [4]
    assert [step for step, _ in rows(tmp_path)] == [4, 8, 12]
    warnings = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "no longer written by Told" in warnings[0].message
    assert "No space left" in warnings[0].message


def test_what_fails_at_its_end_is_warned_of_too(caplog):
    writer = writers.careful(Told())
    writer.begin()
    writer.close()
    assert len(caplog.records) == 1


def test_what_was_never_begun_is_closed_quietly(wandb, tmp_path, caplog):
    for name in ("none", "tensorboard", "wandb"):
        writers.make(name, tmp_path, {}).close()
    assert not caplog.records
    assert not wandb


def test_a_writer_that_cannot_begin_ends_the_run_before_its_first_step(job, tmp_path):
    (tmp_path / "tensorboard").write_text("taken")
    with pytest.raises(OSError, match="tensorboard"):
        run(job, tmp_path, writers.make("tensorboard", tmp_path, {}))
    assert not (tmp_path / "run.json").exists()


def test_a_folder_of_another_run_gets_no_events(job, untold):
    detector, cfg, *others = job
    job, folder = (detector, override(cfg, "lr=0.01"), *others), untold[1]
    with pytest.raises(ValueError, match="another run"), on_board(folder) as writer:
        run(job, folder, writer)
    assert not (folder / "tensorboard").exists()


def test_members_of_a_sweep_have_names_and_those_that_diverged_no_number(job, tmp_path):
    detector, cfg, pretrained, data = job
    configs, keys = sweep.grid(cfg, lr=[0.1, 1e30]), jax.random.split(jax.random.key(5), 2)
    writer = Told()
    members = sweep.run(
        detector, configs, pretrained, data, keys, tmp_path, at_once=2, writer=writer
    )
    assert writer.begun == 1
    assert (members.diverged[1] > 0).all()
    last = dict(pair for step, values in writer.rows for pair in values.items() if step == 12)
    assert {f"loss/member_{i}" for i in range(4)} <= {n for _, row in writer.rows for n in row}
    assert math.isfinite(last["loss/member_1"])
    assert last["diverged/member_1"] == -1
    seen = [values["loss/member_3"] for _, values in writer.rows if "loss/member_3" in values]
    assert math.isnan(seen[-1])
    told = [lines(tmp_path / "teams" / name) for name in ("0000", "0001")]
    assert [step for step, _ in writer.rows] == [row["step"] for team in told for row in team]


def test_settings_that_are_halved_keep_the_numbers_of_their_members(job):
    detector, cfg, pretrained, data = job
    configs, keys = sweep.grid(cfg, lr=[1e-6, 0.1]), jax.random.split(jax.random.key(5), 1)
    writer = Told()
    best = sweep.halve(detector, configs, pretrained, data, keys, at=[4], writer=writer)
    assert best.configs == configs[1:]
    assert set(writer.rows[-1][1]) >= {"loss/member_1", "diverged/member_1"}
    steps = [step for step, values in writer.rows if "loss/member_1" in values]
    assert steps == [4, 12]


def test_weights_and_biases_gets_one_run_that_goes_on(wandb, tmp_path):
    folder = tmp_path / "plate"
    for value in (0.5, float("nan")):
        writer = writers.make("wandb", folder, {"lr": 0.1})
        assert not wandb or wandb[-1][0] == "finish"
        writer.begin()
        writer.scalars(7, {"loss": value})
        writer.close()
    names = [name for name, _, _ in wandb]
    assert names == ["init", "define_metric", "define_metric", "log", "finish"] * 2
    one, other = (named for name, _, named in wandb if name == "init")
    assert one == other
    assert (one["project"], one["name"], one["resume"]) == ("jaxad", "plate", "allow")
    assert one["config"] == {"lr": 0.1}
    assert one["dir"] == str(folder)
    assert one["id"] == (folder / "wandb_id.txt").read_text().strip()
    assert wandb[2][1:] == (("*",), {"step_metric": "step"})
    logged = [values[0] for name, values, _ in wandb if name == "log"]
    assert logged[0] == {"loss": 0.5, "step": 7}
    assert math.isnan(logged[1]["loss"])


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_library_that_is_missing_says_how_it_is_installed(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, writers.LIBRARIES[name], None)
    sentence = rf"pip install 'jaxad\[{name}\]'"
    with pytest.raises(ModuleNotFoundError, match=sentence):
        writers.make(name, tmp_path, {})
    for verb in ("train", "sweep"):
        words = [verb, "autoencoder", "nowhere", str(tmp_path / "run"), "--log", name]
        assert main(words) == 1
        assert capsys.readouterr().err.count(f"pip install 'jaxad[{name}]'") == 1
    assert not (tmp_path / "run").exists()


def test_a_wrong_name_is_told():
    with pytest.raises(ValueError, match=r"log='mlflow': expected 'none', 'tensorboard' or 'wan"):
        writers.check("mlflow")


def test_the_command_tells_what_it_measured_on_test_pictures(tmp_path):
    category(tmp_path / "one")
    words = ["train", "autoencoder", str(tmp_path / "one"), str(tmp_path / "run")]
    small = ["--size", "32", "--batch-size", "2", "--widths", "4,8", "--steps", "2", "--folds", "0"]
    assert main([*words, *small, "--log", "tensorboard"]) == 0
    found = events(tmp_path / "run" / "tensorboard")
    mean = json.loads((tmp_path / "run" / "evaluation.json").read_text())["mean"]
    step, values = found[-1]
    assert step == 2
    assert values["eval/image_auroc"] == pytest.approx(mean["image_auroc"])
    assert found[0][0] == 2
    assert "loss" in found[0][1]
