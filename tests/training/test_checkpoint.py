"""A run's folder belongs to one process at a time."""

import subprocess
import sys
import threading
import time

import jax
import pytest

from jaxad import training
from jaxad.detector import override
from jaxad.training.checkpoint import RunFolder

HOLDER = """
import sys, time
from jaxad.training.checkpoint import RunFolder
with RunFolder(sys.argv[1]):
    print("taken", flush=True)
    time.sleep(300)
"""


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
