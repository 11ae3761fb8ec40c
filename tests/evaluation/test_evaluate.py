"""Evaluation of a detector that takes brightness for an anomaly, on pictures in memory."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxad.data.source import Record, Region
from jaxad.detector import Detector, Prediction, State, config, static
from jaxad.evaluation import metrics
from jaxad.evaluation.evaluate import evaluate
from jaxad.evaluation.results import joined, mean
from jaxad.evaluation.text import table

STATE = State(jnp.int32(0), (), (), ())


@config
class Config:
    size: int = static(16)
    batch_size: int = static(4)
    steps: int = static(1)
    weights: tuple[str, ...] = static(())


def brightness(cfg, pretrained, state, images):
    """A predict whose map is the grey value, whole numbers."""
    map = jnp.round(255 * images[..., 0])
    return Prediction(map, map.max((1, 2)))


def detector(predict=brightness):
    def unused(*arguments):
        raise AssertionError("evaluation only predicts")

    return Detector(
        name="brightness", Config=Config, init=unused, train_step=unused, calibrate=unused,
        predict=predict,
    )  # fmt: skip


class Pictures:
    """Grey noise, brighter in a box where anomalous; made anew from the index."""

    has_masks, has_regions = True, False

    def __init__(self, records, sides=(16,)):
        self.records, self.sides = tuple(records), sides

    def __len__(self):
        return len(self.records)

    def __repr__(self):
        return f"Pictures({len(self)})"

    def __getitem__(self, index):
        rng = np.random.default_rng([7, index])
        side = self.sides[index % len(self.sides)]
        mask = np.zeros((side, side + side // 4), np.uint8)
        if self.records[index].label:
            top, left = rng.integers(0, side // 2, 2)
            mask[top : top + side // 4, left : left + side // 3] = 1
        grey = rng.integers(0, 160, mask.shape) + 40 * mask
        image = np.repeat(grey[..., None], 3, -1).astype(np.uint8)
        return {"image": image, "mask": mask, "label": self.records[index].label, "index": index}

    def regions(self, index):
        mask = self[index]["mask"] > 0
        return [Region(mask, int(mask.sum()) // 2)]


def records(category="bottle", counts=None, kinds=None):
    counts = counts or {"good": 5, "crack": 3, "hole": 2}
    return [
        Record(f"{defect}/{i:03d}", category, defect, (kinds or {}).get(defect, ""))
        for defect, count in counts.items()
        for i in range(count)
    ]


def by_hand(source):
    """Maps at the masks' sizes and image scores, one picture at a time."""
    maps, scores = [], []
    for index in range(len(source)):
        item = source[index]
        size = (Config.size, Config.size)
        image = Image.fromarray(item["image"]).resize(size, Image.Resampling.BILINEAR)
        map = np.asarray(image, np.float32)[..., 0]
        scores.append(map.max())
        height, width = item["mask"].shape
        maps.append(
            np.asarray(Image.fromarray(map).resize((width, height), Image.Resampling.BILINEAR))
        )
    return maps, np.array(scores)


def run(source, predict=brightness, **keywords):
    return evaluate(detector(predict), Config(), {}, STATE, source, **keywords)


def test_metrics_are_those_of_the_maps_at_the_size_of_the_masks():
    source = Pictures(records(), sides=(16, 24, 40))
    found = run(source).categories["bottle"].metrics
    maps, scores = by_hand(source)
    labels = np.array([record.label for record in source.records])
    masks = [source[i]["mask"] for i in range(len(source))]
    pixels, truth = (np.concatenate([x.ravel() for x in several]) for several in (maps, masks))
    expected = {
        "image_auroc": metrics.auroc(scores, labels),
        "image_average_precision": metrics.average_precision(scores, labels),
        "image_f1_max": metrics.f1_max(scores, labels)[0],
        "image_f1_max_threshold": metrics.f1_max(scores, labels)[1],
        "pixel_auroc": metrics.auroc(pixels, truth),
        "pixel_average_precision": metrics.average_precision(pixels, truth),
        "pixel_f1_max": metrics.f1_max(pixels, truth)[0],
        "pixel_f1_max_threshold": metrics.f1_max(pixels, truth)[1],
        "aupro_0.3": metrics.aupro(maps, masks, 0.3),
        "aupro_0.05": metrics.aupro(maps, masks, 0.05),
    }
    assert found == pytest.approx(expected)
    assert 0.5 < found["pixel_auroc"] < 1


