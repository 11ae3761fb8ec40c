"""Where textures for synthetic anomalies come from."""

import numpy as np
import pytest

from jaxad.cli.streams import photographs
from jaxad.data import array_records, prepared
from jaxad.data.textures import Textures


@pytest.mark.parametrize("pattern", ["images/{0}/{1}.jpg", "{1}.png"])
def test_pictures_in_folders_by_class_and_in_one_folder_are_found(tmp_path, picture, pattern):
    for i, kind in enumerate(("banded", "banded", "dotted")):
        picture(tmp_path / pattern.format(kind, i))
    textures = photographs(str(tmp_path), 32)
    assert len(textures) == 3
    assert {record.label for record in textures.records} == {0}


def test_the_training_pictures_of_a_prepared_set_are_textures_whatever_their_class(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "dtd.npz", classes=np.array(["banded", "dotted"]),
        x_train=rng.integers(0, 256, (5, 9, 8, 3), np.uint8), y_train=np.array([0, 1, 1, 0, 1]),
        x_test=rng.integers(0, 256, (2, 9, 8, 3), np.uint8), y_test=np.array([0, 1]),
    )  # fmt: skip
    source = prepared.load(tmp_path / "dtd.npz")
    folder = array_records.prepare(source, tmp_path / "data")
    for place in (folder, tmp_path / "data"):
        textures = photographs(str(place), 32)
        assert len(textures) == 5
        assert {record.label for record in textures.records} == {0}
        for i in range(5):
            np.testing.assert_array_equal(textures[i]["image"], source.train.pictures[i])


def test_without_a_folder_textures_are_rendered_and_a_missing_one_is_named(tmp_path, caplog):
    assert isinstance(photographs(None, 32), Textures)
    assert "textures take their place" in caplog.text
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        photographs(str(tmp_path / "nowhere"), 32)
