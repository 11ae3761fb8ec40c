"""PyTorch's zip format, against a real file and against bytes put together here.

`golden/torch_2.13.pth` was written by PyTorch 2.13.0 with
`torch.save({"state_dict": tensors, "epoch": 3}, path)`; `REAL` tells what its tensors are.
"""

import collections
import io
import os
import pathlib
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from jaxad.weights import torch_pickle, torch_tensors
from jaxad.weights.files import read_state_dict

GRID = np.arange(12, dtype=np.float32).reshape(3, 4)
REAL = {
    "transposed.weight": GRID.T,  # a view: .t() of a contiguous tensor
    "slice.weight": GRID[1:, ::2],  # a view with an offset
    "channels_last.weight": np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2),
    "bfloat16.weight": np.array([1, -2.5, 0.15625], np.float32),
    "half.weight": np.array([0.5, 65504], np.float16),
    "parameter.weight": np.array([0.25, 0.25], np.float32),  # an nn.Parameter
    "bn.num_batches_tracked": np.array(7),
}


# The pickle operations that torch.save writes, as bytes.
def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def text(value):
    data = value.encode()
    return b"X" + len(data).to_bytes(4, "little") + data


def numbers(*values):
    return b"(" + b"".join(f"I{value}\n".encode() for value in values) + b"t"


def call(function, arguments):
    return function + b"(" + arguments + b"tR"


def tensor(shape, strides, offset=0, key="0", kind="FloatStorage"):
    storage = b"(" + text("storage") + name("torch", kind) + text(key) + text("cpu") + b"I6\ntQ"
    place = f"I{offset}\n".encode() + numbers(*shape) + numbers(*strides)
    hooks = name("collections", "OrderedDict") + b")R"
    return call(name("torch._utils", "_rebuild_tensor_v2"), storage + place + b"\x89" + hooks)


def parameter(data):
    hooks = name("collections", "OrderedDict") + b")R"
    return call(name("torch._utils", "_rebuild_parameter"), data + b"\x88" + hooks)


def dictionary(entries):
    return b"}" + b"".join(text(key) + value + b"s" for key, value in entries.items())


@pytest.fixture
def write(tmp_path):
    """Writes a file as torch.save would: a pickled value and buffers."""

    def write(value, buffers=None, byteorder=b"little"):
        path = tmp_path / "weights.pth"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("weights/data.pkl", b"\x80\x02" + value + b".")
            archive.writestr("weights/byteorder", byteorder)
            for key, buffer in (buffers or {"0": np.arange(6, dtype=np.float32)}).items():
                archive.writestr(f"weights/data/{key}", buffer.tobytes())
        return path

    return write


def test_file_of_pytorch_itself_is_read_exactly():
    path = pathlib.Path(__file__).parents[1] / "golden" / "torch_2.13.pth"
    arrays = read_state_dict(path)
    assert list(arrays) == list(REAL)
    for key, want in REAL.items():
        np.testing.assert_array_equal(arrays[key], want, strict=True)


@pytest.mark.parametrize(
    ("shape", "strides", "offset", "want"),
    [
        ((2, 3), (3, 1), 0, [[0, 1, 2], [3, 4, 5]]),
        ((3, 2), (1, 3), 0, [[0, 3], [1, 4], [2, 5]]),
        ((2,), (2,), 1, [1, 3]),
        ((2, 2), (0, 1), 4, [[4, 5], [4, 5]]),
        ((), (), 5, 5),
        ((0, 3), (3, 1), 0, np.zeros((0, 3))),
    ],
)
def test_strides_and_offset_are_followed(write, shape, strides, offset, want):
    arrays = read_state_dict(write(dictionary({"a": tensor(shape, strides, offset)})))
    np.testing.assert_array_equal(arrays["a"], np.asarray(want, np.float32), strict=True)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("DoubleStorage", "f8"),
        ("HalfStorage", "f2"),
        ("LongStorage", "i8"),
        ("IntStorage", "i4"),
        ("ByteStorage", "u1"),
        ("BoolStorage", "?"),
    ],
)
def test_types_are_kept(write, kind, dtype):
    buffer = np.array([0, 1, 1], dtype)
    path = write(dictionary({"a": tensor((3,), (1,), kind=kind)}), {"0": buffer})
    np.testing.assert_array_equal(read_state_dict(path)["a"], buffer, strict=True)


