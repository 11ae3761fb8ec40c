"""`.npz` and `.safetensors` files, written here byte by byte."""

import json
import tracemalloc
import zipfile

import numpy as np
import pytest

from jaxad.weights import files
from jaxad.weights.files import read_state_dict

ARRAYS = {
    "conv1.weight": np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2),
    "conv1.bias": np.array([0.5], np.float16),
    "bn.count": np.array(3),
    "double": np.array([1e-200]),
    "none": np.zeros((0, 4), np.float32),
}
NAMES = {"float32": "F32", "float16": "F16", "int64": "I64", "float64": "F64", "uint16": "BF16"}


def written(header, buffers=b""):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + buffers


def entry(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def safetensors(arrays, **changes):
    header, buffers = {"__metadata__": {"format": "pt"}}, b""
    for name, array in arrays.items():
        begin, buffers = len(buffers), buffers + array.tobytes()
        header[name] = {
            "dtype": NAMES[str(array.dtype)],
            "shape": array.shape,
            "data_offsets": [begin, len(buffers)],
            **changes,
        }
    return written(header, buffers)


def test_safetensors_are_read_exactly(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(safetensors(ARRAYS))
    arrays = read_state_dict(path)
    assert list(arrays) == list(ARRAYS)
    for name, want in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], want, strict=True)
        assert arrays[name].flags.writeable
        assert arrays[name].flags.aligned


def test_order_in_the_file_is_not_that_of_the_names(tmp_path):
    numbers = np.arange(3, dtype=np.float32)
    header = {"c": entry([2], 4, 12), "b": entry([0], 4, 4), "a": entry([], 0, 4)}
    (tmp_path / "weights.safetensors").write_bytes(written(header, numbers.tobytes()))
    arrays = read_state_dict(tmp_path / "weights.safetensors")
    assert list(arrays) == ["c", "b", "a"]
    np.testing.assert_array_equal(arrays["c"], numbers[1:])
    np.testing.assert_array_equal(arrays["a"], 0)


def test_bfloat16_safetensors_become_float32(tmp_path):
    values = np.array([1.5, -3], np.float32)
    upper = (values.view(np.uint32) >> 16).astype(np.uint16)
    (tmp_path / "weights.safetensors").write_bytes(safetensors({"a": upper}))
    arrays = read_state_dict(tmp_path / "weights.safetensors")
    np.testing.assert_array_equal(arrays["a"], values, strict=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a header of 0 bytes"),
        (bytes(8) + b"{}", "a header of 0 bytes, expected 1 to 2"),
        (safetensors(ARRAYS)[:200], "a header of .* bytes, expected 1 to 192"),
        (b"\xff" * 8 + b"{}", "a header of 18446744073709551615 bytes, expected 1 to 2"),
        (b"\x02" + bytes(7) + b"{,", "JSONDecodeError"),
        (b"\x02" + bytes(7) + b"[]", "TypeError"),
        ((10**5).to_bytes(8, "little") + 10**5 * b"[", "RecursionError"),
        (safetensors(ARRAYS)[:-1], "tensors have 66 bytes, and the file 65 for them"),
        (safetensors(ARRAYS) + b"1", "tensors have 66 bytes, and the file 67 for them"),
        (safetensors(ARRAYS, dtype="F8_E4M3"), "F8_E4M3"),
        (safetensors(ARRAYS, shape=[5, 5]), "shape that does not fit its 48 bytes"),
        (written({"a": entry([1], 0, 4), "b": entry([1], 0, 4)}, bytes(4)), "b begins at byte 0"),
        (written({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, bytes(12)), "at byte 4, exp"),
        (written({"a": entry([2], 0, 8), "b": entry([0], 4, 4)}, bytes(8)), "at byte 4, exp"),
        (written({"a": entry([1], 4, 8)}, bytes(8)), "begins at byte 4, expected 0"),
        (written({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, bytes(12)), "expected 4"),
        (written({"a": entry([1], -4, 0)}, bytes(4)), "not of whole numbers"),
        (written({"a": entry([-1], 4, 0)}, bytes(4)), "not of whole numbers"),
        (written({"a": entry([-1, -1], 0, 4)}, bytes(4)), "not of whole numbers"),
        (written({"a": entry([1.0], 0, 4)}, bytes(4)), "not of whole numbers"),
        (written({"a": entry([True], 0, 4)}, bytes(4)), "not of whole numbers"),
        (written({"a": entry(["1"], 0, 4)}, bytes(4)), "not of whole numbers"),
        (written({"a": entry([1], 0.0, 4)}, bytes(4)), "not of whole numbers"),
        (written({"a": entry([2**64, 0], 0, 0)}), "not of whole numbers"),
        (written({"a": entry([2**62, 2**62], 0, 4)}, bytes(4)), "does not fit its 4 bytes"),
        (written({"a": entry([1], 4, 0)}, bytes(4)), "does not fit its -4 bytes"),
        (written({"a": entry(1, 0, 4)}, bytes(4)), "no shape of at most 8"),
        (written({"a": entry(9 * [1], 0, 4)}, bytes(4)), "no shape of at most 8"),
        (written({"a": {"dtype": "F32", "shape": [1]}}, bytes(4)), "data_offsets"),
        (written({"a": 1}), "TypeError"),
    ],
)
def test_damaged_safetensors_are_named(tmp_path, content, message):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"weights\.safetensors is not .*{message}"):
        read_state_dict(path)


