"""Ctrl-C, SIGTERM and a closed terminal: the run is saved, and goes on as if nothing had been."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time

import pytest
from scripts import category

from jaxad.cli.main import main
from jaxad.training.interruption import put_off
from jaxad.training.progress import Progress

pty = pytest.importorskip("pty", reason="signals that this system does not have")

NOT_IGNORED = """
import os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, "-m", "jaxad", *sys.argv[1:]])
"""
SMALL = ["--size", "32", "--batch-size", "2", "--widths", "4,8"]
STEPS = ["--steps", "30", "--save-every", "25"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return str(category(tmp_path_factory.mktemp("data") / "squares"))


@pytest.fixture(scope="module")
def uninterrupted(pictures, tmp_path_factory):
    """What a run finds that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    assert main(["train", "autoencoder", pictures, str(folder), *SMALL, *STEPS]) == 0
    return json.loads((folder / "evaluation.json").read_text())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_the_same_command_goes_on(
    number, pictures, uninterrupted, tmp_path, monkeypatch, capsys
):
    show, sent = Progress._show, []

    def interrupted(self, step, loss):
        show(self, step, loss)
        if not sent:
            sent.append(step)
            os.kill(os.getpid(), number)

    monkeypatch.setattr(Progress, "_show", interrupted)
    words = ["train", "autoencoder", pictures, str(tmp_path), *SMALL, *STEPS]
    # In the background of a shell, or after nohup, signals are ignored, and would stay so.
    before = signal.signal(number, signal.default_int_handler)
    try:
        assert main(words) == 130
    finally:
        signal.signal(number, before)
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith("jaxad: interrupted; the command of a run goes on")
    (saved,) = [int(one.name) for one in (tmp_path / "checkpoints").iterdir()]
    assert saved not in (25, 30)  # between two checkpoints, and before the end
    assert not (tmp_path / "model").exists()
    assert main(words) == 0
    assert json.loads((tmp_path / "evaluation.json").read_text()) == uninterrupted


def test_handlers_are_as_before_afterwards_and_a_second_signal_does_not_wait():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with put_off() as asked:
            os.kill(os.getpid(), signal.SIGTERM)
            assert asked.signal == signal.SIGTERM
            assert seen == []
            os.kill(os.getpid(), signal.SIGTERM)
            assert seen == [signal.SIGTERM]
        assert seen == [signal.SIGTERM] * 2  # the first one, delivered at the end
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_ignored_signal_stays_ignored_and_another_thread_puts_nothing_off():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with put_off() as asked:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not asked
    finally:
        signal.signal(signal.SIGHUP, before)
    found = []

    def elsewhere():
        with put_off() as asked:
            found.append(bool(asked))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == [False]


def test_a_closed_terminal_saves(pictures, tmp_path):
    ours, theirs = pty.openpty()
    words = ["train", "autoencoder", pictures, str(tmp_path), *SMALL, "--steps", "1000000"]
    run = subprocess.Popen(
        [sys.executable, "-c", NOT_IGNORED, *words],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    said = b""
    try:
        until = time.monotonic() + 120
        while not (tmp_path / "metrics.jsonl").exists():
            if select.select([ours], [], [], 0.1)[0]:  # as a terminal does, or its writer waits
                with contextlib.suppress(OSError):  # it has ended
                    said += os.read(ours, 10_000)
            assert run.poll() is None, said.decode()
            assert time.monotonic() < until, said.decode()
        os.close(ours)  # and with it the terminal
        os.kill(run.pid, signal.SIGHUP)
        assert run.wait(60) == 130, said.decode()
    finally:
        run.kill()
        run.wait()
    assert [int(one.name) for one in (tmp_path / "checkpoints").iterdir()]
