"""What is answered about pictures: what `Predictor` says of them."""

import base64
import io
import json

import numpy as np
import pytest
from asked import PNG, client_of, file_of, picture, service_of
from PIL import Image

from jaxad.decision import bulk
from jaxad.report.heatmap import overlay
from jaxad.serve.models import Model

ALL = "overlay,mask,map,heat"
KEYS = {"score", "percentile", "p_value", "label", "width", "height", "regions", "seconds"}


def asked(client, content, kind="image/png", **query):
    return client.post("/v1/predict", params=query, content=content, headers={"Content-Type": kind})


def same(row, finding, predictor):
    """Whether an answer is what the predictor found; batches of other sizes round otherwise."""
    judged = finding.judgement
    assert row["score"] == pytest.approx(judged.score, rel=1e-5)
    assert row["label"] == judged.label
    assert row["percentile"] == pytest.approx(judged.percentile)
    assert row["p_value"] == pytest.approx(judged.p_value)
    assert (row["height"], row["width"]) == finding.map.shape
    assert [one["box"] for one in row["regions"]] == [list(one.box) for one in finding.regions]


def decoded(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "JPEG"])
@pytest.mark.parametrize("said", ["image/png", "application/octet-stream", "IMAGE/x-any; a=b"])
def test_an_answer_is_what_the_predictor_says_of_the_file(client, model, tmp_path, kind, said):
    content = file_of(picture(1), kind)
    answer = asked(client, content, said)
    assert answer.status_code == 200
    (row,) = answer.json()["pictures"]
    path = tmp_path / "picture"
    path.write_bytes(content)
    same(row, model.first(path), model.first)
    assert set(row) == {"name"} | KEYS


def test_an_answer_has_what_a_row_of_predict_has(client, model, tmp_path):
    (tmp_path / "a.png").write_bytes(file_of(picture(1)))
    (row,) = bulk.rows(model.first, [tmp_path / "a.png"])
    (found,) = asked(client, file_of(picture(1))).json()["pictures"]
    assert set(row) - set(found) == {"path", "bytes", "modified"}


def test_a_body_without_a_type_is_taken_for_a_picture(client):
    answer = client.post("/v1/predict", content=file_of(picture()))
    assert answer.status_code == 200


def test_limits_and_names_stand_beside_the_pictures(client, model):
    found = asked(client, file_of(picture())).json()
    score, pixel = model.first.card.thresholds()
    assert (found["model"], found["threshold"], found["pixel_threshold"]) == ("tiny", score, pixel)
    assert found["category"] in model.first.card.normals


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_several_files_are_answered_in_their_order(client, model, count):
    images = [picture(i, (60 + i, 80)) for i in range(count)]
    files = [("file", (f"{i}.png", file_of(image))) for i, image in enumerate(images)]
    answer = client.post("/v1/predict", files=files)
    assert answer.status_code == 200
    rows = answer.json()["pictures"]
    assert [row["name"] for row in rows] == [f"{i}.png" for i in range(count)]
    for row, finding in zip(rows, model.first(images), strict=True):
        same(row, finding, model.first)


def test_one_bad_file_costs_its_own_place_alone(client):
    files = [
        ("a", ("good.png", file_of(picture()))),
        ("b", ("bad.png", b"no picture")),
        ("c", ("also.png", file_of(picture(1)))),
    ]
    answer = client.post("/v1/predict", files=files)
    assert answer.status_code == 200
    assert "error" not in answer.json()
    one, bad, other = answer.json()["pictures"]
    assert "score" in one
    assert "score" in other
    assert bad == {
        "name": "bad.png",
        "error": {
            "code": "unusable_picture",
            "message": "not a picture, or of a kind that is not supported",
        },
    }


def test_a_form_of_bad_files_alone_is_an_error_that_names_each(client):
    files = [("a", ("a.png", b"")), ("b", ("b.png", b"no"))]
    answer = client.post("/v1/predict", files=files)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "no_picture"
    first, second = answer.json()["pictures"]
    assert first["error"]["message"] == "cannot be read as a picture: the file is empty"
    assert "not a picture" in second["error"]["message"]