def test_safetensors_on_one_buffer_take_no_memory(tmp_path):
    path = tmp_path / "weights.safetensors"
    header = {str(i): entry([250_000], 0, 1_000_000) for i in range(1250)}
    path.write_bytes(written(header, bytes(1_000_000)))
    tracemalloc.start()
    with pytest.raises(ValueError, match="begins at byte 0, expected 1000000"):
        read_state_dict(path)
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()


def test_header_of_safetensors_has_a_largest_size(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "HEADER", 100)
    (tmp_path / "weights.safetensors").write_bytes(safetensors(ARRAYS))
    with pytest.raises(ValueError, match="expected 1 to 100"):
        read_state_dict(tmp_path / "weights.safetensors")


EVIL = "\x1b[2J\u202e" + 400 * "\u00e9"


@pytest.mark.parametrize(
    "header",
    [
        {EVIL: entry([1], 4, 8)},
        {EVIL: entry([2], 0, 4)},
        {EVIL: entry(["1"], 0, 4)},
        {EVIL: entry(9 * [1], 0, 4)},
        {"a": entry([1], 0, 4, EVIL)},
    ],
)
def test_text_of_safetensors_reaches_a_message_cut_and_printable(tmp_path, header):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(written(header, bytes(4)))
    with pytest.raises(ValueError, match=r"\\x1b\[2J") as caught:
        read_state_dict(path)
    message = str(caught.value).removeprefix(str(path))
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 600
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_is_read_exactly(tmp_path, save):
    save(tmp_path / "weights.npz", **ARRAYS)
    arrays = read_state_dict(str(tmp_path / "weights.npz"))
    for name, want in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], want, strict=True)


def test_npz_with_python_objects_is_refused(tmp_path):
    np.savez(tmp_path / "weights.npz", a=np.array([{}], object))
    with pytest.raises(ValueError, match=r"weights\.npz is not .* plain arrays"):
        read_state_dict(tmp_path / "weights.npz")


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_npz_packed_in_other_ways_is_refused_before_it_is_unpacked(tmp_path, kind):
    np.savez(tmp_path / "plain.npz", a=np.zeros(10**6))
    with zipfile.ZipFile(tmp_path / "plain.npz") as archive:
        content = archive.read("a.npy")
    with zipfile.ZipFile(tmp_path / "weights.npz", "w", kind) as archive:
        archive.writestr("a.npy", content)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"a\.npy is compressed as numpy never does"):
        read_state_dict(tmp_path / "weights.npz")
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_npz_of_nothing_but_zeros_may_be_small_and_not_large(tmp_path, monkeypatch):
    path = tmp_path / "weights.npz"
    np.savez_compressed(path, a=np.zeros(10**6))
    assert read_state_dict(path)["a"].size == 10**6
    monkeypatch.setattr(files, "SMALL", 10**6)
    with pytest.raises(ValueError, match=r"unpacks to 8000128 bytes, more than 20 times"):
        read_state_dict(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"something else"])
def test_damaged_npz_is_named(tmp_path, content):
    (tmp_path / "weights.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"weights\.npz is not a readable"):
        read_state_dict(tmp_path / "weights.npz")


def test_empty_npz_is_an_error(tmp_path):
    np.savez(tmp_path / "weights.npz")
    with pytest.raises(ValueError, match="holds no arrays"):
        read_state_dict(tmp_path / "weights.npz")


def test_unknown_suffix_lists_the_known_ones(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(ValueError, match=r"expected a file in \.npz, \.safetensors, \.pth"):
        read_state_dict(tmp_path / "model.onnx")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*nothing\.pth"):
        read_state_dict(tmp_path / "nothing.pth")
