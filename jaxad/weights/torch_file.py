"""Tensors out of PyTorch's zip-format files, without PyTorch and without running what they hold.

Such a file is a zip of plain buffers and one pickle that says which tensors lie on them. A pickle
can call any function of any module, so this reader knows only the few names that a state dict
needs, answers each with an inert description of its own, and refuses all others.
"""

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
STATE_DICTS = ("state_dict", "model_state_dict", "model")  # where checkpoints keep the weights


class Storage(NamedTuple):
    """A buffer of the file: the name it has there and the type of its numbers."""

    key: str
    dtype: str


class Tensor(NamedTuple):
    """A view of a storage; offset and strides count numbers, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Refused(Exception):
    """A sound file that holds something else; the message goes on after the file's name."""


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """The named tensors of a state dict, or of a checkpoint that keeps one under a usual name.

    Of a checkpoint with several state dicts, {"encoder": {...}, "decoder": {...}}, the names begin
    with theirs: "encoder.conv1.weight". bfloat16 becomes float32; all else keeps its type.

    Raises:
      ValueError: the file is not in zip format, is damaged, holds anything but tensors and plain
        values, or has no state dict.
    """
    with open(path, "rb") as file:
        start = file.read(4)
    if start[:1] == b"\x80":
        raise ValueError(
            f"{path} is in PyTorch's format from before version 1.6, or a bare pickle; "
            "in a newer PyTorch, torch.save(torch.load(path, weights_only=True), new_path)"
        )
    if start != b"PK\x03\x04":
        raise ValueError(f"{path} is not a file of torch.save: was the download complete?")
    try:
        with zipfile.ZipFile(path) as archive:
            return _state_dict(archive)
    except _Refused as error:
        raise ValueError(f"{path} {error}") from None
    except Exception as error:  # a damaged pickle may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} is damaged ({reason}): download it again") from error


def decode(buffer: bytes, dtype: str) -> np.ndarray:
    """The numbers of `buffer`; `dtype` is one of numpy's names or "bfloat16"."""
    if dtype == "bfloat16":  # the upper half of a float32
        return (np.frombuffer(buffer, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(buffer, dtype)


def _state_dict(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise _Refused("is a zip, but not one of torch.save: it has no data.pkl")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
        raise _Refused("was written on a big-endian machine: write it on another")

    content = _Unpickler(io.BytesIO(archive.read(pickles[0]))).load()
    tensors = _named_tensors(content)
    buffers = {
        storage: decode(archive.read(f"{root}data/{storage.key}"), storage.dtype)
        for storage in {tensor.storage for tensor in tensors.values()}
    }
    return {name: _array(tensor, buffers[tensor.storage]) for name, tensor in tensors.items()}


def _named_tensors(content: Any) -> dict[str, Tensor]:
    if not isinstance(content, dict):
        raise _Refused(f"holds a {type(content).__name__}, not a state dict")
    for name in STATE_DICTS:
        if isinstance(content.get(name), dict):
            content = content[name]
            break
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    for part, inside in content.items():
        if isinstance(inside, dict):
            named = {f"{part}.{name}": x for name, x in inside.items() if isinstance(x, Tensor)}
            tensors |= named
    if not tensors:
        names = ", ".join(map(str, content)) or "nothing"
        raise _Refused(
            f"has no tensors by name, but: {names}; save the network's state_dict() alone"
        )
    return tensors


def _array(tensor: Tensor, numbers: np.ndarray) -> np.ndarray:
    if math.prod(tensor.shape) == 0:
        return np.empty(tensor.shape, numbers.dtype)
    steps = list(zip(tensor.shape, tensor.strides, strict=True))
    last = tensor.offset + sum((size - 1) * stride for size, stride in steps)
    # The file states them, and as_strided would follow them out of the buffer.
    if tensor.offset < 0 or min(map(min, steps), default=0) < 0 or last >= len(numbers):
        raise ValueError("a tensor reaches outside its storage")
    strides = [stride * numbers.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, strides).copy()


def _rebuild_tensor_v2(
    storage: Storage,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    requires_grad: bool = False,
    backward_hooks: Any = None,
    metadata: Any = None,
) -> Tensor:
    if metadata:  # lazy negation and conjugation
        raise _Refused("has a tensor that is a lazy view: save clones instead")
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(data: Tensor, requires_grad: bool, backward_hooks: Any) -> Tensor:
    return data


KNOWN = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): dtype for name, dtype in STORAGES.items()},
    **{("torch.cuda", name): dtype for name, dtype in STORAGES.items()},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in KNOWN:
            return KNOWN[module, name]
        if module.startswith(("torch.nn.", "torchvision.", "__torch__")):
            raise _Refused(
                f"holds a whole network ({module}.{name}), not its weights alone, and reading it "
                "would run code: in PyTorch, torch.save(network.state_dict(), path) and take that"
            )
        raise _Refused(
            f"asks for {module}.{name}, which weights do not need, and was refused: it may be "
            "harmful; if you trust it, save the network's state_dict() alone from PyTorch"
        )

    def persistent_load(self, pid: Any) -> Storage:
        kind, dtype, key, *_ = pid
        if kind != "storage" or dtype not in STORAGES.values() or not isinstance(key, str):
            raise _Refused(f"describes a storage in an unknown way: {pid}")
        return Storage(key, dtype)
