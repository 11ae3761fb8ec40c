"""`jaxad report`: the page about a run, also where nothing can be measured."""

import json
import math
import shutil

import numpy as np
import pytest
from made_up import data_of
from scripts import category

from jaxad.cli.main import main

SMALL = ["--size", "32", "--batch-size", "2", "--widths", "4,8", "--steps", "2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run, and its pictures."""
    folder = tmp_path_factory.mktemp("report")
    category(folder / "one")
    assert main(["train", "autoencoder", str(folder / "one"), str(folder / "run"), *SMALL]) == 0
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the run, to be changed."""
    shutil.copytree(trained / "run", tmp_path / "run")
    return tmp_path / "run"


def test_a_report_is_made_anew_as_it_was(run, capsys):
    page = run / "report" / "index.html"
    before, evaluation = data_of(page), (run / "evaluation.json").read_text()
    page.unlink()
    assert main(["report", str(run)]) == 0
    assert f"report: {page}" in capsys.readouterr().out
    assert data_of(page) == before
    assert (run / "evaluation.json").read_text() == evaluation


def test_the_page_tells_how_the_run_is_made_again(trained, run):
    text = (run / "report" / "index.html").read_text()
    words = f"jaxad train autoencoder {trained / 'one'} {trained / 'run'} --size 32"
    assert words in text
    assert "widths" in text


def test_sheets_and_full_pictures_lie_beside_the_page_by_choice(run, tmp_path):
    out = tmp_path / "out"
    words = ["report", str(run), "--out", str(out), "--sheets", "beside", "--full-size"]
    assert main(words) == 0
    assert (out / "report" / "sheets" / "picture-000.webp").exists()
    assert len(list((out / "report" / "pictures").glob("*_picture.webp"))) == 4
    assert not (run / "report" / "sheets").exists()


def test_a_run_without_test_pictures_shows_what_there_is(trained, tmp_path, capsys):
    words = ["train", "autoencoder", str(tmp_path / "run"), *SMALL]
    assert main([*words, "--normal", str(trained / "one" / "train" / "good")]) == 0
    assert main(["report", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert said.count("no test pictures: nothing to evaluate on") == 2
    page = tmp_path / "run" / "report" / "index.html"
    assert said.count(f"report: {page}") == 2
    text, data = page.read_text(), data_of(page)
    assert "There are no test pictures, so nothing was measured" in text
    assert "to learn from" in text
    assert data["pictures"] is None
    assert data["history"]["step"] == [2]
    (one,) = data["categories"]
    assert len(one["normals"]) > 0


def test_a_run_without_a_model_shows_its_training(run, capsys):
    shutil.rmtree(run / "model")
    assert main(["report", str(run)]) == 0
    assert "has no model" in capsys.readouterr().out
    text = (run / "report" / "index.html").read_text()
    assert "There is no model to measure" in text
    assert "stopped at step\n2" in text
    assert data_of(run / "report" / "index.html")["categories"] == []


def test_the_step_at_which_a_run_diverged_is_on_its_page(trained, tmp_path, monkeypatch, capsys):
    words = ["train", "autoencoder", str(trained / "one"), str(tmp_path / "run"), *SMALL]
    assert main([*words, "--steps", "40", "--lr", "1e30"]) == 1
    assert "is not finite" in (said := capsys.readouterr().err) or "at step" in said
    assert main(["report", str(tmp_path / "run")]) == 0
    history = data_of(tmp_path / "run" / "report" / "index.html")["history"]
    assert history["diverged"] is not None
    text = (tmp_path / "run" / "report" / "index.html").read_text()
    assert f"at step {history['diverged']} a value was no finite number any more" in text


def test_intervals_are_in_the_evaluation(run):
    found = json.loads((run / "evaluation.json").read_text())
    low, high = found["intervals"]["mean"]["image_auroc"]
    assert 0 <= low <= found["mean"]["image_auroc"] <= high <= 1
    assert math.isfinite(np.ptp([low, high]))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "jaxad report RUN"),
        (["nowhere"], "there is no run folder"),
        (["RUN", "--sheets", "somewhere"], "sheets"),
        (["RUN", "a", "b"], "expected the folder of a run and perhaps DATA"),
        (["RUN", "--fit", "pad"], "pictures are read as the run's were"),
    ],
)
def test_wrong_use_is_told(run, words, said, capsys):
    status = main(["report", *(str(run) if word == "RUN" else word for word in words)])
    told = capsys.readouterr()
    assert status == (2 if words and words[0] == "RUN" else status)
    assert said in told.out + told.err


def test_a_folder_without_a_run_is_told(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) != 0
    assert "is not the folder of a run" in capsys.readouterr().err


def test_other_pictures_are_not_called_those_it_learned_from(trained, run, tmp_path):
    category(tmp_path / "other", seed=5)
    assert main(["report", str(run), str(tmp_path / "other")]) == 0
    text = (run / "on-other" / "report" / "index.html").read_text()
    assert "to test on: good" in text
    assert "some pictures to learn from" not in text
