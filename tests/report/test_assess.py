"""A trained state becomes metrics, pictures and a page."""

import json

import jax
import pytest
from PIL import Image

from jaxad.report.assess import assess


def test_a_report_and_the_metrics_are_written(tiny, trained, tmp_path):
    detector, cfg, pretrained, data, _ = tiny("stfpm")
    found = assess(detector, cfg, pretrained, trained("stfpm"), data, tmp_path, "Tiny")
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert written["mean"]["image_auroc"] == found.mean["image_auroc"] == 1.0
    report = tmp_path / "report"
    assert "Tiny" in (report / "index.html").read_text()
    pictures = list((report / "pictures").iterdir())
    assert len(pictures) == len(data.test)
    for picture in [*pictures, report / "grid.png", report / "histogram.png"]:
        with Image.open(picture) as image:
            image.verify()


def test_without_a_test_set_it_says_so(tiny, trained, tmp_path):
    detector, cfg, pretrained, data, _ = tiny("stfpm")
    with pytest.raises(ValueError, match="no test set"):
        assess(detector, cfg, pretrained, trained("stfpm"), data._replace(test=None), tmp_path)


def test_weights_that_are_not_finite_name_the_picture(tiny, trained, tmp_path):
    detector, cfg, pretrained, data, _ = tiny("stfpm")
    spoiled = trained("stfpm")
    params = jax.tree.map(lambda x: x * float("nan"), spoiled.params)
    with pytest.raises((FloatingPointError, ValueError), match="finite"):
        assess(detector, cfg, pretrained, spoiled._replace(params=params), data, tmp_path)


def test_alarms_stand_beside_the_normal_place_that_is_nearest(tiny, trained, tmp_path):
    detector, cfg, pretrained, data, _ = tiny("patchcore")
    state = trained("patchcore")
    assess(detector, cfg, pretrained, state, data, tmp_path, learned=data.train)
    page = (tmp_path / "report" / "index.html").read_text()
    drawn = sorted((tmp_path / "report" / "nearest").iterdir())
    assert len(drawn) == 3  # the painted ones
    assert page.count('class="wide"') == 3
    assert "nearest to them among the normal pictures" in page
    assert any(f"of {record.name}" in page for record in data.train.records)
    for picture in drawn:
        assert f"nearest/{picture.name}" in page
        with Image.open(picture) as image:
            image.verify()


@pytest.mark.parametrize("name", ["patchcore", "stfpm"])
def test_without_the_pictures_it_learned_from_no_comparison_is_shown(name, tiny, trained, tmp_path):
    detector, cfg, pretrained, data, _ = tiny(name)
    learned = data.train if name == "stfpm" else None
    assess(detector, cfg, pretrained, trained(name), data, tmp_path, learned=learned)
    assert not (tmp_path / "report" / "nearest").exists()
    assert "nearest to them" not in (tmp_path / "report" / "index.html").read_text()
