import json
import pickle

import numpy as np
import pytest

from jaxad.data import loco

CONFIG = [
    {
        "defect_name": "missing_pushpin",
        "pixel_value": 255,
        "saturation_threshold": 20,
        "relative_saturation": False,
    },
    {
        "defect_name": "broken",
        "pixel_value": 254,
        "saturation_threshold": 0.5,
        "relative_saturation": True,
    },
]


@pytest.fixture
def pushpins(tmp_path, picture, mask):
    root = tmp_path / "pushpins"
    for place, count in (("train/good", 4), ("validation/good", 3), ("test/good", 2)):
        for i in range(count):
            picture(root / place / f"{i:03}.png")
    for kind in ("structural", "logical"):
        picture(root / "test" / f"{kind}_anomalies" / "000.png")
    truth = root / "ground_truth"
    mask(truth / "structural_anomalies" / "000" / "000.png", value=254, box=(0, 3, 0, 3))
    mask(truth / "logical_anomalies" / "000" / "000.png", value=255, box=(0, 4, 0, 8))
    mask(truth / "logical_anomalies" / "000" / "001.png", value=255, box=(2, 4, 6, 14))
    mask(truth / "logical_anomalies" / "000" / "002.png", value=254, box=(9, 10, 0, 5))
    (root / "defects_config.json").write_text(json.dumps(CONFIG))
    return root


def test_layout_is_read(pushpins):
    data = loco.load(pushpins)
    assert (len(data.train), len(data.heldout), len(data.test)) == (4, 3, 4)
    assert [record.kind for record in data.test.records] == ["", "", "structural", "logical"]
    assert [record.label for record in data.test.records] == [0, 0, 1, 1]
    assert data.test.records[3].name == "logical_anomalies/000"
    assert data.test.has_masks
    assert data.test.has_regions
    assert not data.train.has_regions


def test_mask_unites_the_defects(pushpins):
    expected = np.zeros((12, 16), np.uint8)
    expected[0:4, 0:8] = expected[2:4, 6:14] = expected[9:10, 0:5] = 1
    assert np.array_equal(loco.load(pushpins).test[3]["mask"], expected)


def test_regions_are_single_defects_with_saturation_areas(pushpins):
    test = pickle.loads(pickle.dumps(loco.load(pushpins).test))
    assert test.regions(0) == []
    (broken,) = test.regions(2)
    assert broken.mask.sum() == 9
    assert broken.saturation == 4  # half of 9, rounded down
    first, second, third = test.regions(3)
    assert (first.mask.sum(), first.saturation) == (32, 20)
    assert (second.mask.sum(), second.saturation) == (16, 16)  # smaller than the threshold
    assert (third.mask.sum(), third.saturation) == (5, 2)
    assert first.mask.dtype == bool
    assert (first.mask & second.mask).sum() == 4  # defects may overlap


def test_saturation_is_one_pixel_at_least():
    assert loco.Saturation(0.1, True).pixels(5) == 1


def test_pixel_values_must_be_in_the_configuration(pushpins, mask):
    mask(pushpins / "ground_truth" / "structural_anomalies" / "000" / "000.png", value=7)
    with pytest.raises(ValueError, match=r"000\.png: has the values \[7\].*\[254, 255\]"):
        loco.load(pushpins).test.regions(2)


def test_configuration_must_be_there_and_as_expected(pushpins):
    config = pushpins / "defects_config.json"
    config.write_text('[{"pixel_value": 3}]')
    with pytest.raises(ValueError, match=r"defects_config\.json: expected a list of entries"):
        loco.load(pushpins)
    config.unlink()
    with pytest.raises(FileNotFoundError, match=r"defects_config\.json: missing"):
        loco.load(pushpins)


def test_without_ground_truth_there_are_neither_masks_nor_regions(pushpins):
    (pushpins / "ground_truth").rename(pushpins / "elsewhere")
    (pushpins / "defects_config.json").unlink()
    test = loco.load(pushpins).test
    assert not test.has_masks
    assert not test.has_regions


def test_missing_and_lonely_masks_are_listed(pushpins, picture):
    picture(pushpins / "test" / "logical_anomalies" / "001.png")
    with pytest.raises(ValueError, match=r"1 of 3 anomalous(.|\n)*logical_anomalies/001\.png"):
        loco.load(pushpins)
    (pushpins / "ground_truth" / "logical_anomalies" / "009").mkdir()
    with pytest.raises(ValueError, match=r"without a picture(.|\n)*logical_anomalies/009"):
        loco.load(pushpins)


def test_wrong_folders_are_explained(pushpins, tmp_path):
    with pytest.raises(FileNotFoundError, match="the categories pushpins: give the folder of one"):
        loco.load(tmp_path)
