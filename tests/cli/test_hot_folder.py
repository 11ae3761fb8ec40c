"""Files of a watched folder are taken whole, and once."""

import os

import pytest

from jaxad.cli.hot_folder import HotFolder


def test_a_file_is_taken_when_it_has_stopped_growing_and_once(tmp_path):
    hot = HotFolder(tmp_path)
    assert hot.settled() == []
    path = tmp_path / "deep" / "a.png"
    path.parent.mkdir()
    path.write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("no picture")
    assert hot.settled() == []  # seen for the first time
    path.write_bytes(b"half, and the rest")
    assert hot.settled() == []  # it grew
    assert hot.settled() == [path]
    assert hot.settled() == []
    path.write_bytes(b"another picture of this name")
    assert hot.settled() == []
    assert hot.settled() == [path]


def test_an_empty_file_waits_for_its_content(tmp_path):
    hot, path = HotFolder(tmp_path), tmp_path / "a.png"
    path.touch()
    assert [hot.settled(), hot.settled(), hot.settled()] == [[], [], []]
    path.write_bytes(b"content")
    assert [hot.settled(), hot.settled()] == [[], [path]]


def test_names_that_are_odd_and_links_to_nowhere_end_nothing(tmp_path):
    hot = HotFolder(tmp_path)
    (tmp_path / "latest").symlink_to(tmp_path / "nowhere")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    odd = tmp_path / os.fsdecode(b"\xff.png")
    odd.write_bytes(b"content")
    assert [hot.settled(), hot.settled(), hot.settled()] == [[], [odd], []]


def test_a_look_that_fails_forgets_nothing(tmp_path, monkeypatch, caplog):
    hot, path = HotFolder(tmp_path), tmp_path / "a.png"
    path.write_bytes(b"content")
    assert [hot.settled(), hot.settled()] == [[], [path]]

    def fails(*given, **options):
        raise PermissionError(13, "Permission denied", "deep")

    with monkeypatch.context() as patch:
        patch.setattr("jaxad.data.walk.list_images", fails)
        assert [hot.settled(), hot.settled()] == [[], []]
    assert caplog.text.count("is looked at again") == 1
    assert [hot.settled(), hot.settled()] == [[], []]


def test_a_file_that_is_moved_on_is_forgotten(tmp_path):
    hot, path = HotFolder(tmp_path), tmp_path / "a.png"
    path.write_bytes(b"content")
    hot.settled()
    path.unlink()
    assert hot.settled() == []


def test_a_removed_folder_ends_the_watch(tmp_path):
    folder = tmp_path / "hot"
    folder.mkdir()
    hot = HotFolder(folder)
    assert hot.settled() == []
    folder.rmdir()
    with pytest.raises(FileNotFoundError, match="the watched folder is not there any more"):
        hot.settled()
