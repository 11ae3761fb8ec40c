"""The papers' recipes: each is a screen, has help, and runs by the command it names."""

import json
import runpy
import shlex
import sys

import numpy as np
import pytest
from PIL import Image
from scripts import EXPERIMENTS, category

RECIPES = (
    "daad", "diffusionad", "diffusionad_small", "efficientad", "mahalanobis", "mkd", "padim",
    "patchcore", "reverse_distillation", "spade", "stfpm", "uniad", "uninformed_students",
)  # fmt: skip
TINY_DIFFUSIONAD = shlex.split(
    "--size 32 --batch-size 2 --width 8 --multipliers 1,2 --attention 16 --heads 2 --groups 4 "
    "--segmentation-width 2 --segmentation-multipliers 1,2 --steps 4"
)
TINY_EFFICIENTAD = shlex.split(
    "--steps 4 --save-every 2 --curve true --size 64 --autoencoder-kernel 2 --student-width 8"
)


@pytest.fixture
def run(monkeypatch):
    """Runs a recipe as `python experiments/NAME.py WORDS` does; gives its exit status."""

    def run(name, *words):
        file = str(EXPERIMENTS / f"{name}.py")
        monkeypatch.setattr(sys, "argv", [file, *map(str, words)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(file, run_name="__main__")
        return end.value.code

    return run


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_a_screen_and_says_paper_command_and_score(name):
    text = (EXPERIMENTS / f"{name}.py").read_text()
    assert len(text.splitlines()) <= 40
    for part in (f"python experiments/{name}.py DATA RUN", "docs/results/"):
        assert part in text.replace("FOLDER,FOLDER,...", "DATA")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_help_with_its_own_defaults(name, run, capsys):
    assert run(name, "--help") == 0
    said = capsys.readouterr().out
    assert f"{name}.py DATA RUN" in said
    assert "--save-every" in said


def test_a_recipe_says_in_a_sentence_what_is_missing(run, capsys, tmp_path):
    assert run("stfpm", "--epochs", "2", "--steps", "3") == 2
    assert capsys.readouterr().err == "jaxad: --steps and --epochs: say one of the two\n"
    assert run("stfpm", category(tmp_path / "one")) == 2
    assert "RUN, is missing" in capsys.readouterr().err


@pytest.mark.slow
def test_a_recipes_epochs_are_steps_and_each_category_has_a_model(run, tmp_path, capsys):
    for name in ("one", "two"):
        category(tmp_path / name, normal=4)
    folders = f"{tmp_path / 'one'},{tmp_path / 'two'}"
    words = [
        "--size",
        "32",
        "--batch-size",
        "2",
        "--epochs",
        "2",
        "--extractor",
        "pdn_small",
        "--weights",
        "pdn_small",
    ]
    assert run("stfpm", folders, tmp_path / "runs", *words, "--weights", "pdn_small") == 0
    for name in ("one", "two"):
        claim = json.loads((tmp_path / "runs" / name / "run.json").read_text())
        assert claim["settings"]["steps"] == 3  # 2 epochs of 3 pictures, as one is held out
        assert claim["cached_features"]
        assert "research only" in claim["about"]["weights"]["pdn_small"]
        found = json.loads((tmp_path / "runs" / name / "evaluation.json").read_text())
        assert list(found["categories"]) == [name]


@pytest.mark.slow
def test_diffusionad_leaves_masks_to_look_at_and_takes_them_back(run, tmp_path, capsys):
    data, out = category(tmp_path / "square"), tmp_path / "run"
    assert run("diffusionad_small", data, out, *TINY_DIFFUSIONAD) == 0
    assert "4 pictures" in capsys.readouterr().out
    masks = out / "foreground" / "masks"
    assert len(list(masks.rglob("*.png"))) == 4
    for name in ("model", "report", "evaluation.json", "foreground/overview.png"):
        assert (out / name).exists()
    assert run("diffusionad_small", data, out, *TINY_DIFFUSIONAD) == 0  # complete: read back
    assert run("diffusionad_small", data, out, "--foreground", "part", *TINY_DIFFUSIONAD) == 2
    assert "belongs to another run" in capsys.readouterr().err
    again = tmp_path / "again"
    words = ["--foreground-masks", masks, *TINY_DIFFUSIONAD]
    assert run("diffusionad_small", data, again, *words) == 0
    found = [json.loads((one / "evaluation.json").read_text()) for one in (out, again)]
    assert found[0] == found[1]


@pytest.mark.slow
def test_efficientad_runs_without_and_with_test_pictures(run, tmp_path, capsys):
    def pictures(folder, count):
        folder.mkdir(parents=True)
        rng = np.random.default_rng(0)
        for i in range(count):
            pixels = rng.integers(0, 256, (40, 40, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{i:02d}.png")

    pictures(tmp_path / "plain" / "train" / "good", 6)
    words = [*TINY_EFFICIENTAD, "--penalty", "false"]
    assert run("efficientad", tmp_path / "plain", tmp_path / "run", *words) == 0
    printed = capsys.readouterr().out
    assert "no test pictures" in printed
    assert str(tmp_path / "run" / "model") in printed
    assert not (tmp_path / "run" / "curve.json").exists()
    pictures(tmp_path / "plain" / "test" / "good", 2)  # none anomalous: AUROC is undefined
    assert run("efficientad", tmp_path / "plain", tmp_path / "tested", *words) == 0
    rows = json.loads((tmp_path / "tested" / "curve.json").read_text())
    assert [row["step"] for row in rows] == [2, 4]
    assert rows[0]["image_auroc"] is None


@pytest.mark.data
def test_efficientad_runs_on_real_pictures(run, shared, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # of the cache of compiled programs
    data = shared / "data" / "mvtec_leather_mini"
    words = ["--aux", shared / "data" / "natural", *TINY_EFFICIENTAD]
    assert run("efficientad", data, tmp_path / "run", *words) == 0
    assert "leather" in capsys.readouterr().out
    out = tmp_path / "run"
    assert [row["step"] for row in json.loads((out / "curve.json").read_text())] == [2, 4]
    assert (out / "report" / "index.html").exists()
    assert json.loads((out / "evaluation.json").read_text())["mean"]["pixel_auroc"] > 0
