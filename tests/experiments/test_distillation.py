"""The scripts of the distillation methods: what they count and refuse, and that they run."""

import json
import shlex

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scripts import category, script

from jaxad.cli.distil import WARM_UP, optimizer
from jaxad.detector import check_fields, override
from jaxad.methods import stfpm
from jaxad.nets.patch_network import PatchNetwork, geometry
from jaxad.weights.store import load_pretrained, save_pretrained


def test_the_sweep_has_every_choice_of_layers_once_and_starts_with_the_authors():
    study = script("sweep_stfpm")
    configs = study.swept(stfpm.Config(extractor="resnet18", weights=("resnet18",)))
    whole = ("layer1", "layer2", "layer3")
    assert configs[0].layers == whole
    assert configs[0].lr == 0.4
    assert len({cfg.layers for cfg in configs}) == 7
    assert {cfg.lr for cfg in configs if cfg.layers == whole} == set(study.RATES)
    assert len(set(configs)) == len(configs) == 10


@pytest.mark.slow
def test_the_sweep_leaves_tables_and_the_spread_over_seeds(tmp_path, capsys):
    category(tmp_path / "one", normal=4)
    settings = shlex.split(
        "--size 32 --batch-size 2 --steps 2 --seeds 2 --layers pool2,conv4 "
        "--extractor pdn_small --weights pdn_small"
    )
    words = [str(tmp_path / "out"), "--data", str(tmp_path / "one"), *settings]
    script("sweep_stfpm").main(words)
    lines = (tmp_path / "out" / "summary.txt").read_text().splitlines()
    assert len(lines) == 15  # six settings twice, two titles, and a gap
    assert lines[8] == "worst and best seed: image_auroc, pixel_auroc"
    assert lines[11].startswith("layers conv4, lr 0.4: ")
    assert (tmp_path / "out" / "layers.png").exists()


def test_settings_of_the_comparison_are_given_to_their_method():
    compare = script("compare_distillation")
    options, configs = compare.parsed(
        shlex.split("--size 64 --extractor resnet18 --weights resnet18 --stfpm.lr 0.2 --steps 7")
    )
    assert options.size == 64
    assert list(configs) == list(compare.METHODS)
    assert {(cfg.size, cfg.steps, cfg.batch_size) for cfg in configs.values()} == {(64, 7, 8)}
    assert configs["stfpm"].lr == 0.2
    assert configs["mkd"].lr == 1e-3
    sharing = [name for name, cfg in configs.items() if cfg.weights == ("resnet18",)]
    assert sharing == ["stfpm", "reverse_distillation", "mkd"]
    with pytest.raises(ValueError, match="mkd"):
        compare.parsed(["--methods", "stfpm", "--mkd.lr", "1"])
    with pytest.raises(ValueError, match=r"expected one of efficientad, .* not 'uniad'"):
        compare.parsed(["--methods", "uniad"])


def test_the_mean_over_categories_leaves_out_what_has_no_masks():
    compare = script("compare_distillation")
    one = {"image_auroc": [0.5, 1.0], "pixel_auroc": [0.5, 0.5], "aupro_0.3": [None, None]}
    two = {"image_auroc": [0.7, None], "pixel_auroc": [None, None], "aupro_0.3": [None, None]}
    found = compare.mean([one, two])
    assert found["image_auroc"] == [pytest.approx(0.6), None]
    assert found["pixel_auroc"] == [0.5, 0.5]
    assert compare.cell(found["image_auroc"]) == "0.6000"
    assert compare.cell(one["image_auroc"]) == "0.7500 ± 0.3536"
    assert compare.cell([]) == compare.cell([None]) == "-"


