"""The scripts that train one model for several categories run, and leave what they say."""

import json
import shlex
import shutil
from functools import partial

import jax
import numpy as np
import pytest
from PIL import Image
from scripts import script

from jaxad.methods import uniad
from jaxad.weights.store import save_pretrained

SMALL_UNIAD = shlex.split(
    "--size 64 --grid 8 --hidden 16 --heads 2 --ffn 16 --batch-size 2 --pool 8 "
    "--extractor pdn_small --layers pool2,conv4 --encoder-layers 1 --decoder-layers 1 "
    "--mask-size 3"
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory, tiny):
    """The option that names the weights of a small random extractor."""
    folder = tmp_path_factory.mktemp("weights") / "tiny"
    _, _, pretrained, _, _ = tiny("uniad")
    save_pretrained(folder, jax.device_get(pretrained["tiny"]), {"origin": "random"})
    return f"--weights={folder}"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two categories, one without masks."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        for part, count in (("train/good", 5), ("test/good", 2), ("test/spot", 2)):
            (root / name / part).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(100, 140, (64, 64, 3), np.uint8)
                if "spot" in part:
                    pixels[20:40, 20:40] = 255
                Image.fromarray(pixels).save(root / name / part / f"{i}.png")
    masks = root / "one" / "ground_truth" / "spot"
    masks.mkdir(parents=True)
    mask = np.zeros((64, 64), np.uint8)
    mask[20:40, 20:40] = 255
    for i in range(2):
        Image.fromarray(mask).save(masks / f"{i}_mask.png")
    return root


@pytest.mark.slow
def test_both_protocols_are_compared_in_one_table(folders, weights, tmp_path, capsys):
    multiclass = script("multiclass")
    words = ["--data", str(folders), "--epochs", "2", "--seeds", "2", weights, *SMALL_UNIAD]
    multiclass.main(["uniad", str(tmp_path), *words])
    printed = capsys.readouterr().out
    assert "unified image_auroc" in printed
    assert "separate image_auroc" in printed
    written = json.loads((tmp_path / "multiclass.json").read_text())
    assert {"options", "settings", "made_with"} < set(written)
    assert written["settings"]["steps"] == {"unified": [8], "separate": [4, 4]}  # of 4 pictures
    found = written["metrics"]
    assert set(found) == {"unified", "separate"}
    for protocol in found.values():
        assert set(protocol) == {"one", "two", "mean"}
        assert len(protocol["one"]["image_auroc"]) == 2
        assert protocol["two"]["pixel_auroc"] == [None, None]  # it has no masks
        assert protocol["mean"]["pixel_auroc"] == protocol["one"]["pixel_auroc"]


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("multiclass", ["unied", "OUT"], "no method 'unied': did you mean uniad"),
        ("multiclass", ["uniad"], "expected METHOD OUT before the options, found 'uniad'"),
        ("multiclass", ["uniad", "OUT", "--protocols", "both"], "one of unified, separate"),
        ("multiclass", ["uniad", "OUT", "--epochs", "0"], "epochs=0.0: expected more than 0"),
        ("multiclass", ["uniad", "OUT", "--seeds", "0"], "seeds=0: expected 1 or more"),
        ("multiclass", ["uniad", "OUT", "--save-every", "0"], "save_every=0: expected 1"),
        ("sweep_uniad", ["OUT", "--seeds", "0"], "seeds=0: expected 1 or more"),
        ("identical_shortcut", ["OUT", "--every", "0"], "every=0: expected 1 or more"),
        ("identical_shortcut", ["OUT", "--steps", "5"], "--steps: say --epochs"),
        ("identical_shortcut", ["OUT", "--networks", "mpl"], "expected one of mlp, cnn"),
        ("identical_shortcut", ["OUT", "--mask-size", "x"], "--mask-size"),
    ],
)
def test_a_study_refuses_what_it_cannot_do(name, words, message):
    with pytest.raises(ValueError, match=message):
        script(name).main(words)


def test_categories_whose_members_all_diverged_have_no_metrics():
    multiclass = script("multiclass")
    found = multiclass.by_category(((None, None),), ["one", "two"])
    assert set(found) == {"one", "two", "mean"}
    for metrics in found.values():
        assert all(len(x) == 2 and np.isnan(x).all() for x in metrics.values())
    assert multiclass.plain({"unified": found})["unified"]["one"]["image_auroc"] == [None, None]


