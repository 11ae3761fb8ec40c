"""The scripts about DiffusionAD: what they count and write."""

import json
import shutil

import numpy as np
import pytest
from scripts import category, script

from jaxad.detector import check_settings, override
from jaxad.methods import diffusionad
from jaxad.sweep import Members, grid, groups

TINY = (
    "size=32", "batch_size=2", "width=8", "multipliers=1,2", "attention=16", "heads=2", "groups=4",
    "segmentation_width=2", "segmentation_multipliers=1,2", "steps=4",
)  # fmt: skip
TINY_WORDS = [word for setting in TINY for word in f"--{setting}".split("=")]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("--seeds 0", "seeds=0: expected 1 or more"),
        ("--save-every 0", "save_every=0: expected 1 or more"),
        ("--t-small 5", "iterations=10"),
    ],
)
def test_wrong_settings_of_the_sweep_are_named_before_anything_is_read(tmp_path, setting, message):
    with pytest.raises(ValueError, match=message):
        script("sweep_diffusionad").main([str(tmp_path), "--data", "nowhere", *setting.split()])


def test_a_sweep_needs_normal_and_anomalous_test_pictures(tmp_path):
    data = category(tmp_path / "square")
    shutil.rmtree(data / "test" / "good")
    with pytest.raises(ValueError, match="normal and anomalous test pictures"):
        script("sweep_diffusionad").main([str(tmp_path / "out"), "--data", str(data), *TINY_WORDS])


def test_small_settings_can_work():
    check_settings(diffusionad.DETECTOR, diffusionad.SMALL)


@pytest.mark.parametrize(
    ("restoration", "calls"),
    [
        (["restoration=guided"], (2, 1)),
        (["restoration=one_step"], (1, 1)),
        (["restoration=iterative", "iterations=3"], (3, 1)),
        (["restoration=autoencoder"], (1, 1)),
    ],
)
def test_the_benchmark_counts_the_networks_calls(restoration, calls):
    cfg = override(diffusionad.SMALL, [*TINY, *restoration])
    assert script("bench_synthesis").network_calls(cfg) == calls


@pytest.mark.slow
def test_the_benchmark_counts_operations_in_proportion_to_the_batch():
    bench = script("bench_synthesis")
    small = override(diffusionad.SMALL, TINY)
    one, twice = (bench.step_flops(override(small, f"batch_size={n}")) for n in (2, 4))
    assert 1.8 < twice / one < 2.05  # the optimiser's operations do not grow
    wide = override(small, ["width=16", "segmentation_width=4"])
    assert 1.5 < bench.step_flops(wide) / one < 4.05


def test_iterative_denoising_is_evaluated_with_the_networks_of_one_step():
    study = script("sweep_diffusionad")
    trained = Members(tuple({"of": name} for name in study.TRAINED), np.array([[-1], [5], [-1]]))
    members = study.with_iterative(trained)
    configs = grid(diffusionad.SMALL, restoration=study.RESTORATIONS)
    assert [configs[places[0]].restoration for places in groups(configs)] == study.RESTORATIONS
    assert [state["of"] for state in members.states] == [
        "autoencoder", "one_step", "one_step", "guided",
    ]  # fmt: skip
    assert members.diverged.tolist() == [[-1], [5], [5], [-1]]


@pytest.mark.slow
def test_the_sweep_leaves_tables_curves_and_pictures(tmp_path, capsys):
    sweep = script("sweep_diffusionad")
    data = category(tmp_path / "square")
    words = ["--data", str(data), "--seeds", "1", "--iterations", "2", *TINY_WORDS]
    sweep.main([str(tmp_path / "out"), *words])
    assert "autoencoder" in capsys.readouterr().out
    assert "guided" in (tmp_path / "out" / "restorations" / "summary.txt").read_text()
    rows = json.loads((tmp_path / "out" / "noise.json").read_text())
    assert [row["timestep"] for row in rows] == list(sweep.SCALES)
    for name in ("noise.png", "pictures.png"):
        assert (tmp_path / "out" / name).stat().st_size > 1000
