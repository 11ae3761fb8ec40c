"""`jaxad weights`: a published file -> a weight set that loads and fits; what is found here."""

import hashlib
import json

import jax
import numpy as np
import pytest

from jaxad.cli import weights
from jaxad.cli.main import main
from jaxad.nets import convert, efficientnet, extractors
from jaxad.nets.convert import networks
from jaxad.nets.resnet import ResNet
from jaxad.weights.store import load_pretrained


def pdn_arrays(medium=False, channels=6, width=4):
    """A narrow PDN in torch's layout, layers numbered as in an nn.Sequential."""
    sides = (4, 4, 1, 3, 4, 1) if medium else (4, 4, 3, 4)
    outputs = [width, 2 * width, *[2 * width] * (1 + medium), *[channels] * (1 + medium)]
    rng, arrays, inputs = np.random.default_rng(0), {}, 3
    for name, out, side in zip((0, 3, 6, 8, 10, 12), outputs, sides, strict=False):
        arrays[f"{name}.weight"] = rng.normal(size=(out, inputs, side, side)).astype(np.float32)
        arrays[f"{name}.bias"] = rng.normal(size=out).astype(np.float32)
        inputs = out
    return arrays


@pytest.fixture
def run(tmp_path):
    """Converts the given arrays; returns the folder of the weight set."""

    def run(arrays, *options, name="mine"):
        np.savez(tmp_path / "teacher.npz", **arrays)
        weights.converted(
            [str(tmp_path / "teacher.npz"), name, "--folder", str(tmp_path), *options]
        )
        return tmp_path / name

    return run


@pytest.mark.parametrize("medium", [False, True])
def test_pdn_is_recognised_and_loads_exactly(run, capsys, medium):
    arrays = pdn_arrays(medium)
    folder = run(arrays)
    tree = load_pretrained((str(folder),))[str(folder)]
    jax.tree.map(np.testing.assert_array_equal, tree, convert.pdn(arrays))
    assert f"PDN(medium={medium}, channels=6, width=4)" in capsys.readouterr().out


def resnet_arrays():
    """Four stages of one block, their norms folded in."""
    arrays = {"conv1.weight": np.ones((64, 3, 7, 7)), "conv1.bias": np.ones(64)}
    for i, (inputs, out) in enumerate(((64, 64), (64, 128), (128, 256), (256, 512)), start=1):
        name = f"layer{i}.0"
        layers = {"conv1": (out, inputs, 3, 3), "conv2": (out, out, 3, 3)}
        if inputs != out:
            layers["downsample.0"] = (out, inputs, 1, 1)
        for layer, shape in layers.items():
            arrays[f"{name}.{layer}.weight"] = np.ones(shape)
            arrays[f"{name}.{layer}.bias"] = np.ones(out)
    return arrays


@pytest.mark.parametrize(
    ("options", "blocks"), [((), (1, 1, 1)), (("--kind", "resnet_layer4"), (1, 1, 1, 1))]
)
def test_resnet_is_recognised_and_keeps_its_last_stage_if_asked(run, options, blocks):
    folder = run(resnet_arrays(), *options)
    settings = json.loads((folder / "about.json").read_text())["settings"]
    assert settings.pop("network") == "ResNet"
    assert ResNet(**{**settings, "blocks": tuple(settings["blocks"])}) == ResNet(blocks)


def test_other_extractors_are_recognised_and_load(run):
    arrays = {"conv1.weight": np.ones((96, 3, 7, 7)), "conv1.bias": np.ones(96)}
    for i, inputs, squeezed in (
        (2, 96, 16), (3, 128, 16), (4, 128, 32), (5, 256, 32),
        (6, 256, 48), (7, 384, 48), (8, 384, 64), (9, 512, 64),
    ):  # fmt: skip
        for layer, shape in {
            "squeeze1x1": (squeezed, inputs, 1, 1),
            "expand1x1": (4 * squeezed, squeezed, 1, 1),
            "expand3x3": (4 * squeezed, squeezed, 3, 3),
        }.items():
            arrays[f"fire{i}/{layer}.weight"] = np.ones(shape)
            arrays[f"fire{i}/{layer}.bias"] = np.ones(shape[0])
    folder = run(arrays)
    settings = json.loads((folder / "about.json").read_text())["settings"]
    assert settings == {"network": "SqueezeNet", "normalisation": "caffe"}
    tree = load_pretrained(str(folder))[str(folder)]
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), "float32")
    run_one = lambda tree, x: extractors.features("squeezenet", ("fire9",), tree, x)
    assert jax.eval_shape(run_one, tree, images)[0].shape[-1] == 512


