"""What commands say of the pictures they find, and folders with names as people give them."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from scripts import category

from jaxad.cli import data as command_data
from jaxad.cli.main import main
from jaxad.cli.run_options import DataOptions
from jaxad.methods import diffusionad

SMALL = ["--size", "32", "--batch-size", "2", "--widths", "4,8", "--steps", "2"]


@pytest.fixture
def folder(tmp_path):
    return category(tmp_path / "data" / "squares")


def train(data, run, *options):
    return main(["train", "autoencoder", str(data), str(run), *SMALL, *options])


def result(run):
    return json.loads((run / "evaluation.json").read_text())


def test_what_is_found_is_always_said(folder, tmp_path, capsys):
    (folder / "notes.txt").write_text("x")
    (folder / "train" / "good" / "broken.png").write_bytes(b"x")
    assert train(folder, tmp_path / "run", "--on-bad-image", "skip") == 0
    said = capsys.readouterr().out
    assert "squares: 4 pictures to learn from, 1 held out; to test on: 2 good, 2 hole" in said
    assert "masks of all 2 anomalous ones" in said
    assert "passed over 1 file, no picture, by its name: " in said
    assert "left out 1 picture that cannot be read" in said
    assert "broken.png" in said
    assert [left["path"] for left in result(tmp_path / "run")["left_out"]] == [
        str(folder / "train" / "good" / "broken.png")
    ]


def test_left_out_test_pictures_are_in_the_results_and_the_report(folder, tmp_path, capsys):
    (folder / "test" / "good" / "1.png").write_bytes(b"x")
    assert train(folder, tmp_path / "run", "--on-bad-image", "skip") == 0
    (left,) = result(tmp_path / "run")["left_out"]
    assert left["path"] == str(folder / "test" / "good" / "1.png")
    assert "not a picture" in left["reason"]
    assert "pictures left out" in capsys.readouterr().out
    assert "good/1.png" in (tmp_path / "run" / "report" / "index.html").read_text()


@pytest.mark.parametrize("gone", ["good", "hole"])
def test_what_is_undefined_without_some_test_pictures_is_said(folder, tmp_path, capsys, gone):
    shutil.rmtree(folder / "test" / gone)
    if gone == "hole":
        shutil.rmtree(folder / "ground_truth")
    assert train(folder, tmp_path / "run") == 0
    kind = {"good": "normal", "hole": "anomalous"}[gone]
    assert f"undefined: there are no {kind} test pictures" in capsys.readouterr().out
    found = result(tmp_path / "run")["categories"]["squares"]["metrics"]
    for name in ("image_auroc", "image_average_precision", "image_f1_max"):
        assert found[name] is None, name


@pytest.mark.parametrize(
    "name", ["a,b", *(pytest.param(name, marks=pytest.mark.slow) for name in ("[x] *", "wörk"))]
)
def test_folders_may_have_any_name(tmp_path, monkeypatch, name, capsys):
    monkeypatch.chdir(tmp_path)
    category(tmp_path / name)
    category(tmp_path / "two")
    assert train(f"{name},two/", f"run {name}") == 0
    for part in (name, "two"):
        assert (tmp_path / f"run {name}" / part / "model").is_dir()
    assert main(["evaluate", f"run {name}"]) == 0
    assert set(result(tmp_path / f"run {name}" / name)["categories"]) == {name}


@pytest.mark.slow
def test_a_run_is_known_by_its_folders_real_name(folder, tmp_path, monkeypatch, capsys):
    run = tmp_path / "here" / "run"
    (run / "inside").mkdir(parents=True)
    monkeypatch.chdir(run / "inside")
    assert train(folder, "..") == 0
    assert (run / "model").is_dir()
    monkeypatch.chdir(folder)
    assert main(["evaluate", str(run), "."]) == 0
    assert (run / "on-squares" / "evaluation.json").exists()
    monkeypatch.chdir(folder / "train")
    assert main(["evaluate", str(run), "../", "--out", str(tmp_path / "out")]) == 0
    assert set(result(tmp_path / "out")["categories"]) == {"squares"}


def test_categories_of_one_name_are_refused(folder, tmp_path, capsys):
    shutil.copytree(folder, tmp_path / "other" / "squares")
    assert train(f"{folder},{tmp_path / 'other' / 'squares'}", tmp_path / "run") == 2
    assert "there are several called squares" in capsys.readouterr().err


@pytest.mark.slow
def test_runs_of_one_category_are_told_apart(folder, tmp_path, capsys):
    for run in ("first", "second"):
        assert train(folder, tmp_path / "runs" / run) == 0
    assert main(["evaluate", str(tmp_path / "runs")]) == 0
    said = capsys.readouterr().out.partition("all categories")[2]
    assert "first: squares" in said
    assert "second: squares" in said


def test_a_category_may_be_called_as_a_row_of_the_results(tmp_path, capsys):
    category(tmp_path / "data" / "mean")
    category(tmp_path / "data" / "squares")
    assert train(tmp_path / "data", tmp_path / "run", "--unified", "true") == 0
    assert set(result(tmp_path / "run")["categories"]) == {"mean", "squares"}
    said = capsys.readouterr().out
    assert "\nmean                  " in said
    assert "\nmean of 2 categories  " in said


def test_later_pictures_are_read_as_the_runs_were(folder, tmp_path, capsys):
    assert train(folder, tmp_path / "run", "--fit", "crop", "--mask-threshold", "9") == 0
    stored = json.loads((tmp_path / "run" / "preprocessing.json").read_text())
    assert stored["squares"]["fit"] == "crop"
    before = result(tmp_path / "run")
    shutil.copytree(folder, tmp_path / "later")
    assert main(["evaluate", str(tmp_path / "run"), str(tmp_path / "later")]) == 0
    later = result(tmp_path / "run" / "on-later")
    assert later["categories"]["later"]["metrics"] == before["categories"]["squares"]["metrics"]
    assert main(["evaluate", str(tmp_path / "run"), "--fit", "pad"]) == 2
    assert "--fit: pictures are read as the run's were" in capsys.readouterr().err


@pytest.mark.slow
def test_each_category_is_measured_as_it_was_learned_though_others_were_read_otherwise(
    tmp_path, capsys
):
    regions = tmp_path / "data" / "regions"
    regions.mkdir(parents=True)
    for name, side in (("a", 48), ("b", 40)):
        folder = category(tmp_path / "data" / name)
        region = np.zeros((side, side), np.uint8)
        region[4:-4, 4:-4] = 255
        Image.fromarray(region).save(regions / f"{name}.png")
        for path in folder.rglob("*.png"):
            Image.open(path).crop((0, 0, side, side)).save(path)
    (tmp_path / "data" / "a" / "test" / "good" / "1.png").write_bytes(b"x")
    options = ["--region", str(regions), "--on-bad-image", "skip", "--max-pixels", "9999"]
    assert train(tmp_path / "data", tmp_path / "run", *options) == 0
    before = {name: result(tmp_path / "run" / name) for name in "ab"}
    assert "passed over" not in capsys.readouterr().out
    shutil.rmtree(regions)
    assert main(["evaluate", str(tmp_path / "run")]) == 0
    assert main(["evaluate", str(tmp_path / "run" / "b")]) == 0
    assert main(["evaluate", str(tmp_path / "run"), str(tmp_path / "data")]) == 0
    for name in "ab":
        assert result(tmp_path / "run" / name) == before[name]
        other = result(tmp_path / "run" / name / f"on-{name}")
        assert other["categories"] == before[name]["categories"]
    assert main(["evaluate", str(tmp_path / "run"), "--max-pixels", "9"]) == 2


def test_masks_of_objects_that_are_used_are_not_passed_over(folder, capsys):
    shutil.copytree(folder / "train", folder / "DISthresh")
    (folder / "other").mkdir()
    shutil.copy(folder / "train" / "good" / "0.png", folder / "other" / "0.png")
    for path in (folder / "DISthresh").rglob("*.png"):
        Image.fromarray(np.uint8(np.array(Image.open(path)) > 99) * 255).save(path)
    cfg = diffusionad.Config(size=64, foreground="masks")
    options = DataOptions(foreground_masks=str(folder))
    found = command_data.opened(diffusionad.DETECTOR, cfg, str(folder), options, 0, folder.parent)
    assert [one.path.parent.name for one in found["squares"].passed_over] == ["good", "other"]
    assert "DISthresh" in str(found["squares"].passed_over[0].path)  # of the one that is held out
    assert "passed over 2 files" in capsys.readouterr().out


def test_oblong_pictures_are_said_to_be_squeezed(tmp_path, capsys):
    folder = category(tmp_path / "squares")
    for path in folder.rglob("*.png"):
        Image.fromarray(np.array(Image.open(path))[:, 8:40]).save(path)
    assert train(folder, tmp_path / "run") == 0
    said = capsys.readouterr().err
    assert "squares: oblong pictures, such as of 32 x 48 pixels, are squeezed" in said
    assert train(folder, tmp_path / "padded", "--fit", "pad") == 0
    assert "--fit" not in capsys.readouterr().err


def test_a_method_that_needs_held_out_pictures_says_so_of_one_picture(tmp_path, capsys):
    folder = category(tmp_path / "squares", normal=1)
    assert train(folder, tmp_path / "run") == 0
    words = ["train", "daad", str(folder), str(tmp_path / "other"), "--size", "64"]
    words += ["--rates", "2,2,2,0,2"]
    assert main([*words, "--steps", "1"]) == 2
    assert "held-out normal pictures: 1 to learn from" in capsys.readouterr().err


def test_a_comma_belongs_to_the_name_of_a_folder_that_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a,b", "c", "d,e,f"):
        (tmp_path / name).mkdir()
    assert command_data.places("a,b") == ["a,b"]
    assert command_data.places("a,b,c,d,e,f") == ["a,b", "c", "d,e,f"]
    assert command_data.places("c,workpieces/plate,") == ["c", "workpieces/plate"]
    whole, _ = command_data.lasting("c,a,b", DataOptions())
    assert command_data.places(whole) == [str(tmp_path / "c"), str(tmp_path / "a,b")]


@pytest.mark.slow
def test_evaluate_takes_options_of_pictures_and_refuses_those_that_do_nothing(
    folder, tmp_path, capsys
):
    assert train(folder, tmp_path / "run") == 0
    (folder / "test" / "good" / "1.png").write_bytes(b"x")
    assert main(["evaluate", str(tmp_path / "run")]) == 2
    assert main(["evaluate", str(tmp_path / "run"), "--on-bad-image", "skip"]) == 0
    assert len(result(tmp_path / "run")["left_out"]) == 1
    assert main(["evaluate", str(tmp_path / "run"), "--unified", "true"]) == 2
    assert "--unified belongs to other DATA" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path / "run"), "--aux", "x"]) == 2
    folder.rename(folder.with_name("moved"))
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "run")]) == 2
    assert "lie elsewhere now: jaxad evaluate RUN [DATA]" in capsys.readouterr().err
