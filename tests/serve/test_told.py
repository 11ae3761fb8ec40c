"""What is counted, logged and described."""

import json
import logging

import jsonschema
import pytest
from asked import PNG, client_of, file_of, picture, service_of
from openapi_spec_validator import validate
from prometheus_client.parser import text_string_to_metric_families

from jaxad.serve import logs, page
from jaxad.serve.app import Routes

TOKEN = "a-token-of-some-length"


@pytest.fixture
def fresh(model):
    found = service_of(model)
    yield found, client_of(found)
    found.close()


def counted(client):
    """{(name, labels): value}"""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in families for one in family.samples
    }  # fmt: skip


def value(found, name, **labels):
    return found[name, tuple(sorted(labels.items()))]


def test_requests_pictures_and_refusals_are_counted(fresh):
    _, client = fresh
    files = [("a", ("a.png", file_of(picture()))), ("b", ("b.png", b"no"))]
    client.post("/v1/predict", files=files)
    client.post("/v1/predict", content=b"", headers=PNG)
    for number in range(3):
        client.get(f"/nothing/{number}")
    found = counted(client)
    assert value(found, "jaxad_requests_total", path="/v1/predict", status="200") == 1
    assert value(found, "jaxad_requests_total", path="/v1/predict", status="422") == 1
    assert value(found, "jaxad_requests_total", path="other", status="404") == 3
    assert value(found, "jaxad_pictures_total", model="tiny", outcome="refused") == 2
    judged = [
        number for (name, labels), number in found.items()
        if name == "jaxad_pictures_total" and dict(labels)["outcome"] in ("normal", "anomalous")
    ]  # fmt: skip
    assert sum(judged) == 1
    assert value(found, "jaxad_rejected_total", reason="unusable_picture") == 1
    assert value(found, "jaxad_request_seconds_count", path="/v1/predict") == 2
    assert value(found, "jaxad_queue_seconds_count", model="tiny") == 1
    assert value(found, "jaxad_compute_seconds_count", model="tiny", size="1") == 1
    assert value(found, "jaxad_batch_squares_sum", model="tiny") == 1
    assert value(found, "jaxad_queue_pictures", model="tiny") == 0
    assert value(found, "jaxad_ready") == 1


def test_labels_do_not_grow_with_what_is_sent(fresh):
    _, client = fresh
    client.get("/a"), client.get("/metrics")
    before = len(counted(client))
    for number in range(30):
        client.get(f"/{number}?x={number}", headers={"Host": f"h{number}"})
        client.post(f"/v1/predict?model=m{number}", content=b"", headers=PNG)
        client.post("/v1/predict", content=b"", headers={"Content-Type": f"text/{number}"})
    client.post("/v1/predict", files=[("a", ("b", b""))] * 3)
    assert len(counted(client)) < before + 40


@pytest.fixture
def lines():
    """The lines that are logged, in either form."""
    records = []

    class Keep(logging.Handler):
        def emit(self, record):
            records.append(record)

    keep, logger = Keep(), logging.getLogger("jaxad")
    logger.addHandler(keep)
    before = logger.level
    logger.setLevel(logging.INFO)
    yield lambda form: [form().format(record) for record in records]
    logger.removeHandler(keep)
    logger.setLevel(before)


def test_a_request_is_a_line(fresh, lines):
    _, client = fresh
    client.post("/v1/predict", content=file_of(picture()), headers=PNG)
    client.post("/v1/predict", content=b"", headers=PNG)
    good, bad = lines(logs._Text)
    assert " info 192.0.2.1:1234 POST /v1/predict 200 ms=" in good
    assert "model=tiny" in good
    assert "pictures=1" in good
    assert bad.endswith("bytes=0 pictures=1 error=unusable_picture")
    row = json.loads(lines(logs._Json)[0])
    assert (row["path"], row["status"], row["model"]) == ("/v1/predict", 200, "tiny")


