"""Rows arrive at a real server on this machine, and a dead one holds nothing up."""

import http.server
import json
import threading
import time

import pytest

from jaxad.cli import webhook
from jaxad.cli.webhook import Webhook


@pytest.fixture
def server():
    """(address, rows that arrived, statuses to answer with first)."""
    arrived, answers = [], []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = answers.pop(0) if answers else 204
            if status == 204:
                arrived.append((self.headers["Content-Type"], json.loads(body)))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *words):
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listening.server_port}/rows", arrived, answers
    listening.shutdown()
    listening.server_close()


def test_rows_arrive_in_their_order(server):
    address, arrived, _ = server
    rows = [{"path": f"<{i}> ü.png", "score": i} for i in range(20)]
    with Webhook(address) as hook:
        for row in rows:
            hook.add(row)
    assert arrived == [("application/json", row) for row in rows]
    assert hook.lost == 0


def test_a_failure_is_tried_again(server):
    address, arrived, answers = server
    answers += [500, 503]
    with Webhook(address) as hook:
        hook.add({"path": "a"})
    assert [row["path"] for _, row in arrived] == ["a"]
    assert hook.lost == 0


def test_what_is_never_taken_is_counted_and_said_once(server, caplog):
    address, arrived, answers = server
    answers += [500] * 3 * 2
    with Webhook(address) as hook:
        hook.add({"path": "a"})
        hook.add({"path": "b"})
        hook.add({"path": "c"})
    assert [row["path"] for _, row in arrived] == ["c"]
    assert hook.lost == 2
    assert caplog.text.count("does not answer") == 1
    assert "2 rows were not delivered" in caplog.text


def test_nobody_there_holds_nothing_up(monkeypatch):
    monkeypatch.setattr(webhook, "ENDING", 0.2)
    began = time.monotonic()
    with Webhook("http://127.0.0.1:9/") as hook:
        for i in range(50):
            hook.add({"path": str(i)})
        assert time.monotonic() - began < 1


def test_a_redirected_row_is_not_taken_for_delivered(server, caplog):
    address, arrived, answers = server
    answers += [302] * webhook.TRIES
    with Webhook(address) as hook:
        hook.add({"path": "a"})
    assert (hook.lost, arrived) == (1, [])
    assert "1 row was not delivered" in caplog.text


@pytest.mark.parametrize(
    "url",
    ["http://host/ä", "file:///a", "nowhere", "http://", "ftp://a/b", "http://a:b/", "http://a b/"],
)
def test_other_addresses_are_refused(url):
    with pytest.raises(ValueError, match="expected http"):
        Webhook(url)
