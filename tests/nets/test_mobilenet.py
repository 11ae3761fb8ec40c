"""MobileNetV2 against torchvision's, against TensorFlow's operations, and on photographs."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from weights import images, nchw, nhwc, parameters

from jaxad.nets import convert
from jaxad.nets.mobilenet import BLOCKS, MobileNetV2, strides
from jaxad.weights.files import read_state_dict
from jaxad.weights.store import check_tree

TENSORFLOW = MobileNetV2("same", "signed")
# t, c, n, s of table 2: expansion, channels, blocks, stride of the first
TABLE_2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
           (6, 160, 3, 2), (6, 320, 1, 1))  # fmt: skip


def our_name(theirs):
    """The map of torchvision's `features.<number>`."""
    number = int(theirs.split(".")[1])
    return {0: "stem", BLOCKS + 1: "head"}.get(number, f"block{number}")


def expected():
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), "float32")
    return jax.eval_shape(TENSORFLOW.init, jax.random.key(0), image)


def test_backbone_mobilenet_v2_matches_torchvision(golden):
    golden = golden("backbone_mobilenet_v2")
    arrays = parameters(golden.info["networks"]["backbone"])
    assert convert.kind(arrays) == "mobilenet_v2"
    x = nhwc(images(golden.info["images"]["image"]))
    with jax.default_matmul_precision("highest"):
        maps = jax.jit(MobileNetV2().apply)(convert.mobilenet_v2(arrays), x)
    for name in golden.info["outputs"]:
        assert golden.error(name, nchw(maps[our_name(name)])) < golden.tolerance(name), name


def operations():
    """MobileNetV2 as TensorFlow Lite writes it, from the paper's table."""
    ops, tensor, channels = [], 0, 3

    def add(op, features, stride=1, act=3):
        nonlocal tensor, channels
        key = f"{len(ops) + 1:03d}_{'dw' if op == 'DEPTHWISE_CONV_2D' else 'conv'}"
        entry = {"op": op, "in": [tensor], "out": [tensor + 1], "stride": stride, "pad": "SAME"}
        ops.append({**entry, "act": act, "key": key, "kernel": (features, channels)})
        tensor, channels = tensor + 1, features

    add("CONV_2D", 32, 2)
    for expansion, features, blocks, first in TABLE_2:
        for i in range(blocks):
            entered, inputs = tensor, channels
            if expansion != 1:
                add("CONV_2D", channels * expansion)
            add("DEPTHWISE_CONV_2D", channels, first if i == 0 else 1)
            add("CONV_2D", features, act=0)
            if i and features == inputs:
                ops.append({"op": "ADD", "in": [entered, tensor], "out": [tensor + 1]})
                tensor += 1
    add("CONV_2D", 1280)
    return ops


def draw(ops):
    rng, arrays = np.random.default_rng(0), {}
    for op in ops:
        if op["op"] == "ADD":
            continue
        features, inputs = op["kernel"]
        depthwise = op["op"] == "DEPTHWISE_CONV_2D"
        side = 3 if depthwise or inputs == 3 else 1
        shape = (1, 3, 3, features) if depthwise else (features, side, side, inputs)
        fan_in = side * side * (1 if depthwise else inputs)
        arrays[f"{op['key']}.w"] = rng.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float16)
        arrays[f"{op['key']}.b"] = rng.normal(0, 0.05, features).astype(np.float16)
    return arrays


def interpret(ops, arrays, x):
    """All tensors of a list of operations, by number, for images in [-1, 1]."""
    first = next(op for op in ops if op["op"] == "CONV_2D")
    tensors = {first["in"][0]: x}
    for op in ops:
        inputs = [tensors.get(i) for i in op["in"]]
        if op["op"] == "ADD":
            y = inputs[0] + inputs[1]
        elif op["op"] in ("CONV_2D", "DEPTHWISE_CONV_2D") and inputs[0] is not None:
            weight = jnp.asarray(arrays[f"{op['key']}.w"], jnp.float32)
            depthwise = op["op"] == "DEPTHWISE_CONV_2D"
            assert op["pad"] == "SAME"
            y = (
                jax.lax.conv_general_dilated(
                    inputs[0],
                    weight.transpose(3, 1, 2, 0) if depthwise else weight,
                    (op["stride"], op["stride"]),
                    op["pad"],
                    dimension_numbers=("NHWC", "OHWI", "NHWC"),
                    feature_group_count=inputs[0].shape[-1] if depthwise else 1,
                    precision="highest",
                )
                + jnp.asarray(arrays[f"{op['key']}.b"], jnp.float32)[None, None, None]
            )
            y = jnp.clip(y, 0, 6) if op["act"] == 3 else y
        else:
            continue
        tensors[op["out"][0]] = y
    return tensors


