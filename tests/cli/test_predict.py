"""`jaxad predict`, `calibrate` and `drift` as a person types them."""

import csv
import json
import shutil
import socket
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from jaxad.cli.main import main
from jaxad.decision import card as cards
from jaxad.decision.journal import Journal
from jaxad.decision.predictor import Predictor

NAMES = ("a.png", "<img onerror=x>.png", "=cmd().png", "deep/b.png", "ü ö.png")


@pytest.fixture(scope="module")
def run(carded, tmp_path_factory):
    """A finished run with its card, which tests may change."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    shutil.copytree(carded("autoencoder")[-1], folder)
    return folder


def save(path, seed=0, shape=(40, 60)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def pictures(tmp_path):
    for i, name in enumerate(NAMES):
        save(tmp_path / "in" / name, i, (40 + i, 60 - i))
    return tmp_path / "in"


def rows(folder):
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]


def test_lines_are_printed_where_no_folder_is_given(run, pictures, capsys):
    assert main(["predict", str(run), str(pictures / "a.png"), str(pictures / "deep")]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["path"] for row in found] == [
        str(pictures / "a.png"), str(pictures / "deep" / "b.png"),
    ]  # fmt: skip
    for row in found:
        assert {"score", "percentile", "p_value", "label", "regions", "seconds"} < set(row)


def test_everything_is_written_at_the_pictures_own_size(run, pictures, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["--out", str(out), "--overlays", "true", "--masks", "true", "--maps", "tiff"]
    assert main(["predict", str(run), str(pictures), *words]) == 0
    found = {row["path"]: row for row in rows(out)}
    assert set(found) == {str(pictures / name) for name in NAMES}
    for name in NAMES:
        row = found[str(pictures / name)]
        for kind, suffix in (("overlays", "png"), ("masks", "png"), ("maps", "tiff")):
            with Image.open(out / kind / f"{name}.{suffix}") as image:
                assert image.size == (row["width"], row["height"])
    page = (out / "index.html").read_text()
    assert "&lt;img onerror=x&gt;" in page
    assert "<img onerror" not in page
    with open(out / "summary.csv", newline="") as file:
        assert not any(cell.startswith("=") for cells in csv.reader(file) for cell in cells)
    assert not list(out.rglob("*.part"))
    assert "5 pictures now" in capsys.readouterr().out


def test_a_run_is_only_read(run, pictures, tmp_path):
    changed = lambda: {str(path): path.stat().st_mtime_ns for path in (run, *run.rglob("*"))}
    before = changed()
    assert main(["predict", str(run), str(pictures), "--out", str(tmp_path / "out")]) == 0
    assert main(["drift", str(run), str(pictures)]) == 0
    assert changed() == before  # nor was anything made there for a moment


def test_the_same_command_goes_on_and_repeats_nothing(run, pictures, tmp_path, capsys):
    words = ["predict", str(run), str(pictures), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    whole = rows(tmp_path / "out")
    file = tmp_path / "out" / "predictions.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:2]) + lines[2][:9])
    capsys.readouterr()
    assert main(words) == 0
    printed = capsys.readouterr()
    assert "2 of 5 pictures done before" in printed.err
    assert "3 pictures now" in printed.out
    without = lambda several: [{k: v for k, v in row.items() if k != "seconds"} for row in several]
    assert without(rows(tmp_path / "out")) == without(whole)
    save(pictures / "a.png", 9)  # another picture of that name gets a row of its own
    assert main(words) == 0
    printed = capsys.readouterr()
    assert "4 of 5 pictures done before" in printed.err
    assert "1 picture changed since: done again" in printed.err
    assert [row["path"] for row in rows(tmp_path / "out")[5:]] == [str(pictures / "a.png")]


def test_what_was_written_beside_the_pictures_is_none_of_them(run, pictures, capsys):
    words = ["predict", str(run), str(pictures), "--out", str(pictures / "out"), "--overlays", "1"]
    assert main(words) == 0
    capsys.readouterr()
    assert main(words) == 0
    assert "5 of 5 pictures done before" in capsys.readouterr().err
    assert len(rows(pictures / "out")) == 5


def test_bad_files_have_a_row_that_says_why_or_stop_it(run, pictures, tmp_path, capsys):
    (pictures / "broken.png").write_bytes((pictures / "a.png").read_bytes()[:90])
    (pictures / "gone.png").symlink_to(pictures / "nowhere.png")
    words = ["predict", str(run), str(pictures), "--out"]
    assert main([*words, str(tmp_path / "one")]) == 0
    bad = {row["path"]: row["error"] for row in rows(tmp_path / "one") if "error" in row}
    assert set(bad) == {str(pictures / "broken.png"), str(pictures / "gone.png")}
    assert "cannot be read" in bad[str(pictures / "broken.png")]
    assert "2 cannot be used" in capsys.readouterr().out
    assert main([*words, str(tmp_path / "two"), "--on-bad-image", "error"]) == 2
    assert "broken.png" in capsys.readouterr().err


def test_pictures_beyond_the_limit_and_bombs_are_told(run, pictures, tmp_path, capsys):
    small = (pictures / "a.png").read_bytes()
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 65_000, 65_000, 8, 2, 0, 0, 0)
    header = small[:12] + chunk + struct.pack(">I", zlib.crc32(chunk))
    (pictures / "bomb.png").write_bytes(header + small[len(header) :])
    words = ["predict", str(run), str(pictures), "--out"]
    assert main([*words, str(tmp_path / "one")]) == 0
    (reason,) = [row["error"] for row in rows(tmp_path / "one") if "error" in row]
    assert reason.startswith(f"{pictures / 'bomb.png'}: ")
    assert "more than max_pixels=178956970 (--max-pixels)" in reason
    assert main([*words, str(tmp_path / "two"), "--max-pixels", "2400"]) == 0
    good = [row["path"] for row in rows(tmp_path / "two") if "error" not in row]
    assert good == [str(pictures / "a.png")]  # 60 x 40; the others are larger
    capsys.readouterr()


def test_a_picture_that_goes_after_it_was_listed_has_a_row(run, pictures, monkeypatch, tmp_path):
    load = Predictor.load

    def slow(*words, **options):
        (pictures / "a.png").unlink()
        return load(*words, **options)

    monkeypatch.setattr(Predictor, "load", slow)
    assert main(["predict", str(run), str(pictures), "--out", str(tmp_path / "out")]) == 0
    found = {row["path"]: row.get("error") for row in rows(tmp_path / "out")}
    assert found.pop(str(pictures / "a.png")) == f"{pictures / 'a.png'}: No such file or directory"
    assert set(found.values()) == {None}
    assert len(found) == 4


def test_a_folder_that_is_taken_or_of_another_kind_is_refused(run, pictures, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["predict", str(run), str(pictures), "--out"]
    assert main([*words, str(out)]) == 0
    before = (out / "predictions.jsonl").read_bytes()
    capsys.readouterr()
    for more, message in (
        (["--masks", "true"], "holds other predictions: options"),
        (["--threshold", "1"], "holds other predictions: card"),
    ):
        assert main([*words, str(out), *more]) == 2
        assert message in capsys.readouterr().err
    with Journal(tmp_path / "busy", {}):
        assert main([*words, str(tmp_path / "busy")]) == 2
    assert "another process predicts into" in capsys.readouterr().err
    assert main([*words, str(pictures / "deep")]) == 2
    assert "pictures lie there; give a folder for the results alone" in capsys.readouterr().err
    assert (out / "predictions.jsonl").read_bytes() == before


def test_a_run_without_model_and_the_card_of_another_model_are_told(
    run, pictures, tmp_path, capsys
):
    half = tmp_path / "half"
    shutil.copytree(run, half)
    shutil.rmtree(half / "model")
    assert main(["predict", str(half), str(pictures)]) == 2
    assert "half" in capsys.readouterr().err
    other = json.loads((run / "card.json").read_text()) | {"model": "of another"}
    (tmp_path / "other.json").write_text(json.dumps(other))
    words = ["predict", str(run), str(pictures), "--card", str(tmp_path / "other.json")]
    assert main(words) == 2
    assert "other.json is the card of another model (of another, not" in capsys.readouterr().err


def test_a_webhook_that_does_not_answer_loses_no_row(run, pictures, tmp_path, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--out", str(tmp_path / "out"), "--webhook", f"http://127.0.0.1:{port}/"]
    assert main(["predict", str(run), str(pictures / "a.png"), *words]) == 0
    assert len(rows(tmp_path / "out")) == 1
    assert "1 row was not delivered to" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target-fpr", "0.001"], "needs 999; the smallest rate of 4 is 0.2"),
        (["--target-fpr", "0.3", "--threshold", "1"], "say one of the two"),
        (["--pixel-threshold", "1"], "belongs to --threshold"),
        (["--masks", "true"], "belongs to --out FOLDER"),
        (["--tiles", "64"], "there is no card for tiles of 64 pixels; make one with `jaxad calib"),
        (["--category", "cookie"], "category 'cookie' (--category): the card has tiny"),
        (["--card", "nowhere.json"], "nowhere.json: there is no card"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(run, pictures, words, message, capsys):
    assert main(["predict", str(run), str(pictures), *words]) == 2
    assert message in capsys.readouterr().err


def test_places_that_are_not_there_are_named(run, pictures, tmp_path, capsys):
    for words, message in (
        (["predict", str(tmp_path / "no"), str(pictures)], "there is no run folder"),
        (["predict", str(run.parent), str(pictures)], "some in it, run: name one"),
        (["predict", str(run), str(pictures / "*.gif")], "no picture matches it"),
        (["predict", str(run)], "expected the folder of a run and pictures"),
        (["predict", str(run), str(tmp_path / "in" / "deep" / "..")], None),
    ):
        status = main(words)
        assert status == (2 if message else 0), words
        if message:
            assert message in capsys.readouterr().err


def test_pictures_are_the_same_however_they_are_typed(run, pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(pictures)
    words = ["predict", str(run), "a.png", str(pictures / "a.png"), "./a.png", "*.png", "."]
    assert main([*words, "--out", str(tmp_path / "out"), "--overlays"]) == 0
    assert sorted(row["path"] for row in rows(tmp_path / "out")) == sorted(
        str(pictures / name) for name in NAMES
    )
    capsys.readouterr()
    # What was written is none of them by a pattern either, which may grow.
    shutil.copytree(tmp_path / "out", pictures / "deep" / "found")
    words = ["predict", str(run), "**/*.png", "--out", str(tmp_path / "two")]
    assert main(words) == 0
    assert len(rows(tmp_path / "two")) == 5
    save(pictures / "other" / "c.png")
    assert main(words) == 0
    assert len(rows(tmp_path / "two")) == 6
    assert main(["predict", str(run), ""]) == 2
    assert "an empty word" in capsys.readouterr().err


def test_pictures_before_a_bad_one_have_their_rows(run, pictures, tmp_path, capsys):
    (pictures / "b.png").write_bytes(b"no picture")
    words = ["predict", str(run), *(str(pictures / x) for x in ("a.png", "deep/b.png", "b.png"))]
    assert main([*words, "--on-bad-image", "error", "--out", str(tmp_path / "out")]) == 2
    assert "b.png: not a picture" in capsys.readouterr().err
    assert [row["path"] for row in rows(tmp_path / "out")] == words[2:4]


def test_results_of_another_kind_are_left_alone(run, pictures, tmp_path, capsys):
    for verb in ("predict", "drift"):
        assert main([verb, str(run), str(pictures), "--out", str(run)]) == 2
        assert "it holds another thing's run.json" in capsys.readouterr().err


def test_a_fixed_threshold_decides_and_the_score_stays(run, pictures, capsys):
    def judged(threshold):
        assert main(["predict", str(run), str(pictures / "a.png"), *threshold]) == 0
        return json.loads(capsys.readouterr().out)

    plain, low, high = judged([]), judged(["--threshold", "-1"]), judged(["--threshold", "1e9"])
    assert plain["score"] == low["score"] == high["score"]
    assert (low["label"], high["label"]) == ("anomalous", "normal")


def test_calibration_makes_a_card_of_these_pictures_and_keeps_the_one_before(
    carded, tmp_path, capsys
):
    run = tmp_path / "run"
    shutil.copytree(carded("autoencoder")[-1], run)
    for i in range(12):
        save(tmp_path / "day" / f"{i}.png", i)
    before = (run / "card.json").read_text()
    assert main(["calibrate", str(run), str(tmp_path / "day"), "--target-fpr", "0.1"]) == 0
    assert "12 normal pictures (given for calibration)" in capsys.readouterr().out
    assert (run / "card-before-1.json").read_text() == before
    card = cards.read(run / "card.json")
    assert (len(card.of().scores), card.target_fpr) == (12, 0.1)
    assert main(["predict", str(run), str(tmp_path / "day")]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    np.testing.assert_allclose(sorted(row["score"] for row in found), card.of().scores, rtol=1e-6)
    assert sum(row["label"] == "anomalous" for row in found) == 0  # 1 of 13 may be: a new one
    # Among the card's own pictures there is no drift; among others there is.
    assert main(["drift", str(run), str(tmp_path / "day")]) == 0
    assert "no drift" in capsys.readouterr().out
    for i in range(12):
        Image.new("RGB", (60, 40), "white").save(tmp_path / "day" / f"{i}.png")
    assert main(["drift", str(run), str(tmp_path / "day"), "--out", str(tmp_path / "d")]) == 3
    assert json.loads((tmp_path / "d" / "drift.json").read_text())["drifted"] is True
    assert (tmp_path / "d" / "drift.png").exists()


def test_calibration_writes_where_a_card_may_be_and_mends_a_damaged_one(
    carded, pictures, tmp_path, capsys
):
    run = tmp_path / "run"
    shutil.copytree(carded("autoencoder")[-1], run)
    words = ["calibrate", str(run), str(pictures)]
    for more, message in (
        (["--out", str(pictures)], "expected a file in a folder that is there"),
        (
            ["--out", str(tmp_path / "no" / "card.json")],
            "expected a file in a folder that is there",
        ),
        (["--category", "cookie"], "category 'cookie' (--category): the card has tiny"),
    ):
        assert main([*words, *more]) == 2
        assert message in capsys.readouterr().err
    assert len(list(pictures.iterdir())) == 5
    (run / "card.json").write_text("{}")
    assert main(words) == 0
    assert "warning: not taken into account: " in capsys.readouterr().out
    assert (run / "card-before-1.json").read_text() == "{}"
    assert main([*words, "--tiles", "32"]) == 0
    assert cards.read(run / "card_tiles_32.json").tiles == 32
    capsys.readouterr()
    assert main(["predict", str(run), str(pictures / "a.png"), "--tiles", "32"]) == 0
    assert json.loads(capsys.readouterr().out)["percentile"] > 0


def test_calibration_needs_usable_pictures(run, tmp_path, capsys):
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "broken.png").write_bytes(b"nothing")
    before = (run / "card.json").read_text()
    words = ["calibrate", str(run), str(tmp_path / "day")]
    assert main(words) == 2
    assert "broken.png" in capsys.readouterr().err
    assert main([*words, "--on-bad-image", "skip"]) == 2
    assert "no normal pictures to calibrate with: 1 given" in capsys.readouterr().err
    assert (run / "card.json").read_text() == before
