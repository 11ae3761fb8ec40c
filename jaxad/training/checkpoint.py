"""What a run keeps on disk: state, place in the data, settings.

A run folder holds `run.json` (method, settings, seed, data), `checkpoints/<step>/` (state and data
iterator, by Orbax) and, when the run is complete, `model/` (the calibrated state, no optimiser).
"""

import contextlib
import functools
import json
import logging
import os
import pathlib
import shutil
import zlib
from collections.abc import Iterator
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from filelock import FileLock, Timeout
from jaxtyping import PyTree

from jaxad.detector import Detector, State, values

log = logging.getLogger(__name__)


class RunFolder:
    """Reads and writes one run's folder.

    Attributes:
      path: the folder.
    """

    def __init__(self, path: str | os.PathLike, keep: int = 2):
        """Opens or creates the folder.

        Args:
          path: of the folder.
          keep: how many of the newest checkpoints stay.

        Raises:
          OSError: the folder cannot be written; the message names it.
        """
        self.path = pathlib.Path(path).expanduser().absolute()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise OSError(
                f"cannot write to the run folder {self.path}: {error.strerror}; "
                "give another folder or change its permissions"
            ) from error
        self._keep = keep

        self._lock = FileLock(self.path / ".lock")

    def __enter__(self) -> "RunFolder":
        """Takes the folder for this process until `__exit__`, or until it dies.

        Raises:
          BlockingIOError: another process has it.
        """
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise BlockingIOError(
                f"another process is training in {self.path}: wait for it, or give another folder"
            ) from None
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.close()
        finally:
            self._lock.release()

    @functools.cached_property
    def _manager(self) -> ocp.CheckpointManager:
        options = ocp.CheckpointManagerOptions(max_to_keep=self._keep, create=True)
        return ocp.CheckpointManager(self.path / "checkpoints", options=options)

    def claim(self, record: dict) -> None:
        """Writes `run.json` where there is none; otherwise as `check`."""
        self.check(record)
        if not (self.path / "run.json").exists():
            write_json(self.path / "run.json", record)

    def check(self, record: dict) -> None:
        """Compares with `run.json`, if there is one.

        Raises:
          ValueError: the folder belongs to a run of another method, settings, seed or data.
        """
        record = json.loads(json.dumps(record))
        file = self.path / "run.json"
        if not file.exists():
            return
        try:
            there = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{file} is damaged ({error}); give another folder") from error
        differ = _differences(record, there)
        if differ:
            raise ValueError(
                f"the run folder {self.path} belongs to another run ({'; '.join(differ)}); "
                "give another folder, or repeat that run's settings to continue it"
            )

    def save(self, step: int, state: PyTree, iterator: grain.DatasetIterator) -> None:
        """Saves state and place in the data; returns before the writing is done."""
        with self._saying_which_folder():
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),
                    data=grain.checkpoint.CheckpointSave(iterator),
                ),
            )

    def restore(
        self, template: PyTree, iterator: grain.DatasetIterator
    ) -> tuple[PyTree, int] | tuple[None, int]:
        """The newest readable state, and moves `iterator` to where it was.

        A damaged step is set aside as `damaged-<step>`, with a message, and the one before taken.

        Args:
          template: what was saved, as `jax.ShapeDtypeStruct`s.
          iterator: over the run's training batches.

        Returns:
          state and step, or None and 0 where there is nothing to restore.

        Raises:
          ValueError: there are checkpoints, but none can be read.
        """
        start, failed = iterator.get_state(), {}
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                restored = self._manager.restore(
                    step,
                    args=ocp.args.Composite(
                        state=ocp.args.StandardRestore(template),
                        data=grain.checkpoint.CheckpointRestore(iterator),
                    ),
                )
            except (ValueError, OSError, KeyError, TypeError) as error:
                failed[step] = str(error).partition("\n")[0][:200]
                iterator.set_state(start)  # the data may have been restored before the state failed
                continue
            for damaged, why in failed.items():
                self._set_aside(damaged, why, step)
            return _unbound(_like(template, restored["state"])), step
        if failed:
            raise ValueError(
                f"none of the checkpoints in {self.path} can be read ({failed}); "
                "give another folder to start anew"
            )
        return None, 0

    def _set_aside(self, step: int, why: str, instead: int) -> None:
        folder = self.path / "checkpoints"
        log.warning(
            "checkpoint %d of %s cannot be read (%s); kept as damaged-%d, continuing from step %d",
            step, self.path, why, step, instead,
        )  # fmt: skip
        shutil.rmtree(folder / f"damaged-{step}", ignore_errors=True)
        (folder / str(step)).rename(folder / f"damaged-{step}")
        self._manager.reload()

    def save_model(self, state: State) -> None:
        """Saves the finished state, without optimiser."""
        with self._saying_which_folder(), ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(self.path / "model", state._replace(opt=()), force=True)

    def has_model(self) -> bool:
        """Whether the run is complete."""
        return (self.path / "model").is_dir()

    def restore_model(self, template: State) -> State:
        """The finished state.

        Raises:
          ValueError: it cannot be read, or is not of the template's shapes.
        """
        try:
            with ocp.StandardCheckpointer() as checkpointer:
                restored = checkpointer.restore(self.path / "model", template._replace(opt=()))
        except (ValueError, OSError, KeyError, TypeError) as error:
            raise ValueError(
                f"the model in {self.path / 'model'} cannot be read ({error}); delete that folder "
                "and start the run again: it continues from its last checkpoint"
            ) from error
        return _unbound(restored)

    def close(self) -> None:
        """Waits until everything saved is on disk."""
        if "_manager" in self.__dict__:
            with self._saying_which_folder():
                self._manager.close()
            del self.__dict__["_manager"]

    @contextlib.contextmanager
    def _saying_which_folder(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not (isinstance(error, OSError) or "RESOURCE_EXHAUSTED" in str(error)):
                raise
            raise OSError(
                f"cannot save to {self.path} ({error}); free some space or mend its permissions "
                "and start the same command again: it continues from the checkpoints before"
            ) from error


def settings(detector: Detector, cfg: Any) -> dict:
    """A detector and its config as plain JSON values.

    Raises:
      ValueError: a field is not a number, text or tuple of these: a sweep's stacked config, say.
    """
    found = values(cfg)
    for name, value in found.items():
        if isinstance(value, jax.Array):
            if value.ndim:
                raise ValueError(f"{name} has shape {value.shape}: a run has one value a setting")
            found[name] = value.item()
    return {"method": detector.name, "settings": found}


def fingerprint(tree: PyTree) -> str:
    """A checksum of all numbers in a tree."""
    checksum = 0
    for leaf in jax.tree.leaves(tree):
        checksum = zlib.crc32(np.ascontiguousarray(leaf).tobytes(), checksum)
    return f"{checksum:08x}"


def abstract_state(detector: Detector, cfg: Any, pretrained: PyTree) -> State:
    """Shapes and types of a run's state, without computing it."""
    shapes = jax.eval_shape(functools.partial(detector.init, cfg, pretrained), jax.random.key(0))
    place = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes)


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes a file whole or not at all."""
    part = path.with_name(path.name + ".part")
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(path)


def _like(template: PyTree, restored: PyTree) -> PyTree:
    """What was read, with the containers of the template: Orbax gives lists and dicts."""
    return jax.tree.unflatten(jax.tree.structure(template), jax.tree.leaves(restored))


def _unbound(state: PyTree) -> PyTree:
    """Copies that are not bound to a device, as those of a new state.

    To what was compiled for one, and lies in the compilation cache, the other is another program.
    """
    return jax.tree.map(lambda x: jnp.array(np.asarray(x)), state)


def _differences(now: Any, there: Any, name: str = "") -> list[str]:
    """Where two JSON values differ, in words."""
    if isinstance(now, dict) and isinstance(there, dict):
        fields = [*now, *(field for field in there if field not in now)]
        parts = [
            _differences(now.get(f), there.get(f), f"{name}.{f}" if name else f) for f in fields
        ]
        return [line for part in parts for line in part]
    return [] if now == there else [f"{name} is {there!r} there, {now!r} now"]