@pytest.mark.slow
def test_the_comparison_leaves_a_table_of_both_budgets(tmp_path, capsys):
    compare = script("compare_distillation")
    category(tmp_path / "one", normal=4)
    settings = shlex.split("--size 64 --batch-size 2 --steps 2 --seconds 0.01 --seeds 2")
    words = [str(tmp_path / "out"), "--data", str(tmp_path / "one"), *settings]
    for methods in ("stfpm", "stfpm,mkd"):  # the second adds to the first
        capsys.readouterr()
        compare.main([*words, "--methods", methods])
    found = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert found["settings"]["mkd"]["value"] == 0.5
    rows = found["rows"]
    assert [(row["budget"], row["method"]) for row in rows] == [
        ("2 steps", "stfpm"), ("2 steps", "mkd"), ("0.01 seconds", "stfpm"), ("0.01 seconds", "mkd")
    ]  # fmt: skip
    assert all(len(row["pixel_auroc"]) == 2 for row in rows)
    assert (tmp_path / "out" / "compare.txt").read_text() in capsys.readouterr().out


def test_the_benchmark_counts_what_the_layer_table_implies():
    bench = script("bench_distillation")
    cfg = override(bench.STUDENT, "batch_size=1")
    cells = lambda side, inputs, out, kernel: 2 * side**2 * kernel**2 * inputs * out
    stem, first = cells(128, 3, 64, 7), 4 * cells(64, 64, 64, 3)
    second = cells(32, 64, 128, 3) + 3 * cells(32, 128, 128, 3) + cells(32, 64, 128, 1)
    third = cells(16, 128, 256, 3) + 3 * cells(16, 256, 256, 3) + cells(16, 128, 256, 1)
    assert bench.student_flops(cfg) == 3 * (stem + first + second + third) - stem


def ramp(height, width):
    """A picture that tells where its pixels were: red is the column, green the row."""
    y, x = np.mgrid[:height, :width] + 0.5
    return np.uint8(np.stack([255 * x / width, 255 * y / height, 0 * x], -1))


@pytest.mark.parametrize("metric", [0.0, 1.0])
def test_patches_are_of_a_zoomed_picture_and_positives_lie_beside(metric):
    distil = script("distill_patch_teacher")
    cfg = distil.Config(patch=17, zoom=(4, 8), metric=metric)
    rng = np.random.default_rng(0)
    for _ in range(20):
        found = distil.views(ramp(200, 300), rng, cfg)
        assert set(found) == ({"anchor", "positive"} if metric else {"anchor"})
        anchor = found["anchor"].astype(float)
        assert anchor.shape == (17, 17, 3)
        for axis, channel in ((1, 0), (0, 1)):
            side = 255 / np.diff(anchor[..., channel], axis=axis).mean()  # of the zoomed picture
            assert 4 * 17 - 5 < side < 8 * 17 + 5
            if metric:
                apart = (found["positive"].astype(float) - anchor)[..., channel].mean()
                assert abs(apart * side / 255) < (17 - 1) // 4 + 0.5


def test_a_patch_is_that_part_of_the_resized_picture():
    distil = script("distill_patch_teacher")
    picture = ramp(120, 90)
    whole = np.asarray(Image.fromarray(picture).resize((68, 68), Image.Resampling.BILINEAR))
    patch = distil.patch_of(picture, 68, np.array([11, 40]), 17)
    assert np.abs(patch.astype(int) - whole[11:28, 40:57]).max() <= 2


SMALL = ("patch=17", "channels=4", "width=4", "batch_size=4", "enlarged=32")
EXTRACTOR = ("extractor=pdn_small", "layer=pool2", "decoder=16")


def test_the_losses_of_a_teacher_are_weighted_and_its_triplets_may_be_left_out(key):
    distil = script("distill_patch_teacher")
    cfg = override(distil.Config(), [*SMALL, *EXTRACTOR, "knowledge=2", "compactness=3"])
    params = distil.new_parameters(cfg)
    anchor, positive = jax.random.uniform(key, (2, 4, 17, 17, 3))
    batch, target = {"anchor": anchor, "positive": positive}, jnp.ones((4, 16))
    total, terms = jax.jit(distil.loss)(params, override(cfg, "metric=0.5"), target, batch)
    expected = 2 * terms["knowledge"] + 3 * terms["compactness"] + 0.5 * terms["metric"]
    assert float(total) == pytest.approx(float(expected), rel=1e-5)
    assert set(jax.eval_shape(distil.loss, params, cfg, target, batch)[1]) == {
        "knowledge", "compactness",
    }  # fmt: skip


