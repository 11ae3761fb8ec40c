"""What a run keeps on disk: state, place in the data, settings.

A run folder holds `run.json` (see `record`), `checkpoints/<step>/` (state and data iterator, by
Orbax) and, when the run is complete, `model/` (the calibrated state, no optimiser).
"""

import functools
import logging
import os
import pathlib
import shutil
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from filelock import FileLock, Timeout
from jaxtyping import PyTree

from jaxad import mesh, whole
from jaxad.detector import Detector, State
from jaxad.mesh import hosts
from jaxad.training import disk
from jaxad.training import record as records

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
          ValueError: Orbax takes the folder for one in a cloud.
        """
        self.path = pathlib.Path(path).expanduser().absolute()
        if disk.CLOUDS.match(self.path.as_posix()):
            raise ValueError(
                f"the run folder {self.path} cannot lie there: Orbax takes /gs, /s3, /az and /hf "
                "for places in a cloud; give another folder"
            )
        whole.ready(self.path, "run folder")
        self._keep = keep
        self._readable = False  # whether something saved here has been read back
        self._lock = FileLock(self.path / ".lock")

    def __enter__(self) -> "RunFolder":
        """Takes the folder for this process until `__exit__`, or until it dies.

        Raises:
          BlockingIOError: another process has it.
        """
        try:
            if hosts.primary():
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
        return ocp.CheckpointManager(disk.Literal(self.path / "checkpoints"), options=options)

    def claim(self, record: dict, about: dict | None = None) -> None:
        """Writes `run.json`, after `check`; a run that is asked for more steps goes on.

        What it had learned until then stays as `model-<steps>`.

        Args:
          record: what the run's numbers depend on.
          about: what a person wants to know beside that; see `record.ABOUT`.
        """
        self.check(record)
        hosts.meet("claim")  # all have looked before the first one writes
        if hosts.primary():
            self._write(record, about)
        hosts.meet("claimed")

    def _write(self, record: dict, about: dict | None) -> None:
        there = records.read(self.path) or {}
        before, after = records.steps(there), records.steps(record)
        about = {**there.get(records.ABOUT, {}), **(about or {})}
        if before is not None and before != after:
            about["steps_before"] = [*about.get("steps_before", []), before]
            if self.has_model():
                (self.path / "model").rename(self.path / f"model-{before}")
                log.info("%s goes on from step %d to %d", self.path, before, after)
        with disk.saving_to(self.path):
            records.write_json(
                self.path / records.FILE, {**record, records.ABOUT: about} if about else record
            )

    def check(self, record: dict) -> None:
        """Compares with `run.json`, if there is one.

        Raises:
          ValueError: the folder belongs to a run of another method, settings, seed or data, or of
            more steps.
        """
        there = records.read(self.path)
        differ = records.differences(record, there) if there else []
        if differ:
            raise ValueError(
                f"the run folder {self.path} belongs to another run ({'; '.join(differ)}); "
                "give another folder, or repeat that run's settings to continue it"
            )

    def save(self, step: int, state: PyTree, iterator: grain.DatasetIterator) -> None:
        """Saves state and place in the data; returns before the writing is done.

        The first time it waits for that and reads the state back: where that fails is no place for
        a night's training.

        Raises:
          OSError: it cannot be saved, this or the one before, or not be read back.
        """
        with disk.saving_to(self.path):
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),
                    data=ocp.args.JsonSave(iterator.get_state()),
                ),
            )
            if self._readable:
                return
            self._manager.wait_until_finished()
        disk.read_back(state, functools.partial(self._state, step), self.path)
        self._readable = True

    def _state(self, step: int, template: PyTree) -> PyTree:
        """A checkpoint's state alone."""
        args = ocp.args.Composite(state=ocp.args.StandardRestore(template))
        return self._manager.restore(step, args=args)["state"]

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
                        data=ocp.args.JsonRestore(),
                    ),
                )
                iterator.set_state(restored["data"])
            except disk.UNREADABLE as error:
                failed[step] = disk.in_short(error)
                iterator.set_state(start)
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
        hosts.meet("damaged")  # all have seen it
        log.warning(
            "checkpoint %d of %s cannot be read (%s); kept as damaged-%d, continuing from step %d",
            step, self.path, why, step, instead,
        )  # fmt: skip
        if hosts.primary():
            shutil.rmtree(folder / f"damaged-{step}", ignore_errors=True)
            (folder / str(step)).rename(folder / f"damaged-{step}")
        hosts.meet("set aside")
        self._manager.reload()

    def save_model(self, state: State) -> None:
        """Saves the finished state, without optimiser; it is the model once it has been read back.

        Raises:
          OSError: it cannot be saved, or not be read back.
        """
        state, part = state._replace(opt=()), self.path / "model.part"
        with disk.saving_to(self.path), ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(disk.Literal(part), state, force=True)
        disk.read_back(state, functools.partial(_restored, part), self.path)
        hosts.meet("read back")
        with disk.saving_to(self.path):
            if hosts.primary():
                shutil.rmtree(self.path / "model", ignore_errors=True)
                part.rename(self.path / "model")
        hosts.meet("model")

    def has_model(self) -> bool:
        """Whether there is a finished state, of as many steps as `run.json` says."""
        return (self.path / "model").is_dir()

    def is_complete(self, record: dict) -> bool:
        """Whether the run is finished, and no more steps are asked for."""
        there = records.read(self.path)
        return (
            self.has_model() and there is not None and records.steps(there) == records.steps(record)
        )

    def restore_model(self, template: State) -> State:
        """The finished state; raises as `model_in`."""
        return model_in(self.path, template)

    def close(self) -> None:
        """Waits until everything saved is on disk."""
        if "_manager" in self.__dict__:
            with disk.saving_to(self.path):
                self._manager.close()
            del self.__dict__["_manager"]


