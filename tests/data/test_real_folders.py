"""The loaders on real pictures; counts from the folders' own description."""

import collections

import numpy as np
import pytest

from jaxad.data import folder, mvtec
from jaxad.data.pictures import image_set

pytestmark = pytest.mark.data

FOLDERS = {
    # training pictures, normal and defective test pictures, types of defect, masks
    "cookies": (31, 14, 32, 1, True),
    "magnetic_tile": (200, 60, 120, 5, True),
    "elpv": (200, 50, 60, 1, False),
    "mvtec_leather_mini": (4, 4, 11, 5, True),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_in_mvtec_layout_are_read(shared, name):
    train, normal, defective, types, masks = FOLDERS[name]
    data = mvtec.load(shared / "data" / name, on_bad_image="skip")
    assert len(data.train) + len(data.heldout) == train
    assert len(data.heldout) == max(1, round(0.1 * train))
    labels = collections.Counter(record.label for record in data.test.records)
    assert labels == {0: normal, 1: defective}
    assert len({r.defect for r in data.test.records if r.label}) == types
    assert {record.category for record in data.test.records} == {name}
    assert data.test.has_masks == masks
    assert data.train.skipped == data.test.skipped == ()
    for i in range(0, len(data.test), 7):
        item = data.test[i]
        assert item["image"].shape == (256, 256, 3)
        assert item["mask"].any() == (masks and item["label"] == 1)
        assert item["image"].std() > 1


def test_categories_are_the_folders_in_mvtec_layout(shared):
    assert mvtec.categories(shared / "data") == sorted(FOLDERS)


def test_photographs_are_read(shared):
    source = folder.photographs(shared / "data" / "natural")
    assert len(source) == 1000
    assert min(source[10]["image"].shape[:2]) == 288
    images = image_set(source, 64, zoom=2, limit=20)
    assert images.shape == (20, 64, 64, 3)
    assert len(np.unique(images.reshape(20, -1), axis=0)) == 20
