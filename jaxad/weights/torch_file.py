"""Tensors out of PyTorch's files, without PyTorch and without running what they hold.

Such a file is a zip of plain buffers and one pickle that says which tensors lie on them; the one
from before PyTorch 1.6 is read by `jaxad.weights.torch_legacy`.
"""

import io
import zipfile
from pathlib import Path

import numpy as np

from jaxad.weights.torch_arrays import arrays, decode
from jaxad.weights.torch_legacy import legacy_state_dict
from jaxad.weights.torch_pickle import Refused, shown
from jaxad.weights.torch_tensors import read_tensors


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """The named tensors of a state dict, or of a checkpoint that keeps one under a usual name.

    Of a checkpoint with several state dicts, {"encoder": {...}, "decoder": {...}}, the names begin
    with theirs: "encoder.conv1.weight". bfloat16 becomes float32; all else keeps its type.

    Raises:
      ValueError: the file is not of torch.save, is damaged, holds anything but tensors and plain
        values, or has no state dict.
    """
    with open(path, "rb") as file:
        start = file.read(4)
    if start != b"PK\x03\x04" and start[:1] != b"\x80":
        raise ValueError(f"{path} is not a file of torch.save: was the download complete?")
    try:
        if start[:1] == b"\x80":
            return legacy_state_dict(path.read_bytes())
        with zipfile.ZipFile(path) as archive:
            return _state_dict(archive, path.stat().st_size)
    except Refused as error:
        raise ValueError(f"{path} {error}") from None
    except Exception as error:  # a damaged pickle may raise anything
        reason = f"{type(error).__name__}: {shown(error, 300)}"
        raise ValueError(f"{path} is damaged ({reason}): download it again") from None


def _state_dict(archive: zipfile.ZipFile, size: int) -> dict[str, np.ndarray]:
    members = archive.infolist()
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            raise Refused(
                f"has a compressed part, {shown(member.filename)}, as torch.save never writes: "
                "save the network's state_dict() anew from PyTorch"
            )
    if sum(member.file_size for member in members) > size:
        raise Refused("unpacks to more than its own size, so its parts overlap")
    pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise Refused("is a zip, but not one of torch.save: it has no data.pkl")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
        raise Refused("was written on a big-endian machine: write it on another")

    tensors, _ = read_tensors(io.BytesIO(archive.read(pickles[0])))
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    buffers = {
        key: decode(archive.read(f"{root}data/{key}"), storage.dtype)
        for key, storage in storages.items()
    }
    return arrays(tensors, buffers)
