"""Weights that others published: a file -> {name: array}. Needs numpy only and runs nothing."""

import json
import os
from pathlib import Path

import numpy as np

from jaxad.weights.torch_arrays import decode
from jaxad.weights.torch_file import read_torch

SAFETENSORS = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "bfloat16",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}


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
    """The arrays of `np.savez`; pickled objects are refused."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception as error:  # zipfile, numpy and zlib each have their own
        raise ValueError(f"{path} is not a readable .npz file of plain arrays: {error}") from error


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors: the header's length in 8 bytes, the header as JSON, then plain buffers.

    Source: https://github.com/huggingface/safetensors, "Format".
    """
    content = path.read_bytes()
    try:
        start = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:start])
        header.pop("__metadata__", None)
        arrays = {}
        for name, about in header.items():
            begin, end = about["data_offsets"]
            buffer = content[start + begin : start + end]
            arrays[name] = decode(buffer, SAFETENSORS[about["dtype"]]).reshape(about["shape"])
        return arrays
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} is not a readable .safetensors file ({reason})") from error


READERS = {
    ".npz": read_npz,
    ".safetensors": read_safetensors,
    ".pth": read_torch,
    ".pt": read_torch,
    ".bin": read_torch,
    ".ckpt": read_torch,
}