def test_the_shortcut_study_needs_normal_and_anomalous_test_pictures(folders, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(folders, root)
    shutil.rmtree(min(root.iterdir()) / "test" / "good")
    with pytest.raises(ValueError, match="normal and anomalous test pictures of"):
        script("identical_shortcut").main([str(tmp_path / "out"), "--data", str(root)])


@pytest.mark.slow
def test_the_ablation_has_eight_combinations(folders, weights, tmp_path, capsys):
    words = ["--data", str(folders), "--epochs", "1", "--seeds", "1", weights, *SMALL_UNIAD]
    script("sweep_uniad").main([str(tmp_path), *words])
    lines = (tmp_path / "summary.txt").read_text().splitlines()
    assert len(lines[1:]) == 8 + 2  # combinations, and what is said of the one without masks
    assert lines[-2].startswith("two: pixel metrics are undefined: it has no masks")
    assert lines[-1] == "the mean of pixel metrics is over 1 of 2 categories"
    assert {path.stem for path in tmp_path.glob("*.png")} == {
        "layer_wise_query", "masked", "jitter",
    }  # fmt: skip


@pytest.mark.slow
def test_the_shortcut_study_draws_curves_of_both_protocols(folders, weights, tmp_path):
    study = script("identical_shortcut")
    words = ["--data", str(folders), "--epochs", "2", "--every", "1", "--networks", "mlp,uniad"]
    study.main([str(tmp_path), *words, "--depth", "1", weights, *SMALL_UNIAD])
    found = json.loads((tmp_path / "curves.json").read_text())
    assert [row["epoch"] for row in found["unified"]["mlp"]] == pytest.approx([1, 2], rel=0.2)
    assert set(found["separate"]) == {"mlp", "uniad"}
    alone = json.loads((tmp_path / "runs" / "mlp" / "separate" / "one" / "curve.json").read_text())
    masked = [row["pixel_auroc"] for row in alone]  # the other category has no masks
    assert [row["pixel_auroc"] for row in found["separate"]["mlp"]] == pytest.approx(masked)
    assert (tmp_path / "curves.png").exists()
    assert (tmp_path / "reconstructions.png").exists()


def test_features_are_decoded_by_the_nearest_cell_of_the_bank():
    study, rng = script("identical_shortcut"), np.random.default_rng(0)
    features = rng.normal(size=(2, 3, 3, 5)).astype(np.float32)
    bank = rng.normal(size=(4, 3, 3, 5)).astype(np.float32)
    found = study.nearest_rows(features, bank)
    cells = bank.reshape(-1, 5)
    for i, y, x in np.ndindex(2, 3, 3):
        distances = [np.linalg.norm(features[i, y, x] - cell) for cell in cells]
        assert found[i, y, x] == np.argmin(distances)


def test_the_studys_uniad_has_its_own_settings_and_shares_the_others():
    study = script("identical_shortcut")
    common = study.feature_reconstruction.Config(size=64, grid=8, hidden=16, lr=1e-3)
    own = study.uniad.Config(mask_size=5, encoder_layers=1)
    _, cfg = study.chosen("uniad", common, own)
    assert (cfg.size, cfg.grid, cfg.lr, cfg.mask_size, cfg.encoder_layers) == (64, 8, 1e-3, 5, 1)
    assert cfg.hidden == own.hidden
    _, plain = study.chosen("cnn", common, own)
    assert (plain.network, plain.hidden) == ("cnn", 16)
    words = "--size 64 --mask-size 5 --grid 8 --hidden 16 --encoder-layers 1 --lr 1e-3 --epochs 3"
    options, *parsed = study.parsed(words.split())
    assert options.epochs == 3
    assert parsed == [common, own]


def test_the_benchmark_counts_what_xla_counts_less_what_need_not_be_done(key):
    bench = script("bench_uniad")
    cfg, channels = uniad.Config(encoder_layers=1, decoder_layers=1), 272
    features = jax.ShapeDtypeStruct((cfg.batch_size, cfg.grid, cfg.grid, channels), "float32")
    params = jax.eval_shape(lambda key: uniad.new_transformer(cfg, channels, key), key)
    lowered = jax.jit(partial(uniad.reconstruction, cfg)).lower(params, features)
    counted = lowered.cost_analysis()["flops"]
    ends = 2 * bench.dense_flops(cfg.batch_size * cfg.grid**2, channels, cfg.hidden)
    needed = bench.layers_flops(cfg) + ends
    assert needed < counted < 1.1 * needed  # what is not a product, and queries for each image
    backward_too = 3 * needed - ends / 2  # no gradient of the features
    assert bench.train_flops(cfg, channels) == pytest.approx(backward_too)
