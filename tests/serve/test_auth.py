"""Who may ask."""

import hmac

import pytest
from asked import PNG, client_of, file_of, picture

from jaxad.serve import auth, page

TOKEN = "a-token-of-some-length"
CLOSED = ("/v1/models", "/v1/card", "/metrics", "/openapi.json", "/nothing")


@pytest.fixture(scope="module")
def guarded(service):
    return client_of(service, TOKEN)


@pytest.mark.parametrize(
    "given",
    [None, "", TOKEN, f"Basic {TOKEN}", "Bearer", "Bearer other", f"Bearer {TOKEN}x", "Bearer ä",
     f"Bearer {TOKEN[:-1]}"],
)  # fmt: skip
def test_a_missing_or_wrong_token_is_refused(guarded, given):
    headers = {} if given is None else {"Authorization": given.encode()}
    for path in CLOSED:
        answer = guarded.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == 'Bearer realm="jaxad"'
        assert answer.json()["error"]["code"] == "unauthorised"
    answer = guarded.post("/v1/predict", content=file_of(picture()), headers={**PNG, **headers})
    assert answer.status_code == 401


@pytest.mark.parametrize("kind", ["Bearer", "bearer"])
def test_the_token_lets_in(guarded, kind):
    headers = {"Authorization": f"{kind} {TOKEN}", **PNG}
    assert guarded.get("/v1/models", headers=headers).status_code == 200
    answer = guarded.post("/v1/predict", content=file_of(picture()), headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", *page.files()])
def test_probes_and_the_page_need_no_token(guarded, path):
    assert guarded.get(path).status_code == 200


def test_tokens_are_compared_in_constant_time(guarded, monkeypatch):
    compared = []
    whole = lambda one, other: compared.append((one, other)) or one == other
    monkeypatch.setattr(hmac, "compare_digest", whole)
    guarded.get("/v1/models", headers={"Authorization": "Bearer other"})
    assert compared == [(b"other", TOKEN.encode())]


def test_the_token_comes_from_the_environment(monkeypatch):
    monkeypatch.delenv("JAXAD_TOKEN", raising=False)
    assert auth.token() is None
    monkeypatch.setenv("JAXAD_TOKEN", TOKEN)
    assert auth.token() == TOKEN


@pytest.mark.parametrize("bad", ["", "two words", "tab\t", "ä"])
def test_a_token_that_no_request_could_bring_is_refused(monkeypatch, bad):
    monkeypatch.setenv("JAXAD_TOKEN", bad)
    with pytest.raises(ValueError, match="JAXAD_TOKEN: expected printable ASCII"):
        auth.token()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "[::2]:8000", "a" * 999])
def test_a_name_that_was_made_to_point_here_is_refused(service, host):
    near = client_of(service, hosts=auth.LOOPBACK)
    answer = near.get("/v1/models", headers={"Host": host})
    assert answer.status_code == 421
    assert answer.json()["error"]["code"] == "wrong_host"


@pytest.mark.parametrize("host", ["localhost", "LocalHost:8000", "127.0.0.1:1", "[::1]:8000"])
def test_this_machine_is_asked_by_its_own_names(service, host):
    near = client_of(service, hosts=auth.LOOPBACK)
    assert near.get("/v1/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("site", "status"),
    [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)],
)
def test_pages_of_other_sites_may_not_ask(client, site, status):
    headers = {**PNG, "Sec-Fetch-Site": site}
    answer = client.post("/v1/predict", content=file_of(picture()), headers=headers)
    assert answer.status_code == status
