"""`.npz` and `.safetensors` files, written here byte by byte."""

import json

import numpy as np
import pytest

from jaxad.weights.files import read_state_dict

ARRAYS = {
    "conv1.weight": np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2),
    "conv1.bias": np.array([0.5], np.float16),
    "bn.count": np.array(3),
    "double": np.array([1e-200]),
    "none": np.zeros((0, 4), np.float32),
}
NAMES = {"float32": "F32", "float16": "F16", "int64": "I64", "float64": "F64", "uint16": "BF16"}


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
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + buffers


def test_safetensors_are_read_exactly(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(safetensors(ARRAYS))
    arrays = read_state_dict(path)
    assert list(arrays) == list(ARRAYS)
    for name, want in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], want, strict=True)


def test_bfloat16_safetensors_become_float32(tmp_path):
    values = np.array([1.5, -3], np.float32)
    upper = (values.view(np.uint32) >> 16).astype(np.uint16)
    (tmp_path / "weights.safetensors").write_bytes(safetensors({"a": upper}))
    arrays = read_state_dict(tmp_path / "weights.safetensors")
    np.testing.assert_array_equal(arrays["a"], values, strict=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "JSONDecodeError"),
        (safetensors(ARRAYS)[:200], "JSONDecodeError"),
        (safetensors(ARRAYS)[:-1], "ValueError"),
        (safetensors(ARRAYS, dtype="F8_E4M3"), "F8_E4M3"),
        (safetensors(ARRAYS, shape=[5, 5]), "reshape"),
    ],
)
def test_damaged_safetensors_are_named(tmp_path, content, message):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"weights\.safetensors is not .*{message}"):
        read_state_dict(path)


def test_npz_is_read_exactly(tmp_path):
    np.savez(tmp_path / "weights.npz", **ARRAYS)
    arrays = read_state_dict(str(tmp_path / "weights.npz"))
    for name, want in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], want, strict=True)


def test_npz_with_python_objects_is_refused(tmp_path):
    np.savez(tmp_path / "weights.npz", a=np.array([{}], object))
    with pytest.raises(ValueError, match=r"weights\.npz is not .* plain arrays"):
        read_state_dict(tmp_path / "weights.npz")


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