def test_lines_control_no_terminal_and_keep_no_secret(fresh, lines):
    service, _ = fresh
    client = client_of(service, TOKEN)
    bearing = {"Authorization": f"Bearer {TOKEN}"}
    client.get(f"/%1b]0;x%07%0a2026 info forged?token={TOKEN}", headers=bearing)
    client.get("/v1/models", headers={"Authorization": f"Bearer {TOKEN}x"})
    for form in (logs._Text, logs._Json):
        for line in lines(form):
            assert line.isprintable()
            assert TOKEN not in line


def test_a_failure_is_logged_in_either_form(fresh, lines):
    logger = logging.getLogger("jaxad.serve.door")
    try:
        raise RuntimeError("why")
    except RuntimeError:
        logger.exception("a request\x1b failed")
    (text,) = lines(logs._Text)
    assert "Traceback" in text
    assert "\x1b" not in text
    (row,) = [json.loads(line) for line in lines(logs._Json)]
    assert row["level"] == "error"
    assert "RuntimeError: why" in row["traceback"]


def test_the_description_is_valid_and_has_every_route(fresh):
    service, client = fresh
    found = client.get("/openapi.json").json()
    validate(found)
    paths = {path: method.lower() for path, (method, _) in Routes(service).table().items()}
    assert {path: list(one) for path, one in found["paths"].items()} == {
        **{path: [method] for path, method in paths.items()}, "/": ["get"]
    }  # fmt: skip


def described(found, path, method, answer):
    """Whether an answer is as the description says."""
    said = found["paths"][path][method]["responses"]
    assert str(answer.status_code) in said, (path, answer.status_code)
    kind = answer.headers["content-type"].partition(";")[0]
    schema = said[str(answer.status_code)]["content"][kind]["schema"]
    if kind == "application/json":
        whole = {**schema, "components": found["components"]}
        jsonschema.Draft202012Validator(whole).validate(answer.json())


def test_answers_are_as_they_are_described(fresh):
    service, client = fresh
    found = client.get("/openapi.json").json()
    for form in found["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(form)
        if form.get("type") == "object" and "properties" in form:
            form["additionalProperties"] = False  # nothing is answered that is not described
    good, bad = ("a.png", file_of(picture())), ("b.png", b"no")
    post = lambda **given: client.post("/v1/predict", **given)
    query = {"include": "overlay,mask,map,heat"}
    for answer in (
        post(content=good[1], headers=PNG, params=query),
        post(content=good[1], headers={**PNG, "Accept": "image/png"}),
        post(content=bad[1], headers=PNG),
        post(content=b"", headers={"Content-Type": "a/b"}),
        post(files=[("x", good), ("x", bad)]),
        post(files=[("x", bad)]),
        post(content=b"", headers={"Content-Type": "multipart/form-data"}),
        post(content=b"", headers={**PNG, "Content-Length": "99999999999"}),
        post(content=b"", headers={**PNG, "Accept": "text/html"}),
        post(content=b"", headers={**PNG, "Sec-Fetch-Site": "cross-site"}),
        post(content=b"", params={"model": "none"}),
    ):
        described(found, "/v1/predict", "post", answer)
    for path in ("/v1/models", "/v1/card", "/healthz", "/readyz", "/metrics", "/openapi.json", "/"):
        described(found, path, "get", client.get(path))
        guarded = client_of(service, TOKEN).get(path)
        described(found, path, "get", guarded)
    service.stopping = True
    described(found, "/readyz", "get", client.get("/readyz"))
    described(found, "/v1/predict", "post", post(content=good[1], headers=PNG))


@pytest.mark.parametrize("path", page.files())
def test_the_page_loads_nothing_from_elsewhere(client, path):
    answer = client.get(path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    text = answer.text.replace("http://www.w3.org/2000/svg", "")
    for sign in ("http:", "https:", "//cdn", "eval("):
        assert sign not in text.replace("https:// or", "")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_answers_are_kept_by_nobody(client):
    answer = client.post("/v1/predict", content=file_of(picture()), headers=PNG)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