def assert_interprets(ops, arrays, x):
    """The network's stem, blocks and head are the tensors after which the channels change hands."""
    tensors = jax.jit(lambda x: interpret(ops, arrays, 2 * x - 1))(x)
    with jax.default_matmul_precision("highest"):
        maps = jax.jit(TENSORFLOW.apply)(convert.tf_mobilenet_v2(arrays), x)
    added = {op["in"][1]: op["out"][0] for op in ops if op["op"] == "ADD"}
    linear = [op["out"][0] for op in ops if op.get("act") == 0 and op["op"] == "CONV_2D"]
    ends = [added.get(tensor, tensor) for tensor in linear[:BLOCKS]]
    for i, tensor in enumerate(ends, start=1):
        want = np.asarray(tensors[tensor])
        got = np.asarray(maps[f"block{i}"])
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-4 * np.abs(want).max())


def test_same_padding_matches_the_operations_one_by_one():
    ops = operations()
    arrays = draw(ops)
    assert convert.kind(arrays) == "tf_mobilenet_v2"
    assert_interprets(ops, arrays, np.random.default_rng(1).random((1, 48, 37, 3), np.float32))


def test_paddings_differ_at_stride_2(key):
    x = jnp.asarray(np.random.default_rng(1).random((1, 32, 32, 3), np.float32))
    tree = convert.tf_mobilenet_v2(draw(operations()))
    stem = lambda padding: jax.jit(lambda x: MobileNetV2(padding, "signed").apply(tree, x)["stem"])(
        x
    )
    same, symmetric = stem("same"), stem("symmetric")
    assert same.shape == symmetric.shape
    # The last row of "same" sees a row of zeros that "symmetric" does not; elsewhere both slide.
    assert np.abs(same - symmetric).max() > 0.1


def test_folded_norms_fit_the_network_and_keep_bias():
    arrays = draw(operations())
    tree = convert.tf_mobilenet_v2({**arrays, "064_conv.w": np.zeros((1001, 1, 1, 1280))})
    check_tree(tree, expected(), "mobilenet")
    np.testing.assert_array_equal(
        tree["params"]["stem_bn"]["bias"], arrays["001_conv.b"].astype(np.float32)
    )


def test_other_operations_are_refused():
    arrays = {name.replace("002_dw", "002_conv"): x for name, x in draw(operations()).items()}
    with pytest.raises(ValueError, match=r"its 2\. convolution, .* these weights have '002_conv'"):
        convert.tf_mobilenet_v2(arrays)


def test_whole_network_has_the_published_number_of_parameters():
    classifier = 1000 * 1281
    size = sum(x.size for x in jax.tree.leaves(expected()["params"]))
    assert size == 3_504_872 - classifier
    assert len(strides()) == BLOCKS + 2


def published(shared):
    folder = shared / "weights"
    ops = json.loads((folder / "mobilenet_v2_1.0_224_ptq_ops.json").read_text())["ops"]
    return ops, read_state_dict(folder / "mobilenet_v2_1.0_224_ptq_dequant_f16.npz")


@pytest.mark.data
def test_published_operations_are_the_networks(shared):
    ops, arrays = published(shared)
    x = np.random.default_rng(1).random((1, 96, 96, 3), np.float32)
    assert_interprets([op for op in ops if op["op"] != "QUANTIZE"], arrays, x)


@pytest.mark.data
def test_published_weights_recognise_photographs(shared):
    _, arrays = published(shared)
    tree = convert.CONVERTERS[convert.kind(arrays)](arrays)
    check_tree(tree, expected(), "mobilenet")
    weight, bias = (np.asarray(arrays[f"064_conv.{part}"], np.float32) for part in ("w", "b"))
    network = jax.jit(TENSORFLOW.apply)

    files = sorted((shared / "data" / "natural").glob("*.jpg"))  # named by class, one of each
    right = []
    for label in range(0, len(files), 20):
        image = np.asarray(Image.open(files[label]).convert("RGB").resize((224, 224)))
        head = np.asarray(network(tree, image[None].astype(np.float32) / 255)["head"][0])
        logits = head.mean((0, 1)) @ weight[:, 0, 0].T + bias
        right.append(logits.argmax() == label + 1)  # class 0 is the background
    assert np.mean(right) > 0.75  # of all thousand: 0.84
