"""Cards of normal pictures: which model scored them, and what the card says about that."""

import logging
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad import training
from jaxad.data.multiclass import Pool
from jaxad.data.source import Data, Record
from jaxad.data.view import View
from jaxad.decision import normals
from jaxad.detector import Detector, Prediction, State, Stream, config, static
from jaxad.training import record as records

VALUES = 256  # that a picture may have
LEARNED = 1000  # added to the score of a picture that was learned from
method = logging.getLogger("jaxad.methods.by_heart")


class Plain:
    """Pictures of one value each, which is their score as long as nobody learned from them."""

    has_masks = has_regions = False

    def __init__(self, values, category="plate"):
        self.values = list(values)
        self.records = tuple(Record(f"good/{value}", category, "good") for value in self.values)

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        image = np.full((4, 4, 3), self.values[index], np.uint8)
        return {"image": image, "mask": image[..., 0] * 0, "label": 0, "index": index}

    def __repr__(self):
        return f"Plain({self.values})"

    def regions(self, index):
        raise NotImplementedError


@config
class Config:
    size: int = static(4)
    batch_size: int = static(2)
    steps: int = static(0)
    weights: tuple[str, ...] = static(())


def init(cfg, pretrained, key):
    return State(jnp.int32(0), (), jnp.zeros(VALUES), ())


def predict(cfg, pretrained, state, images):
    """The score tells the picture and whether it was learned; the map all that was."""
    value = jnp.rint(255 * images[:, 0, 0, 0]).astype(int)
    middle = jnp.arange(VALUES) @ state.stats / jnp.maximum(state.stats.sum(), 1)
    return Prediction(jnp.full(images.shape[:3], middle), value + LEARNED * state.stats[value])


def train_step(cfg, pretrained, state, batch, key):
    value = jnp.rint(255 * batch["image"][:, 0, 0, 0]).astype(int)
    learned = state._replace(step=state.step + 1, stats=state.stats.at[value].set(1))
    return learned, {"loss": jnp.float32(0)}


def by_heart(calibrates=False, **functions):
    """A detector without steps that learns by heart; what each of its models learned, and had
    held out to calibrate on."""
    measured, calibrated = [], []

    def noting(places):
        def note(cfg, pretrained, state, pictures):
            values = pictures[0 : len(pictures)][:, 0, 0, 0].tolist()
            places.append(values)
            method.info("that is said by a method")
            return state._replace(stats=state.stats.at[jnp.array(values)].set(1))

        return note

    functions = {"measure": noting(measured), **functions}
    if calibrates:
        functions["calibrate"] = noting(calibrated)
    detector = Detector(name="by heart", Config=Config, init=init, predict=predict, **functions)
    return detector, measured, calibrated


def data(train, heldout):
    return Data(Plain(range(train)), Plain(range(train, train + heldout)))


def new(detector):
    return detector.init(Config(), {}, None)


def cross_fit(detector, some, key, folds):
    return normals.cross_fit(detector, Config(), {}, new(detector), some, key, folds)


def of_run(detector, some, *, steps=0, needed=99, **given):
    state, key, cfg = new(detector), jax.random.key(0), Config(steps=steps)
    return normals.of_run(detector, cfg, {}, state, some, key, needed=needed, **given)


@pytest.mark.parametrize(
    ("train", "heldout", "folds"),
    [(8, 2, 5), (9, 2, 5), (6, 0, 3), (4, 7, 4), (2, 1, 5), (2, 0, 2)],
)
def test_every_picture_is_scored_once_by_a_model_that_did_not_learn_from_it(
    train, heldout, folds, key
):
    detector, measured, _ = by_heart()
    total = train + heldout
    card = cross_fit(detector, data(train, heldout), key, folds)
    np.testing.assert_array_equal(card.of().scores, np.arange(total))
    models = min(folds, total)
    assert len(measured) == models
    assert {len(learned) for learned in measured} == {total - math.ceil(total / models)}
    assert all(len(set(learned)) == len(learned) for learned in measured)
    assert card.of().origin == normals.CROSS_FIT
    assert card.of().caveat.startswith(f"{models} models that learned from a part")
    assert card.model == records.model({}, new(detector))


