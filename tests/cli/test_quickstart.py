"""The first command of a newcomer, and the look at an installation."""

import json

import jax
import pytest

from jaxad.cli import doctor, quickstart
from jaxad.cli.main import main
from jaxad.detector import check_settings, override
from jaxad.methods import daad, efficientad
from jaxad.weights import store


@pytest.fixture
def without_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_places", lambda folder: [tmp_path / "nowhere"])


@pytest.fixture
def small(monkeypatch):
    load = quickstart.workpieces.load
    few = lambda name, size: load(name, size=size, train=6, heldout=3, test=(2, 1))
    monkeypatch.setattr(quickstart.workpieces, "load", few)


def test_settings_of_both_can_work():
    check_settings(efficientad.DETECTOR, quickstart.SMALL)
    check_settings(daad.DETECTOR, quickstart.WITHOUT_TEACHER)


def test_the_method_is_that_whose_weights_are_found(without_weights, monkeypatch):
    assert quickstart.chosen() == (daad.DETECTOR, quickstart.WITHOUT_TEACHER)
    monkeypatch.setattr(store, "available", lambda: {"pdn_small": None})
    assert quickstart.chosen() == (efficientad.DETECTOR, quickstart.SMALL)


@pytest.mark.slow
def test_it_runs_without_any_weights(without_weights, small, tmp_path, capsys):
    tiny = override(quickstart.WITHOUT_TEACHER, ["steps=2", "batch_size=2"])
    quickstart_settings = pytest.MonkeyPatch()
    quickstart_settings.setattr(quickstart, "WITHOUT_TEACHER", tiny)
    try:
        assert main(["quickstart", str(tmp_path / "run")]) == 0
    finally:
        quickstart_settings.undo()
    printed = capsys.readouterr().out
    assert "image AUROC on structural defects" in printed
    assert "image AUROC on logical defects" in printed
    assert (tmp_path / "run" / "report" / "index.html").exists()
    about = json.loads((tmp_path / "run" / "run.json").read_text())["about"]
    assert about["data"] == "workpieces/plate"
    assert about["weights"] == {}


@pytest.mark.slow
def test_with_its_teacher_it_prints_the_licence(small, tmp_path, capsys):
    words = ["--steps", "4", "--size", "64", "--autoencoder-kernel", "2"]
    assert main(["quickstart", str(tmp_path / "run"), *words]) == 0
    printed = capsys.readouterr().out
    assert "licence of its network pdn_small: research only" in printed
    assert "image AUROC on structural defects" in printed


def test_the_doctor_names_versions_devices_and_licences_and_trains(capsys):
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    for part in ("python", "jaxlib", f"device     {jax.default_backend()}", "cores", "pdn_small"):
        assert part in printed
    assert "research only" in printed
    assert printed.splitlines()[-1].startswith(f"trial      {doctor.TRIAL.steps} steps and 14")


def test_the_doctor_fails_where_nothing_is_learned(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "fit", lambda *_: doctor.autoencoder.init(
        doctor.TRIAL, {}, jax.random.key(0)
    ))  # fmt: skip
    assert main(["doctor"]) == 1
    assert "the trial took 0 of 20 steps" in capsys.readouterr().err.splitlines()[-1]


def test_methods_are_listed_with_paper_streams_and_weights(capsys):
    assert main(["methods"]) == 0
    printed = capsys.readouterr().out
    assert "Batzner, Heckler & Koenig, WACV 2024 (arXiv:2303.14535)." in printed
    assert "streams: aux; weights: pdn_small (found)" in printed
    assert "flipped(METHOD)" in printed