@pytest.mark.parametrize("kinds", [{}, {"crack": "structural", "hole": "logical"}])
def test_each_defect_is_measured_with_the_normal_pictures(kinds):
    source = Pictures(records(kinds=kinds), sides=(16, 24))
    found = run(source).categories["bottle"]
    assert list(found.defects) == ["crack", "hole"]
    for defect, kept in [("crack", range(8)), ("hole", [0, 1, 2, 3, 4, 8, 9])]:
        alone = Chosen(source, list(kept))
        maps, scores = by_hand(alone)
        masks = [alone[i]["mask"] for i in range(len(alone))]
        pixels, truth = (np.concatenate([x.ravel() for x in several]) for several in (maps, masks))
        labels = np.array([record.label for record in alone.records])
        expected = {
            "image_auroc": metrics.auroc(scores, labels),
            "pixel_auroc": metrics.auroc(pixels, truth),
            "pixel_average_precision": metrics.average_precision(pixels, truth),
            "aupro_0.3": metrics.aupro(maps, masks, 0.3),
            "aupro_0.05": metrics.aupro(maps, masks, 0.05),
        }
        values = found.defects[defect]
        assert {name: values[name] for name in expected} == pytest.approx(expected)
    assert found.defects["crack"] != found.defects["hole"]
    assert (found.normal, found.anomalous) == (5, 5)


def test_a_defect_of_two_kinds_counts_in_both_and_once_by_its_type():
    pool = records("cap", {"good": 4}) + [
        Record(f"bent/{i}", "cap", "bent", "logical" if i % 2 else "structural") for i in range(6)
    ]
    found = run(Pictures(pool)).categories["cap"]
    without = run(Pictures([record._replace(kind="") for record in pool])).categories["cap"]
    assert list(found.kinds) == ["logical", "structural"]
    assert found.defects == {"bent": pytest.approx(without.metrics)}
    assert without.defects["bent"] == without.metrics


def test_scores_carry_name_and_label_in_the_order_of_the_source():
    source = Pictures(records())
    pictures = run(source).pictures
    assert [record for record, _ in pictures] == list(source.records)
    np.testing.assert_allclose([score for _, score in pictures], by_hand(source)[1])


@pytest.mark.parametrize("batch_size", [1, 3, 10, 64])
def test_results_do_not_depend_on_the_batch_size_and_compile_once(batch_size):
    shapes = []

    def predict(cfg, pretrained, state, images):
        shapes.append(images.shape)
        return brightness(cfg, pretrained, state, images)

    source = Pictures(records())
    found = run(source, predict, batch_size=batch_size)
    assert shapes == [(batch_size, 16, 16, 3)]
    assert found.mean == pytest.approx(run(source).mean)


def test_visit_sees_every_picture_once_with_its_map():
    source = Pictures(records(), sides=(16, 24))
    seen = {}

    def visit(index, item, map, score):
        assert index == item["index"]
        assert index not in seen
        seen[index] = map, score

    run(source, visit=visit)
    maps, scores = by_hand(source)
    assert sorted(seen) == list(range(len(source)))
    for index, (map, score) in seen.items():
        assert map.shape == source[index]["mask"].shape
        np.testing.assert_allclose(map, maps[index])
        assert score == pytest.approx(scores[index])


def test_categories_are_never_mixed():
    one, two = records("bottle"), records("cable", {"good": 2, "cut": 4})
    mixed = [record for pair in zip(one, two, strict=False) for record in pair] + one[len(two) :]
    found = run(Pictures(mixed))
    assert list(found.categories) == ["bottle", "cable"]
    for name in found.categories:
        kept = [i for i, record in enumerate(mixed) if record.category == name]
        alone = Chosen(Pictures(mixed), kept)
        expected = run(alone).categories[name].metrics
        assert found.categories[name].metrics == pytest.approx(expected)
    for metric, value in found.mean.items():
        values = [category.metrics[metric] for category in found.categories.values()]
        assert value == pytest.approx(np.mean(values))
    assert not any(name.endswith("_threshold") for name in found.mean)
    assert "mean" in str(found)


class Chosen:
    """Some pictures of a source."""

    def __init__(self, source, indices):
        self.source, self.indices = source, indices
        self.records = tuple(source.records[i] for i in indices)
        self.has_masks, self.has_regions = source.has_masks, source.has_regions

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, index):
        return {**self.source[self.indices[index]], "index": index}

    def regions(self, index):
        return self.source.regions(self.indices[index])


