"""A trained state becomes metrics, pictures and a page."""

import json

import jax
import pytest
from PIL import Image

from jaxad.report.assess import assess


def test_a_report_and_the_metrics_are_written(tiny, carded, tmp_path):
    detector, cfg, pretrained, state, card, _ = carded("stfpm")
    data = tiny("stfpm")[3]
    found = assess(detector, cfg, pretrained, state, data, card, tmp_path, "Tiny")
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert written["mean"]["image_auroc"] == found.mean["image_auroc"] == 1.0
    report = tmp_path / "report"
    assert "Tiny" in (report / "index.html").read_text()
    pictures = list((report / "pictures").iterdir())
    assert len(pictures) == len(data.test)
    for picture in [*pictures, report / "grid.png", report / "histogram.png"]:
        with Image.open(picture) as image:
            image.verify()


def test_without_a_test_set_it_says_so(tiny, carded, tmp_path):
    detector, cfg, pretrained, state, card, _ = carded("stfpm")
    data = tiny("stfpm")[3]._replace(test=None)
    with pytest.raises(ValueError, match="no test set"):
        assess(detector, cfg, pretrained, state, data, card, tmp_path)


def test_a_card_for_tiles_is_none_for_whole_pictures(tiny, carded, tmp_path):
    detector, cfg, pretrained, state, card, _ = carded("autoencoder")
    data, card = tiny("autoencoder")[3], card._replace(tiles=64)
    with pytest.raises(ValueError, match="the card is for tiles of 64 pixels"):
        assess(detector, cfg, pretrained, state, data, card, tmp_path)


def test_weights_that_are_not_finite_name_the_picture(tiny, carded, tmp_path):
    detector, cfg, pretrained, state, card, _ = carded("stfpm")
    params = jax.tree.map(lambda x: x * float("nan"), state.params)
    spoiled = state._replace(params=params)
    with pytest.raises(FloatingPointError, match=r"picture '\d+' .* is not finite"):
        assess(detector, cfg, pretrained, spoiled, tiny("stfpm")[3], card, tmp_path)


def test_alarms_stand_beside_the_normal_place_that_is_nearest(tiny, carded, tmp_path):
    detector, cfg, pretrained, state, card, _ = carded("patchcore")
    data = tiny("patchcore")[3]
    assess(detector, cfg, pretrained, state, data, card, tmp_path, learned=data.train)
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
def test_without_the_pictures_it_learned_from_no_comparison_is_shown(name, tiny, carded, tmp_path):
    detector, cfg, pretrained, state, card, _ = carded(name)
    data = tiny(name)[3]
    learned = data.train if name == "stfpm" else None
    assess(detector, cfg, pretrained, state, data, card, tmp_path, learned=learned)
    assert not (tmp_path / "report" / "nearest").exists()
    assert "nearest to them" not in (tmp_path / "report" / "index.html").read_text()
