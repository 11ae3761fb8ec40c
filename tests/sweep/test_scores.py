"""Scores and tables of sweeps: what is counted, written, drawn."""

import csv
import json

import jax
import numpy as np
import pytest

from jaxad import sweep
from jaxad.data.source import Record
from jaxad.detector import override
from jaxad.evaluation.category import category
from jaxad.evaluation.evaluate import evaluate
from jaxad.evaluation.results import Evaluation
from jaxad.sweep import plots
from jaxad.sweep import scores as scores_module


@pytest.fixture(scope="module")
def job(tiny):
    detector, cfg, pretrained, data, _ = tiny("stfpm")
    cfg = override(cfg, "steps=3")
    configs = sweep.grid(cfg, lr=[0.1, 1e30], upsampling=["twice", "once"])
    return detector, configs, pretrained, data, jax.random.split(jax.random.key(0), 2)


@pytest.fixture(scope="module")
def members(job):
    return sweep.fit(*job)


@pytest.fixture(scope="module")
def scores(job, members):
    detector, configs, pretrained, data, _ = job
    return sweep.evaluate(detector, configs, pretrained, members, data.test)


def test_a_member_scores_as_its_state_alone(job, members, scores):
    detector, configs, pretrained, data, _ = job
    state = members.state(configs, 1, 1)
    alone = evaluate(detector, configs[1], pretrained, state, data.test)
    assert scores.metrics["image_auroc"].shape == (4, 2)
    assert scores.image_auroc[1, 1] == alone.mean["image_auroc"]
    assert scores.pixel_auroc[1, 1] == alone.mean["pixel_auroc"]


def test_one_test_set_for_each_setting(job, members):
    detector, configs, pretrained, data, _ = job
    with pytest.raises(ValueError, match="1 test sets for 4 settings"):
        sweep.evaluate(detector, configs, pretrained, members, [data.test])


def test_the_summary_is_mean_deviation_and_paired_difference():
    values = np.array([[0.8, 0.9, 0.7], [0.9, 1.0, 0.8], [0.6, np.nan, 0.9]])
    first, second, third = sweep.summary(values)
    assert first.mean == pytest.approx(0.8)
    assert first.std == pytest.approx(0.1)
    assert first.difference == 0
    assert second.difference == pytest.approx(0.1)
    np.testing.assert_allclose(second.interval, [0.1, 0.1])  # paired: no spread at all
    assert third.count == 2
    assert third.mean == pytest.approx(0.75)
    assert third.difference == pytest.approx(0.0)  # of the two seeds that both have


def test_the_interval_of_two_values_reaches_from_one_to_the_other():
    # Resampled means are low, the middle, high with 1/4, 1/2, 1/4.
    assert sweep.bootstrap(np.array([0.0, 1.0])) == (0.0, 1.0)


def test_the_interval_of_many_normal_values_is_two_standard_errors():
    values = np.random.default_rng(1).normal(0, 1, 400)
    low, high = sweep.bootstrap(values)
    error = values.std() / 20
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)


def test_a_single_seed_has_no_interval():
    assert np.isnan(sweep.bootstrap(np.array([0.5]))).all()


