"""Alarms beside normal pictures in the reports that commands leave."""

import numpy as np
import pytest
from made_up import data_of
from PIL import Image

from jaxad.cli.main import main

TINY = ["--extractor", "pdn_small", "--weights", "pdn_small", "--size", "64", "--capacity", "50"]


def write(path, level, mark=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(str(path)) + level).integers(0, 40, (64, 64, 3), np.uint8)
    pixels = pixels + np.uint8(level)
    if mark:
        pixels[20:40, 20:40] = 255
    Image.fromarray(pixels).save(path)


@pytest.fixture
def run(tmp_path, capsys):
    """A folder of pictures, that of a run on it, and what the command said."""
    data = tmp_path / "parts"
    for i in range(6):
        write(data / "train" / "good" / f"{i}.png", 60 + i)
    for i in range(2):
        write(data / "test" / "good" / f"{i}.png", 62 + i)
        write(data / "test" / "b&scratch" / f"{i}.png", 62 + i, mark=True)
    assert main(["train", "patchcore", str(data), str(tmp_path / "run"), *TINY]) == 0
    return data, tmp_path / "run", capsys.readouterr().out


def page(folder):
    return folder / "report" / "index.html"


def compared(folder):
    """The alarms that stand beside a normal picture."""
    return data_of(page(folder))["nearest"]


def test_training_and_evaluation_show_what_is_nearest_with_odd_names_escaped(run, capsys):
    _, folder, _ = run
    assert len(compared(folder)) == 2
    assert "b&scratch" not in page(folder).read_text()
    assert main(["evaluate", str(folder)]) == 0
    assert "learned from others" not in capsys.readouterr().out
    assert len(compared(folder)) == 2


def test_pictures_that_the_run_did_not_learn_from_are_not_shown(run, capsys):
    data, folder, _ = run
    for i in range(6):
        write(data / "train" / "good" / f"{i}.png", 90 + i)  # others, under the same names
    assert main(["evaluate", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "alarms are not shown beside normal pictures: the run learned from others" in said
    assert compared(folder) == {}
    assert "the pictures that the run learned from are not at hand" in page(folder).read_text()


def test_a_training_picture_that_is_gone_costs_the_comparison_alone(run, monkeypatch, caplog):
    _, folder, _ = run

    def gone(*_):
        raise FileNotFoundError("there is no picture 3.png")

    monkeypatch.setattr("jaxad.report.nearest.square", gone)
    (folder / "evaluation.json").unlink()
    assert main(["evaluate", str(folder)]) == 0
    assert (folder / "evaluation.json").exists()
    assert compared(folder) == {}
    assert "there is no picture 3.png" in page(folder).read_text()
