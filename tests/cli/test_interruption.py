"""Ctrl-C, SIGTERM and a closed terminal: the run is saved, and goes on as if nothing had been."""

import contextlib
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import threading
import time

import pytest
from scripts import category

from jaxad.cli.main import main
from jaxad.signals import SIGNALS, interrupting
from jaxad.training import disk
from jaxad.training.interruption import put_off
from jaxad.training.progress import Progress

pty = pytest.importorskip("pty", reason="signals that this system does not have")

WITHOUT_TERMINAL = """
import signal, sys, traceback
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # not ignored
from jaxad.cli import errors
from jaxad.cli.main import main
say = errors._say
def noted(sentence):  # the terminal has gone: what is said would be lost
    with open(sys.argv[1], "a") as file:
        print(sentence, traceback.format_exc(), file=file)
    say(sentence)
errors._say = noted
sys.exit(main(sys.argv[2:]))
"""
HERE = pathlib.Path(__file__).parent
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


@pytest.mark.parametrize("number", SIGNALS)
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


class Ends:
    """Python ignores errors in `__del__`, as it does in what its garbage collector calls."""

    def __init__(self, number):
        self.number = number

    def __del__(self):
        signal.raise_signal(self.number)


def forgets(one):
    del one
    time.sleep(10)


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interruption_that_python_ignores_comes_again(number):
    before = signal.signal(number, signal.default_int_handler)  # in the background it is ignored
    try:
        with pytest.raises(KeyboardInterrupt), interrupting():
            forgets(Ends(number))
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)


def test_command_after_command_adds_nothing_to_what_sees_ignored_errors(monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    found = []
    for _ in range(3):
        with interrupting(), disk.saving_to(HERE):
            found.append(sys.unraisablehook)
    assert found[0] is found[1] is found[2] is not sys.__unraisablehook__


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
    folder, said = tmp_path / "run", tmp_path / "said"
    said.touch()
    words = ["train", "autoencoder", pictures, str(folder), *SMALL, "--steps", "1000000"]
    run = subprocess.Popen(
        [sys.executable, "-c", WITHOUT_TERMINAL, str(said), *words],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        until = time.monotonic() + 120
        while not (folder / "metrics.jsonl").exists():
            if select.select([ours], [], [], 0.1)[0]:  # a terminal reads, or its writer waits
                with contextlib.suppress(OSError):  # it has ended
                    os.read(ours, 10_000)
            assert run.poll() is None, said.read_text()
            assert time.monotonic() < until
        os.close(ours)  # and with it the terminal
        os.kill(run.pid, signal.SIGHUP)
        assert run.wait(60) == 130, said.read_text()
    finally:
        run.kill()
        run.wait()
    assert [int(one.name) for one in (folder / "checkpoints").iterdir()]
