"""Weights that others published: a file -> {name: array}. Needs numpy only and runs nothing."""

import json
import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxad.weights.torch_arrays import decode, itemsize
from jaxad.weights.torch_file import read_torch
from jaxad.weights.torch_pickle import shown
from jaxad.weights.torch_tensors import DIMENSIONS

SAFETENSORS = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "bfloat16",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}
# A file may state lengths that fill the memory. No published weights come near these.
HEADER = 10_000_000  # bytes of JSON
UNPACKED = 20  # times its own size: what a compressed file may hold,
SMALL = 100_000_000  # or bytes, if these are more


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a `.npz`, `.safetensors` or PyTorch file (`.pth`, `.pt`, `.bin`, `.ckpt`).

    bfloat16 becomes float32; all else keeps its type, and all names and layouts stay.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: its kind is not known, it is damaged, or reading it would run code.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if path.suffix not in READERS:
        raise ValueError(f"cannot read {path}: expected a file in {', '.join(READERS)}")
    arrays = READERS[path.suffix](path)
    if not arrays:
        raise ValueError(f"{path} holds no arrays")
    return arrays


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of `np.savez` or `np.savez_compressed`; pickled objects are refused.

    Raises:
      ValueError: it is another file, damaged, or unpacks to far more than its own size.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, path.stat().st_size)
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception as error:  # zipfile, numpy and zlib each have their own
        reason = shown(error, 300)
        raise ValueError(f"{path} is not a readable .npz file of plain arrays: {reason}") from None


def _check_members(archive: zipfile.ZipFile, size: int) -> None:
    members = archive.infolist()
    for member in members:  # zipfile unpacks other kinds whole, whatever length is stated
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{shown(member.filename)} is compressed as numpy never does")
    unpacked = sum(member.file_size for member in members)
    if unpacked > max(SMALL, UNPACKED * size):
        raise ValueError(
            f"it unpacks to {unpacked} bytes, more than {UNPACKED} times its own size: if you "
            "trust it, write it anew with np.savez"
        )


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors: the header's length in 8 bytes, the header as JSON, then plain buffers.

    Source: https://github.com/huggingface/safetensors, "Format".

    Raises:
      ValueError: it is another file, or damaged; as the format has it, the tensors together must
        take each byte of the buffers once.
    """
    try:
        content = memoryview(path.read_bytes())
        length = int.from_bytes(content[:8], "little")
        most = min(max(len(content) - 8, 0), HEADER)
        if length > most or not length:
            raise ValueError(f"it states a header of {length} bytes, expected 1 to {most}")
        header = json.loads(bytes(content[8 : 8 + length]))
        header.pop("__metadata__", None)
        buffers = content[8 + length :]
        entries = {name: _entry(name, about) for name, about in header.items()}
        _check_tiling(entries, len(buffers))
        return {
            name: decode(buffers[x.begin : x.end], x.dtype).reshape(x.shape).copy()
            for name, x in entries.items()
        }
    except Exception as error:
        reason = f"{type(error).__name__}: {shown(error, 300)}"
        raise ValueError(f"{path} is not a readable .safetensors file ({reason})") from None


def write_safetensors(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays as `read_safetensors` reads them, in the order of their names.

    Raises:
      ValueError: the format has no such numbers.
      OSError: the file cannot be written.
    """
    names = {_dtype_name(dtype): name for name, dtype in SAFETENSORS.items()}
    header: dict[str, Any] = {}
    reached = 0
    for name, array in sorted(arrays.items()):
        kind = _dtype_name(array.dtype)
        if kind not in names:
            raise ValueError(f"{name}: a .safetensors file cannot hold numbers of {array.dtype}")
        end = reached + array.nbytes
        places = [reached, end]
        header[name] = {"dtype": names[kind], "shape": list(array.shape), "data_offsets": places}
        reached = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers begin where a word of memory may
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, array in sorted(arrays.items()):
            file.write(np.ascontiguousarray(array).tobytes())


def _dtype_name(dtype: Any) -> str:
    return "bfloat16" if str(dtype) == "bfloat16" else np.dtype(dtype).name


class _Entry(NamedTuple):
    dtype: str
    shape: list[int]
    begin: int
    end: int


def _entry(name: str, about: Any) -> _Entry:
    dtype, shape = SAFETENSORS[about["dtype"]], about["shape"]
    begin, end = about["data_offsets"]
    if not isinstance(shape, list) or len(shape) > DIMENSIONS:
        raise ValueError(f"{shown(name)} has no shape of at most {DIMENSIONS} dimensions")
    if not all(type(x) is int and 0 <= x < 2**63 for x in (*shape, begin, end)):
        raise ValueError(f"{shown(name)} has a shape or a place that is not of whole numbers")
    if math.prod(shape) * itemsize(dtype) != end - begin:
        raise ValueError(f"{shown(name)} has a shape that does not fit its {end - begin} bytes")
    return _Entry(dtype, shape, begin, end)


def _check_tiling(entries: dict[str, _Entry], size: int) -> None:
    reached = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != reached:
            raise ValueError(f"{shown(name)} begins at byte {entry.begin}, expected {reached}")
        reached = entry.end
    if reached != size:
        raise ValueError(f"its tensors have {reached} bytes, and the file {size} for them")


READERS = {
    ".npz": read_npz,
    ".safetensors": read_safetensors,
    ".pth": read_torch,
    ".pt": read_torch,
    ".bin": read_torch,
    ".ckpt": read_torch,
}
