"""Rows on disk: nothing lost, nothing twice, nothing that a spreadsheet would run."""

import csv
import json

import pytest

from jaxad.decision.journal import COLUMNS, Journal

ABOUT = {"run": "/runs/one", "card": {"model": "abc"}, "options": {"masks": False}}


def row(path, **given):
    return {"path": path, "score": 0.5, "label": "normal", "regions": [], **given}


def test_rows_are_there_at_once_and_the_next_process_goes_on(tmp_path):
    with Journal(tmp_path / "out", ABOUT) as journal:
        assert journal.done == {}
        journal.add(row("a.png"))
        lines = (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()
        assert [json.loads(line)["path"] for line in lines] == ["a.png"]
    with Journal(tmp_path / "out", ABOUT) as journal:
        assert set(journal.done) == {"a.png"}
        journal.add(row("b.png"))
        assert [one["path"] for one in journal.rows()] == ["a.png", "b.png"]


def test_the_last_row_of_a_picture_counts_and_bad_ones_are_tried_again(tmp_path):
    with Journal(tmp_path, ABOUT) as journal:
        journal.add(row("a.png", bytes=1))
        journal.add({"path": "b.png", "error": "b.png: cut off"})
        journal.add(row("a.png", bytes=2))
        assert [one.get("bytes") for one in journal.rows()] == [None, 2]
    with Journal(tmp_path, ABOUT) as journal:
        assert journal.done == {"a.png": {"bytes": 2, "modified": None}}
        journal.add(row("b.png", bytes=3))
        assert [(one["path"], one["bytes"]) for one in journal.rows()] == [
            ("a.png", 2), ("b.png", 3),
        ]  # fmt: skip
        assert journal.summarise().read_text().count("\n") == 3


def test_what_a_folder_says_of_itself_may_be_damaged(tmp_path):
    for text in ("[]", "{", "7"):
        (tmp_path / "predict.json").write_text(text)
        with pytest.raises(ValueError, match=r"predict\.json is damaged"):
            Journal(tmp_path, ABOUT).__enter__()


@pytest.mark.parametrize("torn", ['{"path": "b.p', '{"path": "b.png"}', "\x00\x00"])
def test_a_row_that_a_crash_left_unfinished_is_done_again(tmp_path, torn):
    with Journal(tmp_path, ABOUT) as journal:
        journal.add(row("a.png"))
    with open(tmp_path / "predictions.jsonl", "a") as rows:
        rows.write(torn)  # no end of the line
    with Journal(tmp_path, ABOUT) as journal:
        assert set(journal.done) == {"a.png"}
        journal.add(row("b.png"))
        assert [one["path"] for one in journal.rows()] == ["a.png", "b.png"]


def test_a_folder_of_other_predictions_is_refused(tmp_path):
    with Journal(tmp_path, ABOUT) as journal:
        journal.add(row("a.png"))
    with pytest.raises(ValueError, match=r"other predictions: run is '/runs/one' there"):
        Journal(tmp_path, ABOUT | {"run": "/runs/two"}).__enter__()
    (tmp_path / "predict.json").unlink()
    with pytest.raises(ValueError, match=r"has predictions.jsonl, but not predict.json"):
        Journal(tmp_path, ABOUT).__enter__()
    with Journal(tmp_path / "other", ABOUT):  # a refusal lets go of nothing that it did not take
        pass


def test_two_processes_do_not_write_into_one_folder(tmp_path):
    with (
        Journal(tmp_path, ABOUT),
        pytest.raises(BlockingIOError, match="another process predicts into"),
    ):
        Journal(tmp_path, ABOUT).__enter__()
    with Journal(tmp_path, ABOUT):
        pass


def test_a_damaged_row_in_the_middle_is_named(tmp_path):
    with Journal(tmp_path, ABOUT) as journal:
        journal.add(row("a.png"))
    file = tmp_path / "predictions.jsonl"
    file.write_text("damage\n" + file.read_text())
    with pytest.raises(ValueError, match=r"predictions.jsonl is damaged in line 1"):
        Journal(tmp_path, ABOUT).__enter__()


def test_the_summary_is_harmless_in_a_spreadsheet(tmp_path):
    names = ["=cmd().png", "+1.png", "-1.png", "@a.png", "\ta.png", 'a,"b.png', "<img onerror=x>"]
    regions = [{"area": 3}, {"area": 9}]
    with Journal(tmp_path, ABOUT) as journal:
        for name in names:
            journal.add(row(name, regions=regions))
        journal.add({"path": "broken.png", "error": "=broken"})
        path = journal.summarise()
    with open(path, newline="") as file:
        head, *found = list(csv.reader(file))
    assert tuple(head) == COLUMNS
    assert len(found) == len(names) + 1
    for cells in found:
        assert not any(cell.startswith(("=", "+", "-", "@", "\t")) for cell in cells)
    by_name = {cells[0].removeprefix("'"): cells for cells in found}
    assert set(by_name) == {*names, "broken.png"}
    assert by_name["@a.png"][COLUMNS.index("regions")] == "2"
    assert by_name["@a.png"][COLUMNS.index("largest_area")] == "9"
    assert by_name["broken.png"][COLUMNS.index("error")] == "'=broken"