def test_bfloat16_is_the_upper_half_of_a_float32(write):
    values = np.array([1.5, -3, 2**-130, np.inf], np.float32)
    upper = (values.view(np.uint32) >> 16).astype(np.uint16)
    path = write(dictionary({"a": tensor((4,), (1,), kind="BFloat16Storage")}), {"0": upper})
    np.testing.assert_array_equal(read_state_dict(path)["a"], values, strict=True)


def test_tensors_may_share_a_storage_and_be_parameters(write):
    entries = {"a": parameter(tensor((3,), (1,))), "b": tensor((3,), (1,), offset=3)}
    arrays = read_state_dict(write(dictionary(entries)))
    np.testing.assert_array_equal(arrays["a"], [0, 1, 2])
    np.testing.assert_array_equal(arrays["b"], [3, 4, 5])


def test_several_state_dicts_in_one_file_keep_their_names(write):
    inside = dictionary({"a": tensor((6,), (1,))})
    path = write(dictionary({"bn": inside, "decoder": inside, "epoch": b"I3\n"}))
    assert list(read_state_dict(path)) == ["bn.a", "decoder.a"]


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_state_dict_inside_a_checkpoint_is_found(write, key):
    weights = dictionary({"a": tensor((6,), (1,))})
    path = write(dictionary({"epoch": b"I3\n", key: weights}))
    assert list(read_state_dict(path)) == ["a"]


@pytest.mark.parametrize(
    ("module", "function"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("subprocess", "Popen"),
        ("torch", "load"),
        ("torch.serialization", "load"),
        ("numpy", "load"),
        ("collections", "OrderedDict.fromkeys"),
        ("jaxad.weights.torch_file", "read_torch"),
    ],
)
def test_no_other_function_is_reached(write, tmp_path, module, function):
    trace = tmp_path / "trace"
    harm = call(name(module, function), text(f"touch {trace}"))
    path = write(dictionary({"a": tensor((6,), (1,)), "b": harm}))
    with pytest.raises(ValueError, match=rf"asks for {module}\.{function}"):
        read_state_dict(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    "program",
    [
        b"(" + text("touch trace") + b"ios\nsystem\n",  # INST
        b"(" + name("os", "system") + text("touch trace") + b"o",  # OBJ
        b"\x80\x04" + b"\x8c\x02os\x8c\x06system\x93" + text("touch trace") + b"\x85R",
        name("torch", "FloatStorage") + text("touch trace") + b"\x85R",  # a storage is no function
        name("collections", "OrderedDict") + b")R" + text("x") + b"b",  # BUILD of a wrong state
    ],
)
def test_no_other_operation_is_a_way_around(write, tmp_path, monkeypatch, program):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"weights\.pth (asks for|is damaged)"):
        read_state_dict(write(dictionary({"a": tensor((6,), (1,)), "b": program})))
    assert not os.path.exists("trace")


def test_whole_network_is_refused_with_the_way_out(write):
    network = call(name("torch.nn.modules.container", "Sequential"), b"")
    with pytest.raises(ValueError, match=r"whole network \(torch\.nn.*state_dict\(\), path"):
        read_state_dict(write(network))


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [((7,), (1,), 0), ((2, 3), (4, 1), 0), ((1,), (1,), 6), ((2,), (-1,), 1), ((-1,), (1,), 0)],
)
def test_tensor_that_leaves_its_storage_is_refused(write, shape, strides, offset):
    path = write(dictionary({"a": tensor(shape, strides, offset)}))
    with pytest.raises(ValueError, match="outside its storage"):
        read_state_dict(path)


