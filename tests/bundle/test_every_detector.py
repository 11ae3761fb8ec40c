"""Every detector's bundle beside its run, on a hundred pictures."""

import bench_export
import pytest

from jaxad.methods import DETECTORS


@pytest.mark.slow
@pytest.mark.parametrize("name", DETECTORS)
def test_a_bundle_says_of_a_hundred_pictures_what_its_run_says(name, tmp_path):
    options = bench_export.Options(steps=2)
    found = bench_export.differences(name, tmp_path, options, ["weights beside"])
    (one,) = found.values()
    assert one.pictures == 100
    assert one.map < 1e-4
    assert one.score < 1e-4
    assert one.labels == 0
    assert set(one.metrics) == {"image_auroc", "pixel_auroc"}
