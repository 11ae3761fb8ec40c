"""Frozen features of a training set, computed once: in memory, or on disk for later runs.

A detector's `embed` is the same in every epoch. Where it costs more than what is trained, it is
computed once, kept in half precision, and comes with the batches.
"""

import contextlib
import errno
import functools
import hashlib
import json
import logging
import math
import os
import pathlib
import shutil
import uuid
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from filelock import FileLock
from jaxtyping import PyTree

from jaxad import compile, mesh
from jaxad.detector import Detector, Pictures
from jaxad.mesh import hosts
from jaxad.training import memory
from jaxad.training import record as records

log = logging.getLogger(__name__)

MEMORY = "memory"  # as a place: nothing is written
DTYPE = np.dtype(np.float16)
SLICE = 8  # images at a time

Cache = str | os.PathLike | None


class OnDisk:
    """An array in files, one after the other, of which rows are read when they are asked for."""

    def __init__(self, paths: Sequence[pathlib.Path]):
        """Of files that `numpy.save` could have written."""
        self.paths = paths
        self._opened: list[np.ndarray] | None = None

    def __len__(self) -> int:
        return sum(map(len, self._open()))

    def __getitem__(self, index: int) -> np.ndarray:
        for array in self._open():
            if index < len(array):
                return np.array(array[index])
            index -= len(array)
        raise IndexError(f"there is no such row among {len(self)}")

    def _open(self) -> list[np.ndarray]:
        arrays = self._opened
        if arrays is None:
            load = functools.partial(np.load, mmap_mode="r", allow_pickle=False)
            arrays = self._opened = [load(path) for path in self.paths]
        return arrays


class _Range:
    """The pictures of a set from one to another."""

    def __init__(self, pictures: Pictures, start: int, stop: int):
        self._pictures, self._start, self._stop = pictures, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, some: slice) -> Any:
        start, stop, _ = some.indices(len(self))
        return self._pictures[self._start + start : self._start + stop]


def frozen_features(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    pictures: Pictures,
    cache: Cache,
    beside: int = 0,
) -> PyTree | None:
    """`detector.embed` of every image in float16, rows by index; None without a cache.

    On disk they lie under the checksum of all that they depend on: the pictures after resizing, the
    weights and the compiled program, so that others are never mistaken for them.

    Args:
      detector: the method.
      cfg: its settings.
      pretrained: {name: tree} for `cfg.weights`.
      pictures: the training set, as uint8.
      cache: `MEMORY`, or a folder; None computes features in every step instead.
      beside: bytes of memory that pictures may take beside features in memory.

    Raises:
      OSError: the folder cannot be written, or the disk is full; nothing is left half written.
      FloatingPointError: a feature is not finite, or is not in float16.
      MemoryError: they and the pictures would take more than half of this machine's memory.
    """
    if cache is None:
        return None
    one = jax.ShapeDtypeStruct((SLICE, cfg.size, cfg.size, 3), "float32")
    # By their shapes: where the weights lie is no part of what is computed.
    weights = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), pretrained)
    lowered = jax.jit(functools.partial(detector.embed, cfg)).lower(weights, one)
    shapes, tree = jax.tree.flatten(lowered.out_info)
    if not shapes:
        log.info("%s has no frozen features to keep", detector.name)
        return None
    kept = [(len(pictures), *x.shape[1:]) for x in shapes]
    size = sum(map(math.prod, kept)) * DTYPE.itemsize
    if cache == MEMORY:
        memory.check(
            size + beside,
            f"frozen features ({size / 1e9:.3g} GB) and pictures in memory",
            "cache=FOLDER keeps features on disk, cache=none computes them in every step",
        )
        log.info("keeping frozen features in memory (%.3g GB)", size / 1e9)
        arrays, start = [np.empty(shape, DTYPE) for shape in kept], 0
        for rows in _rows(detector, cfg, pretrained, pictures):
            for array, some in zip(arrays, rows, strict=True):
                array[start : start + len(some)] = some
            start += len(rows[0])
        return jax.tree.unflatten(tree, arrays)
    key = {
        "program": hashlib.sha256(lowered.as_text().encode()).hexdigest(),
        "weights": records.fingerprint(pretrained),
        "images": _checksum(pictures),
        "shapes": list(map(list, kept)),
        "dtype": DTYPE.name,
    }
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    folder = pathlib.Path(cache).expanduser() / name
    complete = _complete(folder, key)
    if hosts.any_wants(not complete):  # all hosts, or none
        log.info("writing frozen features to %s (%.3g GB)", folder, size / 1e9)
        _write(detector, cfg, pretrained, pictures, folder, key, size)
    else:
        log.info("frozen features from %s", folder)
    rows = [OnDisk(paths) for paths in _files(folder, len(shapes))]
    return jax.tree.unflatten(tree, rows)


