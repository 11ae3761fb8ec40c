"""Many hosts: processes on this machine that compute together, and end together."""

import contextlib
import functools
import os
import pathlib
import pickle
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from jaxad.mesh import hosts
from jaxad.training import disk

HERE = pathlib.Path(__file__).parent
ONE_DEVICE = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}
ONE_DEVICE["PYTHONDONTWRITEBYTECODE"] = "1"  # a full disk would cut it short, for good


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def run_hosts(folder, count, parts):
    """What each of several hosts has found."""
    folder.mkdir()
    program = [sys.executable, str(HERE / "a_host.py"), str(folder), ",".join(parts)]
    where = [f"127.0.0.1:{free_port()}", str(count)]
    words = [program] if count == 1 else [[*program, *where, str(i)] for i in range(count)]
    path = os.pathsep.join([str(HERE.parent), str(HERE.parent.parent)])
    environment = {**ONE_DEVICE, "PYTHONPATH": path}
    with contextlib.ExitStack() as ending:
        started = [begin(ending, one, env=environment) for one in words]
        assert [one.wait(500) for one in started] == [0] * count
    return [pickle.loads((folder / f"host-{i}.pickle").read_bytes()) for i in range(count)]


def begin(ending, words, **settings):
    """A process that is gone at the end, however that comes."""
    process = ending.enter_context(subprocess.Popen(words, **settings))
    ending.callback(process.kill)
    return process


@pytest.fixture
def start(tmp_path):
    """(number of hosts, options) -> the job."""
    with contextlib.ExitStack() as ending:
        yield functools.partial(Job, ending, tmp_path)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return run_hosts(tmp_path_factory.mktemp("hosts") / "one", 1, FEW + MORE)[0]


FEW, MORE = ("order", "run", "members"), ("fit", "padim", "cached", "wide")


@pytest.mark.slow
@pytest.mark.parametrize(("count", "parts"), [(2, FEW + MORE), (4, FEW)])
def test_several_hosts_find_what_one_does(count, parts, alone, tmp_path):
    several = run_hosts(tmp_path / "several", count, parts)
    for place in range(3):  # every picture of every batch on one host
        together = [index for one in several for index in one["order"][place]]
        assert together == alone["order"][place]
    seen = [index for batch in alone["order"] for index in batch]
    assert sorted(seen) == sorted([*range(6)] * 2)
    for found in several:
        # Adam makes rounding large where a gradient is nearly zero.
        assert apart(alone["run"], found["run"]) < 1e-4
        for one, other in zip(found["members"], alone["members"], strict=True):
            assert apart(other, one) < 1e-5
        if parts == FEW:
            continue
        (state, losses), (expected, right) = found["wide"], alone["wide"]
        close(state, expected, 1e-8)
        np.testing.assert_allclose(losses, right, rtol=1e-8)
        close(found["padim"], alone["padim"], 1e-4)
        (state, scores), (expected, right) = found["fit"], alone["fit"]
        assert apart(expected, state) < 1e-4
        np.testing.assert_allclose(scores, right, rtol=1e-2)
        for cached in found["cached"]:
            assert apart(alone["cached"][0], cached) < 1e-4


def close(found, expected, tolerance):
    for one, other in zip(found, expected, strict=True):
        scale = max(float(np.abs(other).max(initial=0)), 1e-6)
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * scale)


def apart(one, other):
    """The norm of the difference, by the norm of the first one."""
    norm = lambda several: np.sqrt(sum(float(np.sum(np.square(np.float64(x)))) for x in several))
    return norm([x - y for x, y in zip(one, other, strict=True)]) / norm(one)


