"""`checkpoints/convert.py`: a published file -> a weight set that loads and fits."""

import hashlib
import importlib.util
import json
import pathlib

import jax
import numpy as np
import pytest

from jaxad.nets import convert
from jaxad.nets.resnet import ResNet
from jaxad.pretrained import load_pretrained

SCRIPT = pathlib.Path(__file__).parents[1] / "checkpoints" / "convert.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("convert_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
def run(script, tmp_path):
    """Converts the given arrays; returns the folder of the weight set."""

    def run(arrays, *options, name="mine"):
        np.savez(tmp_path / "teacher.npz", **arrays)
        script.main([str(tmp_path / "teacher.npz"), name, "--folder", str(tmp_path), *options])
        return tmp_path / name

    return run


@pytest.mark.parametrize("medium", [False, True])
def test_pdn_is_recognised_and_loads_exactly(run, capsys, medium):
    arrays = pdn_arrays(medium)
    folder = run(arrays)
    tree = load_pretrained((str(folder),))[str(folder)]
    jax.tree.map(np.testing.assert_array_equal, tree, convert.pdn(arrays))
    assert f"PDN(medium={medium}, channels=6, width=4)" in capsys.readouterr().out


def test_resnet_is_recognised(run):
    network = ResNet((1, 1, 1))
    arrays = {"conv1.weight": np.ones((64, 3, 7, 7)), "conv1.bias": np.ones(64)}
    for name, inputs, out in (("layer1.0", 64, 64), ("layer2.0", 64, 128), ("layer3.0", 128, 256)):
        layers = {"conv1": (out, inputs, 3, 3), "conv2": (out, out, 3, 3)}
        if inputs != out:
            layers["downsample.0"] = (out, inputs, 1, 1)
        for layer, shape in layers.items():
            arrays[f"{name}.{layer}.weight"] = np.ones(shape)
            arrays[f"{name}.{layer}.bias"] = np.ones(out)
    folder = run(arrays)
    settings = json.loads((folder / "about.json").read_text())["settings"]
    assert settings.pop("network") == "ResNet"
    assert ResNet(**{**settings, "blocks": tuple(settings["blocks"])}) == network


def test_provenance_is_written_down(run, tmp_path):
    folder = run(pdn_arrays(), "--origin", "https://example.org", "--licence", "Apache-2.0")
    about = json.loads((folder / "about.json").read_text())
    source = hashlib.sha256((tmp_path / "teacher.npz").read_bytes()).hexdigest()
    assert about["source_sha256"] == source
    assert about["origin"] == "https://example.org"
    assert about["command"].startswith("python checkpoints/convert.py ")
    readme = (folder / "README.md").read_text()
    for part in ("# mine", "https://example.org", "Apache-2.0", about["command"]):
        assert part in readme


def test_numbers_keep_full_precision_unless_asked(run):
    arrays = pdn_arrays()
    for options, dtype in (((), np.float32), (("--dtype", "float16"), np.float16)):
        folder = run(arrays, *options, name=f"as_{np.dtype(dtype)}")
        with np.load(folder / "weights.npz") as weights:
            assert weights["params/conv1/conv/bias"].dtype == dtype


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
