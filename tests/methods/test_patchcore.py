"""PatchCore against the authors' code and anomalib's, and against slow loops."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import weights_b
from weights import images, nchw, nhwc, parameters

from jaxad import compile, sweep, training
from jaxad.data.pictures import image_set
from jaxad.detector import check_settings, override
from jaxad.methods import patchcore
from jaxad.methods.patchcore import Config, Stats
from jaxad.nets import convert, patch_features
from jaxad.ops import coreset, maps, neighbours, pool

DETECTOR = patchcore.DETECTOR


def authors(golden, output, rows):
    """Rows of patches as the authors have them: pictures first, then rows, then columns."""
    assert golden.error(output, rows.reshape(-1, rows.shape[-1])) < golden.tolerance(output), output


@pytest.mark.parametrize("patch", [3, 5])
def test_patchcore_embedding_of_the_authors(golden, patch):
    golden = golden("patchcore_embedding")
    x, said = weights_b.inputs(golden.info), golden.info["settings"]
    maps_ = [nhwc(x["fine"]), nhwc(x["coarse"])]
    with jax.default_matmul_precision("highest"):
        rows = patch_features.patchcore(
            list(map(jnp.asarray, maps_)), said["target"], said["pretrain"], patch
        )
    authors(golden, f"authors_p{patch}", rows)


def test_patchcore_embedding_of_a_wide_network(golden):
    golden = golden("patchcore_embedding")
    x = weights_b.inputs(golden.info)
    layers = [jnp.asarray(nhwc(x[f"wide_{name}"])) for name in ("fine", "coarse")]
    with jax.default_matmul_precision("highest"):
        authors(golden, "authors_wide", patch_features.patchcore(layers))


def test_patchcore_embedding_of_anomalib(golden):
    golden = golden("patchcore_embedding")
    x = weights_b.inputs(golden.info)
    layers = [jnp.asarray(nhwc(x[name])) for name in ("fine", "coarse")]
    found = nchw(patch_features.local_average(layers))
    assert golden.error("anomalib", found) < golden.tolerance("anomalib")


def scored(golden, bank, features, shape):
    """Compares scores and maps of given patch features, by all three rules."""
    cfg = Config(size=shape[0])

    def same(name, found):
        assert golden.error(name, found) < golden.tolerance(name), name

    with jax.default_matmul_precision("highest"):
        distance = patchcore.patch_scores(cfg, bank, features)
        same("distance", distance)
        flat = features.reshape(-1, features.shape[-1])
        index = neighbours.nearest_rows(bank, flat).reshape(distance.shape)
        np.testing.assert_array_equal(
            np.asarray(index).reshape(-1), golden.arrays["nearest_index"].reshape(-1)
        )
        map_ = maps.gaussian_blur(maps.resize(distance, shape), 4.0, "reflect")
        same("bilinear_map", map_[:, None])
        _, query = patchcore.worst(distance, features)
        for name in golden.info["outputs"]:
            if name.startswith("score_b"):
                weight = patchcore.weight(bank, query, float(name.removeprefix("score_b")))
                same(name, distance.max((1, 2)) * weight)
            if name.startswith("authors_k") and name.endswith("_patch"):
                prefix = name.removesuffix("_patch")
                k = int(prefix.removeprefix("authors_k"))
                rule = dataclasses.replace(cfg, score="authors", nearest=k)
                cells = patchcore.patch_scores(rule, bank, features)
                same(name, cells)
                same(f"{prefix}_score", cells.max((1, 2)))
                same(f"{prefix}_map", maps.gaussian_blur(maps.resize(cells, shape), 4.0))


def test_patchcore_score_by_all_three_rules(golden):
    golden = golden("patchcore_score")
    x = weights_b.inputs(golden.info)
    shape = tuple(golden.info["settings"]["size"])
    scored(golden, neighbours.bank(jnp.asarray(x["bank"])), jnp.asarray(x["query"]), shape)


@pytest.fixture(scope="module")
def from_images(golden):
    """Settings, weights, and both sets' patch features of the golden that begins with images."""
    golden = golden("patchcore")
    tree = convert.resnet(parameters(golden.info["networks"]["backbone"]))
    cfg = Config(
        size=golden.info["settings"]["test"][-1], extractor="resnet18", weights=("resnet18",),
        layers=tuple(golden.info["settings"]["layers"]),
    )  # fmt: skip
    pretrained = {"resnet18": tree}
    with jax.default_matmul_precision("highest"):
        embed = compile.jit(patchcore.embed)
        found = {
            name: embed(cfg, pretrained, nhwc(images(golden.info["images"][name])))
            for name in ("train", "test")
        }
    return golden, cfg, pretrained, found


def test_patchcore_embeds_images(from_images):
    golden, _, _, found = from_images
    for name, features in found.items():
        name = f"embedding_{name}"
        assert golden.error(name, nchw(features)) < golden.tolerance(name)


