"""PyTorch's file format from before its version 1.6: five pickles, then the storages as they are.

The pickles are a magic number, the format's version, a description of the machine, the object,
and the storages' keys in the order in which the storages follow. Each storage is its count in
eight bytes and then its numbers, with nothing between, before or after. Source:
https://github.com/pytorch/pytorch, torch/serialization.py, `_legacy_save`.
"""

import io
from typing import Any

import numpy as np

from jaxad.weights.torch_arrays import arrays, decode, itemsize
from jaxad.weights.torch_pickle import Refused, shown, unpickle
from jaxad.weights.torch_tensors import Storage, read_tensors

MAGIC = 0x1950A86A20F9469CFC6C
VERSION = 1001


def legacy_state_dict(content: bytes) -> dict[str, np.ndarray]:
    """The named tensors of a file's whole content, as `jaxad.weights.torch_file.read_torch`.

    The only pickle that may name anything is that of the object. All lengths are compared with
    what the file has before memory is taken for them.

    Raises:
      Refused: it is another pickle, or holds anything but tensors and plain values.
      Exception: it is damaged.
    """
    file = io.BytesIO(content)
    _check_start(file)
    tensors, storages = read_tensors(file)
    keys = _checked_keys(unpickle(file, {}), storages)
    return arrays(tensors, _buffers(memoryview(content)[file.tell() :], keys, storages))


def _check_start(file: io.BytesIO) -> None:
    try:
        magic = unpickle(file, {})
    except Exception:  # of a pickle of anything
        magic = None
    if magic != MAGIC:
        raise Refused(
            "is a pickle, but not one of torch.save: in PyTorch, "
            "torch.save(network.state_dict(), path) and take that"
        )
    if unpickle(file, {}) != VERSION:
        raise Refused(f"is of an unknown version of PyTorch's old format: expected {VERSION}")
    machine = unpickle(file, {})
    if not isinstance(machine, dict) or not isinstance(machine.get("little_endian"), bool):
        raise ValueError("it does not say whether its numbers are little-endian")
    if not machine["little_endian"]:
        raise Refused("was written on a big-endian machine: write it on another")


def _checked_keys(keys: Any, storages: dict[str, Storage]) -> list[str]:
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("its storages are not listed by their keys")
    listed = set(keys)
    if len(listed) < len(keys):
        raise ValueError("its list of storages names one twice")
    for key in listed - storages.keys():
        raise ValueError(f"its list of storages names {shown(key)}, which nothing describes")
    for key in storages.keys() - listed:
        raise ValueError(f"its list of storages lacks {shown(key)}")
    return keys


def _buffers(
    content: memoryview, keys: list[str], storages: dict[str, Storage]
) -> dict[str, np.ndarray]:
    buffers = {}
    for key in keys:
        storage = storages[key]
        if len(content) < 8:
            raise ValueError(f"it ends before storage {shown(key)}")
        count = int.from_bytes(content[:8], "little", signed=True)
        if count != storage.count:
            raise ValueError(
                f"storage {shown(key)} has {count} numbers, but {storage.count} are described"
            )
        stop = 8 + count * itemsize(storage.dtype)
        if len(content) < stop:
            raise ValueError(f"it ends inside storage {shown(key)}")
        buffers[key] = decode(content[8:stop], storage.dtype)
        content = content[stop:]
    if content:
        raise ValueError(f"{len(content)} bytes follow the last storage")
    return buffers