def test_kinds_are_measured_with_the_normal_pictures_and_averaged():
    counts = {"good": 4, "dent": 6, "missing": 2}
    source = Pictures(
        records("pushpins", counts, {"dent": "structural", "missing": "logical"}),
        sides=(16, 24),
    )
    source.has_regions = True
    found = run(source).categories["pushpins"]
    assert list(found.kinds) == ["logical", "structural"]
    for kind, kept in [("structural", range(10)), ("logical", [0, 1, 2, 3, 10, 11])]:
        alone = Chosen(source, list(kept))
        maps, scores = by_hand(alone)
        labels = np.array([record.label for record in alone.records])
        assert found.kinds[kind]["image_auroc"] == pytest.approx(metrics.auroc(scores, labels))
        regions = [alone.regions(i) if labels[i] else [] for i in range(len(alone))]
        for limit in (0.01, 0.05, 0.1, 0.3, 1.0):
            expected = metrics.au_spro(maps, regions, limit)
            assert found.kinds[kind][f"au_spro_{limit}"] == pytest.approx(expected)
    for name, value in found.metrics.items():
        both = [found.kinds[kind][name] for kind in found.kinds]
        assert value == pytest.approx(np.mean(both)), name
    pool = metrics.auroc(by_hand(source)[1], np.array([r.label for r in source.records]))
    assert found.metrics["image_auroc"] != pytest.approx(pool, abs=1e-3)
    assert set(found.curves) == {"image_roc", "pixel_roc", "pro", "spro"}


def test_without_masks_there_are_image_metrics_only():
    source = Pictures(records())
    source.has_masks = False
    found = run(source)
    values = found.categories["bottle"].metrics
    assert all((value is None) == ("image" not in name) for name, value in values.items())
    assert found.mean["pixel_auroc"] is None
    assert found.mean["image_auroc"] > 0.5
    assert set(found.categories["bottle"].curves) == {"image_roc"}
    assert "no masks" in str(found)
    assert "AUPRO" not in str(found)
    assert found.as_dict()["mean"]["aupro_0.3"] is None
    values = found.categories["bottle"].defects["crack"]
    assert all((value is None) == ("image" not in name) for name, value in values.items())


def test_with_normal_pictures_only_metrics_are_undefined():
    found = run(Pictures(records(counts={"good": 3})))
    assert np.isnan(list(found.mean.values())).all()
    assert found.categories["bottle"].defects == {}
    assert set(found.as_dict()["mean"].values()) == {None}
    assert "bottle" in str(found)
    assert "no masks" not in str(found)


@pytest.mark.parametrize("kinds", [{}, {"crack": "structural", "hole": "logical"}])
@pytest.mark.parametrize("exact_pixels", [2**27, 100])
def test_without_normal_pictures_image_metrics_are_undefined_and_pixels_have_background(
    kinds, exact_pixels
):
    pool = records(counts={"crack": 3, "hole": 2}, kinds=kinds)
    found = run(Pictures(pool), exact_pixels=exact_pixels)
    category = found.categories["bottle"]
    for row in (category.metrics, *category.kinds.values(), *category.defects.values()):
        for name, value in row.items():
            assert np.isnan(value) == name.startswith("image"), name
    assert (category.normal, category.anomalous) == (0, 5)
    assert len(category.curves["image_roc"][0]) == 0
    assert len(category.curves["pixel_roc"][0]) > 0
    assert found.as_dict()["mean"]["image_average_precision"] is None
    said = "bottle: image metrics are undefined: there are no normal test pictures"
    assert str(found).splitlines()[-1] == said
    assert str(found).count("undefined") == 1
    assert str(found).splitlines()[1].split()[:6] == ["bottle", "0", "5", "-", "-", "-"]


def test_normal_pictures_that_only_one_category_lacks_are_lacking_there_alone():
    pool = records("bottle", {"good": 3, "crack": 2}) + records("bolt", {"crack": 2})
    pool += records("cookie", {"good": 2})
    found = run(Pictures(pool))
    bottle, bolt, cookie = (found.categories[x].metrics for x in ("bottle", "bolt", "cookie"))
    assert np.isnan([bolt["image_average_precision"], bolt["image_f1_max"]]).all()
    assert found.mean["image_f1_max"] == bottle["image_f1_max"]
    assert found.mean["pixel_auroc"] == np.mean([bottle["pixel_auroc"], bolt["pixel_auroc"]])
    assert np.isnan(found.categories["bolt"].defects["crack"]["image_average_precision"])
    assert np.isfinite(found.categories["bottle"].defects["crack"]["image_average_precision"])
    assert np.isnan(list(cookie.values())).all()
    assert str(found).split("test labels\n")[1].splitlines() == [
        "bolt: image metrics are undefined: there are no normal test pictures",
        "cookie: image metrics and pixel metrics are undefined: there are no anomalous test "
        "pictures",
        "the mean of image metrics is over 1 of 3 categories",
        "the mean of pixel metrics is over 2 of 3 categories",
    ]


