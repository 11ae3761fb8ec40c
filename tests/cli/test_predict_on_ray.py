"""`jaxad predict --on ray` as a person types it."""

import sys

import pytest
from PIL import Image
from scripts import script

from jaxad.cli import on_ray
from jaxad.cli.main import main


@pytest.fixture
def words(carded, tmp_path):
    Image.effect_noise((60, 40), 50).convert("RGB").save(tmp_path / "a.png")
    return ["predict", str(carded("autoencoder")[-1]), str(tmp_path / "a.png")]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--on", "ray"], "--on ray: give --out FOLDER"),
        (["--on", "ray", "--out", "out", "--watch"], "--watch is for one machine"),
        (["--on", "ray", "--out", "out", "--webhook", "http://x"], "--webhook is for one machine"),
        (["--on", "ray", "--out", "out", "--device", "tpu"], "a processor core or a GPU"),
        (["--out", "out", "--workers", "2"], "--workers belongs to --on ray"),
        (["--out", "out", "--address", "auto"], "--address belongs to --on ray"),
        (["--on", "ray", "--out", "out", "--workers", "0"], "workers=0"),
        (["--on", "spark", "--out", "out"], "spark"),
    ],
)
def test_options_that_do_not_go_together_are_told(
    words, more, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main([*words, *more]) == 2
    assert message in capsys.readouterr().err


def test_a_missing_ray_is_told_before_anything_is_written(words, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main([*words, "--on", "ray", "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "jaxad: many machines (--on ray) need Ray: pip install 'jaxad[ray]'"
    )
    assert not (tmp_path / "out").exists()


def test_a_machine_without_the_folders_says_which_and_where(carded, tmp_path):
    *_, card, run = carded("autoencoder")
    load = on_ray.Load(run, card, {}, None, (run, tmp_path / "day"))
    with pytest.raises(FileNotFoundError, match=r"day: there is no such folder on \S+; with --on"):
        load()
    (tmp_path / "day").mkdir()
    assert load().card == card


@pytest.mark.slow
def test_a_killed_worker_loses_and_repeats_nothing_and_the_command_goes_on(tmp_path):
    pytest.importorskip("ray", reason="jaxad[ray] is not installed")
    trial = script("predict_on_ray")
    found = trial.trial(tmp_path, trial.Options(files=800))
    assert found["unusable"] == 1
    wrong = ("lost", "repeated", "different", "different_in_table", "without_mask")
    assert [found[x] for x in wrong] == [0, 0, 0, 0, 0]
    # The same command does again what could not be used; so does that of one machine.
    out = tmp_path / "there"
    again = ["predict", str(tmp_path / "run"), str(tmp_path / "pictures"), "--masks", "--out"]
    for count, more in enumerate((["--on", "ray", "--address", "local"], []), start=1):
        said = trial.watched([*again, str(out), *more], lambda process: None)
        assert "799 of 800 pictures done before" in said
        assert trial.lines(out) == 800 + count
        assert len(trial.in_table(out / "predictions.parquet")) == 800