def test_parts_come_by_choice_and_are_what_predict_writes(client, model):
    image = picture(3)
    (row,) = asked(client, file_of(image), include=ALL).json()["pictures"]
    found, scale = model.first(image), model.first.card.scale
    shape = tuple(row["map"]["shape"])
    map = np.frombuffer(base64.b64decode(row["map"]["base64"]), "<f4").reshape(shape)
    np.testing.assert_allclose(map, found.map, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(decoded(row["mask"]) > 0, found.labels > 0)
    drawn = overlay(image, found.map, scale, found.labels > 0)
    assert np.abs(decoded(row["overlay"]).astype(int) - drawn).max() <= 2
    heat = Image.open(io.BytesIO(base64.b64decode(row["heat"]))).convert("RGBA")
    alpha = np.asarray(heat)[..., 3] / 255
    np.testing.assert_allclose(alpha, 0.85 * scale(found.map), atol=0.01)


def test_a_png_is_given_where_it_is_asked_for(client, model):
    image = picture(4)
    answer = client.post(
        "/v1/predict", content=file_of(image), headers={**PNG, "Accept": "image/png"}
    )
    assert answer.headers["content-type"] == "image/png"
    found = model.first(image)
    drawn = overlay(image, found.map, model.first.card.scale, found.labels > 0)
    shown = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert np.abs(shown.astype(int) - drawn).max() <= 2
    assert answer.headers["x-jaxad-label"] == found.judgement.label
    assert float(answer.headers["x-jaxad-score"]) == pytest.approx(found.judgement.score, rel=1e-5)
    assert int(answer.headers["x-jaxad-regions"]) == len(found.regions)


def test_a_browser_that_takes_all_gets_json(client):
    headers = {**PNG, "Accept": "*/*"}
    answer = client.post("/v1/predict", content=file_of(picture()), headers=headers)
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "accept", "files"), [(406, "text/html", 1), (406, "image/png", 2)]
)
def test_what_is_not_made_is_not_acceptable(client, status, accept, files):
    several = [("file", (f"{i}.png", file_of(picture()))) for i in range(files)]
    answer = client.post("/v1/predict", files=several, headers={"Accept": accept})
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == "not_acceptable"


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("model=none", 404, "'none' is none of the models: tiny"),
        ("modle=tiny", 400, "unknown parameter 'modle': expected model, category, include"),
        ("model=tiny&model=tiny", 400, "model comes twice"),
        ("include=picture", 400, "'picture': expected overlay, mask, map, heat"),
        ("category=none", 422, "'none' is none of the categories of tiny (tiny)"),
    ],
)
def test_what_is_asked_wrongly_is_told(client, query, status, words):
    answer = client.post(f"/v1/predict?{query}", content=file_of(picture()), headers=PNG)
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]


def test_of_several_models_one_has_to_be_named(model):
    other = Model("other", model.predictors, model.sizes)
    service = service_of(model, other)
    client = client_of(service)
    answer = asked(client, file_of(picture()))
    assert answer.status_code == 422
    assert "tiny, other" in answer.json()["error"]["message"]
    found = asked(client, file_of(picture()), model="other").json()
    assert found["model"] == "other"
    service.close()


def test_of_several_categories_one_has_to_be_named(model):
    several = Model("both", {"a": model.first, "b": model.first}, model.sizes)
    service = service_of(several)
    client = client_of(service)
    answer = asked(client, file_of(picture()))
    assert answer.status_code == 422
    assert answer.json()["error"] == {
        "code": "unknown_category",
        "message": "which of the categories of both (a, b): name one as category=NAME",
    }
    assert asked(client, file_of(picture()), category="b").status_code == 200
    service.close()


def test_the_card_is_the_predictors(client, model):
    found = client.get("/v1/card").json()
    assert found == json.loads(json.dumps(model.first.card.as_dict()))


def test_models_are_described(client, model):
    found = client.get("/v1/models").json()
    (one,) = found["models"]
    assert (one["name"], one["ready"], one["size"]) == ("tiny", True, model.first.cfg.size)
    (about,) = one["categories"].values()
    assert about["threshold"] == model.first.card.thresholds()[0]
    assert found["limits"]["max_pictures"] == 16
