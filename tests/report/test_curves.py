"""Curves and histories as a page draws them."""

import json

import numpy as np
import pytest

from jaxad.report.curves import POINTS, STEP, history, thinned


def test_a_thinned_curve_is_the_curve_to_the_width_of_a_line():
    rng = np.random.default_rng(0)
    x = np.sort(np.concatenate([rng.random(5000) ** 3, [0, 1]]))
    y = np.sort(np.concatenate([rng.random(5000) ** 0.3, [0, 1]]))
    few = thinned(x, y)
    assert len(few[0]) < 1500
    assert (few[0][0], few[0][-1], few[1][0], few[1][-1]) == (0, 1, 0, 1)
    at = np.linspace(0.01, 1, 500)
    assert np.abs(np.interp(at, *few) - np.interp(at, x, y)).max() < 2 * STEP


def test_steps_of_a_curve_stay_steps():
    x, y = np.array([0, 0, 0.001, 0.002, 0.5, 0.5, 1]), np.array([0, 0.4, 0.4, 0.4, 0.4, 1, 1.0])
    found = list(zip(*thinned(x, y), strict=True))
    assert found == [(0, 0), (0, 0.4), (0.002, 0.4), (0.5, 0.4), (0.5, 1), (1, 1)]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_curves_of_few_points_stay_as_they_are(count):
    x = np.linspace(0, 1, count)
    np.testing.assert_array_equal(thinned(x, x)[0], x)


def test_a_history_keeps_its_last_step_and_as_many_as_can_be_seen(tmp_path):
    file = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": i, "loss": 1 / i}) for i in range(1, 3001)]
    lines.insert(2, json.dumps({"step": 3, "heldout_loss": 0.5}))
    file.write_text("\n".join(lines) + "\n")
    found = history(file)
    assert len(found.step) == POINTS
    assert found.step[-1] == 3000
    assert found.values["loss"][-1] == pytest.approx(1 / 3000, rel=1e-4)
    assert set(found.values) == {"loss", "heldout_loss"}
    assert found.diverged is None


def test_the_step_at_which_a_run_diverged_is_told(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 10, "loss": 1.0}\n{"step": 14, "loss": null}\n')
    found = history(file)
    assert (found.step, found.values, found.diverged) == ([10, 14], {"loss": [1.0, None]}, 14)


def test_without_a_file_or_lines_there_is_no_history(tmp_path):
    assert history(tmp_path / "metrics.jsonl") is None
    (tmp_path / "metrics.jsonl").write_text("")
    assert history(tmp_path / "metrics.jsonl") is None


@pytest.mark.parametrize("line", ["{", '{"loss": 1}', "[]"])
def test_a_damaged_history_is_named(tmp_path, line):
    file = tmp_path / "metrics.jsonl"
    file.write_text(line)
    with pytest.raises(ValueError, match=r"metrics\.jsonl is damaged"):
        history(file)