def test_tensor_of_more_numbers_than_its_storage_is_refused(write):
    path = write(dictionary({"a": tensor((10**6, 10**6), (0, 0))}))
    with pytest.raises(ValueError, match="more numbers than its storage"):
        read_state_dict(path)


def test_tensors_cannot_share_their_numbers_for_ever(write):
    path = write(dictionary({str(i): tensor((6,), (1,)) for i in range(17)}))
    with pytest.raises(ValueError, match="more than 16 times the numbers that it holds"):
        read_state_dict(path)


def test_tensors_without_numbers_cannot_be_many(write):
    empty = tensor((0, *7 * (1,)), 8 * (1,))
    path = write(dictionary({str(i): empty for i in range(11)}))  # room for 16 * 6, each takes 9
    with pytest.raises(ValueError, match="more than 16 times the numbers that it holds"):
        read_state_dict(path)
    arrays = read_state_dict(write(dictionary({str(i): empty for i in range(10)})))
    assert [array.shape for array in arrays.values()] == 10 * [(0, *7 * (1,))]


def test_tensor_of_many_dimensions_is_refused(write):
    with pytest.raises(ValueError, match="a tensor of more than 8 dimensions"):
        read_state_dict(write(dictionary({"a": tensor(9 * (1,), 9 * (1,))})))


def test_lazily_negated_tensor_is_refused(write):
    value = tensor((6,), (1,)).removesuffix(b"tR") + dictionary({"neg": b"\x88"}) + b"tR"
    with pytest.raises(ValueError, match="lazy view"):
        read_state_dict(write(dictionary({"a": value})))


def test_storage_of_two_types_is_refused(write):
    entries = {"a": tensor((6,), (1,)), "b": tensor((6,), (1,), kind="IntStorage")}
    with pytest.raises(ValueError, match="storage 0 is described in two ways"):
        read_state_dict(write(dictionary(entries)))


def test_missing_storage_is_named(write):
    with pytest.raises(ValueError, match="weights/data/9"):
        read_state_dict(write(dictionary({"a": tensor((1,), (1,), key="9")})))


def test_unknown_storage_type_is_refused(write):
    with pytest.raises(ValueError, match=r"asks for torch\.QInt8Storage"):
        read_state_dict(write(dictionary({"a": tensor((1,), (1,), kind="QInt8Storage")})))


@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
def test_plain_values_are_as_pickle_reads_them(protocol):
    values = [None, True, False, 0, 255, 65536, -1, 2**40, -(2**70), 1.5, "", "\u00e9", 300 * "a"]
    values += [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [[1], [2]], {}, {"a": 1}, {2: "b"}]
    values += [{140234866358480: 1, -5: 2}]  # an optimizer's names once were addresses
    values += [{str(i): i for i in range(600)}, list(range(2001)), collections.OrderedDict(c=3)]
    values += [values[-1], values[-2]]
    values += [b"", b"abc", bytes(300)] if protocol > 2 else []
    for dumps in (pickle.dumps, pickle._dumps):  # that in C and that in Python
        file = io.BytesIO(dumps(values, protocol) + b"what follows")
        assert torch_pickle.unpickle(file, {("collections", "OrderedDict"): dict}) == values
        assert file.read() == b"what follows"


def test_parts_are_numbered_from_0_or_from_1(write):
    for first in (0, 1):
        memo = [b"q" + bytes([first + i]) for i in range(3)]
        pairs = b"".join(text(str(i)) + put + b"Ns" for i, put in enumerate(memo))
        value = b"}" + pairs + text("a") + tensor((6,), (1,)) + b"s"
        assert list(read_state_dict(write(value))) == ["a"]


@pytest.mark.parametrize("index", [2, 255, 2**20, 2**32 - 1])
def test_parts_numbered_out_of_order_are_refused(write, index):
    put = b"r" + index.to_bytes(4, "little")
    with pytest.raises(ValueError, match="parts are not numbered in their order"):
        read_state_dict(write(b"}" + text("a") + put + b"Ns"))


