"""Where the metrics of a run go beside its `metrics.jsonl`: to TensorBoard, or to Weights & Biases.

Their libraries are optional, and imported where a writer is made.
"""

import importlib
import io
import logging
import os
import pathlib
import socket
import struct
import time
import uuid
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Literal, Protocol, runtime_checkable

from jaxad.mesh import hosts

log = logging.getLogger(__name__)

Log = Literal["none", "tensorboard", "wandb"]

LIBRARIES = {"tensorboard": "tensorboardX", "wandb": "wandb"}  # by writer, and by extra
PROJECT = "jaxad"  # at Weights & Biases


@runtime_checkable
class Writer(Protocol):
    """What is told the metrics of a run."""

    def begin(self) -> None:
        """Opens what it writes to; called before the first step, when the folder is this run's."""
        ...

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Takes the values of a training step; NaN where a member of a sweep has diverged."""
        ...

    def close(self) -> None:
        """Ends the writing, if it has begun."""
        ...


class TensorBoard:
    """Writes an event file.

    Every call is one write to the file, which waits for no thread: `tensorboardX.SummaryWriter`
    hands events to one, and waits forever for it if the disk is full.
    """

    def __init__(self, folder: pathlib.Path):
        """Of a run; its event files, one for each time that it goes on, lie in `folder`."""
        library("tensorboard")
        self._folder, self._file = folder, None
        self._event = importlib.import_module("tensorboardX.proto.event_pb2").Event

    def begin(self) -> None:
        """Begins a new file.

        Raises:
          OSError: it cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        unique = f"{int(time.time())}.{socket.gethostname()}.{uuid.uuid4().hex[:8]}"
        self._file = io.FileIO(self._folder / f"events.out.tfevents.{unique}", "x")
        self._write(file_version="brain.Event:2")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes one event with all values.

        Raises:
          OSError: it cannot be written.
        """
        rows = [{"tag": name, "simple_value": x} for name, x in values.items()]
        self._write(step=step, summary={"value": rows})

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()

    def _write(self, **fields: Any) -> None:
        from tensorboardX.record_writer import masked_crc32c

        if self._file is None:
            raise ValueError("begin() comes before the first value")
        data = self._event(wall_time=time.time(), **fields).SerializeToString()
        length = struct.pack("<Q", len(data))
        record = b"".join(x + struct.pack("<I", masked_crc32c(x)) for x in (length, data))
        if self._file.write(record) != len(record):
            raise OSError(f"no room for an event in {self._file.name}")


class WeightsAndBiases:
    """Logs to one run at Weights & Biases, which goes on when the run does.

    Offline, each of its parts lies in a folder of its own below `wandb` in the run's, for `wandb
    sync` to send.
    """

    def __init__(self, folder: pathlib.Path, settings: Mapping[str, Any]):
        """Of a run.

        Args:
          folder: of the run; its name is the run's there, and `wandb_id.txt` in it tells which it
            is.
          settings: shown beside the curves.
        """
        self._wandb = library("wandb")
        self._folder, self._settings = folder, settings
        self._run: Any = None

    def begin(self) -> None:
        """Begins the run, or goes on with it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / "wandb_id.txt"
        number = file.read_text(encoding="utf-8").strip() if file.exists() else uuid.uuid4().hex
        self._run = self._wandb.init(
            project=PROJECT, name=self._folder.name, id=number, resume="allow",
            config=dict(self._settings), dir=str(self._folder),
        )  # fmt: skip
        file.write_text(number + "\n", encoding="utf-8")
        # Its own count of calls would be the axis: teams of a sweep all begin at step 0.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Logs the values, and the step that they are of."""
        self._run.log({**values, "step": step})

    def close(self) -> None:
        """Waits until everything is sent."""
        if self._run is not None:
            self._run.finish()


class Careful:
    """A writer that cannot end a training, and that may be nothing.

    Only `begin` raises: before the first step nothing is lost. A later failure is warned of once,
    and the training goes on without the writer.
    """

    def __init__(self, writer: Writer | None):
        """Of a writer, or of None."""
        self._writer, self._begun, self._failed = writer, False, False

    def begin(self) -> None:
        """Opens what it writes to, the first time it is called."""
        if self._writer is not None and not self._begun:
            self._writer.begin()
            self._begun = True

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Passes the values on; before `begin` and after a failure nothing."""
        if self._writer is not None and self._begun and not self._failed:
            self._attempt(self._writer.scalars, step, values)

    def close(self) -> None:
        """Ends the writing, if it has begun."""
        if self._writer is not None:
            self._attempt(self._writer.close)

    def _attempt(self, call: Callable[..., None], *arguments: Any) -> None:
        try:
            call(*arguments)
        except Exception as error:  # of a disk, a network, a service: whatever it is
            if not self._failed:
                log.warning(
                    "metrics are no longer written by %s (%s: %s); the training goes on without it",
                    type(self._writer).__name__, type(error).__name__, error,
                )  # fmt: skip
            self._failed = True


def careful(writer: Writer | None) -> Careful:
    """The writer as one that cannot end a training; of many hosts only the first has one."""
    if not hosts.primary():
        return Careful(None)
    return writer if isinstance(writer, Careful) else Careful(writer)


def make(name: str, folder: str | os.PathLike[str], settings: Mapping[str, Any]) -> Careful:
    """The writer of a name; it begins when the run does.

    Args:
      name: "none", "tensorboard" or "wandb".
      folder: of the run; TensorBoard's files lie in `tensorboard` there.
      settings: of the run, as plain JSON; Weights & Biases shows them.

    Raises:
      ValueError: there is no such writer.
      ModuleNotFoundError: its library is not installed.
    """
    check(name)
    place = pathlib.Path(folder).expanduser().absolute()
    if name == "tensorboard":
        return Careful(TensorBoard(place / "tensorboard"))
    return Careful(WeightsAndBiases(place, settings) if name == "wandb" else None)


def check(name: str) -> None:
    """Looks at whether the writer of a name can be made; raises as `make`."""
    if name in LIBRARIES:
        library(name)
    elif name != "none":
        raise ValueError(f"log={name!r}: expected 'none', {' or '.join(map(repr, LIBRARIES))}")


def library(name: str) -> ModuleType:
    """The library of a writer.

    Raises:
      ModuleNotFoundError: it is not installed; the message says how it is.
    """
    try:
        return importlib.import_module(LIBRARIES[name])
    except ModuleNotFoundError as error:
        if error.name != LIBRARIES[name]:
            raise  # it is installed, but something that it needs is not
        raise ModuleNotFoundError(
            f"log={name!r} needs {LIBRARIES[name]}: pip install 'jaxad[{name}]'", name=error.name
        ) from None
