"""What signals that end a process do to a command: the same as Ctrl-C, wherever they find it."""

import _thread
import contextlib
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

# A closed terminal sends SIGHUP, which not every system has.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP")
                if hasattr(signal, name))  # fmt: skip
SOON = 0.01  # seconds


def handled() -> dict[int, Any]:
    """What handles each of `SIGNALS` now, but for those that are ignored, as after nohup."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    return {n: was for n, was in handlers.items() if was not in (signal.SIG_IGN, None)}


@contextlib.contextmanager
def interrupting() -> Iterator[None]:
    """Within it, each of `SIGNALS` raises `KeyboardInterrupt` in the main thread.

    Python may be inside a function then whose errors are ignored, such as one that the garbage
    collector calls; the signal comes again until it is not. Signals that are ignored stay so, and
    in another thread than the main one nothing changes.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():  # which alone is told of signals
        before = handled()
        if before and not _listens(sys.unraisablehook):
            sys.unraisablehook = _Again(sys.unraisablehook)
    for number in before:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)


def _interrupt(number: int, frame: object) -> None:
    if number == getattr(signal, "SIGHUP", None):
        let_go_of_the_terminal()
    raise KeyboardInterrupt(number)


class _Again:
    """`sys.unraisablehook`, which sees an interruption that was ignored and sends it anew."""

    def __init__(self, before: Callable[["sys.UnraisableHookArgs"], object]):
        self._before = before

    def __call__(self, found: "sys.UnraisableHookArgs") -> None:
        if not isinstance(found.exc_value, KeyboardInterrupt):
            self._before(found)
            return
        number = found.exc_value.args[0] if found.exc_value.args else signal.SIGINT
        later = threading.Timer(SOON, _send, (number,))
        later.daemon = True
        later.start()


def _listens(hook: Any) -> bool:
    """Whether a hook sends interruptions anew, or one that it was bound to by `partial` does."""
    return isinstance(hook, _Again) or any(map(_listens, getattr(hook, "args", ())))


def _send(number: int) -> None:
    """Sends a signal to the main thread, whatever that waits for where the system knows threads."""
    thread = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and thread is not None:
        signal.pthread_kill(thread, number)
    else:
        _thread.interrupt_main(signal.Signals(number))


def let_go_of_the_terminal() -> None:
    """What is still printed goes nowhere: writing to a terminal that was closed is an error."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        for stream in (1, 2):
            with contextlib.suppress(OSError):  # closed already
                if stat.S_ISCHR(os.fstat(stream).st_mode):
                    os.dup2(nowhere.fileno(), stream)
