"""`jaxad compare` as a person types it."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from scripts import category

from jaxad.cli.main import main
from jaxad.decision import card as cards

NAMES = ("<img onerror=x>.png", "=cmd().png", "a.png", "line\nbreak.png", "ü ö.png")


@pytest.fixture(scope="module")
def runs(carded, tmp_path_factory):
    """One trained model with three cards: all is anomalous, all is normal, nothing has a label."""
    root = tmp_path_factory.mktemp("runs")
    *_, card, folder = carded("autoencoder")
    empty = {
        name: one._replace(scores=one.scores[:0], peaks=one.peaks[:0])
        for name, one in card.normals.items()
    }
    other = {
        "low": card.with_threshold(-1.0),
        "high": card.with_threshold(1e9),
        "none": card._replace(normals=empty),
    }
    for name, one in other.items():
        shutil.copytree(folder, root / name)
        cards.write(root / name / cards.FILE, one)
    return root


@pytest.fixture(scope="module", autouse=True)
def tiny_method(tiny):
    """The run's method is found by its name, as any other."""


@pytest.fixture
def loose(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for i, name in enumerate(NAMES):
        pixels = np.random.default_rng(i).integers(0, 256, (40 + i, 60, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


def words(runs, names, *rest):
    return ["compare", *(str(runs / name) for name in names), *map(str, rest)]


def test_loose_pictures_are_compared_and_hostile_names_do_no_harm(runs, loose, tmp_path, capsys):
    (loose / "broken.png").write_bytes((loose / "a.png").read_bytes()[:90])
    out = tmp_path / "out"
    assert main(words(runs, ("low", "high"), loose, "--out", out)) == 0
    said = capsys.readouterr().out
    assert "no data set: " in said
    assert "compared as loose pictures: 6 pictures, no truth" in said
    assert "the same verdict from all runs: 0 of 6 pictures; different: 5" in said
    assert "no verdict from some run: 1" in said
    assert "of low and high: 1.000, over 5 pictures" in said
    assert "cannot be used:\n" in said
    assert "a.png: low anomalous " in said
    assert "line\\nbreak.png" in said

    page = (out / "index.html").read_text()
    assert "&lt;img onerror=x&gt;" in page
    assert "<img onerror" not in page
    assert '<th scope="col">low</th><th scope="col">high</th>' in " ".join(page.split("\n"))
    assert set(re.findall(r"https?://[^\s\"'<]+", page)) == {"http://www.w3.org/2000/svg"}
    for run in (1, 2):
        assert len(list((out / "overlays" / f"run-{run}").iterdir())) == 5
        assert f'src="overlays/run-{run}/05.png"' in page
    with open(out / "comparison.csv", newline="") as file:
        table = list(csv.reader(file))
    assert len(table) == 7
    assert not any(cell.startswith("=") for row in table for cell in row)
    found = json.loads((out / "comparison.json").read_text())
    assert {row["path"] for row in found["pictures"]} == {
        str(loose / name) for name in (*NAMES, "broken.png")
    }
    errors = [one["error"] for row in found["pictures"] for one in row["verdicts"] if one["error"]]
    assert len(errors) == 2
    assert all("broken.png" in error for error in errors)
    assert not list(out.rglob("*.part"))


def test_the_truth_of_a_data_set_stands_beside_the_verdicts(runs, tmp_path, capsys):
    data = category(tmp_path / "squares")
    out = tmp_path / "out"
    assert main(words(runs, ("low", "high"), data, "--out", out)) == 0
    said = capsys.readouterr().out
    assert "a data set: its test pictures are compared, beside the truth" in said
    assert "2 good, 2 hole" in said
    assert "hole/0.png (truth: hole): low anomalous" in said
    found = json.loads((out / "comparison.json").read_text())
    counts = [[run["errors"][name] for name in ("false_alarms", "misses")] for run in found["runs"]]
    assert counts == [[2, 0], [0, 2]]
    assert found["runs"][0]["errors"]["auroc"] == found["runs"][1]["errors"]["auroc"]
    assert sorted(row["defect"] for row in found["pictures"]) == ["good", "good", "hole", "hole"]
    assert '<th scope="col">truth' in (out / "index.html").read_text()
    for line, ends in (("low", ("2 of 2", "0 of 2")), ("high", ("0 of 2", "2 of 2"))):
        (row,) = [one for one in said.splitlines() if one.split()[:1] == [line]]
        assert all(end in row for end in ends)


def test_a_bad_test_picture_has_a_row_of_unknown_truth(runs, tmp_path, capsys):
    data = category(tmp_path / "squares")
    (data / "test" / "good" / "9.png").write_bytes(b"nothing")
    assert main(words(runs, ("low", "high"), data)) == 0
    said = capsys.readouterr().out
    assert "of 5 pictures; different: 4; no verdict from some run: 1" in said
    assert "cannot be used:" in said
    assert main(words(runs, ("low", "high"), data, "--on-bad-image", "error")) == 2
    assert "9.png" in capsys.readouterr().err


def test_a_run_that_cannot_decide_has_no_labels(runs, loose, capsys):
    assert main(words(runs, ("low", "none"), loose)) == 0
    printed = capsys.readouterr()
    assert "no verdict from some run: 5" in printed.out
    assert "verdicts differ" not in printed.out
    assert "warning: none: tiny: there are no normal pictures" in printed.err


def test_a_data_set_without_test_pictures_is_compared_as_loose_ones(runs, tmp_path, capsys):
    data = category(tmp_path / "squares")
    shutil.rmtree(data / "test")
    shutil.rmtree(data / "ground_truth")
    assert main(words(runs, ("low", "high"), data)) == 0
    assert "no data set: no test pictures; compared as loose pictures: 5" in capsys.readouterr().out


def test_several_categories_need_a_name(runs, tmp_path, capsys):
    for name in ("nut", "bolt"):
        category(tmp_path / name, normal=2)
    assert main(words(runs, ("low", "high"), tmp_path)) == 2
    assert "has the categories bolt, nut: name one (--category)" in capsys.readouterr().err
    assert main(words(runs, ("low", "high"), tmp_path, "--category", "nut")) == 0
    assert "nut: " in capsys.readouterr().out
    assert main(words(runs, ("low", "high"), tmp_path, "--category", "nail")) == 2


def test_runs_of_one_name_are_told_apart_by_their_folders(runs, loose, tmp_path, capsys):
    shutil.copytree(runs / "high", tmp_path / "low")
    assert main(["compare", str(runs / "low"), str(tmp_path / "low"), str(loose / "a.png")]) == 0
    assert f"limit of {tmp_path / 'low'}, " in capsys.readouterr().out


def test_what_cannot_be_compared_is_refused_in_a_sentence(runs, loose, tmp_path, capsys):
    shutil.copytree(runs / "low", tmp_path / "bare")
    (tmp_path / "bare" / cards.FILE).unlink()
    (tmp_path / "empty").mkdir()
    for given, message in (
        (words(runs, ("low",), loose), "expected the folders of two runs or more, and DATA"),
        (words(runs, ("low", "high")), "expected the folders of two runs or more, and DATA"),
        (words(runs, ("low", "high", "none")), "is the folder of a run"),
        (words(runs, ("low", "low/../low"), loose), "the same run twice"),
        (words(runs, ("low",), loose / "a.png", loose), "put a pattern of pictures in quotes"),
        (words(runs, ("low",), tmp_path / "bare", loose), "has no card; make one with"),
        (words(runs, ("low", "high"), tmp_path / "empty"), "no pictures in it"),
        (words(runs, ("low", "high"), tmp_path / "nowhere"), "no such file or folder"),
        (words(runs, ("low", "high"), "workpieces/plate"), "only files can be compared"),
        (words(runs, ("low", "high"), loose, "--category", "nail"), "--category nail: there are"),
        (words(runs, ("low", "high"), loose, "--target-fpr", "0.001"), "low: "),
    ):
        assert main(given) == 2, given
        assert message in capsys.readouterr().err


def test_one_rate_of_false_alarms_decides_for_all_runs(runs, loose, capsys):
    assert main(words(runs, ("low", "high"), loose, "--target-fpr", "0.3")) == 0
    said = capsys.readouterr().out
    assert said.count("for 30 % false alarms") == 2
    assert "the same verdict from all runs: 5 of 5 pictures; different: 0" in said
