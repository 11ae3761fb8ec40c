"""What listing many pictures relies on: short ways that find what the long ones find."""

import os
import tracemalloc

import pytest
from scripts import script

from jaxad.data import checks, files, layouts, names, walk

NAMES = (
    "b.png", "a/z.png", "a.png", "a b.png", "a-b/c.png", "a/b/c.png", "B.png", "ä.png", "a!.png",
    "10.png", "9.png", "a/.hidden.png", ".b/c.png", "a/notes.txt", "..png", "a/x.tar.png",
)  # fmt: skip


@pytest.fixture
def tree(tmp_path):
    """Files that are pictures by their names."""
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_pictures_come_in_the_order_of_their_paths(tree):
    found = walk.list_images(tree, recursive=True)
    hidden = lambda path: any(part[0] == "." for part in path.relative_to(tree).parts)
    assert found == sorted(path for path in tree.rglob("*.png") if not hidden(path))
    assert [str(path) for path in found] == [str(tree / path.relative_to(tree)) for path in found]


def test_paths_below_the_current_folder_are_as_they_are_given(tree, monkeypatch):
    monkeypatch.chdir(tree)
    found = walk.list_images(".", recursive=True)
    assert [tree / path for path in found] == walk.list_images(tree, recursive=True)
    assert not any(path.is_absolute() for path in found)
    listed = files.files_in(walk.Path(), "here")
    assert [file.key for file in listed] == [os.path.splitext(path)[0] for path in found]


@pytest.mark.parametrize("place", ["a", "a-b", ".", "a/b", ".b", "none", "empty"])
def test_a_short_look_finds_whether_there_are_pictures(tree, place):
    (tree / "empty").mkdir()
    (tree / "none").mkdir()
    (tree / "none" / "of use.txt").write_text("")
    assert walk.has_images(tree / place) == bool(walk.list_images(tree / place, recursive=True))


def test_what_a_run_wrote_is_no_picture_in_a_short_look(tree):
    (tree / "a-b" / "run.json").write_text("{}")
    assert walk.has_images(tree / "a-b")  # a folder that is given is looked into
    (tree / "part" / "out").mkdir(parents=True)
    (tree / "a-b" / "c.png").rename(tree / "part" / "out" / "c.png")
    assert walk.has_images(tree / "part")
    (tree / "part" / "out" / "run.json").write_text("{}")
    assert not walk.has_images(tree / "part")
    assert not walk.has_images(tree / "a", apart=[tree])


def test_the_short_look_at_a_name_misses_no_word_for_masks():
    words = [*names.MASK_ENDINGS, "mask 2", "ground truth", "Segmentation", "ANNOTATIONS", "GT"]
    assert all(names._ANY_OF_MASK.search(word) for word in words)
    for word in words[: len(names.MASK_ENDINGS)]:
        assert "a/000" in names.pictures_of(f"a/000_{word}"), word
    assert names.pictures_of("mask/000") == []


def test_links_to_what_is_learned_from_are_found_in_the_test_set(tree):
    file = lambda path: files.File(files.Record(path.name, "any", "good"), path)
    os.symlink(tree / "a", tree / "linked")
    os.symlink(tree / "a" / "z.png", tree / "link.png")
    learned = [file(tree / "a" / "z.png")]
    for same in (tree / "linked" / "z.png", tree / "link.png", tree / "a" / ".." / "a" / "z.png"):
        with pytest.raises(ValueError, match="to learn from and to test on at once"):
            files.check_apart(learned, [file(same)])
        with pytest.raises(ValueError, match="to learn from and to test on at once"):
            files.check_apart([file(same)], learned)
    files.check_apart(learned, [file(tree / "b.png")])


def test_several_masks_beside_each_picture_are_all_of_it(tmp_path, picture, mask):
    for i in range(3):
        picture(tmp_path / "crack" / f"{i}.png")
        for ending in ("mask", "mask_2", "gt"):
            mask(tmp_path / "crack" / f"{i}_{ending}.png")
    found = files.files_in(tmp_path / "crack", "part", "crack")
    masks = [[path.name for path in file.masks] for file in found]
    assert masks == [[f"{i}_gt.png", f"{i}_mask.png", f"{i}_mask_2.png"] for i in range(3)]


def test_a_picture_takes_little_memory(tmp_path, monkeypatch):
    """Beyond the headers, of which there are only so many: a million pictures are a gigabyte."""
    monkeypatch.setattr(checks, "HEADERS", 10)
    bench = script("bench_large_sets")
    taken = []
    for count in (100, 600):
        folder = tmp_path / str(count) / "data" / "part"
        folder.mkdir(parents=True)
        bench.linked(folder, count)
        tracemalloc.start()
        data = layouts.load(folder)
        taken.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert len(data.train) + len(data.heldout) == count
        del data
    assert (taken[1] - taken[0]) / 500 < 2500


def test_the_benchmark_tells_memory_by_the_picture():
    bench = script("bench_large_sets")
    rows = [
        {"pictures": n, "listing": {"taken": 1000 * n + 5}, "shards": {"taken": 2000 * n + 7}}
        for n in (10, 30)
    ]
    expected = {"listing": 1000, "shards": 2000}
    assert bench.slope(*rows) == {"from": 10, "to": 30, "bytes_per_picture": expected}