def test_a_method_that_calibrates_gets_pictures_for_it_that_it_learns_nothing_else_from(key):
    detector, measured, calibrated = by_heart(calibrates=True)
    card = cross_fit(detector, data(9, 3), key, 4)
    np.testing.assert_array_equal(card.of().scores, np.arange(12))  # nobody had seen them
    assert [(len(one), len(other)) for one, other in zip(measured, calibrated, strict=True)] == [
        (7, 2)  # of 9, as 3 of 12 were held out of the run
    ] * 4
    assert not any(set(one) & set(other) for one, other in zip(measured, calibrated, strict=True))
    cross_fit(detector, data(5, 0), key, 5)
    assert {len(other) for other in calibrated[4:]} == {1}  # at least


def test_the_key_decides_about_the_folds():
    some, found = data(9, 2), []
    for seed in (0, 0, 1):
        detector, measured, _ = by_heart()
        card = cross_fit(detector, some, jax.random.key(seed), 3)
        found.append((card.as_dict(), [sorted(one) for one in measured]))
    assert found[0] == found[1]
    assert found[0][1] != found[2][1]
    assert found[0][0] != found[2][0]


@pytest.mark.parametrize(
    ("train", "heldout", "folds", "message"),
    [
        (1, 0, 5, "1 normal picture in 1 folds leave 0 to learn from, expected 1"),
        (9, 2, 1, r"folds=1 \(--folds\): expected two or more, or 0"),
    ],
)
def test_one_picture_or_one_fold_is_refused(train, heldout, folds, message, key):
    detector, *_ = by_heart()
    with pytest.raises(ValueError, match=message):
        cross_fit(detector, data(train, heldout), key, folds)


def test_a_calibrating_method_needs_one_picture_more(key):
    detector, *_ = by_heart(calibrates=True)
    with pytest.raises(ValueError, match="leave 1 to learn from, expected 2 at least"):
        cross_fit(detector, data(1, 1), key, 2)


def test_categories_keep_their_own_normals_in_a_cross_fit(key):
    detector, *_ = by_heart()
    train = Pool([Plain([1, 2, 3], "one"), Plain([7, 8, 9, 10], "two")])
    heldout = Pool([Plain([4], "one"), Plain([11, 12], "two")])
    card = cross_fit(detector, Data(train, heldout), key, 4)
    assert list(card.normals) == ["one", "two"]
    np.testing.assert_array_equal(card.of("one").scores, [1, 2, 3, 4])
    np.testing.assert_array_equal(card.of("two").scores, [7, 8, 9, 10, 11, 12])


def test_what_a_method_says_is_not_said_again_by_each_fold(key, caplog):
    detector, *_ = by_heart()
    caplog.set_level(logging.INFO, "jaxad")
    training.fit(detector, Config(), {}, data(5, 1), key)
    assert caplog.messages.count("that is said by a method") == 1
    caplog.clear()
    cross_fit(detector, data(5, 1), key, 3)
    assert caplog.messages == [
        "the card is cross-fit: 3 models learn, each from 4 of 6 pictures; none with --folds 0"
    ]
    training.fit(detector, Config(), {}, data(5, 1), key)  # the log is as it was before
    assert caplog.messages[1:] == ["that is said by a method"]


def test_a_method_with_a_paired_stream_is_not_cross_fit_with_other_pictures_streams(key):
    streams = lambda cfg: (Stream("outline", paired=True),)
    detector, *_ = by_heart(train_step=train_step, streams=streams)
    some = data(8, 2).with_streams(outline=Plain(range(8)))  # 5 models learn from 8 pictures too
    state = new(detector)
    with pytest.raises(ValueError, match="outline"):
        normals.cross_fit(detector, Config(steps=1), {}, state, some, key, 5)


def test_few_held_out_pictures_are_scored_by_cross_fitting_where_that_costs_little():
    detector, measured, _ = by_heart()
    few = of_run(detector, data(6, 2), needed=3)
    assert few.of().origin == normals.CROSS_FIT
    np.testing.assert_array_equal(few.of().scores, np.arange(8))
    assert len(measured) == normals.FOLDS
    measured.clear()
    enough = of_run(detector, data(6, 3), needed=3)
    never = of_run(detector, data(6, 2), needed=3, folds=0)
    stepping = of_run(by_heart(train_step=train_step)[0], data(6, 2), needed=3)
    assert not measured
    for card, expected in ((enough, [6, 7, 8]), (never, [6, 7]), (stepping, [6, 7])):
        assert card.of()[2:] == (normals.HELD_OUT, "")
        np.testing.assert_array_equal(card.of().scores, expected)