def model_in(folder: pathlib.Path, template: State) -> State:
    """The finished state in a run folder, which is only read.

    Args:
      folder: of the run.
      template: its shapes, as `abstract_state` gives them.

    Raises:
      ValueError: it cannot be read, or is not of the template's shapes.
    """
    try:
        restored = _restored(folder / "model", template._replace(opt=()))
    except disk.UNREADABLE as error:
        raise ValueError(
            f"the model in {folder / 'model'} cannot be read ({error}); delete that folder "
            "and start the run again: it continues from its last checkpoint"
        ) from error
    return _unbound(restored)


def abstract_state(detector: Detector, cfg: Any, pretrained: PyTree) -> State:
    """Shapes and types of a run's state, and where it lies, without computing it."""
    shapes = jax.eval_shape(functools.partial(detector.init, cfg, pretrained), jax.random.key(0))
    return with_places(shapes)


def with_places(shapes: PyTree) -> PyTree:
    """Shapes of a state with where it lies: by the mesh in use, otherwise on one device."""
    if mesh.current() is None:
        one = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        places = jax.tree.map(lambda x: one, shapes)
    else:
        places = mesh.shardings(shapes)
    place = lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where)
    return jax.tree.map(place, shapes, places)


def _restored(folder: pathlib.Path, template: PyTree) -> PyTree:
    """A tree that was saved alone."""
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(disk.Literal(folder), template)


def _like(template: PyTree, restored: PyTree) -> PyTree:
    """What was read, with the containers of the template: Orbax gives lists and dicts."""
    return jax.tree.unflatten(jax.tree.structure(template), jax.tree.leaves(restored))


def _unbound(state: PyTree) -> PyTree:
    """Copies that are not bound to a device, as those of a new state; on a mesh as they are.

    To what was compiled for one, and lies in the compilation cache, the other is another program.
    """
    if mesh.current() is not None:
        return state
    return jax.tree.map(lambda x: jnp.array(np.asarray(x)), state)
