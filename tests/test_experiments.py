"""The scripts: what they count, and that they run."""

import importlib.util
import json
import pathlib
import sys

import numpy as np
import pytest

from jaxad.methods import efficientad

EXPERIMENTS = pathlib.Path(__file__).parent.parent / "experiments"


def script(name):
    spec = importlib.util.spec_from_file_location(name, EXPERIMENTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # its dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_benchmark_counts_what_the_papers_tables_imply():
    bench = script("bench_efficientad")
    small, medium = efficientad.Config(), efficientad.Config(medium=True)
    assert bench.pdn_flops(small, 384, 384)[0] == pytest.approx(30.6e9, rel=0.01)
    assert bench.pdn_flops(small, 768, 768)[0] == pytest.approx(40.5e9, rel=0.01)
    assert bench.predict_flops(small) == pytest.approx(76e9, rel=0.01)  # section 4: 76 and 235
    assert bench.predict_flops(medium) == pytest.approx(235e9, rel=0.01)


def test_views_of_a_picture_show_the_same_part():
    distill = script("distill_pdn")
    picture = np.zeros((90, 120, 3), np.uint8)
    picture[30:60, 40:80] = 255
    for smallest in (1.0, 0.4):
        cfg = distill.Config(size=32, smallest_crop=smallest)
        views = distill.views(picture, np.random.default_rng(0), cfg)
        assert views["pdn"].shape == (32, 32, 3)
        assert views["backbone"].shape == (64, 64, 3)
        halved = views["backbone"].reshape(32, 2, 32, 2, 3).mean((1, 3))
        assert np.abs(halved - views["pdn"]).mean() < 8


@pytest.mark.slow
def test_the_quickstart_ends_with_metrics_and_a_report(tmp_path, capsys):
    script("quickstart").main(str(tmp_path), "steps=4", "size=64", "autoencoder_kernel=2")
    printed = capsys.readouterr().out
    assert "image AUROC on structural defects" in printed
    assert (tmp_path / "report" / "index.html").exists()


@pytest.mark.data
def test_the_experiment_runs_on_real_pictures(shared, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # of the cache of compiled programs
    script("efficientad").main(
        str(shared / "data" / "mvtec_leather_mini"), str(tmp_path),
        f"aux={shared / 'data' / 'natural'}", "steps=4", "save_every=2", "size=64",
        "autoencoder_kernel=2", "student_width=8",
    )  # fmt: skip
    assert "leather" in capsys.readouterr().out
    assert [row["step"] for row in json.loads((tmp_path / "curve.json").read_text())] == [2, 4]
    assert (tmp_path / "report" / "index.html").exists()
    assert json.loads((tmp_path / "evaluation.json").read_text())["mean"]["pixel_auroc"] > 0