@pytest.mark.parametrize(
    "value",
    [
        dictionary({str(i): b"N" for i in range(100)}),
        b"}(" + b"".join(text(str(i)) + b"N" for i in range(100)) + b"u",
        b"](" + 2 * dictionary({str(i): b"N" for i in range(50)}) + b"e",
        b"}" + 100 * b"K\x01Ns",  # one entry, set again and again
        name("collections", "OrderedDict") + b"](" + 100 * b"K\x01N\x86" + b"e\x85R",
    ],
)
def test_entries_of_all_dictionaries_are_counted(write, monkeypatch, value):
    monkeypatch.setattr(torch_pickle, "ENTRIES", 99)
    with pytest.raises(ValueError, match="dictionaries of more than 99 entries"):
        read_state_dict(write(value))
    monkeypatch.setattr(torch_pickle, "ENTRIES", 100)
    with pytest.raises(ValueError, match=r"not a state dict|no tensors by name"):
        read_state_dict(write(value))


def test_lengths_of_the_pickle_take_no_memory(write):
    index = b"Nr\xff\xff\xff\xff"  # LONG_BINPUT, for which pickle's list would take gigabytes
    length = b"\x8e" + (10**15).to_bytes(8, "little")  # BINBYTES8
    for program in (index, length):
        path = write(dictionary({"a": program}))
        tracemalloc.start()
        with pytest.raises(ValueError, match=r"weights\.pth"):
            read_state_dict(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
        tracemalloc.stop()


def test_names_that_take_for_ever_to_hash_are_refused(write):
    deep = b")q\0" + 100 * b"h\0h\0\x86q\0"  # a tuple of 2**100 tuples
    with pytest.raises(ValueError, match="neither text nor small whole numbers"):
        read_state_dict(write(b"}(" + deep[:-2] + b"tNs"))


@pytest.mark.parametrize("key", [b"N", b"G" + bytes(8), b")", b"K\x01K\x02\x86"])
def test_names_of_other_types_are_refused_with_the_way_out(write, key):
    with pytest.raises(ValueError, match=r"neither text nor .*: save the network's state_dict\(\)"):
        read_state_dict(write(b"}" + key + b"Ns"))


def test_pickle_that_goes_on_and_on_is_refused(write, monkeypatch):
    monkeypatch.setattr(torch_pickle, "OPERATIONS", 99)
    with pytest.raises(ValueError, match="a pickle of more than 99 operations"):
        read_state_dict(write(b"](" + 99 * b"N" + b"e"))


def test_dictionary_named_again_and_again_is_refused(write, monkeypatch):
    monkeypatch.setattr(torch_tensors, "ENTRIES", 99)
    inside = dictionary({"a": tensor((6,), (1,))}) + b"q\0"
    again = dictionary({str(i): b"h\0" for i in range(49)})
    with pytest.raises(ValueError, match="more than 99 values by name"):
        read_state_dict(write(b"}" + text("first") + inside + b"s" + again[1:]))


def test_names_at_the_top_are_counted_too(write, monkeypatch):
    monkeypatch.setattr(torch_tensors, "ENTRIES", 2)
    entries = {str(i): tensor((1,), (1,), offset=i) for i in range(3)}
    with pytest.raises(ValueError, match="more than 2 values by name"):
        read_state_dict(write(dictionary(entries)))


@pytest.mark.parametrize("part", ["data.pkl", "byteorder", "data/0"])
@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_part_is_refused_before_it_is_unpacked(write, part, kind):
    path = write(dictionary({"a": tensor((6,), (1,))}), {"1": np.zeros(10**6)})
    with zipfile.ZipFile(path) as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist()}
    parts |= {f"weights/{part}": 3 * 10**6 * b"N"}
    with zipfile.ZipFile(path, "w") as archive:
        for filename, content in parts.items():
            packed = kind if filename == f"weights/{part}" else zipfile.ZIP_STORED
            archive.writestr(filename, content, packed)
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"has a compressed part, weights/{part}, as"):
        read_state_dict(path)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_part_that_claims_to_be_larger_than_it_lies_is_refused(write):
    path = write(dictionary({"a": tensor((6,), (1,))}))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("weights/version", b"3")
        archive.getinfo("weights/data/0").file_size += 1
    with pytest.raises(ValueError, match="has a compressed part, weights/data/0, as"):
        read_state_dict(path)


