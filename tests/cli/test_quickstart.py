"""The first command of a newcomer, and the look at an installation."""

import json

import jax
import pytest

from jaxad.cli import doctor, quickstart
from jaxad.cli.main import main
from jaxad.detector import check_settings
from jaxad.methods import efficientad


@pytest.fixture
def small(monkeypatch):
    load = quickstart.workpieces.load
    few = lambda name, size: load(name, size=size, train=6, heldout=3, test=(2, 1))
    monkeypatch.setattr(quickstart.workpieces, "load", few)


def test_its_settings_can_work():
    check_settings(efficientad.DETECTOR, quickstart.SMALL)


@pytest.mark.slow
def test_with_its_teacher_it_prints_the_licence(small, tmp_path, capsys):
    words = ["--steps", "4", "--size", "64", "--autoencoder-kernel", "2"]
    assert main(["quickstart", str(tmp_path / "run"), *words]) == 0
    printed = capsys.readouterr().out
    assert "licence of its network pdn_free: Apache-2.0" in printed
    assert "image AUROC on structural defects" in printed
    assert "image AUROC on logical defects" in printed
    assert (tmp_path / "run" / "report" / "index.html").exists()
    about = json.loads((tmp_path / "run" / "run.json").read_text())["about"]
    assert about["data"] == "workpieces/plate"


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
    assert "streams: aux; weights: pdn_free (found)" in printed
    assert "flipped(METHOD)" in printed