def test_the_table_has_a_row_for_each_member_and_metric(job, scores, tmp_path):
    _, configs, _, _, keys = job
    sweep.write(tmp_path, job[0], configs, keys, scores)
    rows = [json.loads(line) for line in (tmp_path / "sweep.jsonl").read_text().splitlines()]
    assert len(rows) == 4 * 2 * len(scores.metrics)
    row = next(r for r in rows if (r["lr"], r["upsampling"], r["seed"]) == (0.1, "once", 1))
    assert row["method"] == "stfpm"
    assert row["size"] == configs[0].size
    assert row["key"] == " ".join(map(str, jax.random.key_data(keys)[1]))
    assert {"commit", "python", "jax_version", "device"} < set(row)
    wanted = [r for r in rows if r["metric"] == "image_auroc" and r["lr"] == 0.1]
    np.testing.assert_array_equal([r["value"] for r in wanted], scores.image_auroc[:2].ravel())
    assert all(r["value"] is None and r["diverged"] for r in rows if r["lr"] == 1e30)
    with open(tmp_path / "sweep.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [r["metric"] for r in table] == [r["metric"] for r in rows]
    assert [r["value"] for r in table[:2]] == [str(r["value"]) for r in rows[:2]]


def test_a_plot_for_each_swept_field(job, scores, tmp_path):
    _, configs, _, _, keys = job
    sweep.write(tmp_path, job[0], configs, keys, scores)
    assert {path.name for path in tmp_path.glob("*.png")} == {"lr.png", "upsampling.png"}
    for path in tmp_path.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_a_plots_lines_join_settings_that_differ_in_one_field_alone():
    settings = [
        {"lr": 10.0, "penalty": True}, {"lr": 9.0, "penalty": True},
        {"lr": 9.0, "penalty": False}, {"lr": 100.0, "penalty": True},
    ]  # fmt: skip
    values = np.array([[0.5, 0.7], [0.8, np.nan], [0.1, 0.1], [np.nan, np.nan]])
    (line,) = plots.joined("lr", [9.0, 10.0, 100.0], settings, values)
    assert list(line.items()) == [(9.0, 0.8), (10.0, pytest.approx(0.6))]
    assert plots.joined("penalty", [False, True], settings, values) == [{False: 0.1, True: 0.8}]


def test_the_text_shows_what_differs_and_what_diverged(job, scores):
    text = sweep.text(job[1], scores).splitlines()
    assert text[0].split()[:3] == ["upsampling", "lr", "seeds"]  # as the config has them
    assert "image_auroc" in text[0]
    assert len(text) == 5
    assert "0 (others diverged)" in text[3]
    assert f"{scores.image_auroc[0].mean():.4f} ±" in text[1]


def test_outside_of_a_clone_the_commit_is_unknown(monkeypatch):
    from jaxad.sweep import table

    def no_git(*arguments, **keywords):
        raise FileNotFoundError("git")

    monkeypatch.setattr(table.subprocess, "run", no_git)
    assert table.circumstances()["commit"] == "unknown"


def test_a_sweep_in_which_all_diverged_has_no_metrics():
    assert scores_module.scores(((None, None),)).metrics == {}


def without_normals(auroc=None):
    """An evaluation of defective pictures only; its mean may be as if there were others."""
    found = category([Record(str(i), "bolt", "bent") for i in range(2)], np.arange(2.0))
    mean = found.metrics if auroc is None else found.metrics | {"image_auroc": auroc}
    return Evaluation(mean, {"bolt": found}, ())


def test_what_is_undefined_is_no_number_and_why_is_said(job, tmp_path):
    detector, configs, _, _, keys = job
    scores = scores_module.scores(((without_normals(),) * 2,) * 4)
    assert np.isnan(scores.image_auroc).all()
    assert [x.count for x in sweep.summary(scores.image_auroc)] == [0] * 4
    _, *rows, last = sweep.text(configs, scores).splitlines()
    assert [row.split()[2:] for row in rows] == [["2", "-"]] * 4
    assert last == "bolt: image metrics are undefined: there are no normal test pictures"
    sweep.write(tmp_path, detector, configs, keys, scores)
    lines = (tmp_path / "sweep.jsonl").read_text().splitlines()
    assert {json.loads(line)["value"] for line in lines} == {None}
    assert {json.loads(line)["diverged"] for line in lines} == {False}


def test_an_undefined_setting_is_compared_with_none():
    rows = ((without_normals(0.5),) * 2, (without_normals(),) * 2, (without_normals(0.75), None))
    values = scores_module.scores(rows).image_auroc
    np.testing.assert_array_equal(values, [[0.5, 0.5], [np.nan, np.nan], [0.75, np.nan]])
    first, second, third = sweep.summary(values)
    assert np.isnan([second.mean, second.difference, *second.interval]).all()
    assert (first.mean, third.mean, third.difference) == (0.5, 0.75, 0.25)


def test_a_metric_that_only_some_test_sets_have_is_kept():
    one, other = Evaluation({"a": 0.5, "b": None}, {}, ()), Evaluation({"b": 0.25}, {}, ())
    found = scores_module.scores(((one,), (None,), (other,))).metrics
    np.testing.assert_array_equal(found["a"], [[0.5], [np.nan], [np.nan]])
    np.testing.assert_array_equal(found["b"], [[np.nan], [np.nan], [0.25]])