def _files(folder: pathlib.Path, count: int) -> list[list[pathlib.Path]]:
    """Of each array the files that its rows lie in: one of each host that has written."""
    writers = json.loads((folder / "key.json").read_text(encoding="utf-8")).get("hosts", 1)
    return [[folder / _name(i, host) for host in range(writers)] for i in range(count)]


def _name(array: int, host: int) -> str:
    return f"{array}-{host}.npy" if host else f"{array}.npy"


def _complete(folder: pathlib.Path, key: dict) -> bool:
    """Whether the features are there and whole; damaged ones are said to be."""
    if not folder.is_dir():
        return False
    try:
        there = json.loads((folder / "key.json").read_text(encoding="utf-8"))
        there.pop("hosts", None)
        shapes = []
        for paths in _files(folder, len(key["shapes"])):
            arrays = [np.load(path, mmap_mode="r", allow_pickle=False) for path in paths]
            shapes.append([sum(map(len, arrays)), *arrays[0].shape[1:]])
    except (OSError, ValueError, EOFError) as error:
        log.warning("the features in %s are damaged (%s); computing them anew", folder, error)
        return False
    if there != key or shapes != key["shapes"]:
        log.warning("the features in %s are not the ones expected; computing them anew", folder)
        return False
    return True


def _write(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    pictures: Pictures,
    folder: pathlib.Path,
    key: dict,
    size: int,
) -> None:
    """Beside its place first. Not through memory maps: of a full disk those let the process die.

    Each of many hosts computes its part of the pictures alone, and writes it.
    """
    alone = hosts.count() == 1
    part = folder.parent / (f"part-{uuid.uuid4().hex}" if alone else f"part-{folder.name}")
    cuts = np.linspace(0, len(pictures), hosts.count() + 1).round().astype(int).tolist()
    own = _Range(pictures, *cuts[hosts.index() : hosts.index() + 2]) if not alone else pictures
    used = mesh.current() if alone else None
    try:
        if hosts.primary():
            shutil.rmtree(part, ignore_errors=True)  # of hosts that ended
            part.mkdir(parents=True)
        hosts.meet("features")
        if shutil.disk_usage(part).free < size:
            raise OSError(errno.ENOSPC, f"{size} bytes are needed")
        with contextlib.ExitStack() as stack:
            files = []
            for i, shape in enumerate(key["shapes"]):
                file = stack.enter_context((part / _name(i, hosts.index())).open("wb"))
                rows = (len(own), *shape[1:])
                header = {"descr": DTYPE.str, "fortran_order": False, "shape": rows}
                np.lib.format.write_array_header_1_0(file, header)
                files.append(file)
            stack.enter_context(mesh.use(used))
            weights = pretrained if alone else mesh.fetched(pretrained)
            for rows in _rows(detector, cfg, weights, own):
                for file, some in zip(files, rows, strict=True):
                    file.write(some.tobytes())
        hosts.meet("features written")
        if hosts.primary():
            writers = {} if alone else {"hosts": hosts.count()}
            (part / "key.json").write_text(json.dumps(key | writers), encoding="utf-8")
            # Another process may have made them meanwhile, and others may be reading them.
            with FileLock(folder.with_name(f".{folder.name}.lock")):
                if not _complete(folder, key):
                    shutil.rmtree(folder, ignore_errors=True)
                    part.rename(folder)
        hosts.meet("features there")
    except OSError as error:
        raise OSError(
            f"cannot keep features in {folder.parent} ({error}): free some space or give another "
            f"folder; cache={MEMORY!r} needs none"
        ) from error
    finally:
        if hosts.primary():
            shutil.rmtree(part, ignore_errors=True)


def _checksum(pictures: Pictures) -> str:
    """Of all pixels, slice by slice."""
    checksum = 0
    for start in range(0, len(pictures), SLICE):
        some = pictures[start : start + SLICE]
        checksum = zlib.crc32(np.ascontiguousarray(some).data, checksum)
    return f"{checksum:08x}"


def _rows(
    detector: Detector, cfg: Any, pretrained: PyTree, pictures: Pictures
) -> Iterator[list[np.ndarray]]:
    """The features in half precision, slice by slice."""
    for features in compile.slices(detector.embed, (cfg, pretrained), pictures, SLICE):
        leaves = mesh.fetched(jax.tree.leaves(features))
        with np.errstate(over="ignore"):
            rows = [leaf.astype(DTYPE) for leaf in leaves]
        for leaf, some in zip(leaves, rows, strict=True):
            if not np.isfinite(leaf).all():
                raise FloatingPointError("features are not finite: the weights may be damaged")
            if not np.isfinite(some).all():
                raise FloatingPointError(
                    f"features reach {np.abs(leaf).max():g}, beyond {DTYPE.name}: train without "
                    "a cache"
                )
        yield rows
