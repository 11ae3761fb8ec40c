"""What a card says, and what it refuses."""

import json

import numpy as np
import pytest

from jaxad.decision import card as cards
from jaxad.decision import conformal, drift
from jaxad.decision.card import Card, Normals
from jaxad.decision.scale import Scale


def new(count=199, name="plate", seed=0, **given):
    rng = np.random.default_rng(seed)
    scores, peaks = np.sort(rng.normal(size=count)), np.sort(rng.normal(5, 1, count))
    normals = {name: Normals(scores, peaks, "held out of training")}
    return Card("abc", normals, Scale(0.0, 2.0), 0.5, **given)


def test_labels_follow_the_rate_and_raw_scores_are_kept():
    card = new(target_fpr=0.05)
    scores = card.of().scores
    limit = card.limits()
    assert limit.score == scores[-10]  # 10 of 200 may be alarms: the new one and 9 of these
    assert limit.rate == 0.05
    assert limit.interval == conformal.rate_interval(199, 0.05)
    above, at = np.nextafter(limit.score, np.inf), limit.score
    assert card.judge(above).label == "anomalous"
    assert card.judge(above).p_value <= 0.05 < card.judge(at).p_value
    assert (card.judge(at).label, card.judge(at).score) == ("normal", at)
    assert card.judge(scores[99]).percentile == pytest.approx(100 * 100 / 199)
    assert card.limits().pixel == card.of().peaks[-10]


def test_another_rate_moves_the_limit_and_nothing_else():
    card = new(target_fpr=0.05)
    other = card.with_target(0.1)
    assert other.limits().score == card.of().scores[-20]
    assert other.judge(1.0)[:3] == card.judge(1.0)[:3]
    with pytest.raises(ValueError, match=r"plate: target_fpr=0.001 .* needs 999; the smallest .*5"):
        card.with_target(0.001)


def test_few_normals_give_the_smallest_rate_and_a_warning():
    card = new(9)
    assert card.limits().rate == 0.1
    assert card.limits().score == card.of().scores[-1]
    (warning,) = card.warnings()
    assert "9 normal pictures (held out of training) cannot promise" in warning
    assert "0.01, which needs 99: the smallest rate, 0.1, is taken" in warning
    assert new(99).warnings() == []
    assert "imply 0.28 to 34 % in the long run" in new(9).said()
    assert (
        "approximate: why"
        in new(99)._replace(normals={"a": new(99).of()._replace(caveat="why")}).warnings()[0]
    )


def test_without_normals_there_is_no_label():
    card = new(0)
    assert card.judge(3.0) == (3.0, None, None, None)
    assert card.limits()[:3] == (None, None, None)
    assert "no labels" in card.warnings()[0]
    assert card.with_threshold(2.0).judge(3.0).label == "anomalous"


def test_a_category_that_is_none_is_told_with_those_there_are():
    card = new()._replace(normals={"one": new(99, "one").of(), "two": new(9, "two").of()})
    for call in (card.said, card.warnings, card.limits, lambda x: card.with_target(0.1, x)):
        with pytest.raises(ValueError, match=r"'three' is none of the categories .*one, two"):
            call("three")
    assert card.with_target(0.05, "one").target_fpr == 0.05  # two cannot promise it
    assert new().said("three") == new().said()  # of one category whatever is asked for


def test_a_fixed_threshold_counts_the_normals_above_it():
    card = new(199).with_threshold(1.0, 6.0)
    above = int((card.of().scores > 1.0).sum())
    limits = card.limits()
    assert limits == (1.0, 6.0, None, conformal.rate_interval_of_fixed(199, above))
    assert card.judge(1.0).label == "normal"
    assert card.judge(1.5).label == "anomalous"
    with pytest.raises(ValueError, match="expected a finite number"):
        card.with_threshold(float("nan"))


def test_a_category_has_its_own_limit():
    one, two = new(99, "one").of(), new(99, "two", seed=5).of()
    card = new()._replace(normals={"one": one, "two": two})
    assert card.limits("one").score == one.scores[-1]
    assert card.limits("two").score == two.scores[-1]
    with pytest.raises(ValueError, match=r"which of the categories .*\(one, two\).*--category"):
        card.judge(1.0)
    with pytest.raises(ValueError, match="'three' is none of"):
        card.judge(1.0, "three")


def test_a_card_is_written_and_read_back(tmp_path):
    card = new(target_fpr=0.1, tiles=512, about={"made": "today"})
    cards.write(tmp_path / "card.json", card)
    found = cards.read(tmp_path / "card.json")
    np.testing.assert_array_equal(found.of().scores, card.of().scores)
    assert found.as_dict() == card.as_dict()
    assert found.judge(0.3) == card.judge(0.3)
    said = json.loads((tmp_path / "card.json").read_text())
    assert said["categories"]["plate"]["limits"]["score"] == card.limits().score


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: "{", "no card, or damaged"),
        (lambda said: json.dumps(said | {"format": 9}), "this version of jaxad reads 1"),
        (lambda said: json.dumps({k: v for k, v in said.items() if k != "level"}), "level"),
        (lambda said: json.dumps(said | {"categories": {}}), "no category"),
        (
            lambda said: json.dumps(said).replace('"scores": [', '"scores": [9e9, '),
            "ascending order",
        ),
    ],
)
def test_a_damaged_card_is_refused(tmp_path, change, message):
    file = tmp_path / "card.json"
    file.write_text(change(new().as_dict()))
    with pytest.raises(ValueError, match=message) as error:
        cards.read(file)
    assert str(file) in str(error.value)


def test_a_card_of_another_model_is_refused():
    cards.check_model(new(), "abc")
    with pytest.raises(ValueError, match="another model"):
        cards.check_model(new(), "abd")
    with pytest.raises(FileNotFoundError, match="no card"):
        cards.read(cards.pathlib.Path("nowhere/card.json"))


def test_drift_is_called_as_often_as_its_level_where_nothing_changed():
    rng, called = np.random.default_rng(1), 0
    for seed in range(300):
        card = new(99, seed=seed)
        called += drift.drift(card, rng.normal(size=80)).drifted(0.1)
    assert 15 <= called <= 45  # 30 expected


def test_a_shift_is_drift_and_its_alarms_are_more_than_expected():
    card = new(199, target_fpr=0.05)
    found = drift.drift(card, np.random.default_rng(1).normal(2, 1, 100))
    assert found.drifted()
    assert found.alarms > found.expected.high
    assert found.medians[1] > found.medians[0] + 1
    with pytest.raises(ValueError, match="no pictures to compare"):
        drift.drift(card, np.zeros(0))
    with pytest.raises(ValueError, match="the card has no normal pictures"):
        drift.drift(new(0), np.zeros(3))
