"""The tensors that a pickle of PyTorch describes, and the storages of numbers on which they lie."""

import io
from typing import Any, NamedTuple

from jaxad.weights.torch_pickle import ENTRIES, Dictionaries, Refused, listed, shown, unpickle

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
DTYPES = frozenset(STORAGES.values())
STATE_DICTS = ("state_dict", "model_state_dict", "model")  # where checkpoints keep the weights
DIMENSIONS = 8  # of a tensor: no published weights come near this


class Storage(NamedTuple):
    """A buffer of the file: its name there, the type and count of its numbers, the part in use."""

    key: str
    dtype: str
    count: int
    start: int
    stop: int


class Tensor(NamedTuple):
    """A view of a storage's part; offset and strides count numbers, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_tensors(file: io.BytesIO) -> tuple[dict[str, Tensor], dict[str, Storage]]:
    """The named tensors of the pickle at the file's position, and all storages by their keys.

    The names are those that `jaxad.weights.torch_file.read_torch` gives. Some storages may have
    no named tensor: those of an optimizer's state, for example.

    Raises:
      Refused: there is no named tensor, or the pickle needs something else.
      Exception: the pickle is damaged.
    """
    storages: dict[str, Storage] = {}
    dictionaries = Dictionaries()
    ordered = lambda items=(): _ordered_dict(items, dictionaries)
    known = KNOWN | {("collections", "OrderedDict"): ordered}
    content = unpickle(file, known, lambda x: _storage(x, storages), dictionaries)
    return _named_tensors(content), storages


def _named_tensors(content: Any) -> dict[str, Tensor]:
    if not isinstance(content, dict):
        raise Refused(f"holds a {type(content).__name__}, not a state dict")
    for name in STATE_DICTS:
        if isinstance(content.get(name), dict):
            content = content[name]
            break
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    parts = {part: inside for part, inside in content.items() if isinstance(inside, dict)}
    # A file names one dictionary again and again by two bytes.
    if len(content) + sum(map(len, parts.values())) > ENTRIES:
        raise Refused(f"has more than {ENTRIES} values by name, which weights do not need")
    for part, inside in parts.items():
        named = {f"{part}.{name}": x for name, x in inside.items() if isinstance(x, Tensor)}
        tensors |= named
    if not tensors:
        names = listed(content) or "nothing"
        raise Refused(
            f"has no tensors by name, but: {names}; save the network's state_dict() alone"
        )
    return tensors


def _storage(described: Any, storages: dict[str, Storage]) -> Storage:
    match described:
        case ("storage", str(dtype), str(key), _, int(count), *view) if dtype in DTYPES:
            pass
        case _:
            raise Refused("describes a storage in an unknown way")
    match view:
        case [] | [None]:
            start, size = 0, count
        case [(str(), int(start), int(size))]:  # a part of it, as PyTorch once wrote
            pass
        case _:
            raise Refused("describes a storage in an unknown way")
    if not (0 <= count < 2**63 and 0 <= start <= start + size <= count):
        raise ValueError(f"storage {shown(key)} has an impossible size")
    storage = Storage(key, dtype, count, start, start + size)
    if storages.setdefault(key, storage)[:3] != storage[:3]:
        raise ValueError(f"storage {shown(key)} is described in two ways")
    return storage


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> Tensor:
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without a storage")
    if not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise ValueError("a tensor without a shape")
    if len(shape) > DIMENSIONS:
        raise Refused(f"has a tensor of more than {DIMENSIONS} dimensions")
    if len(shape) != len(strides):
        raise ValueError("a tensor whose shape and strides differ in length")
    if not all(isinstance(x, int) and abs(x) < 2**63 for x in (offset, *shape, *strides)):
        raise ValueError("a tensor whose place and shape are not of whole numbers")
    return Tensor(storage, offset, shape, strides)


def _rebuild_tensor_v2(
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    requires_grad: Any = False,
    backward_hooks: Any = None,
    metadata: Any = None,
) -> Tensor:
    if metadata:  # lazy negation and conjugation
        raise Refused("has a tensor that is a lazy view: save clones instead")
    return _rebuild_tensor(storage, offset, shape, strides)


def _rebuild_parameter(data: Any, requires_grad: Any, backward_hooks: Any) -> Any:
    return data


def _size(sizes: Any = ()) -> tuple[Any, ...]:
    if not isinstance(sizes, tuple):  # of a list the file could ask for a copy every few bytes
        raise ValueError("a size of something that is no tuple")
    return sizes


def _ordered_dict(items: Any, dictionaries: Dictionaries) -> dict[Any, Any]:
    dictionary: dict[Any, Any] = {}
    if items != ():  # of Python 2
        if not isinstance(items, list):
            raise ValueError("an ordered dictionary of something that is no list")
        for key, value in items:
            dictionaries.set_entry(dictionary, key, value)
        items.clear()  # as good as moved: the file could ask for a copy every few bytes
    return dictionary


KNOWN = {
    ("torch", "Size"): _size,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,  # up to PyTorch 0.3
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): dtype for name, dtype in STORAGES.items()},
    **{("torch.cuda", name): dtype for name, dtype in STORAGES.items()},
}