def test_patchcore_chooses_and_scores_images(from_images):
    golden, cfg, _, found = from_images
    said, width = golden.info["settings"], found["train"].shape[-1]
    vectors = found["train"].reshape(-1, width)
    size = int(len(vectors) * said["ratio"])
    first = coreset.from_row(said["start"], len(vectors))
    chosen = coreset.greedy(vectors, size, first)
    np.testing.assert_array_equal(chosen.indexes, golden.arrays["coreset_index"])
    bank = neighbours.bank(vectors[chosen.indexes])
    scored(golden, bank, found["test"], (cfg.size, cfg.size))


# What a run of the detector does, on random features of a small network.


@pytest.fixture
def learned(tiny, key):
    """Settings -> what a detector with them learned of the tiny pictures, and those."""

    def learned(pictures=None, **settings):
        _, cfg, pretrained, data, _ = tiny("patchcore")
        cfg = dataclasses.replace(cfg, **settings)
        if pictures is None:
            pictures = image_set(data.train, cfg.size)
        state = compile.init(DETECTOR)(cfg, pretrained, key)
        return cfg, pretrained, DETECTOR.measure(cfg, pretrained, state, pictures), pictures

    return learned


def patches_of(cfg, pretrained, pictures):
    return np.asarray(compile.of_pictures(DETECTOR.embed)(cfg, pretrained, pictures))


def test_every_row_of_the_bank_is_the_patch_that_its_origin_names(learned):
    cfg, pretrained, state, pictures = learned(views="all", capacity=40)
    stats: Stats = state.stats
    assert int(stats.count) == 40
    assert set(np.asarray(stats.origins)[:, 1]) > {0}
    features = np.asarray(compile.of_pictures(patchcore.described)(cfg, pretrained, pictures))
    origins = tuple(np.asarray(stats.origins).T)
    np.testing.assert_allclose(
        np.asarray(stats.rows + stats.centre[None]), features[origins], rtol=1e-4, atol=1e-4
    )


def test_a_bank_with_place_for_all_patches_takes_all_and_says_so(learned, caplog):
    with caplog.at_level("INFO"):
        cfg, pretrained, state, pictures = learned(capacity=2000)
    features = patches_of(cfg, pretrained, pictures)
    assert int(state.stats.count) == features[..., 0].size
    assert f"takes all {features[..., 0].size} patches: capacity=2000" in caplog.text
    assert (np.asarray(state.stats.origins)[features[..., 0].size :] == pool.NOWHERE).all()
    found = compile.predict(DETECTOR)(cfg, pretrained, state, pictures)
    assert float(found.score.max()) < 1e-2 * np.abs(features).max()


def test_fewer_patches_are_drawn_than_there_are_and_the_log_says_so(learned, caplog):
    with caplog.at_level("INFO"):
        cfg, pretrained, state, pictures = learned(capacity=10, sample=64)
    total = patches_of(cfg, pretrained, pictures)[..., 0].size
    assert f"among 64 of {total} patches, drawn at random (sample=64)" in caplog.text
    assert int(state.stats.count) == 10


def test_constant_pictures_leave_one_row_and_the_log_says_so(learned, caplog):
    with caplog.at_level("INFO"):
        _, _, state, _ = learned(pictures=np.full((5, 64, 64, 3), 128, np.uint8), capacity=300)
    assert int(state.stats.count) < 300
    assert "all other patches equal one that it has" in caplog.text


@pytest.mark.parametrize("count", [1, *(pytest.param(x, marks=pytest.mark.slow) for x in (2, 4))])
def test_a_few_pictures_are_enough_and_turned_ones_make_more(learned, striped, count):
    train = striped(64).train
    pictures = np.stack([train[i]["image"] for i in range(count)])
    quarter, scores = np.rot90(pictures, 1, (1, 2)).copy(), []
    for views, several in (("as_is", 1), ("all", 8)):
        cfg, pretrained, state, _ = learned(pictures, views=views, capacity=3000)
        cells = patches_of(cfg, pretrained, pictures)[..., 0].size
        assert int(state.stats.count) == min(several * cells, 3000)
        scores.append(compile.predict(DETECTOR)(cfg, pretrained, state, quarter).score.mean())
    assert scores[1] < scores[0]


def test_of_a_training_picture_the_nearest_place_is_its_own(learned):
    noise = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
    cfg, pretrained, state, _ = learned(noise, capacity=2000)
    found = compile.of_pictures(DETECTOR.nearest)(cfg, pretrained, state, noise)
    np.testing.assert_array_equal(found.picture, np.arange(4))
    np.testing.assert_allclose(found.place, found.at, atol=1e-6)
    turned = np.rot90(noise, 1, (1, 2)).copy()
    cfg, pretrained, state, _ = learned(noise, capacity=8192, views="turns")
    found = compile.of_pictures(DETECTOR.nearest)(cfg, pretrained, state, turned)
    np.testing.assert_array_equal(found.picture, np.arange(4))
    top, left, bottom, right = found.at.T  # of a picture turned counterclockwise
    np.testing.assert_allclose(found.place.T, [left, 1 - bottom, right, 1 - top], atol=1e-5)


