"""Signals that end a run: they wait until the run has saved."""

import contextlib
import signal
import threading
from collections.abc import Iterator

from jaxad import signals


class Asked:
    """Whether to end, and by which signal.

    Attributes:
      signal: the first one that came; None while none has.
      all: whether all hosts have agreed to end, because one of them was asked to.
    """

    signal: int | None = None
    all: bool = False

    def __bool__(self) -> bool:
        return self.signal is not None


@contextlib.contextmanager
def put_off() -> Iterator[Asked]:
    """Within it, a signal is only written down; after it, it does what it does otherwise.

    A second one ends at once, saved or not. Signals that are ignored stay so. In another thread
    than the main one nothing is put off, since Python tells signals to the main thread only.
    """
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    handlers = signals.handled()

    def restore() -> None:
        for number, was in handlers.items():
            signal.signal(number, was)

    def note(number: int, frame: object) -> None:
        restore()  # a second signal does not wait
        asked.signal = number
        if number == getattr(signal, "SIGHUP", None):
            signals.let_go_of_the_terminal()

    for number in handlers:
        signal.signal(number, note)
    try:
        yield asked
    finally:
        restore()
    if asked.signal is not None:
        signal.raise_signal(asked.signal)