def test_folds_on_request_train_methods_that_take_steps_too():
    detector, measured, _ = by_heart(train_step=train_step)
    card = of_run(detector, data(6, 3), steps=2, needed=3, folds=3)
    assert card.of().origin == normals.CROSS_FIT
    assert len(measured) == 3
    np.testing.assert_array_equal(card.of().scores, np.arange(9))


@pytest.mark.parametrize(
    ("steps", "train", "folds"),
    [(True, 3, None), (False, 3, 0), (False, 1, None), (False, 1, 3)],  # one has no others
)
def test_without_held_out_pictures_the_card_has_no_normals_and_says_so(steps, train, folds, caplog):
    detector, *_ = by_heart(**({"train_step": train_step} if steps else {}))
    card = of_run(detector._replace(predict=dark), data(train, 0), folds=folds)
    (said,) = caplog.records
    assert said.levelno == logging.WARNING
    assert "no pictures are held out" in said.getMessage()
    assert (len(card.of().scores), len(card.of().peaks)) == (0, 0)
    assert card.of().origin == normals.NONE
    assert card.judge(5.0) == (5.0, None, None, None)
    # Maps are coloured by what was learned from.
    assert card.level == pytest.approx(1 - (train - 1) / 2 / 255)


@pytest.mark.parametrize(
    ("calibrates", "select", "caveat"),
    [
        (False, "last", ""),
        (False, "heldout", "the held-out pictures also selected the state"),
        (True, "last", "the held-out pictures also calibrated the maps"),
        (True, "heldout", "the held-out pictures also selected the state and calibrated the maps"),
    ],
)
def test_what_else_held_out_pictures_were_used_for_is_a_caveat(calibrates, select, caveat):
    detector, *_ = by_heart(calibrates)
    card = of_run(detector, data(4, 2), needed=2, select=select)
    assert card.of().caveat == caveat
    assert any(caveat in warning for warning in card.warnings())


def test_each_category_of_a_pool_has_its_own_scores_in_ascending_order():
    detector, *_ = by_heart()
    source = Pool([Plain([5, 3, 4], "one"), Plain([9, 7], "two")])
    card = normals.scored(detector, Config(), {}, new(detector), source, "painted", "so and so")
    assert list(card.normals) == ["one", "two"]
    np.testing.assert_array_equal(card.of("one").scores, [3, 4, 5])
    np.testing.assert_array_equal(card.of("two").scores, [7, 9])
    assert card.of("two")[2:] == ("painted", "so and so")


def test_an_empty_source_is_refused():
    detector, *_ = by_heart()
    with pytest.raises(ValueError, match=r"no normal pictures.* Plain\(\[\]\) is empty"):
        normals.scored(detector, Config(), {}, new(detector), Plain([]))


def dark(cfg, pretrained, state, images):
    """The darker, the more anomalous: what is not looked at, which is black, most of all."""
    map = 1 - images.mean(-1)
    return Prediction(map, map.max((1, 2)))


class Seen(Plain):
    """One picture of 100 with a pixel of 50 in its corner, as seen in some way."""

    def __init__(self, shape, view):
        super().__init__([100])
        self.shape, self.view = shape, view

    def __getitem__(self, index):
        image = np.full((*self.shape, 3), 100, np.uint8)
        image[0, 0] = 50
        item = {"image": image, "mask": image[..., 0] * 0, "label": 0, "index": index}
        return item if self.view is None else {**item, "view": self.view}


def apart_from_the_corner():
    region = np.ones((4, 4), bool)
    region[0, 0] = False
    return View("squeeze", region)


@pytest.mark.parametrize(
    ("shape", "view", "darkest"),
    [
        ((4, 4), None, 50),
        ((4, 4), apart_from_the_corner(), 100),
        ((2, 4), View("pad"), 50),  # between two black bars
    ],
)
def test_only_what_is_looked_at_has_a_peak(shape, view, darkest):
    detector, *_ = by_heart(train_step=train_step)
    detector = detector._replace(predict=dark)
    card = normals.scored(detector, Config(), {}, new(detector), Seen(shape, view))
    assert card.of().peaks.tolist() == [pytest.approx(1 - darkest / 255)]
    assert card.level == pytest.approx(1 - 100 / 255)
