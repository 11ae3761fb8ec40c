"""`jaxad pack`: what it makes trains as the folder does, and what it cannot take is told."""

import json
import subprocess
import sys

import numpy as np
import pytest
from scripts import category

from jaxad.cli.main import main
from jaxad.cli.run_options import DataOptions
from jaxad.data.reading import Reading

SMALL = ["--size", "32", "--batch-size", "2", "--widths", "4,8", "--save-every", "2"]


# No file may grow beyond ten kilobytes: a shard is larger.
FILLED_UP = """
import resource, sys
from jaxad.cli.main import main

sys.dont_write_bytecode = True  # of modules, or it is cut short, for good
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
sys.exit(main(["pack", *sys.argv[1:]]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return category(tmp_path_factory.mktemp("data") / "squares")


def said(capsys, *words):
    """Exit status and what is printed."""
    status = main([str(word) for word in words])
    told = capsys.readouterr()
    return status, told.out + told.err


def given(place):
    """The pictures of a DATA, as a command opens them."""
    from jaxad.cli.data import pictures

    return pictures(str(place), 32, DataOptions(), 0, lambda category: Reading())


def test_what_is_packed_is_counted_and_what_is_not_is_told(folder, tmp_path, capsys):
    (folder / "notes.txt").write_text("of no use")
    status, told = said(capsys, "pack", folder, tmp_path / "shards")
    assert status == 0
    assert "squares: 5 pictures to learn from, 4 to test on, 2 masks; " in told
    assert f"packed 9 pictures into {tmp_path / 'shards'}: " in told
    assert "not packed: 1 file, no picture, by its name: " in told


def test_training_goes_on_from_shards_and_measures_the_same(folder, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["pack", str(folder), str(tmp_path / "shards")]) == 0
    assert main(["train", "autoencoder", str(folder), str(run), *SMALL, "--steps", "2"]) == 0
    whole = json.loads((run / "evaluation.json").read_text())
    assert main(["evaluate", str(run), str(tmp_path / "shards")]) == 0
    told = capsys.readouterr().out
    assert "learned from others" not in told
    again = json.loads((run / "on-squares" / "evaluation.json").read_text())
    assert again["mean"] == whole["mean"]
    # The very command, with shards in place of the folder, goes on in the same run.
    words = ["train", "autoencoder", str(tmp_path / "shards"), str(run), *SMALL, "--steps", "3"]
    assert main(words) == 0


def test_several_categories_are_packed_side_by_side(tmp_path, capsys):
    for name in ("bolts", "nuts"):
        category(tmp_path / "data" / name, seed=len(name))
    assert said(capsys, "pack", tmp_path / "data", tmp_path / "shards")[0] == 0
    files, same = given(tmp_path / "data"), given(tmp_path / "shards")
    assert list(files) == list(same) == ["bolts", "nuts"]
    for name, one in files.items():
        assert repr(one.train) == repr(same[name].train)
        assert np.array_equal(one.test[3]["mask"], same[name].test[3]["mask"])
    assert list(given(tmp_path / "shards" / "nuts")) == ["nuts"]
    _, told = said(capsys, "inspect", tmp_path / "shards")
    assert "22 picture files" in told


def test_plain_folders_are_packed_with_their_options(folder, tmp_path, capsys):
    words = ["--normal", folder / "train" / "good", "--test", folder / "test" / "hole"]
    words += ["--masks", folder / "ground_truth" / "hole", "--shard-size", "1"]
    assert said(capsys, "pack", tmp_path / "shards", *words)[0] == 0
    (one,) = given(tmp_path / "shards").values()
    assert (len(one.train), len(one.heldout), len(one.test)) == (4, 1, 2)
    assert one.test.has_masks


def test_bad_pictures_are_refused_or_left_out(tmp_path, capsys):
    place = category(tmp_path / "part")
    (place / "train" / "good" / "1.png").write_bytes(b"")
    status, told = said(capsys, "pack", place, tmp_path / "shards")
    assert status == 2
    assert "1 of 9 pictures cannot be used" in told
    assert not (tmp_path / "shards").exists()
    words = ["--on-bad-image", "skip"]
    status, told = said(capsys, "pack", place, tmp_path / "shards", *words)
    assert status == 0
    assert "part: left out 1 picture that cannot be read:" in told
    assert "part: 4 pictures to learn from" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["DATA"], "expected DATA SHARDS before the options"),
        (["DATA", "DATA"], "is there already"),
        (["DATA", "DATA/train/shards"], "which is packed: give a folder outside"),
        (["DATA/..", "DATA/../shards"], "which is packed: give a folder outside"),
        (["workpieces/plate", "SHARDS"], "rendered pictures lie in no files"),
        (["DATA/nothing", "SHARDS"], "no such folder"),
        (["DATA", "SHARDS", "--masks", "m"], "--masks belongs to --normal, which is not given"),
        (["DATA", "SHARDS", "--shard-size", "0"], "shard_size"),
    ],
)
def test_what_cannot_be_packed_is_told(folder, tmp_path, capsys, words, told):
    places = {"DATA": str(folder), "SHARDS": str(tmp_path / "shards")}
    for name, place in places.items():
        words = [word.replace(name, place) for word in words]
    status, text = said(capsys, "pack", *words)
    assert status == 2
    assert told in text
    assert not (tmp_path / "shards").exists()


def test_shards_are_not_packed_again(folder, tmp_path, capsys):
    assert main(["pack", str(folder), str(tmp_path / "shards")]) == 0
    for place in (tmp_path / "shards", tmp_path / "shards" / "squares"):
        status, text = said(capsys, "pack", place, tmp_path / "again")
        assert status == 2
        assert "is packed already: give it to `jaxad train` as DATA" in text


def test_a_missing_shard_is_told_before_anything_is_learned(folder, tmp_path, capsys):
    assert main(["pack", str(folder), str(tmp_path / "shards")]) == 0
    (tmp_path / "shards" / "squares" / "00000.array_record").unlink()
    words = ["train", "autoencoder", tmp_path / "shards", tmp_path / "run", *SMALL, "--steps", "1"]
    status, text = said(capsys, *words)
    assert status == 2
    assert "00000.array_record is missing, with 11 records" in text
    assert not (tmp_path / "run" / "model").exists()


def test_a_full_disk_is_one_sentence_with_the_folder_and_nothing_is_left(folder, tmp_path):
    words = [sys.executable, "-c", FILLED_UP, str(folder), str(tmp_path / "shards")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"jaxad: cannot write the shards of {tmp_path / 'shards'} (")
    assert "File too large" in line
    assert "nothing of them is left; free some space" in line
    assert list(tmp_path.iterdir()) == []