class Job:
    """The command on several hosts; each writes what it says to a file."""

    def __init__(self, ending, folder, count, *options, host=()):
        self.folder, where = folder, f"127.0.0.1:{free_port()}"
        self.files = [folder / f"{count}-{i}.txt" for i in range(count)]
        self.started = []
        for i, file in enumerate(self.files):
            words = [
                sys.executable, "-m", "jaxad", "train", "autoencoder", "workpieces/plate",
                str(folder / "run"), "--rendered", "20", "--rendered-test", "4,1", "--size", "64",
                "--widths", "4,8", "--batch-size", "4", "--save-every", "20", "--device", "cpu",
                "--distributed", where, "--hosts", str(count), "--host", str(i),
                *options, *(host if i == count - 1 else ()),
            ]  # fmt: skip
            with file.open("w") as out:
                one = begin(ending, words, env=ONE_DEVICE, stdout=out, stderr=out)
                self.started.append(one)

    def wait_for(self, sign, seconds=200):
        """Until the rows of the metrics, or what host 0 says, have a text."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            file = self.folder / "run" / "metrics.jsonl"
            rows = file.read_text() if file.exists() else ""
            if sign in rows or sign in self.files[0].read_text():
                return
            assert any(one.poll() is None for one in self.started), self.said()
            time.sleep(0.2)
        raise AssertionError(f"no {sign!r}: {self.said()}")

    def ends(self, seconds):
        """The exit status of each."""
        until = time.monotonic() + seconds
        return [one.wait(max(until - time.monotonic(), 0.1)) for one in self.started]

    def said(self):
        return [file.read_text() for file in self.files]


@pytest.mark.slow
def test_a_dead_host_ends_all_and_fewer_go_on(start, tmp_path):
    job = start(4, "--steps", "100000")
    job.wait_for('"step": 40')
    job.started[2].send_signal(signal.SIGKILL)
    statuses = job.ends(60)
    assert statuses[2] == -signal.SIGKILL
    assert 0 not in statuses
    for i in (0, 1, 3):  # the runtime ends a process by its own message, if it is the first
        told = ("another host of this job has ended", "another task died")
        assert any(words in job.said()[i] for words in told)

    job = start(2, "--steps", "100000")
    job.wait_for("continuing")
    time.sleep(3)
    job.started[1].send_signal(signal.SIGTERM)  # one host is told, all end
    assert job.ends(30) == [130, 130]
    saved = max(int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert f"at step {saved}" in job.said()[0]

    steps = str(saved + 10)
    job = start(2, "--steps", steps)
    assert job.ends(200) == [2, 2]  # fewer than the run was to take
    assert all("steps is 100000 there" in said for said in job.said())


@pytest.mark.slow
def test_only_the_first_host_writes_and_speaks(start, tmp_path):
    job = start(2, "--steps", "4")
    assert job.ends(300) == [0, 0]
    first, second = job.said()
    assert "model:" in first
    assert "report:" in first
    said = [line for line in second.splitlines() if "Gloo" not in line]
    assert said == ["waiting for the other hosts, 60 s at most"]
    assert (tmp_path / "run" / "card.json").is_file()
    rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(rows) == 1


@pytest.mark.slow
def test_hosts_that_would_do_other_things_are_named_before_the_first_step(start, tmp_path):
    job = start(2, "--steps", "4", host=["--lr", "0.5"])
    assert job.ends(200) == [2, 2]
    assert "host 1 would do something else than host 0" in job.said()[0]
    assert "lr is 0.0002 there, 0.5 now" in job.said()[1]
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.mark.slow
def test_a_disk_that_is_full_on_one_host_ends_all_and_is_named(start):
    """`RLIMIT_FSIZE` makes every longer file of one host too large."""
    job = start(2, "--steps", "100000")
    job.wait_for("autoencoder learns from")
    import resource

    resource.prlimit(job.started[0].pid, resource.RLIMIT_FSIZE, (1000, 1000))
    statuses = job.ends(120)
    assert 0 not in statuses
    assert "cannot save to" in job.said()[0]


def test_a_coordinator_that_does_not_answer_is_named():
    with pytest.raises(TimeoutError, match=r"host 0 does not answer at 127.0.0.1:\d+ since 1 s"):
        hosts.start(f"127.0.0.1:{free_port()}", 2, 1, patience=1.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("somewhere",), "expected auto, slurm, mpi, gke, tpu, or ADDRESS:PORT"),
        (("localhost:",), "expected ADDRESS:PORT"),
        (("localhost:99999", 2, 1), "expected ADDRESS:PORT"),
        (("localhost:1234",), "give --hosts"),
        (("localhost:1234", 2, 2), "which of them this is, from 0"),
    ],
)
def test_a_place_that_is_no_such_is_an_error(words, message):
    with pytest.raises(ValueError, match=message):
        hosts.start(*words)


def test_without_others_a_host_is_alone():
    assert (hosts.count(), hosts.index(), hosts.primary()) == (1, 0, True)
    assert hosts.any_wants(True)
    assert not hosts.any_wants(False)
    hosts.meet("nobody")
    hosts.same({}, lambda one, other: ["never asked"])
    assert jax.process_count() == 1


def test_what_was_waited_for_in_vain_is_no_fault_of_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(hosts, "count", lambda: 2)
    with pytest.raises(TimeoutError, match=r"^Timed out"), disk.saving_to(tmp_path):
        raise TimeoutError("Timed out while waiting for async_write_complete barrier.")
    with pytest.raises(OSError, match="cannot save to"), disk.saving_to(tmp_path):
        raise OSError(28, "No space left on device")
