"""The scripts about DiffusionAD: what they count and write."""

import dataclasses
import importlib.util
import json
import pathlib
import sys

import numpy as np
import pytest
from PIL import Image

from jaxad import compile
from jaxad.methods import diffusionad

EXPERIMENTS = pathlib.Path(__file__).parent.parent / "experiments"
TINY = (
    "size=32", "batch_size=2", "width=8", "multipliers=1,2", "attention=16", "heads=2", "groups=4",
    "segmentation_width=2", "steps=4",
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_cache(monkeypatch):
    """Scripts keep compiled programs in the user's cache; tests leave it alone."""
    monkeypatch.setattr(compile, "enable_cache", lambda: None)


def script(name):
    name = f"{name}_script"  # not the module of the same name in jaxad.methods
    path = EXPERIMENTS / f"{name.removesuffix('_script')}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # its dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def category(folder):
    """A few pictures of a bright square that moves, in MVTec AD layout, with masks."""
    rng = np.random.default_rng(0)
    for part, count in (("train/good", 5), ("test/good", 2), ("test/hole", 2)):
        (folder / part).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(40, 60, (48, 48, 3), np.uint8)
            left = rng.integers(10, 14)
            pixels[left : left + 24, left : left + 24] += 120
            Image.fromarray(pixels).save(folder / part / f"{i}.png")
    (folder / "ground_truth" / "hole").mkdir(parents=True)
    mask = np.zeros((48, 48), np.uint8)
    mask[18:24, 18:24] = 255
    for i in range(2):
        Image.fromarray(mask).save(folder / "ground_truth" / "hole" / f"{i}_mask.png")
    return folder


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("aux=", "aux= is empty"),
        ("foreground=", "foreground= is empty"),
        ("epochs=0", "epochs=0: expected 1 or more"),
        ("save_every=0", "save_every=0: expected 1 or more"),
        ("size=100", "size=100 does not fit the strides"),
        ("guidance=nan", "guidance=nan"),
        ("t_boundary=1000", "t_boundary=1000"),
        ("small=maybe", "expected true or false"),
        ("texture=dtd", "no setting 'texture': this script has .*diffusionad has"),
    ],
)
def test_wrong_settings_are_named(setting, message):
    with pytest.raises(ValueError, match=message):
        script("diffusionad").parsed([setting])


def test_small_settings_are_a_start_and_steps_or_epochs_are_said():
    experiment = script("diffusionad")
    options, cfg = experiment.parsed(["small=true", "lr=1e-3", "foreground=part"])
    assert cfg == dataclasses.replace(diffusionad.SMALL, lr=1e-3)
    assert options.foreground == "part"
    assert experiment.parsed([])[1] == diffusionad.Config()
    with pytest.raises(ValueError, match="say one of the two"):
        experiment.parsed(["steps=3", "epochs=2"])


def test_small_settings_can_work():
    diffusionad.DETECTOR.check(diffusionad.SMALL)


@pytest.mark.slow
def test_the_experiment_leaves_masks_examples_a_model_and_a_report(tmp_path, capsys):
    experiment = script("diffusionad")
    data, out = category(tmp_path / "square"), tmp_path / "run"
    experiment.main(str(data), str(out), "small=true", *TINY)
    printed = capsys.readouterr().out
    assert "made of Textures(" in printed
    assert "foreground=estimate" in printed
    assert "4 pictures to learn from" in printed
    assert len(list((out / "foreground" / "masks").rglob("*.png"))) == 4
    assert Image.open(out / "synthetic.png").size == (8 * 32, 8 * 32)
    for name in ("model", "report", "evaluation.json", "foreground/overview.png"):
        assert (out / name).exists()
    experiment.main(str(data), str(out), "small=true", *TINY)  # complete: read back
    masks = str(out / "foreground" / "masks")
    with pytest.raises(ValueError, match="belongs to another run"):
        experiment.main(str(data), str(out), "small=true", "foreground=part", *TINY)
    experiment.main(str(data), str(tmp_path / "again"), "small=true", f"foreground={masks}", *TINY)
    found = [json.loads((run / "evaluation.json").read_text()) for run in (out, tmp_path / "again")]
    assert found[0] == found[1]


@pytest.mark.slow
def test_the_sweep_leaves_tables_curves_and_pictures(tmp_path, capsys):
    sweep = script("sweep_diffusionad")
    data = category(tmp_path / "square")
    sweep.main(str(tmp_path / "out"), f"data={data}", "seeds=1", "iterations=2", *TINY)
    assert "autoencoder" in capsys.readouterr().out
    assert "guided" in (tmp_path / "out" / "restorations" / "summary.txt").read_text()
    rows = json.loads((tmp_path / "out" / "noise.json").read_text())
    assert [row["timestep"] for row in rows] == list(sweep.SCALES)
    for name in ("noise.png", "pictures.png"):
        assert (tmp_path / "out" / name).stat().st_size > 1000
