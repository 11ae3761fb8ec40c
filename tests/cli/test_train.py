"""`jaxad train` and `jaxad evaluate`: what they leave, and how a run goes on."""

import json

import pytest
from scripts import category

from jaxad.cli.main import main
from jaxad.training.checkpoint import RunFolder

SMALL = ["--size", "32", "--batch-size", "2", "--widths", "4,8", "--steps", "2"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two categories, with masks and without test pictures."""
    folder = tmp_path_factory.mktemp("data")
    category(folder / "one")
    category(folder / "two", masks=False)
    return folder


def test_a_run_leaves_a_model_its_report_and_a_record_of_where_everything_came_from(
    root, tmp_path, capsys
):
    words = ["train", "autoencoder", str(root / "one"), str(tmp_path / "run"), *SMALL]
    assert main([*words, "--curve", "true", "--save-every", "1"]) == 0
    said = capsys.readouterr().out
    assert "image AUROC" in said
    for name in ("model", "report/index.html", "evaluation.json", "metrics.jsonl"):
        assert (tmp_path / "run" / name).exists(), name
    rows = json.loads((tmp_path / "run" / "curve.json").read_text())
    assert [row["step"] for row in rows] == [1, 2]
    about = json.loads((tmp_path / "run" / "run.json").read_text())["about"]
    assert about["category"] == "one"
    assert about["data"] == str(root / "one")
    assert about["weights"] == {}
    before = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    (tmp_path / "run" / "evaluation.json").unlink()

    assert main(["evaluate", str(tmp_path / "run")]) == 0
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text()) == before
    assert main(["evaluate", str(tmp_path / "run"), str(root / "two")]) == 0
    other = json.loads((tmp_path / "run" / "on-two" / "evaluation.json").read_text())
    assert set(other["categories"]) == {"two"}
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text()) == before


@pytest.mark.slow
def test_several_categories_get_a_model_each_or_one_together(root, tmp_path, capsys):
    both = f"{root / 'one'},{root / 'two'}"
    assert main(["train", "autoencoder", both, str(tmp_path / "each"), *SMALL]) == 0
    said = capsys.readouterr().out
    assert "all categories" in said
    assert "mean" in said
    for name in ("one", "two"):
        assert (tmp_path / "each" / name / "model").is_dir()
    assert main(["evaluate", str(tmp_path / "each")]) == 0
    assert "all categories" in capsys.readouterr().out

    words = ["train", "autoencoder", str(root), str(tmp_path / "all"), *SMALL]
    assert main([*words, "--unified", "true"]) == 0
    assert (tmp_path / "all" / "model").is_dir()
    found = json.loads((tmp_path / "all" / "evaluation.json").read_text())
    assert set(found["categories"]) == {"one", "two"}


def test_plain_folders_of_pictures_will_do(root, tmp_path, capsys):
    words = ["train", "autoencoder", str(tmp_path / "run"), *SMALL]
    words += ["--normal", str(root / "one" / "train" / "good")]
    assert main(words) == 0
    assert "no test pictures" in capsys.readouterr().out
    words[2] = str(tmp_path / "tested")
    words += ["--test", str(root / "one" / "test"), "--masks", str(root / "one" / "ground_truth")]
    assert main(words) == 0
    found = json.loads((tmp_path / "tested" / "evaluation.json").read_text())
    (one,) = found["categories"].values()
    assert (one["normal"], one["anomalous"]) == (2, 2)  # test/good counts as normal
    assert one["metrics"]["pixel_auroc"] is not None


@pytest.mark.slow
def test_epochs_become_steps_and_rendered_pictures_need_no_folder(tmp_path, capsys):
    words = ["train", "autoencoder", "workpieces/tray", str(tmp_path / "run"), *SMALL[:-2]]
    words += ["--size", "64", "--rendered", "5", "--rendered-test", "2,1", "--epochs", "1.5"]
    assert main(words) == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["settings"]["steps"] == 4  # 1.5 * 5 pictures in batches of 2
    assert record["about"]["data"] == "workpieces/tray"
    assert main(["evaluate", str(tmp_path / "run")]) == 0  # the same pictures are rendered again


@pytest.mark.slow
def test_a_complete_run_goes_on_when_more_steps_are_asked_for(root, tmp_path, capsys):
    words = ["train", "autoencoder", str(root / "one"), str(tmp_path / "run"), *SMALL[:-1]]
    assert main([*words, "2"]) == 0
    assert main([*words, "5"]) == 0
    words[3] = str(tmp_path / "whole")
    assert main([*words, "5"]) == 0
    words[3] = str(tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["settings"]["steps"] == 5
    assert record["about"]["steps_before"] == [2]
    assert (tmp_path / "run" / "model-2").is_dir()
    grown, whole = (
        json.loads((tmp_path / name / "evaluation.json").read_text()) for name in ("run", "whole")
    )
    assert grown["pictures"] == whole["pictures"]
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == sorted(set(steps))
    assert steps[-1] == 5
    capsys.readouterr()
    assert main([*words, "3"]) == 2
    assert "steps is 5 there, 3 now" in capsys.readouterr().err


def test_the_folder_of_another_method_is_refused_and_left_alone(root, tmp_path, capsys):
    place = [str(root / "one"), str(tmp_path / "run")]
    assert main(["train", "autoencoder", *place, *SMALL]) == 0
    before = (tmp_path / "run" / "run.json").read_text()
    capsys.readouterr()
    assert main(["train", "memae", *place, *SMALL]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "belongs to another run" in said
    assert "method is 'autoencoder' there, 'memae' now" in said
    assert main(["train", "autoencoder", *place, *SMALL, "--seed", "1"]) == 2
    assert (tmp_path / "run" / "run.json").read_text() == before


def test_a_run_folder_in_use_is_refused(root, tmp_path, capsys):
    with RunFolder(tmp_path / "run"):
        words = ["train", "autoencoder", str(root / "one"), str(tmp_path / "run"), *SMALL]
        assert main(words) == 2
    assert "another process is training in" in capsys.readouterr().err.splitlines()[-1]


def test_a_run_is_evaluated_from_any_folder_and_into_any(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(root)
    both = f"one,{root / 'two'}"
    assert main(["train", "autoencoder", both, str(tmp_path / "each"), *SMALL]) == 0
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "each/one"]) == 0  # its pictures were named from elsewhere
    assert main(["evaluate", "each", "--out", "results"]) == 0
    assert main(["evaluate", "each/one", str(root / "two"), "--out", "single"]) == 0
    assert main(["evaluate", "each", str(root)]) == 0  # each model on its own category
    for place in ("results/one", "results/two", "single", "each/one/on-one", "each/two/on-two"):
        assert (tmp_path / place / "report" / "index.html").exists(), place
    assert not (tmp_path / "each" / "one" / "on-two").exists()


def test_a_run_that_is_not_finished_cannot_be_evaluated(root, tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["train", "autoencoder", str(root / "one"), str(folder), *SMALL]) == 0
    (folder / "model").rename(folder / "gone")
    capsys.readouterr()
    assert main(["evaluate", str(folder)]) == 2
    assert "is not finished" in capsys.readouterr().err.splitlines()[-1]


def test_a_sweep_compares_settings_and_leaves_tables(root, tmp_path, capsys):
    words = ["sweep", "autoencoder", str(root / "one"), str(tmp_path / "out"), *SMALL]
    assert main([*words, "--lr", "1e-3", "3e-3", "--seeds", "2"]) == 0
    said = capsys.readouterr().out
    assert "2 settings, 2 seeds" in said
    assert (tmp_path / "out" / "sweep.csv").exists()
    assert (tmp_path / "out" / "summary.txt").read_text().strip() in said
