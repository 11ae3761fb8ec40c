"""Files are there whole or not at all; a folder is tried before work is done for it."""

import errno
import multiprocessing
import os

import pytest

from jaxad import whole

LETTERS, TIMES = "abcd", 200


def test_a_file_is_there_once_all_of_it_is_written(tmp_path):
    file = tmp_path / "file"
    with whole.written(file) as part:
        part.write_text("half")
        assert not file.exists()
        part.write_text("all")
    assert file.read_text() == "all"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [ValueError("inside"), KeyboardInterrupt()])
def test_a_file_stays_as_it_was_where_writing_fails(error, tmp_path):
    file = tmp_path / "file"
    file.write_text("before")

    def fail(part):
        part.write_text("half")
        raise error

    with pytest.raises(type(error)), whole.written(file) as part:
        fail(part)
    assert file.read_text() == "before"
    assert os.listdir(tmp_path) == ["file"]


def test_the_longest_name_that_a_system_takes_can_be_written(tmp_path):
    file = tmp_path / ("a" * 255)
    with whole.written(file) as part:
        part.write_text("all")
    assert file.read_text() == "all"


def test_an_error_names_the_file_that_was_to_be_there(tmp_path):
    file = tmp_path / "missing" / "file"
    with pytest.raises(FileNotFoundError) as failed, whole.written(file) as part:
        part.write_text("all")
    assert failed.value.filename == str(file)
    with pytest.raises(OSError, match="No space") as failed, whole.written(tmp_path / "f"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert failed.value.filename == str(tmp_path / "f")


def test_an_error_of_another_file_stays_its_own(tmp_path):
    with pytest.raises(FileNotFoundError) as failed, whole.written(tmp_path / "file") as part:
        part.write_text((tmp_path / "picture.png").read_text())
    assert failed.value.filename == str(tmp_path / "picture.png")


def _write(file, letter):
    for _ in range(TIMES):
        with whole.written(file) as part, open(part, "w") as opened:
            for _ in range(8):
                opened.write(letter * 1000)
                opened.flush()


def _make_ready(folder, _):
    for _ in range(TIMES):
        whole.ready(folder)


@pytest.mark.parametrize("work", [_write, _make_ready])
def test_processes_that_write_the_same_at_the_same_time_do_not_meet(work, tmp_path):
    place = tmp_path / "place"
    context = multiprocessing.get_context("spawn")
    several = [context.Process(target=work, args=(place, letter)) for letter in LETTERS]
    for one in several:
        one.start()
    for one in several:
        one.join()
    assert [one.exitcode for one in several] == [0] * len(LETTERS)
    if work is _write:
        assert place.read_text() in [letter * 8000 for letter in LETTERS]
        assert os.listdir(tmp_path) == ["place"]
    else:
        assert os.listdir(place) == []


def test_a_folder_is_made_with_those_above_it(tmp_path):
    whole.ready(tmp_path / "a" / "b")
    assert os.listdir(tmp_path / "a" / "b") == []


def test_a_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write to the run folder .*file/run.*give another"):
        whole.ready(tmp_path / "file" / "run", "run folder")
