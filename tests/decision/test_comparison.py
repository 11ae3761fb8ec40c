"""Several runs on the same pictures: counted and ranked by hand."""

import pytest
from scipy import stats

from jaxad.decision.comparison import Judged, Verdict, comparison
from jaxad.progress import plain

PATHS = ["a.png", "b.png", "c.png", "d.png"]


def run(name, labels, scores=None, percentiles=None):
    """A run that gives these labels: "n", "a", "-" for none, "x" for a picture it cannot use."""
    named = {"n": "normal", "a": "anomalous", "-": None}
    scores = scores or list(range(len(labels)))
    percentiles = percentiles or [None] * len(labels)
    verdicts = [
        Verdict(None, error="broken") if one == "x" else Verdict(float(s), p, None, named[one])
        for one, s, p in zip(labels, scores, percentiles, strict=True)
    ]
    return Judged(name, "a limit", verdicts)


def test_pictures_are_counted_once_as_same_different_or_incomplete():
    found = comparison(PATHS, [run("one", "nnaa"), run("two", "nana"), run("three", "nnax")])
    assert (found.same, found.different, found.incomplete) == (1, [1, 2], 1)
    found = comparison(PATHS, [run("one", "nn-x"), run("two", "na-n"), run("three", "nnaa")])
    assert (found.same, found.different, found.incomplete) == (1, [1, 3], 1)


def test_the_largest_difference_of_percentile_comes_first():
    one = run("one", "nnnn", percentiles=[50.0, 10.0, 90.0, None])
    two = run("two", "aaaa", percentiles=[90.0, 99.0, 99.0, 100.0])
    assert comparison(PATHS, [one, two]).different == [1, 0, 2, 3]


def test_every_outcome_has_its_count():
    counts = run("one", "nna-xa").counts()
    assert counts == {"normal": 2, "anomalous": 2, "no label": 1, "cannot be used": 1}


@pytest.mark.parametrize(
    ("one", "two", "rank"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 99], 1.0),
        ([1, 2, 3, 4], [8, 7, 6, 1], -1.0),
        ([1, 2, 3, 4], [1, 3, 2, 4], 1 - 6 * 2 / (4 * 15)),  # 1 - 6 sum d^2 / n (n^2 - 1)
        ([1, 1, 2, 4], [1, 3, 3, 2], stats.spearmanr([1, 1, 2, 4], [1, 3, 3, 2]).statistic),
        ([5, 5, 5, 5], [1, 2, 3, 4], None),
    ],
)
def test_ranks_are_correlated_as_spearman_says(one, two, rank):
    (found,) = comparison(PATHS, [run("one", "nnnn", one), run("two", "nnnn", two)]).correlations
    assert (found.runs, found.pictures) == (("one", "two"), 4)
    assert found.rank == (None if rank is None else pytest.approx(rank, abs=1e-12))


def test_only_pictures_that_both_have_scores_of_are_correlated():
    one = run("one", "nnxn", [1, 2, 0, 3])
    two = run("two", "xnnn", [0, 2, 0, 1])
    three = run("three", "nxxx")
    found = comparison(PATHS, [one, two, three]).correlations
    assert [(each.runs, each.pictures) for each in found] == [
        (("one", "two"), 2), (("one", "three"), 1), (("two", "three"), 0),
    ]  # fmt: skip
    assert [each.rank for each in found] == [pytest.approx(-1), None, None]


def test_errors_are_counted_where_truth_and_label_are_known():
    defects = ["good", "good", "good", "hole", "cut", "cut", "cut", None]
    paths = [f"{i}.png" for i in range(8)]
    one = run("one", "nana-xna", [1, 4, 2, 3, 5, 0, 1, 9])
    found = comparison(paths, [one, run("two", "xxxxxxxa")], defects).errors
    # Of 3 x 3 pairs with scores 3, 5, 1 against 1, 4, 2: two, three and a half.
    assert found[0][:4] == (1, 3, 1, 2)
    assert found[0].auroc == pytest.approx(5.5 / 9)
    assert found[1] == (0, 0, 0, 0, None)
    assert comparison(paths, [one, run("two", "xxxxxxxa")]).errors is None


def test_what_cannot_be_compared_is_refused():
    one, two = run("one", "nnnn"), run("two", "nnnn")
    for runs, paths, defects, message in (
        ([one], PATHS, None, "runs one: expected two or more"),
        ([], PATHS, None, r"runs \(none\)"),
        ([one, one], PATHS, None, "each once"),
        ([Judged("one", "", []), Judged("two", "", [])], [], None, "no pictures"),
        ([one, run("two", "nn")], PATHS, None, "two: 2 entries for 4 pictures"),
        ([one, two], PATHS, ["good"], "the truth: 1 entries"),
    ):
        with pytest.raises(ValueError, match=message):
            comparison(paths, runs, defects)


def test_a_verdict_is_what_a_row_says():
    row = {"path": "a.png", "score": 2.0, "percentile": 80.0, "p_value": 0.25, "label": "normal"}
    assert Verdict.of({**row, "regions": [{}, {}]}) == (2.0, 80.0, 0.25, "normal", 2, None)
    bad = Verdict.of({"path": "a.png", "error": "caf\udce9.png: broken"})
    assert bad.outcome == "cannot be used"
    assert bad.error == "caf\\udce9.png: broken"


def test_bytes_that_are_no_text_are_escaped_and_text_stays():
    assert plain("ü\udcff.png") == "ü\\udcff.png"