def reversed_arrays(bottleneck):
    """Bottleneck and decoder of three narrow maps under the names of RD4AD."""
    rng, arrays = np.random.default_rng(0), {}

    def conv(layer, norm, *shape, transposed=False):
        arrays[f"{layer}.weight"] = rng.normal(size=shape)
        for part in ("weight", "bias", "running_mean", "running_var"):
            arrays[f"{norm}.{part}"] = rng.uniform(0.5, 1.5, shape[1 if transposed else 0])
        arrays[f"{norm}.num_batches_tracked"] = np.int64(3)

    for number, (inputs, out) in enumerate(((8, 16), (16, 32), (16, 32)), start=1):
        conv(f"bn.conv{number}", f"bn.bn{number}", out, inputs, 3, 3)
    conv("bn.conv4", "bn.bn4", 64, 128, 1, 1)  # never used

    def block(name, inputs, out, enlarging=False, halving=False):
        inner = out // 2 if bottleneck else out  # of a wide network; base_width 128
        kernel = lambda a, b, side: (a, b, side, side)
        up = {"transposed": enlarging}
        main = kernel(inner, inner, 2) if enlarging else kernel(inner, inner, 3)
        if bottleneck:
            conv(f"{name}.conv1", f"{name}.bn1", inner, inputs, 1, 1)
            conv(f"{name}.conv2", f"{name}.bn2", *main, **up)
            conv(f"{name}.conv3", f"{name}.bn3", out, inner, 1, 1)
        else:
            first = (inputs, out, 2, 2) if enlarging else (out, inputs, 3, 3)
            conv(f"{name}.conv1", f"{name}.bn1", *first, **up)
            conv(f"{name}.conv2", f"{name}.bn2", out, out, 3, 3)
        if enlarging:
            conv(f"{name}.upsample.0", f"{name}.upsample.1", inputs, out, 2, 2, transposed=True)
        if halving:
            conv(f"{name}.downsample.0", f"{name}.downsample.1", out, inputs, 1, 1)

    for i in range(2):
        block(f"bn.bn_layer.{i}", 64 if i else 96, 64, halving=i == 0)
    for stage, (inputs, out) in enumerate(((64, 32), (32, 16), (16, 8)), start=1):
        for i in range(2):
            block(f"decoder.layer{stage}.{i}", out if i else inputs, out, enlarging=i == 0)
    return arrays


@pytest.mark.parametrize("bottleneck", [False, True])
def test_reverse_distillations_two_networks_are_recognised_and_load(run, bottleneck):
    arrays = reversed_arrays(bottleneck)
    folder = run(arrays)
    settings = json.loads((folder / "about.json").read_text())["settings"]
    assert settings == {
        "network": "reversed_resnet", "channels": [8, 16, 32], "strides": [2, 2],
        "units": [2, 2, 2], "bottleneck": bottleneck, "base_width": 128 if bottleneck else 64,
    }  # fmt: skip
    tree = load_pretrained(str(folder))[str(folder)]
    params, stats = tree["params"], tree["batch_stats"]
    fusion = params["bottleneck"]["conv0_1"]["conv"]["kernel"]
    np.testing.assert_allclose(fusion, arrays["bn.conv2.weight"].transpose(2, 3, 1, 0), rtol=1e-6)
    enlarging = "conv2" if bottleneck else "conv1"
    kernel = params["decoder"]["layer3_0"][enlarging]["kernel"]
    weight = arrays[f"decoder.layer3.0.{enlarging}.weight"]
    np.testing.assert_allclose(kernel, weight.transpose(0, 2, 3, 1), rtol=1e-6)
    mean = stats["bottleneck"]["unit0"]["downsample_bn"]["mean"]
    expected = arrays["bn.bn_layer.0.downsample.1.running_mean"]
    np.testing.assert_allclose(mean, expected, rtol=1e-6)
    assert "conv4" not in params["bottleneck"]


def test_a_missing_part_of_reverse_distillation_is_named(run):
    arrays = reversed_arrays(False)
    part = {name: x for name, x in arrays.items() if not name.startswith("decoder.")}
    with pytest.raises(ValueError, match=r"no weight 'decoder\.layer1\.0\.upsample\.1\.weight'"):
        run(part)
    del arrays["decoder.layer2.1.conv2.weight"]
    with pytest.raises(ValueError, match="layer2_1/conv2/conv/kernel is missing"):
        run(arrays)


