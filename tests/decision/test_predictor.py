"""The predictor against the detector's own predict, one picture at a time."""

import threading

import jax
import numpy as np
import pytest
from PIL import Image

from jaxad import compile
from jaxad.data.reading import Reading
from jaxad.data.view import WHOLE, Preprocessing, View
from jaxad.decision.predictor import Predictor
from jaxad.decision.regions import regions
from jaxad.decision.squares import boxes

PLAIN = Preprocessing(Reading(), WHOLE)


@pytest.fixture(scope="module")
def predictor(carded):
    *parts, _ = carded("autoencoder")
    return Predictor(*parts, preprocessing=PLAIN)


def pictures(count, shape=(70, 90), seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (*shape, 3), np.uint8) for _ in range(count)]


def alone(predictor, image):
    """(map at the picture's size, score) by the detector itself."""
    square = WHOLE.square(image, predictor.cfg.size)
    batch = np.stack([square] * predictor.batch_size)
    found = compile.predict(predictor.detector)(predictor.cfg, *predictor._arguments, batch)
    level = predictor.card.level
    return WHOLE.placed(np.asarray(found.map[0]), image.shape[:2], level), float(found.score[0])


def test_a_finding_is_what_predict_and_the_card_say(predictor):
    (image,) = pictures(1)
    found = predictor(image)
    map, score = alone(predictor, image)
    np.testing.assert_array_equal(found.map, map)
    assert found.judgement == predictor.card.judge(score)
    expected, labels = regions(map, predictor.card.limits().pixel)
    assert found.regions == expected
    np.testing.assert_array_equal(found.labels, labels)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7])
def test_several_pictures_of_several_sizes_keep_their_order(predictor, count):
    several = [pictures(1, (60 + 3 * i, 80 - i), seed=i)[0] for i in range(count)]
    found = predictor(several)
    assert len(found) == count
    for image, one in zip(several, found, strict=True):
        map, score = alone(predictor, image)
        assert one.map.shape == image.shape[:2]
        np.testing.assert_allclose(one.map, map, rtol=1e-5, atol=1e-6)
        assert one.judgement.score == pytest.approx(score, rel=1e-5)


def test_files_arrays_grey_and_batches_are_pictures(predictor, tmp_path):
    (image,) = pictures(1)
    path = tmp_path / "picture.png"
    Image.fromarray(image).save(path)
    expected = predictor(image).judgement
    assert predictor(path).judgement == predictor(str(path)).judgement == expected
    one, other = predictor(np.stack(pictures(2)))
    assert one.judgement == expected
    assert other.judgement != expected
    grey = image[..., 0]
    assert predictor(grey).judgement == predictor(np.stack([grey] * 3, -1)).judgement
    assert predictor(grey[..., None]).judgement == predictor(grey).judgement
    assert predictor([]) == []


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((8, 8, 3), np.float32), "float32: expected uint8"),
        (np.zeros((8, 8, 3), np.uint16), "uint16: expected uint8"),
        (np.zeros((8, 8, 4), np.uint8), r"shape \(8, 8, 4\): expected H W 3"),
        (np.zeros((8,), np.uint8), r"shape \(8,\): expected H W 3"),
    ],
)
def test_other_arrays_are_refused(predictor, array, message):
    with pytest.raises(ValueError, match=message):
        predictor(array)


def test_nothing_compiles_after_construction(carded, caplog):
    *parts, _ = carded("autoencoder")
    ready = Predictor(*parts, preprocessing=PLAIN)
    with jax.log_compiles(True):
        ready(pictures(ready.batch_size + 1))
        ready.card = ready.card.with_threshold(0.0)
        ready(pictures(1))
        assert "Compiling" not in caplog.text
        jax.jit(lambda x: x + 1)(0)
        assert "Compiling" in caplog.text


def test_threads_share_one_predictor(predictor):
    several = pictures(6)
    expected = [one.judgement for one in predictor(several)]
    found = [None] * 6

    def work(i):
        found[i] = predictor(several[i]).judgement

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(found, expected, strict=True):
        assert one.score == pytest.approx(other.score, rel=1e-5)


