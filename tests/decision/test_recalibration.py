"""A new card from files of normal pictures, and `jaxad calibrate`'s refusal of learned ones."""

import json
import logging
import shutil

import numpy as np
import pytest
from PIL import Image
from scripts import category

from jaxad import compile
from jaxad.cli.main import main
from jaxad.data.reading import Reading
from jaxad.data.view import WHOLE, Preprocessing, View
from jaxad.decision import card as cards
from jaxad.decision.predictor import Predictor
from jaxad.decision.recalibration import GIVEN, blank, recalibrated

PLAIN = Preprocessing(Reading(), WHOLE)


@pytest.fixture(scope="module")
def parts(carded):
    """(detector, cfg, pretrained, state, card) of a trained run."""
    return carded("autoencoder")[:5]


@pytest.fixture(scope="module")
def predictor(parts):
    return Predictor(*parts, preprocessing=PLAIN)


@pytest.fixture
def day(tmp_path):
    """Five pictures of several sizes."""
    rng = np.random.default_rng(0)
    for i in range(5):
        pixels = rng.integers(0, 256 - 30 * i, (70 + i, 90 - i, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    return sorted(tmp_path.iterdir())


def alone(predictor, path):
    """(map at the detector's size, score) by the detector itself."""
    with Image.open(path) as opened:
        image = np.asarray(opened)
    square = predictor.preprocessing.view.square(image, predictor.cfg.size)
    batch = np.stack([square] * predictor.batch_size)
    found = compile.predict(predictor.detector)(predictor.cfg, *predictor._arguments, batch)
    return np.asarray(found.map[0]), float(found.score[0])


def test_the_card_holds_what_the_predictor_says_of_each_picture(predictor, day):
    card = recalibrated(predictor, day)
    scores = sorted(predictor(path).judgement.score for path in day)
    np.testing.assert_allclose(card.of().scores, scores, rtol=1e-6)
    peaks = sorted(float(alone(predictor, path)[0].max()) for path in day)
    np.testing.assert_allclose(card.of().peaks, peaks, rtol=1e-5)
    assert card.of()[2:] == (GIVEN, "")
    assert card.model == predictor.card.model
    maps = np.stack([alone(predictor, path)[0] for path in day])
    assert card.level == pytest.approx(float(np.median(maps)), rel=1e-5)
    assert card.scale.low == pytest.approx(float(np.quantile(maps, 0.9)), rel=1e-4)
    assert card.scale.normal == pytest.approx(peaks[-1], rel=1e-4)


def test_a_new_card_calls_the_pictures_normal_and_a_higher_score_an_alarm(parts, predictor, day):
    card = recalibrated(predictor, day)
    ready = Predictor(*parts[:4], card, preprocessing=PLAIN)
    found = [ready(path).judgement for path in day]
    # One by one, for a picture's score may differ in its last digit at another place of a batch
    # where XLA does not optimise, as in tests.
    np.testing.assert_allclose(sorted(x.score for x in found), card.of().scores, rtol=1e-6)
    same = [card.judge(float(score)) for score in card.of().scores]
    assert [one.label for one in same] == ["normal"] * 5
    assert sorted(one.p_value for one in same) == pytest.approx([n / 6 for n in range(2, 7)])
    assert ready.card.judge(max(one.score for one in found) * 1.01).label == "anomalous"


def test_only_what_is_looked_at_counts(parts, day):
    same = [day[0]] * 2
    region = np.zeros((70, 90), bool)
    region[:35] = True
    ready = Predictor(*parts, preprocessing=Preprocessing(Reading(), View("squeeze", region)))
    card = recalibrated(ready, same)
    map, score = alone(ready, day[0])
    half = len(map) // 2
    np.testing.assert_allclose(card.of().peaks, [map[:half].max()] * 2, rtol=1e-5)
    np.testing.assert_allclose(card.of().scores, [score] * 2, rtol=1e-5)
    assert card.level == pytest.approx(float(np.median(map[:half])), rel=1e-5)
    assert map[:half].max() != map.max()  # else nothing is shown


def test_other_categories_and_what_was_decided_stay(parts, day):
    *model, card = parts
    one = card.of()
    given = card._replace(
        normals={"tiny": one, "other": one._replace(origin="as it was")},
        target_fpr=0.25, threshold=3.0, pixel_threshold=4.0, about={"made": "before"},
    )  # fmt: skip
    ready = Predictor(*model, given, category="tiny", preprocessing=PLAIN)
    new = recalibrated(ready, day)
    assert list(new.normals) == ["tiny", "other"]
    assert new.normals["other"] is given.normals["other"]
    assert len(new.of("tiny").scores) == 5
    changed = ("normals", "scale", "level")
    kept = [name for name in given._fields if name not in changed]
    assert [getattr(new, name) for name in kept] == [getattr(given, name) for name in kept]
    assert ready.card is given
    assert (new.limits("tiny").score, new.limits("tiny").pixel) == (3.0, 4.0)


def test_a_blank_card_decides_nothing_and_becomes_one_for_tiles(parts, day):
    *model, card = parts
    empty = blank(card.model, ["tiny"], 48)
    assert (empty.judge(9e9).label, empty.limits().score, empty.tiles) == (None, None, 48)
    ready = Predictor(*model, empty, preprocessing=PLAIN, tiles=48)
    new = recalibrated(ready, day)
    assert new.tiles == 48
    scores = sorted(ready(path).judgement.score for path in day)
    np.testing.assert_allclose(new.of().scores, scores, rtol=1e-6)
    assert not np.allclose(
        scores, recalibrated(Predictor(*parts, preprocessing=PLAIN), day).of()[0]
    )
    accepted = Predictor(*model, new, preprocessing=PLAIN, tiles=48)
    assert {accepted(path).judgement.label for path in day} == {"normal"}
    for tiles, said in ((32, "tiles of 32 pixels"), (None, "whole")):
        with pytest.raises(
            ValueError, match=f"seen as tiles of 48 pixels, these are seen as {said}"
        ):
            Predictor(*model, new, preprocessing=PLAIN, tiles=tiles)


def test_bad_files_stop_it_or_are_left_out_with_a_warning(predictor, day, caplog):
    folder = day[0].parent
    (folder / "broken.png").write_bytes(day[0].read_bytes()[:200])
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    bad = [folder / "broken.png", folder / "gone.png", folder / "deleted.png"]
    for path, kind in zip(bad, (ValueError, ValueError, FileNotFoundError), strict=True):
        with pytest.raises(kind, match=path.name):
            recalibrated(predictor, [*day[:2], path], "error")
    with caplog.at_level(logging.WARNING):
        card = recalibrated(predictor, [bad[0], *day[:2], *bad[1:], *day[2:]], "skip")
    assert card.as_dict() == recalibrated(predictor, day).as_dict()
    (warning,) = caplog.records
    assert warning.getMessage().splitlines() == [
        "left out 3 files that cannot be used:", *(f"  {path}" for path in bad),
    ]  # fmt: skip


def test_without_a_picture_there_is_no_card(predictor, day):
    with pytest.raises(ValueError, match="no normal pictures to calibrate with: 0 given"):
        recalibrated(predictor, [])
    bad = [day[0].with_name(f"{name}.png") for name in "ab"]
    with pytest.raises(ValueError, match="2 given, none usable"):
        recalibrated(predictor, bad, "skip")


def test_one_picture_makes_a_card_that_promises_little(predictor, day):
    card = recalibrated(predictor, day[:1])
    assert card.limits().rate == 0.5
    assert "1 normal picture (" in card.warnings()[0]


SMALL = ("--size", "32", "--batch-size", "2", "--widths", "4,8", "--steps", "2")


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A folder of 8 normal pictures, and a run that learned from 7 of them."""
    root = tmp_path_factory.mktemp("learned")
    category(root / "plate", normal=8)
    shutil.rmtree(root / "plate" / "test")
    shutil.rmtree(root / "plate" / "ground_truth")
    words = ["train", "autoencoder", str(root / "plate"), str(root / "run"), *SMALL]
    assert main(words) == 0
    return root / "plate" / "train" / "good", root / "run"


@pytest.fixture
def known(learned):
    """Its pictures: those that the run learned from, and the one that it held out."""
    pictures, run = learned
    stamps = json.loads((run / "pictures.json").read_text())
    names = {name.rpartition("/")[2] for name in stamps if name.startswith("train/")}
    several = sorted(pictures.iterdir())
    return [path for path in several if path.stem in names], [
        path for path in several if path.stem not in names
    ]


def test_pictures_that_the_run_learned_from_are_refused_by_name(learned, known, capsys):
    pictures, run = learned
    before = (run / "card.json").read_text()
    used, held_out = known
    assert (len(used), len(held_out)) == (7, 1)
    assert main(["calibrate", str(run), str(pictures)]) == 2
    error = capsys.readouterr().err
    assert "7 of 8 pictures are among those that the run learned from" in error
    assert all(f"  {path}" in error.splitlines() for path in used)
    assert f"  {held_out[0]}" not in error.splitlines()
    assert (run / "card.json").read_text() == before
    assert not list(run.glob("card-before*"))


def test_a_copy_under_another_name_is_refused_too(learned, known, tmp_path, capsys):
    _, run = learned
    used, held_out = known
    copy, new = tmp_path / "monday.png", tmp_path / "tuesday.png"
    shutil.copy(used[0], copy)
    shutil.copy(held_out[0], new)
    assert main(["calibrate", str(run), str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "1 of 2 pictures are among those" in error
    assert str(copy) in error
    assert str(new) not in error


def test_pictures_that_it_held_out_make_a_card(learned, known, tmp_path, capsys):
    _, run = learned
    words = ["calibrate", str(run), str(known[1][0]), "--out", str(tmp_path / "card.json")]
    assert main(words) == 0
    assert "1 normal picture (given for calibration)" in capsys.readouterr().out
    assert len(cards.read(tmp_path / "card.json").of().scores) == 1