@pytest.mark.parametrize("variant", efficientnet.SCALING)
def test_efficientnets_are_told_apart_by_their_channels(variant):
    width, depth, _ = efficientnet.SCALING[variant]
    blocks = [np.zeros((1, 1, 1, b.channels)) for b in efficientnet.blocks(width, depth)]
    params = {f"block{i}": {"project_conv": {"conv": {"kernel": x}}} for i, x in enumerate(blocks)}
    assert networks.network("efficientnet", {"params": params})[1] == {
        "width": width,
        "depth": depth,
    }
    del params[f"block{len(blocks) - 1}"]
    with pytest.raises(ValueError, match="other channels than these weights"):
        networks.efficientnet_scaling(params)


def test_provenance_is_written_down(run, tmp_path):
    folder = run(pdn_arrays(), "--origin", "https://example.org", "--licence", "Apache-2.0")
    about = json.loads((folder / "about.json").read_text())
    source = hashlib.sha256((tmp_path / "teacher.npz").read_bytes()).hexdigest()
    assert about["source_sha256"] == source
    assert about["origin"] == "https://example.org"
    assert about["command"].startswith("jaxad weights convert ")
    readme = (folder / "README.md").read_text()
    for part in ("# mine", "https://example.org", "Apache-2.0", about["command"]):
        assert part in readme


def test_numbers_keep_full_precision_unless_asked(run):
    arrays = pdn_arrays()
    for options, dtype in (((), np.float32), (("--dtype", "float16"), np.float16)):
        folder = run(arrays, *options, name=f"as_{np.dtype(dtype)}")
        with np.load(folder / "weights.npz") as stored:
            assert stored["params/conv1/conv/bias"].dtype == dtype


def test_part_of_a_model_is_taken_by_prefix(run):
    arrays = {f"model.teacher.{name}": x for name, x in pdn_arrays().items()}
    arrays["model.student.0.weight"] = np.zeros(1)
    with pytest.raises(ValueError, match="no network here"):
        run(arrays)
    run(arrays, "--prefix", "model.teacher")


def test_weights_that_do_not_chain_are_refused(run, tmp_path):
    arrays = pdn_arrays()
    arrays["3.weight"] = arrays["3.weight"][:, :2]
    with pytest.raises(ValueError, match="params/conv2/conv/kernel has shape"):
        run(arrays)
    assert not (tmp_path / "mine").exists()


def test_wrong_kind_is_refused(run):
    with pytest.raises(ValueError, match=r"no weight 'layer1\.0\.conv1\.weight'"):
        run(pdn_arrays(), "--kind", "resnet")


def test_existing_weights_are_not_overwritten(run):
    folder = run(pdn_arrays())
    before = (folder / "weights.npz").read_bytes()
    with pytest.raises(FileExistsError, match="holds weights already"):
        run(pdn_arrays(medium=True))
    assert (folder / "weights.npz").read_bytes() == before


@pytest.mark.parametrize("name", ["a/b", "..", "", "."])
def test_name_with_a_folder_in_it_is_refused(run, name):
    with pytest.raises(ValueError, match="is not a name"):
        run(pdn_arrays(), name=name)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["convert", "only_one"], "expected a file and a name"),
        (["convert", "a", "b", "--kind", "alexnet"], "--kind alexnet: expected one of pdn"),
        (["convert", "nowhere.npz", "b"], "nowhere.npz"),
        (["convert", "a", "b", "--dtype", "int8"], "float32"),
        (["lst"], "expected `list` or `convert FILE NAME`"),
    ],
)
def test_wrong_use_is_told_in_one_line(capsys, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    assert main(["weights", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("jaxad: ")
    assert message in line


def test_the_list_names_the_terms_and_the_place_of_every_set(run, tmp_path, monkeypatch, capsys):
    run(pdn_arrays(), "--licence", "Apache-2.0", "--origin", "https://example.org")
    monkeypatch.setenv("JAXAD_CHECKPOINTS", str(tmp_path))
    assert main(["weights", "list"]) == 0
    said = capsys.readouterr().out
    for part in ("mine", "licence: Apache-2.0", "https://example.org", str(tmp_path / "mine")):
        assert part in said
    assert "resnet18" in said.splitlines()[-1]  # which is not there, and can be made


def test_list_has_a_help(capsys):
    assert main(["weights", "list", "--help"]) == 0
    assert "the weight sets found here" in capsys.readouterr().out