class Marked(Pictures):
    """Masks of the defect "crack" mark nothing or everything."""

    def __init__(self, records, value):
        super().__init__(records)
        self.value = value

    def __getitem__(self, index):
        item = super().__getitem__(index)
        if self.records[index].defect == "crack":
            item["mask"][:] = self.value
        return item


def test_a_type_of_defect_that_the_masks_do_not_mark_has_no_pixel_metrics():
    found = run(Marked(records(), 0))
    cracks = found.categories["bottle"].defects["crack"]
    assert all(np.isnan(value) == ("image" not in name) for name, value in cracks.items())
    assert np.isfinite(list(found.mean.values())).all()
    why = "it has no masks, or they mark nothing or everything"
    said = f"bottle/crack: pixel metrics are undefined: {why}"
    assert str(found).splitlines()[-1] == said


def test_without_a_background_pixel_metrics_are_undefined():
    metrics = run(Marked(records(counts={"crack": 3}), 1)).categories["bottle"].metrics
    assert np.isnan(list(metrics.values())).all()


def test_a_category_without_masks_beside_one_with_masks_says_so():
    with_masks, without = Pictures(records("cap")), Pictures(records("bolt"))
    without.has_masks = False
    found = joined([run(with_masks), run(without)])
    assert "bolt: pixel metrics are undefined: its data set has no masks" in str(found)
    assert "the mean of pixel metrics is over 1 of 2 categories" in str(found)
    assert found.mean["pixel_auroc"] == found.categories["cap"].metrics["pixel_auroc"]


def test_a_mean_is_undefined_where_no_row_defines_it_and_missing_where_none_has_it():
    found = mean([{"a": np.nan, "b": None, "c": 1.0}, {"a": None, "b": None, "c": np.nan}])
    assert np.isnan(found["a"])
    assert found == {"a": found["a"], "b": None, "c": 1.0}


def test_an_undefined_category_is_left_out_of_the_mean():
    mixed = records("bottle") + records("cable", {"good": 2})
    found = run(Pictures(mixed))
    assert np.isnan(found.categories["cable"].metrics["image_auroc"])
    assert found.mean["image_auroc"] == found.categories["bottle"].metrics["image_auroc"]


def test_beyond_the_exact_pixels_metrics_are_flagged_and_within_their_error():
    counts = {"good": 4, "dent": 4, "missing": 4}
    source = Pictures(records("pushpins", counts, {"dent": "structural", "missing": "logical"}))
    exact, found = run(source), run(source, exact_pixels=1000)
    assert found.approximate
    assert not exact.approximate
    truth, category = exact.categories["pushpins"], found.categories["pushpins"]
    assert truth.errors == {}
    for name, error in category.errors.items():
        if not name.endswith("_threshold"):
            kinds = [(category.kinds[kind], truth.kinds[kind]) for kind in truth.kinds]
            types = [(category.defects[x], truth.defects[x]) for x in truth.defects]
            for a, b in [*kinds, *types, (category.metrics, truth.metrics)]:
                assert abs(a[name] - b[name]) <= error + 1e-9, name
    for name in ("image_auroc", "image_f1_max"):
        assert category.metrics[name] == truth.metrics[name]
    assert "approximate" in str(found)
    assert "approximate" not in str(exact)
    assert found.as_dict()["approximate"]


@pytest.mark.parametrize("bad", ["map", "score"])
def test_what_is_not_finite_is_named(bad):
    def predict(cfg, pretrained, state, images):
        map, score, _ = brightness(cfg, pretrained, state, images)
        wrong = jnp.where(score == 255, jnp.nan, 0.0)
        return Prediction(map + wrong[:, None, None] if bad == "map" else map, wrong)

    class OneWhite(Pictures):
        def __getitem__(self, index):
            item = super().__getitem__(index)
            return {**item, "image": item["image"] | np.uint8(255 * (index == 6))}

    with pytest.raises(FloatingPointError, match=rf"{bad} of picture 'crack/001' \(index 6\)"):
        run(OneWhite(records()), predict)


def test_errors_of_reading_arrive_as_they_are():
    class Damaged(Pictures):
        def __getitem__(self, index):
            if index == 3:
                raise ValueError("good/003.png: cannot be read as a picture")
            return super().__getitem__(index)

    with pytest.raises(ValueError, match=r"good/003\.png"):
        run(Damaged(records()))


def test_an_empty_set_is_an_error():
    with pytest.raises(ValueError, match=r"Pictures\(0\) is empty"):
        run(Pictures([]))


