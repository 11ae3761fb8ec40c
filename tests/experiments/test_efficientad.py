"""The scripts: what they count, and that they run."""

import json
import shlex

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scripts import script
from weights import parameters

from jaxad.methods import efficientad
from jaxad.nets.pdn import PDN
from jaxad.weights.store import load_pretrained


def pictures(folder, count, side=40):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        pixels = rng.integers(0, 256, (side, side, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02d}.png")


def test_the_benchmark_counts_what_the_papers_tables_imply():
    bench = script("bench_efficientad")
    small, medium = efficientad.Config(), efficientad.Config(medium=True)
    assert bench.pdn_flops(small, 384, 384, None)[0] == pytest.approx(30.6e9, rel=0.01)
    assert bench.pdn_flops(small, 768, 768, None)[0] == pytest.approx(40.5e9, rel=0.01)
    assert bench.predict_flops(small) == pytest.approx(76e9, rel=0.01)  # section 4: 76 and 235
    assert bench.predict_flops(medium) == pytest.approx(235e9, rel=0.01)


@pytest.mark.parametrize("width", [None, 64])
def test_the_benchmark_counts_what_xla_counts(width):
    bench = script("bench_efficientad")
    pdn, image = PDN(channels=768, width=width), jnp.zeros((1, 256, 256, 3))
    params = jax.eval_shape(pdn.init, jax.random.key(0), image)
    counted = jax.jit(pdn.apply).lower(params, image).cost_analysis()["flops"]
    flops, _ = bench.pdn_flops(efficientad.Config(), 768, 768, width)
    assert flops == pytest.approx(counted, rel=0.02)
    default, narrow = efficientad.Config(), efficientad.Config(student_width=width)
    saved = bench.predict_flops(default) - bench.predict_flops(narrow)
    assert saved == bench.pdn_flops(default, 768, 768, None)[0] - flops


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
def test_distillation_leaves_a_weight_set_and_finds_itself_complete(
    golden, tmp_path, capsys, monkeypatch
):
    distill = script("distill_pdn")
    monkeypatch.setattr(distill, "BATCHES_FOR_MOMENTS", 2)
    backbone = golden("backbone_resnet18").info["networks"]["backbone"]
    np.savez(tmp_path / "resnet18.npz", **parameters(backbone))
    pictures(tmp_path / "photographs", 24)
    places = [str(tmp_path / name) for name in ("resnet18.npz", "photographs", "run")]
    command = [*places, "--size", "64", "--batch-size", "2", "--steps", "3"]
    ends, sets = [], []
    for _ in range(2):
        distill.main(command)
        ends.append(capsys.readouterr().out.splitlines()[-1])
        name = str(tmp_path / "run" / "weights")
        sets.append(load_pretrained(name)[name])
    assert ends[0].startswith("step 3: held-out error")
    assert ends[0] == ends[1]
    jax.tree.map(np.testing.assert_array_equal, *sets)
    claim = json.loads((tmp_path / "run" / "run.json").read_text())
    assert claim["pictures"]["count"] == 24
    with pytest.raises(ValueError, match=r"lr is .* there"):
        distill.main([*command, "--lr", "1e-3"])
    distill.main([*command[:-1], "5"])  # more steps go on
    assert capsys.readouterr().out.splitlines()[-1].startswith("step 5: held-out error")


def test_the_ablation_differs_from_its_base_in_one_thing_at_a_time():
    ablation = script("sweep_efficientad")
    base, *others = ablation.trained_settings(ablation.SMALL)
    assert base == ablation.SMALL
    for cfg in others:
        changed = [f for f in vars(cfg) if getattr(cfg, f) != getattr(base, f)]
        assert changed in (["p_hard"], ["penalty"])
    assert {cfg.p_hard for cfg in (base, *others)} == set(ablation.P_HARD)


@pytest.mark.slow
def test_the_ablation_leaves_two_tables(tmp_path, capsys):
    settings = shlex.split(
        "--seeds 1 --steps 2 --size 64 --autoencoder-kernel 2 --student-width 8 "
        "--rendered 10 --rendered-test 2,1"
    )
    script("sweep_efficientad").main([str(tmp_path), *settings])
    printed = capsys.readouterr().out
    assert "What is trained" in printed
    for name in ("training", "maps"):
        assert (tmp_path / name / "sweep.csv").exists()
        assert "image_auroc" in (tmp_path / name / "summary.txt").read_text()
    assert (tmp_path / "maps" / "q_a.png").exists()
