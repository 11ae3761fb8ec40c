"""What scripts that distil teachers share: which pictures they take, and the error they report."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxad.cli import distil


def pictures(folder, count, side=8):
    folder.mkdir(parents=True)
    for i in range(count):
        Image.fromarray(np.full((side, side, 3), i, np.uint8)).save(folder / f"{i:02d}.png")


def test_the_order_of_pictures_does_not_depend_on_where_they_lie(tmp_path):
    pictures(tmp_path / "z" / "one" / "deep", 12)
    pictures(tmp_path / "z" / "two", 12)
    found = distil.listed([str(tmp_path / "z" / name) for name in ("one", "two")])[0]
    (tmp_path / "z" / "one").rename(tmp_path / "zz")
    moved, paths = distil.listed([str(tmp_path / "zz"), str(tmp_path / "z" / "two")])
    assert moved == found
    assert found[0] == "deep/00.png"
    assert found[12] == "00.png"
    assert paths[12] == tmp_path / "z" / "two" / "00.png"


def test_too_few_pictures_to_distil_from_are_an_error(tmp_path):
    pictures(tmp_path / "few", 3)
    with pytest.raises(ValueError, match=r"3 pictures in .*few: expected 20 or more"):
        distil.listed([str(tmp_path / "few")])


def test_one_picture_in_twenty_is_held_out_and_none_is_in_both_parts(tmp_path):
    pictures(tmp_path / "all", 45)
    found = distil.pictures([str(tmp_path / "all")])
    assert len(found.heldout) == 2
    assert len(found.train) == 43
    assert not set(found.heldout) & set(found.train)
    assert found.record["count"] == 45


def test_batches_show_every_picture_once_before_any_again(tmp_path):
    pictures(tmp_path / "all", 20)
    paths = distil.listed([str(tmp_path / "all")])[1]
    view = lambda pixels, rng: {"image": pixels[:1, :1]}
    batches = distil.batches(paths, view, seed=0, size=10)
    first, second, third = (batches[i]["image"].ravel()[::3].tolist() for i in range(3))
    assert sorted(first + second) == list(range(20))
    assert len(set(third)) == 10
    assert first != third


def test_the_error_is_relative_to_that_of_the_mean_over_all_batches():
    batches = [{"found": jnp.array([1.0, 4.0])}, {"found": jnp.array([2.0, 2.0])}]
    error = distil.relative_error(lambda batch: tuple(batch["found"]), batches)
    assert error == pytest.approx(0.5)