def test_a_loaded_predictor_is_the_runs(carded, predictor):
    folder = carded("autoencoder")[-1]
    (image,) = pictures(1)
    loaded = Predictor.load(folder)
    assert loaded(image).judgement == predictor(image).judgement
    assert loaded.card.as_dict() == predictor.card.as_dict()
    cut = Predictor.load(folder, card=loaded.card._replace(tiles=64))
    assert (loaded.tiles, cut.tiles) == (None, 64)  # as the pictures of the card were
    with pytest.raises(ValueError, match="another model"):
        Predictor.load(folder, card=loaded.card._replace(model="of another"))
    with pytest.raises(FileNotFoundError, match="no run folder"):
        Predictor.load(folder / "nowhere")


def test_tiles_outside_of_where_to_look_say_nothing(carded):
    *parts, card, _ = carded("autoencoder")
    region = np.zeros((150, 110), bool)
    region[100:140, 70:100] = True
    view = Preprocessing(Reading(), View("squeeze", region))
    ready = Predictor(*parts, card._replace(tiles=48), preprocessing=view, tiles=48)
    image = pictures(1, region.shape)[0]
    seen = ready.see(image)
    assert 0 < len(seen.cuts) < len(boxes(region.shape, 48))
    assert all(region[cut.inside].any() for cut in seen.cuts)
    found = ready(image)
    assert np.isfinite(found.map).all()
    assert (found.map[~region] == np.float32(ready.card.level)).all()
    black = np.where(region[..., None], image, 0).astype(np.uint8)
    assert ready(black).judgement == found.judgement


def test_too_many_tiles_are_refused(carded):
    *parts, card, _ = carded("autoencoder")
    ready = Predictor(*parts, card._replace(tiles=8), preprocessing=PLAIN, tiles=8)
    with pytest.raises(ValueError, match=r"cut its 900 x 700 into \d+, more than 4096"):
        ready(pictures(1, (700, 900))[0])


def test_what_is_no_picture_does_not_pile_up_behind_one_that_waits(predictor, monkeypatch):
    monkeypatch.setattr("jaxad.decision.batches.WAITING", 5)
    picture = predictor.see(pictures(1)[0])
    taken = []

    def things():
        for thing in (picture, *range(40)):
            taken.append(thing)
            yield thing

    found = predictor.computed(things())
    assert next(found)[0] is picture
    assert len(taken) == 6
    assert [thing for thing, _ in found] == list(range(40))


def test_what_is_not_looked_at_is_at_the_level_of_normal_pictures(carded):
    *parts, _ = carded("autoencoder")
    region = np.zeros((70, 90), bool)
    region[10:40, 20:60] = True
    ready = Predictor(*parts, preprocessing=Preprocessing(Reading(), View("squeeze", region)))
    (image,) = pictures(1)
    found = ready(image)
    assert (found.map[~region] == np.float32(ready.card.level)).all()
    with pytest.raises(ValueError, match="80 x 70 pixels, but the region to look at 90 x 70"):
        ready(image[:, :80])


def test_tiles_cover_a_large_picture_and_want_a_card_of_their_own(carded):
    *parts, card, _ = carded("autoencoder")
    with pytest.raises(ValueError, match="seen as whole, these are seen as tiles of 64 pixels"):
        Predictor(*parts, card, preprocessing=PLAIN, tiles=64)
    ready = Predictor(*parts, card._replace(tiles=64), preprocessing=PLAIN, tiles=64)
    image = pictures(1, (150, 110))[0]
    seen = ready.see(image)
    covered = np.zeros(image.shape[:2], int)
    for cut in seen.cuts:
        covered[cut.inside] += 1
        assert (cut.height, cut.width) == (64, 64)
    assert covered.min() == 1
    found = ready(image)
    highest = max(alone(ready, image[cut.inside])[1] for cut in seen.cuts)
    assert found.judgement.score == pytest.approx(highest, rel=1e-5)
    corner = found.map[:16, :16]  # of the first tile alone
    first, _ = alone(ready, image[seen.cuts[0].inside])
    np.testing.assert_allclose(corner, first[:16, :16], rtol=1e-4)