def test_a_bank_of_one_row_has_a_score_by_every_rule(learned):
    for score in ("plain", "paper", "authors"):
        cfg, pretrained, state, pictures = learned(capacity=1, score=score)
        found = compile.predict(DETECTOR)(cfg, pretrained, state, 255 - pictures)
        assert (found.score > 0).all()


def test_a_run_with_a_half_bank_is_read_back_as_it_was_saved(learned, tiny, key, tmp_path):
    _, cfg, pretrained, data, _ = tiny("patchcore")
    cfg = dataclasses.replace(cfg, bank="bfloat16")
    arguments = DETECTOR, cfg, pretrained, data, key, tmp_path
    saved, again = training.run(*arguments), training.run(*arguments)
    for one, other in zip(jax.tree.leaves(saved), jax.tree.leaves(again), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_features_too_large_for_a_half_bank_are_refused(learned, tiny, key):
    _, cfg, pretrained, data, _ = tiny("patchcore")
    large = jax.tree.map(lambda x: x * 40.0, pretrained)
    cfg = dataclasses.replace(cfg, bank="float16")
    state = compile.init(DETECTOR)(cfg, large, key)
    with pytest.raises(FloatingPointError, match="too large for bank=float16: take bfloat16"):
        DETECTOR.measure(cfg, large, state, image_set(data.train, cfg.size))


def test_sweeps_plan_members_without_steps_on_accelerators_too(tiny, monkeypatch):
    detector, cfg, pretrained, data, _ = tiny("patchcore")
    monkeypatch.setattr(compile, "executor", lambda: compile.TOGETHER)
    configs = sweep.grid(cfg, blur=[1.0, 2.0])
    keys = jax.random.split(jax.random.key(0), 1)
    members = sweep.fit(detector, configs, pretrained, data, keys)
    monkeypatch.undo()
    scores = sweep.evaluate(detector, configs, pretrained, members, data.test)
    assert "image_auroc" in str(sweep.text(configs, scores))


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_a_bank_of_half_precision_gives_nearly_the_same_maps(learned, kind):
    cfg, pretrained, state, pictures = learned()
    half, _, other, _ = learned(bank=kind)
    assert other.stats.rows.dtype == jnp.dtype(kind)
    one = compile.predict(DETECTOR)(cfg, pretrained, state, 255 - pictures)
    two = compile.predict(DETECTOR)(half, pretrained, other, 255 - pictures)
    np.testing.assert_allclose(two.map, one.map, rtol=0.02)


def test_the_authors_start_and_projection_fill_the_bank_too(learned):
    _, _, state, _ = learned(start="mean", projection=4, capacity=20)
    assert int(state.stats.count) == 20


def test_banks_of_several_categories_are_searched_at_once(learned):
    cfg, pretrained, one, pictures = learned()
    _, _, other, _ = learned(pictures=255 - pictures)
    both = jax.tree.map(lambda *x: jnp.stack(x), one, other)
    many = jax.vmap(DETECTOR.predict, (None, None, 0, None))
    together = jax.jit(many)(cfg, pretrained, both, pictures)
    for i, state in enumerate((one, other)):
        alone = compile.predict(DETECTOR)(cfg, pretrained, state, pictures)
        np.testing.assert_allclose(together.map[i], alone.map, rtol=1e-3, atol=2e-3)


def test_features_that_are_not_finite_are_refused(learned, tiny, key):
    _, cfg, pretrained, _, _ = tiny("patchcore")
    spoiled = jax.tree.map(lambda x: x * jnp.nan, pretrained)
    state = compile.init(DETECTOR)(cfg, spoiled, key)
    with pytest.raises(FloatingPointError, match="features of pdn_small are not finite"):
        DETECTOR.measure(cfg, spoiled, state, np.zeros((2, 64, 64, 3), np.uint8))


def test_settings_that_cannot_work_say_what_would():
    with pytest.raises(ValueError, match=r"capacity=0: expected 1 or more"):
        check_settings(DETECTOR, override(Config(), "capacity=0"))
    with pytest.raises(ValueError, match=r"layers=stem,head: a cell of head covers 32 pixels"):
        check_settings(DETECTOR, Config(layers=("stem", "head")))
    with pytest.raises(ValueError, match="patch=4: expected an odd number"):
        check_settings(DETECTOR, Config(patch=4))
    with pytest.raises(ValueError, match=r"steps=3: expected 0, patchcore takes no steps"):
        check_settings(DETECTOR, Config(steps=3))


def test_a_bank_that_does_not_fit_says_how_much_and_what_to_set(tiny, key):
    _, cfg, pretrained, _, _ = tiny("patchcore")
    large = dataclasses.replace(cfg, capacity=10**13)
    with pytest.raises(MemoryError, match=r"capacity=10000000000000 rows of .* GB.*smaller cap"):
        DETECTOR.init(large, pretrained, key)
