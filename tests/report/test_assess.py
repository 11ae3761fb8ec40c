"""A trained state becomes metrics, pictures and a page."""

import base64
import io
import json

import jax
import pytest
from made_up import data_of
from PIL import Image

from jaxad.report.assess import assess


def test_a_report_and_the_metrics_are_written(tiny, carded, tmp_path):
    detector, cfg, pretrained, state, card, _ = carded("stfpm")
    data = tiny("stfpm")[3]
    learned = data.train
    found = assess(detector, cfg, pretrained, state, data, card, tmp_path, "Tiny", learned)
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert written["mean"]["image_auroc"] == found.mean["image_auroc"] == 1.0
    assert written["intervals"]["mean"]["image_auroc"] == [1.0, 1.0]
    page = tmp_path / "report" / "index.html"
    assert "<title>Tiny</title>" in page.read_text()
    found = data_of(page)
    assert len(found["pictures"]["name"]) == len(data.test)
    assert min(found["layers"]["at"]["picture"]) == 0
    text = page.read_text()
    for words in ("to learn from", "held out", "batch_size", "image AUROC"):
        assert words in text


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
    found = data_of(tmp_path / "report" / "index.html")["nearest"]
    assert len(found) == 3  # the painted ones
    names = {record.name for record in data.train.records}
    for one in found.values():
        assert one["normal"] in names
        content = base64.b64decode(one["image"].removeprefix("data:image/webp;base64,"))
        with Image.open(io.BytesIO(content)) as image:
            image.verify()


@pytest.mark.parametrize("name", ["patchcore", "stfpm"])
def test_without_the_pictures_it_learned_from_no_comparison_is_shown(name, tiny, carded, tmp_path):
    detector, cfg, pretrained, state, card, _ = carded(name)
    data = tiny(name)[3]
    learned = data.train if name == "stfpm" else None
    assess(detector, cfg, pretrained, state, data, card, tmp_path, learned=learned)
    assert data_of(tmp_path / "report" / "index.html")["nearest"] == {}
