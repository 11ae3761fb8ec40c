"""Real sockets: nobody holds a connection by being slow, and there are so many of them."""

import asyncio
import contextlib
import http.client
import json
import socket
import threading
import time

import numpy as np
import pytest
from asked import FEW, PNG, file_of, picture, service_of

from jaxad.detector import replace
from jaxad.serve import server as servers
from jaxad.serve.app import application
from jaxad.serve.auth import Gate

SHORT = replace(
    FEW, head_timeout=0.4, body_timeout=0.4, timeout=1.0, keep_alive=1.0, connections=8, grace=3.0
)


@contextlib.contextmanager
def serving(service, token=None):
    """(port, server) of a service in a thread."""
    place = servers.bound("127.0.0.1", 0)
    app = application(service, Gate(token))
    server = servers.Server(servers.configured(app, service), service)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([place])))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield place.getsockname()[1], server
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def live(model):
    service = service_of(model, limits=SHORT)
    with serving(service) as (port, server):
        yield port, server, service
    service.close()


@pytest.fixture
def connect(live):
    """Opens a connection; all are closed, and seen to be closed by the server too."""
    port, server, service = live
    opened = []

    def open_(**options):
        opened.append(socket.create_connection(("127.0.0.1", port), timeout=15))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()
    deadline = time.monotonic() + 10
    while server.server_state.connections and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not server.server_state.connections
    assert service.active == 0
    assert service.bytes.free == service.bytes.size


def until_closed(one):
    """What comes until the server closes."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := one.recv(65536):
            found += piece
    return found


def head(length, more=""):
    return (
        f"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
        f"Content-Length: {length}\r\n{more}\r\n"
    ).encode()


def test_a_connection_that_says_nothing_is_closed(connect):
    one, began = connect(), time.monotonic()
    assert until_closed(one) == b""
    assert 0.3 < time.monotonic() - began < 5


def test_a_head_that_never_ends_is_closed_with_a_word(connect):
    one, began = connect(), time.monotonic()
    one.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\n")
    answer = until_closed(one)
    assert time.monotonic() - began < 5
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "too_slow"


def test_a_head_that_trickles_is_closed_all_the_same(connect):
    one, began = connect(), time.monotonic()
    with contextlib.suppress(OSError):
        while time.monotonic() - began < 5:
            one.sendall(b"G")
            time.sleep(0.05)
    assert time.monotonic() - began < 5


def test_a_head_without_end_is_refused(connect):
    one = connect()
    with contextlib.suppress(OSError):
        one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 20_000)
    assert b"400" in until_closed(one)[:20]


@pytest.mark.parametrize("noise", [b"\0" * 100, b"\x16\x03\x01\x02\x00\x01\x00", b"A B C\r\n\r\n"])
def test_noise_is_refused(connect, noise):
    one = connect()
    one.sendall(noise)
    assert until_closed(one)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 408")


def test_a_body_that_never_comes_is_told_and_closed(connect):
    one, began = connect(), time.monotonic()
    one.sendall(head(1000) + b"\x89PNG")
    answer = until_closed(one)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began < 8


def test_who_is_refused_early_reads_why_though_the_body_is_on_its_way(connect):
    one = connect()
    one.sendall(head(10**12))
    with contextlib.suppress(OSError):
        for _ in range(64):
            one.sendall(bytes(2**16))
    assert one.recv(65536).startswith(b"HTTP/1.1 413 ")
    began = time.monotonic()
    until_closed(one)
    assert time.monotonic() - began < 8


def test_a_trickle_after_an_answer_is_closed(connect):
    one, began = connect(), time.monotonic()
    one.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert one.recv(65536).startswith(b"HTTP/1.1 200 ")
    with contextlib.suppress(OSError):
        while time.monotonic() - began < 10:
            one.sendall(b"G")
            time.sleep(0.05)
    assert time.monotonic() - began < 10


def test_an_answer_that_is_not_fetched_is_given_up(model):
    service = service_of(model, limits=replace(SHORT, timeout=3.0))
    content = file_of(np.zeros((1500, 1500, 3), np.uint8))
    asking = head(len(content)).replace(b"/predict", b"/predict?include=map", 1) + content
    aborted = 'jaxad_rejected_total{reason="slow_reader"} 1.0'
    with serving(service) as (port, server), socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(("127.0.0.1", port))
        one.sendall(asking)
        one.recv(1)
        assert service.judging.answers.free < service.judging.answers.size
        assert service.active == 1
        deadline = time.monotonic() + 30
        while aborted not in service.metrics.text().decode() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert aborted in service.metrics.text().decode()
        while server.server_state.connections and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not server.server_state.connections
        assert service.judging.answers.free == service.judging.answers.size
    service.close()


def test_an_answer_that_is_fetched_slowly_comes_whole(model):
    limits = replace(SHORT, head_timeout=0.2, keep_alive=0.2, timeout=10.0, body_timeout=10.0)
    service, found = service_of(model, limits=limits), b""
    content = file_of(np.zeros((1500, 1500, 3), np.uint8))
    asking = head(len(content)).replace(b"/predict", b"/predict?include=map", 1) + content
    with serving(service) as (port, _), socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(("127.0.0.1", port))
        one.sendall(asking)
        began, enough = time.monotonic(), 2**20
        while some := one.recv(2**16):
            found += some
            if len(found) > enough:
                time.sleep(0.3)
                enough += 2**20
        assert time.monotonic() - began > 2  # longer than a connection may be idle
    headers, _, body = found.partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in headers.lower()
    assert len(json.loads(body)["pictures"]) == 1
    service.close()


def test_more_connections_than_allowed_are_told_so(connect):
    several = [connect() for _ in range(8)]
    time.sleep(0.1)
    late = until_closed(connect())
    assert late.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1" in late
    several[0].sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert several[0].recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_connection_takes_one_request_after_the_other(live):
    asking = http.client.HTTPConnection("127.0.0.1", live[0], timeout=30)
    for number in range(3):
        asking.request("POST", "/v1/predict", file_of(picture(number)), PNG)
        answer = asking.getresponse()
        assert answer.status == 200
        assert len(json.loads(answer.read())["pictures"]) == 1
        if number == 0:
            place = asking.sock.getsockname()
    assert asking.sock.getsockname() == place
    asking.close()


def test_many_at_once_are_all_answered_each_with_its_own(live, model):
    images = [picture(i) for i in range(6)]
    expected = [finding.judgement.score for finding in model.first(images)]
    found: dict[int, list[float]] = {}

    def work(number):
        asking = http.client.HTTPConnection("127.0.0.1", live[0], timeout=30)
        for i in range(6):
            asking.request("POST", "/v1/predict", file_of(images[(number + i) % 6]), PNG)
            row = json.loads(asking.getresponse().read())["pictures"][0]
            found.setdefault((number + i) % 6, []).append(row["score"])
        asking.close()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, score in enumerate(expected):
        assert found[i] == pytest.approx([score] * 6, rel=1e-5)


def test_answers_are_sent_at_once():
    """Without TCP_NODELAY the second part of an answer waits for the first to be acknowledged."""
    with servers.bound("127.0.0.1", 0) as place, socket.create_connection(place.getsockname()):
        accepted, _ = place.accept()
        with accepted:
            assert accepted.proto == socket.IPPROTO_TCP  # by which asyncio goes
