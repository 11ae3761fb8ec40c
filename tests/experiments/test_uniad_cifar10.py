"""UniAD on CIFAR-10: the authors' settings, and a run that leaves what it says."""

import json
import shlex

import numpy as np
import pytest
from scripts import script

from jaxad.data import prepared


@pytest.fixture(scope="module")
def experiment():
    return script("uniad_cifar10")


def test_the_experiment_has_the_authors_settings(experiment):
    options, cfg = experiment.parsed(shlex.split("--data x.npz --lr 1e-3 --epochs 7"))
    assert (cfg.batch_size, cfg.score, cfg.layers, cfg.lr) == (16, "mean", (), 1e-3)
    assert options.splits == ("01234", "56789", "02468", "13579")
    b4 = shlex.split("--data x --extractor efficientnet_b4 --weights efficientnet_b4")
    _, cfg = experiment.parsed(b4)
    assert cfg.layers == ("block1", "block5", "block9", "block21", "block31")
    _, cfg = experiment.parsed([*b4, "--layers", "block1"])
    assert cfg.layers == ("block1",)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--data is missing: say --data FILE.npz"),
        (["--data", "x", "--splits", "01234,0123"], "expected one of 01234, 56789"),
        (["--data", "x", "--splits", ""], "splits=: expected 1 or more values"),
        (["--data", "x", "--seeds", "0"], "seeds=0: expected 1 or more"),
        (["--data", "x", "--grid", "13"], "size=224 does not fit the tokens"),
        (["--data", "x", "--sed", "1"], "Unrecognized options: --sed"),
    ],
)
def test_settings_of_the_experiment_that_cannot_work_are_refused(experiment, words, message):
    with pytest.raises(ValueError, match=message):
        experiment.parsed(words)


@pytest.mark.slow
def test_the_experiment_leaves_a_table_of_small_data_results(experiment, tmp_path, capsys):
    data = tmp_path / "tiny.npz"
    rng = np.random.default_rng(0)
    arrays = {"classes": [f"class {i}" for i in range(10)]}
    for part, count in (("train", 3), ("test", 1)):
        arrays[f"x_{part}"] = rng.integers(0, 256, (10 * count, 64, 64, 3), np.uint8)
        arrays[f"y_{part}"] = np.repeat(np.arange(10), count)
    np.savez(data, **arrays)
    words = (
        "--epochs 1 --seeds 2 --size 64 --grid 8 --hidden 16 --heads 2 --ffn 16 "
        "--encoder-layers 1 --decoder-layers 1 --mask-size 3 --pool 8 --layers pool2,conv4 "
        "--extractor pdn_small --weights pdn_small"
    )
    experiment.main([str(tmp_path / "run"), "--data", str(data), *words.split()])
    printed = capsys.readouterr().out
    assert "small-data results" in printed
    found = json.loads((tmp_path / "run" / "uniad_cifar10.json").read_text())
    assert not found["whole_data"]
    assert "30 training and 10 test pictures" in found["data"]
    assert list(found["image_auroc"]) == [*prepared.UNIFIED_SPLITS, "mean"]
    seeds = [found["image_auroc"][name]["seeds"] for name in prepared.UNIFIED_SPLITS]
    assert np.shape(seeds) == (4, 2)
    assert found["image_auroc"]["mean"]["seeds"] == pytest.approx(np.mean(seeds, 0))
    assert found["image_auroc"]["mean"]["std"] == pytest.approx(np.std(np.mean(seeds, 0), ddof=1))
    assert f"{np.mean(seeds[0]):.4f} ± " in printed
