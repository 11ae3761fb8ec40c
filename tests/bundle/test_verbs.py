"""`jaxad export`, and the verbs that take a bundle where they take a run."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from scripts import category

from jaxad.cli.main import main
from jaxad.decision import card as cards
from jaxad.export.manifest import read

SMALL = ["--size", "32", "--batch-size", "2", "--widths", "4,8", "--steps", "2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run, its pictures, and a bundle of it."""
    folder = tmp_path_factory.mktemp("export")
    category(folder / "one")
    assert main(["train", "autoencoder", str(folder / "one"), str(folder / "run"), *SMALL]) == 0
    assert main(["export", str(folder / "run"), str(folder / "bundle")]) == 0
    return folder


@pytest.fixture
def pictures(tmp_path):
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (40 + i, 50, 3), np.uint8)
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{i}.png")
    return tmp_path / "in"


def test_the_bundle_was_compared_with_its_run_on_the_runs_own_pictures(trained):
    found = read(trained / "bundle")["checked"]["JAX"]
    assert found["pictures"] > 1
    assert found["map"] < 1e-4
    assert found["labels"] == 0
    run, bundle = found["metrics"]["image_auroc"]
    evaluation = json.loads((trained / "run" / "evaluation.json").read_text())
    assert bundle == pytest.approx(run) == pytest.approx(evaluation["mean"]["image_auroc"])
    assert {"pixel_auroc", "image_auroc"} == set(found["metrics"])


def test_predict_takes_a_bundle(trained, pictures, capsys):
    found = []
    for name in ("run", "bundle"):
        assert main(["predict", str(trained / name), str(pictures)]) == 0
        found.append([json.loads(line) for line in capsys.readouterr().out.splitlines()])
    assert len(found[0]) == 3
    for one, other in zip(*found, strict=True):
        assert other["score"] == pytest.approx(one["score"], rel=1e-4)
        assert (other["label"], other["path"]) == (one["label"], one["path"])


@pytest.mark.parametrize("verb", ["evaluate", "report"])
def test_a_bundle_is_measured_on_data_that_is_named(trained, tmp_path, capsys, verb):
    data, out = str(trained / "one"), tmp_path / "out"
    before = sorted(trained.joinpath("bundle").rglob("*"))
    assert main([verb, str(trained / "bundle"), data, "--out", str(out)]) == 0
    assert main([verb, str(trained / "run"), data, "--out", str(tmp_path / "run")]) == 0
    found, expected = (
        json.loads((place / "evaluation.json").read_text()) for place in (out, tmp_path / "run")
    )
    assert found["mean"] == pytest.approx(expected["mean"], rel=1e-4)
    page = (out / "report" / "index.html").read_text(encoding="utf-8")
    assert "autoencoder" in page
    assert "widths" in page  # a setting of the method, of which the bundle's program is made
    assert sorted(trained.joinpath("bundle").rglob("*")) == before
    capsys.readouterr()
    assert main([verb, str(trained / "bundle"), data]) == 2
    assert "is a bundle, which stays as it is: give --out" in capsys.readouterr().err
    assert main([verb, str(trained / "bundle"), "--out", str(tmp_path / "other")]) == 2
    assert "does not say where its pictures lay" in capsys.readouterr().err


def test_drift_and_a_new_card_come_of_a_bundle(trained, pictures, tmp_path, capsys):
    bundle, card = str(trained / "bundle"), tmp_path / "card.json"
    assert main(["drift", bundle, str(pictures)]) in (0, 3)
    assert "Kolmogorov-Smirnov" in capsys.readouterr().out
    assert main(["calibrate", bundle, str(pictures)]) == 2
    assert "is a bundle, which stays as it is: give --out FILE" in capsys.readouterr().err
    assert main(["calibrate", bundle, str(pictures), "--out", str(card)]) == 0
    assert main(["predict", bundle, str(pictures), "--card", str(card)]) == 0
    assert cards.read(card).model == read(trained / "bundle")["model"]


def test_runs_and_bundles_are_compared(trained, pictures, capsys):
    words = [str(trained / "run"), str(trained / "bundle"), str(pictures)]
    assert main(["compare", *words]) == 0
    assert "verdicts differ:" not in capsys.readouterr().out


def test_pictures_that_are_gone_are_replaced_by_noise_and_it_is_said(trained, tmp_path, capsys):
    shutil.copytree(trained / "run", tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    record["about"]["data"] = str(tmp_path / "gone")
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    words = ["--data-licence", "CC BY 4.0", "--weights", "inside", "--platforms", "cpu"]
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "bundle"), *words]) == 0
    said = capsys.readouterr().out
    assert "compared on noise, for pictures are not at hand" in said
    assert re.search(r"8 pictures: maps within \d.*no labels differ", said)
    assert "licence of the data: CC BY 4.0" in said
    assert not (tmp_path / "bundle" / "weights.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "coreml"], "invalid choice 'coreml' for argument '--to'"),
        (["--platforms", "cpu,abacus"], "platform abacus (--platforms): expected some of"),
        (["--weights", "nowhere"], "invalid choice 'nowhere' for argument '--weights'"),
        (["--onnx-python", "x"], "--onnx-python does not go with --to stablehlo"),
        (["--to", "onnx", "--platforms", "cpu"], "--platforms does not go with --to onnx"),
        (["--to", "onnx", "--precision", "float16"], "--to onnx goes with neither"),
    ],
)
def test_choices_that_do_not_fit_are_named(trained, tmp_path, capsys, words, message):
    assert main(["export", str(trained / "run"), str(tmp_path / "bundle"), *words]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_programs_are_compiled_for_the_device_that_is_here(trained, tmp_path, capsys):
    words = ["export", str(trained / "run"), str(tmp_path / "b"), "--platforms", "tpu"]
    assert main([*words, "--cache", "1"]) == 2
    assert "--cache compiles for cpu, and --platforms tpu leaves it out" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_no_run_to_export(trained, tmp_path, capsys):
    assert main(["export", str(trained / "bundle"), str(tmp_path / "bundle")]) == 2
    assert "export the run that it was made of" in capsys.readouterr().err
    assert main(["export", str(trained / "run"), str(trained / "bundle")]) == 2
    assert "is there already" in capsys.readouterr().err


def test_compiled_programs_lie_beside_a_bundle_and_are_run_where_they_are_trusted(
    trained, pictures, tmp_path, capsys
):
    assert main(["export", str(trained / "run"), str(tmp_path / "b"), "--cache", "1,2"]) == 0
    kept = sorted((tmp_path / "b" / "cache").iterdir())
    assert kept
    read(tmp_path / "b")  # they are no part of what is checked
    assert main(["predict", str(tmp_path / "b"), str(pictures)]) == 0
    capsys.readouterr()
    assert main(["predict", str(trained / "bundle"), str(pictures), "--trust-cache"]) == 2
    assert "no compiled programs lie beside the bundle" in capsys.readouterr().err