def test_zip_whose_parts_overlap_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/data.pkl", 1000 * b"N")
        archive.filelist += 2 * archive.filelist
    with pytest.raises(ValueError, match=r"more than its own size, so its parts overlap"):
        read_state_dict(path)


def test_big_endian_numbers_are_refused(write):
    with pytest.raises(ValueError, match="big-endian"):
        read_state_dict(write(dictionary({"a": tensor((6,), (1,))}), byteorder=b"big"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (tensor((6,), (1,)), "not a state dict"),
        (dictionary({}), "has no tensors by name, but: nothing"),
        (dictionary({"epoch": b"I3\n"}), r"has no tensors by name, but: epoch; save"),
        (dictionary({"state_dict": dictionary({"lr": b"I1\n"})}), "but: lr"),
    ],
)
def test_file_without_a_state_dict_says_what_it_has(write, value, message):
    with pytest.raises(ValueError, match=message):
        read_state_dict(write(value))


def test_cut_off_file_is_called_damaged(write):
    path = write(dictionary({"a": tensor((6,), (1,))}))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"is damaged .*: download it again"):
        read_state_dict(path)


def test_changed_buffer_is_called_damaged(write):
    path = write(dictionary({"a": tensor((6,), (1,))}))
    content = path.read_bytes()
    path.write_bytes(content.replace(np.float32(5).tobytes(), np.float32(6).tobytes()))
    with pytest.raises(ValueError, match=r"is damaged .*CRC"):
        read_state_dict(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x02}.", "is a pickle, but not one of torch.save"),
        (b"<!DOCTYPE html>", "not a file of torch.save"),
        (b"", "not a file of torch.save"),
    ],
)
def test_other_contents_are_recognised(tmp_path, content, message):
    path = tmp_path / "teacher.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_state_dict(path)


def test_zip_of_something_else_is_recognised(tmp_path):
    with zipfile.ZipFile(tmp_path / "teacher.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ValueError, match=r"no data\.pkl"):
        read_state_dict(tmp_path / "teacher.pth")


EVIL = "\x1b[2J\u202e" + 400 * "\u00e9"


@pytest.mark.parametrize(
    "value",
    [
        dictionary({EVIL + str(i): b"N" for i in range(1000)}),
        name("\x1b[2J" + 400 * "e", "system"),
        name("torch.nn.\x1b[2J" + 400 * "e", "Sequential"),
        b"\x8c\x04\x1b[2J" + text(EVIL) + b"\x93",
        dictionary({"a": tensor((1,), (1,), key=EVIL)}),  # which there is not
        dictionary({"a": tensor((1,), (1,), key=100 * EVIL)}),
        b"](" + tensor((), (), key=EVIL) + tensor((), (), key=EVIL, kind="IntStorage") + b"e",
        b"I" + EVIL.encode() + b"\n",
    ],
)
def test_text_of_the_file_reaches_a_message_cut_and_printable(write, value):
    path = write(value)
    with pytest.raises(ValueError, match=r"\\x1b\[2J") as caught:
        read_state_dict(path)
    message = str(caught.value).removeprefix(str(path))
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 1300
    assert caught.value.__cause__ is None


def test_ten_names_are_listed_and_the_others_counted(write):
    entries = {f"name{i}": b"N" for i in range(12)}
    with pytest.raises(ValueError, match=r"but: name0, .*name8, name9, and 2 more; save"):
        read_state_dict(write(dictionary(entries)))
