"""Arrays of what a file describes: of the bytes of a buffer, and of the tensors that lie on it."""

import math

import numpy as np

from jaxad.weights.torch_pickle import Refused
from jaxad.weights.torch_tensors import Tensor

# A file names a storage as often as it likes. No published weights come near this.
COPIES = 16  # of its numbers, in tensors that share them


def decode(buffer: bytes | memoryview, dtype: str) -> np.ndarray:
    """The numbers of `buffer`; `dtype` is one of numpy's names or "bfloat16"."""
    if dtype == "bfloat16":  # the upper half of a float32
        return (np.frombuffer(buffer, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(buffer, dtype)


def itemsize(dtype: str) -> int:
    """The bytes that a number takes in the file; `dtype` as in `decode`."""
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def arrays(tensors: dict[str, Tensor], buffers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each tensor as an array of its own; `buffers` are the storages' numbers by their keys.

    Raises:
      ValueError: a tensor reaches outside its storage or has more numbers than it.
      Refused: the tensors share their numbers so often, or are so many without any, that they may
        be meant to fill the memory.
    """
    room = COPIES * sum(map(len, buffers.values()))
    found = {}
    for name, tensor in tensors.items():
        storage = tensor.storage
        found[name] = _array(tensor, buffers[storage.key][storage.start : storage.stop])
        room -= max(found[name].size, 1 + len(tensor.shape))  # an empty one takes memory too
        if room < 0:
            raise Refused(f"has tensors of more than {COPIES} times the numbers that it holds")
    return found


def _array(tensor: Tensor, numbers: np.ndarray) -> np.ndarray:
    if math.prod(tensor.shape) == 0:
        return np.empty(tensor.shape, numbers.dtype)
    steps = list(zip(tensor.shape, tensor.strides, strict=True))
    last = tensor.offset + sum((size - 1) * stride for size, stride in steps)
    # The file states them, and as_strided would follow them out of the buffer.
    if tensor.offset < 0 or min(map(min, steps), default=0) < 0 or last >= len(numbers):
        raise ValueError("a tensor reaches outside its storage")
    if math.prod(tensor.shape) > len(numbers):  # by strides of 0
        raise ValueError("a tensor has more numbers than its storage")
    strides = [stride * numbers.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, strides).copy()