def test_all_patches_of_a_triplet_lose_their_colours_together(key):
    distil = script("distill_patch_teacher")
    cfg = override(distil.Config(), ["grey=0.5", "metric=1"])
    anchor = jnp.broadcast_to(jnp.array([0.7, 0.4, 0.2]), (40, 2, 2, 3))
    found = distil.augmented(cfg, {"anchor": anchor, "positive": anchor}, key)
    spread = {name: np.ptp(np.asarray(x), -1).mean((1, 2)) for name, x in found.items()}
    grey = spread["anchor"] < 1e-3
    assert 5 < grey.sum() < 35
    assert spread["positive"][grey].max() < spread["positive"][~grey].min()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("patch=32", "patch=32: expected 17, 33, 65"),
        ("zoom=8,4", "the smaller one first"),
        ("layer=layer9", "no map 'layer9'"),
        ("metric=-1", "metric=-1"),
        ("steps=0", "steps=0"),
    ],
)
def test_settings_of_a_teacher_that_cannot_work_are_refused(setting, message):
    distil = script("distill_patch_teacher")
    distil.check(distil.Config())
    cfg = override(distil.Config(), setting)

    def checked():
        check_fields(cfg)
        distil.check(cfg)

    with pytest.raises(ValueError, match=message):
        checked()


def test_a_teachers_rate_rises_and_falls_and_another_does_not_recompile():
    """Of a gradient that stays, Adam's step is the rate."""
    distil, compilations = script("distill_patch_teacher"), []

    @jax.jit
    def moved(cfg):
        compilations.append(cfg)
        adam = optimizer(cfg)

        def step(carry, _):
            at, opt = carry
            update, opt = adam.update(jnp.float32(1), opt, at)
            return (at + update, opt), -update / cfg.lr

        start = jnp.float32(0), adam.init(jnp.float32(0))
        return jax.lax.scan(step, start, length=cfg.steps)[1]

    settings = [f"steps={3 * WARM_UP}", "cosine=true", "weight_decay=0"]
    cfg = override(distil.Config(), settings)
    share, again = moved(cfg), moved(override(cfg, "lr=1e-3"))
    expected = [0, 0.5, 1, 0.5, 0]  # half way up, at the top, half way down, and past the end
    at = np.array([0, 0.5, 1, 2, 3]) * WARM_UP
    np.testing.assert_allclose(
        share[np.minimum(at, cfg.steps - 1).astype(int)], expected, atol=0.01
    )
    np.testing.assert_allclose(share, again, rtol=1e-4)
    assert len(compilations) == 1


@pytest.mark.slow
def test_a_distilled_teacher_is_a_weight_set_and_a_complete_run_is_found(tmp_path, tiny, capsys):
    distil = script("distill_patch_teacher")
    save_pretrained(tmp_path / "pdn", jax.device_get(tiny("uniad")[2]["tiny"]), {})
    (tmp_path / "photographs").mkdir()
    for i in range(24):
        Image.fromarray(ramp(40 + i, 60)).save(tmp_path / "photographs" / f"{i:02d}.png")
    small = [word for setting in SMALL for word in f"--{setting.replace('_', '-')}".split("=")]
    command = [str(tmp_path / "photographs"), str(tmp_path / "run"), *small]
    weights = ["--extractor", "pdn_small", "--layer", "pool2", "--weights", str(tmp_path / "pdn")]
    weights += ["--metric", "1"]
    with pytest.raises(ValueError, match="pool2 of pdn_small has 16 channels: say decoder=16"):
        distil.main([*command, *weights, "--decoder", "512"])
    ends, sets = [], []
    for _ in range(2):
        distil.main([*command, *weights, "--decoder", "16", "--steps", "3"])
        ends.append(capsys.readouterr().out.splitlines()[-1])
        name = str(tmp_path / "run" / "weights")
        sets.append(load_pretrained(name)[name])
    assert ends[0].startswith("step 3: held-out error")
    assert ends[0] == ends[1]
    jax.tree.map(np.testing.assert_array_equal, *sets)
    assert geometry(sets[0], dense=True).network == PatchNetwork(17, 4, 4)