def test_everything_but_the_curves_is_json():
    found = run(Pictures(records() + records("cable", {"good": 2})))
    stored = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert stored["categories"]["bottle"]["metrics"]["image_auroc"] == found.mean["image_auroc"]
    assert stored["pictures"][5] == {
        "name": "crack/000",
        "category": "bottle",
        "defect": "crack",
        "kind": "",
        "label": 1,
        "score": found.pictures[5].score,
    }
    assert len(stored["pictures"]) == 12
    assert stored["categories"]["bottle"]["defects"] == found.categories["bottle"].defects


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_null_in_json(number):
    found = run(Pictures(records()))
    category = found.categories["bottle"]
    category.metrics["pixel_f1_max_threshold"] = category.defects["hole"]["aupro_0.3"] = number
    stored = json.loads(json.dumps(found.as_dict(), allow_nan=False))["categories"]["bottle"]
    assert stored["metrics"]["pixel_f1_max_threshold"] is None
    assert stored["defects"]["hole"]["aupro_0.3"] is None


def test_the_table_shows_every_category_kind_and_defect():
    one, two = {"good": 2, "cut": 3}, {"good": 2, "bent": 2, "absent": 2}
    pool = records("cable", one) + records(
        "screw", two, {"bent": "structural", "absent": "logical"}
    )
    text = str(run(Pictures(pool)))
    for word in (
        "cable",
        "screw",
        "structural",
        "image AUROC",
        "AUPRO@0.3",
        "oracle",
        "screw/bent",
    ):
        assert word in text
    header, *rows = text.split("\n\n")[0].splitlines()
    assert [row.split()[0] for row in rows] == ["cable", "screw", "logical", "structural", "mean"]
    assert {len(row) for row in rows} == {len(header)}
    header, *rows = text.split("\n\n")[1].splitlines()
    assert header.split("  ")[0] == "by type of defect"
    assert header.endswith("image AUROC  pixel AUROC  AUPRO@0.3")
    assert [row.split()[0] for row in rows] == ["cable/cut", "screw/absent", "screw/bent"]
    assert {len(row) for row in rows} == {len(header)}


def test_evaluations_are_joined_category_by_category():
    one, other = run(Pictures(records("cap"))), run(Pictures(records("bolt", {"good": 2, "x": 2})))
    found = joined([one, other])
    assert found.categories == one.categories | other.categories
    assert found.pictures == one.pictures + other.pictures
    values = [x.mean["image_auroc"] for x in (one, other)]
    assert found.mean["image_auroc"] == pytest.approx(np.mean(values))


def test_evaluations_of_the_same_category_are_joined_by_their_names_only():
    one, other = run(Pictures(records())), run(Pictures(records(counts={"good": 2, "hole": 1})))
    with pytest.raises(ValueError, match="several evaluations have the category 'bottle'"):
        joined([one, other])
    found = joined({"first": one, "second": other})
    assert list(found.categories) == ["first: bottle", "second: bottle"]
    assert [record.category for record, _ in found.pictures] == (
        ["first: bottle"] * 10 + ["second: bottle"] * 3
    )
    assert found.as_dict()["categories"].keys() == found.categories.keys()
    with pytest.raises(ValueError, match="'a: b: bottle'"):
        joined({"a": joined({"b": one}), "a: b": other})


def test_no_name_of_a_category_or_defect_is_taken_for_something_else_in_the_table():
    names = ["", " indented", "a/b", "mean", "mean of 6 categories", "two\nlines"]
    shown = ["''", "' indented'", "'a/b'", "mean", "'mean of 6 categories'", r"'two\nlines'"]
    pool = [x for name in names for x in records(name, {"good": 1, "mean": 1, "b/c": 1})]
    pool = [x._replace(kind="mean" if x.label else "") for x in pool]
    found = run(Pictures(pool))
    rows, defects = table(found).split("\n\n")[:2]
    labels = [row[: row.index("  ", 2)] for row in rows.splitlines()[1:]]
    assert labels == [x for name in shown for x in (name, "  mean")] + ["mean of 6 categories"]
    labels = [row.split("  ")[0] for row in defects.splitlines()[1:]]
    assert labels == [f"{name}/{defect}" for name in shown for defect in ("'b/c'", "mean")]
    stored = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert list(stored["categories"]) == names
    assert stored["categories"]["mean"]["kinds"].keys() == {"mean"}
    assert stored["categories"]["mean"]["defects"].keys() == {"b/c", "mean"}
    assert stored["mean"]["image_auroc"] == found.mean["image_auroc"]
