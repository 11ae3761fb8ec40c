"""The scripts about division and memory: what they measure, and that they run."""

import json

import numpy as np
import pytest
from scripts import script

from jaxad.detector import check_settings
from jaxad.methods import daad


def test_a_rate_is_that_of_every_memory_or_its_number_of_cells():
    granularity = script("granularity")
    for rate, rates in ((1, (1, 1, 1)), (8, (8, 8, 8)), (16, (16, 16, 8)), (32, (32, 16, 8))):
        cfg = granularity.divided(granularity.SMALL, rate)
        check_settings(daad.DETECTOR, cfg)
        assert cfg.rates == rates


def test_the_place_of_the_best_separation_is_said_as_found():
    granularity = script("granularity")
    auroc = np.array([[0.6, 0.7], [0.9, 0.8], [0.7, 0.7]])
    values = {"normal": auroc, "anomalous": auroc, "image_auroc": auroc}
    said = granularity.text((1, 4, 16), values)
    assert "highest mean AUROC is at rate 4, between the coarsest and the finest" in said
    assert "less that at rate 1: +0.2000" in said
    assert "less that at rate 16: +0.1500" in said
    said = granularity.text((1, 4), {name: rows[:2] for name, rows in values.items()})
    assert "at rate 4, at an end of the range" in said
    row = granularity.table((1, 4, 16), values)[1]
    assert row["image_auroc"]["mean"] == pytest.approx(0.85)
    one = granularity.table((1, 4, 16), {name: rows[:, :1] for name, rows in values.items()})
    assert one[0]["normal"] == {"seeds": [0.6], "mean": 0.6, "interval": [None, None]}


@pytest.mark.parametrize("setting", ["--adversarial true", "--score max"])
def test_the_study_refuses_scores_that_are_no_mean_error(setting, tmp_path):
    with pytest.raises(ValueError, match=r"adversarial.* and .*score"):
        script("granularity").main([str(tmp_path), *setting.split()])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("--method memea", "'memea' for argument '--method'. Expected one of .'daad', 'memae'"),
        ("--data x --method memae --rates 1", "--rates"),
        ("--data x --method autoencoder --size 100", "size=100"),
        ("", "--data is missing"),
        ("--data x --seeds 0", "seeds=0: expected 1 or more"),
        ("--data x --rates 3,8,4", "3 blocks do not divide the 16 cells"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        script("daad_one_class").parsed(settings.split())


def test_each_method_of_a_script_has_its_own_settings():
    one_class = script("daad_one_class")
    for method in ("daad", "memae", "autoencoder"):
        options, cfg = one_class.parsed(["--data", "x", "--method", method])
        assert options.method == method
        assert cfg == one_class.SMALL[method]


@pytest.mark.slow
def test_the_study_of_granularity_leaves_figures_and_errors(tmp_path, capsys):
    settings = "--rates 1,8 --seeds 2 --steps 3 --train 6 --widths 4,4,4 --items 4,4,4"
    script("granularity").main([str(tmp_path), *settings.split()])
    assert "highest mean AUROC" in capsys.readouterr().out
    found = json.loads((tmp_path / "granularity.json").read_text())
    assert {"options", "settings", "made_with"} < set(found)
    rows = found["rates"]
    assert [row["rate"] for row in rows] == [1, 8]
    assert all(value > 0 for row in rows for value in row["normal"]["seeds"])
    for name in ("granularity.png", "reconstructions.png"):
        assert (tmp_path / name).stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.parametrize("method", ["daad", "memae", "autoencoder"])
def test_one_class_against_the_rest_trains_a_model_of_each_class(method, tmp_path, capsys):
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    pictures = np.uint8(rng.integers(0, 60, (40, 28, 28)) + 150 * labels[:, None, None])
    arrays = {"x_train": pictures, "y_train": labels, "x_test": pictures, "y_test": labels}
    np.savez(tmp_path / "toy.npz", **arrays, classes=np.array(["dark", "bright"]))
    settings = f"--method {method} --steps 30 --widths 4,4,4 --batch-size 4"
    words = [str(tmp_path / "out"), "--data", str(tmp_path / "toy.npz"), *settings.split()]
    script("daad_one_class").main(words)
    assert "mean" in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "one_class.json").read_text())["image_auroc"]
    assert list(found) == ["dark", "bright", "mean"]
    assert 0 <= found["mean"][0] <= 1
