"""`jaxad serve` as a process: where it listens, how it ends, what it says."""

import asyncio
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from asked import PNG, file_of, picture

from jaxad.cli.main import main
from jaxad.serve import models, server
from jaxad.serve.app import application
from jaxad.serve.auth import Gate
from jaxad.serve.limits import Limits
from jaxad.serve.service import Service


@pytest.fixture
def taken():
    """A port that is in use."""
    with socket.create_server(("127.0.0.1", 0)) as place:
        yield place.getsockname()[1]


def test_a_port_in_use_is_told_before_anything_is_loaded(run, taken, capsys, monkeypatch):
    monkeypatch.setattr(models, "load", None)
    assert main(["serve", str(run), "--port", str(taken)]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said == [
        f"jaxad: --port {taken}: another program listens at 127.0.0.1:{taken}; give another port"
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "expected the folder of a bundle or a run"),
        (["nowhere"], "there is no folder"),
        (["RUN", "RUN"], "would both be called"),
        (["RUN", "--log-format", "xml"], "invalid choice 'xml' for argument '--log-format'"),
        (["RUN", "--host", "no.such.host.invalid"], "no such address"),
        (["RUN", "--host", "192.0.2.1"], "--host 192.0.2.1"),
        (["RUN", "b=RUN", "--threshold", "1"], "--threshold belongs to one BUNDLE, and there are"),
        (["RUN", "b=RUN", "--card", "x"], "--card belongs to one BUNDLE, and there are"),
        (["RUN", "--card", "nowhere.json"], "nowhere.json: there is no card"),
        (["RUN", "--max-pictures", "9", "--queue", "8"], "--max-pictures: more than --queue"),
        (["RUN", "--max-bytes", "9", "--held-bytes", "8"], "--max-bytes: more than --held-bytes"),
        (["RUN", "--queue", "0"], "queue"),
    ],
)  # fmt: skip
def test_wrong_use_is_one_sentence(run, words, said, capsys):
    words = [word.replace("RUN", str(run)) for word in words]
    words += ["--port", "0"] if "--port" not in words else []
    assert main(["serve", *words]) == 2
    assert said in capsys.readouterr().err


def test_an_empty_token_is_no_open_door(run, monkeypatch, capsys):
    monkeypatch.setenv("JAXAD_TOKEN", "")
    assert main(["serve", str(run), "--port", "0"]) == 2
    assert "JAXAD_TOKEN: expected printable ASCII" in capsys.readouterr().err


def test_without_the_extra_it_is_named(run, monkeypatch, capsys):
    from jaxad.cli import serve

    monkeypatch.setattr(serve, "NEEDED", ("starlette", "no_such_module"))
    assert main(["serve", str(run)]) == 2
    assert "needs no_such_module: pip install 'jaxad[serve]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["a/b", "c"], ["b", "c"]),
        (["x=a/b", "y=a/b"], ["x", "y"]),
        (["a/b=c"], ["b=c"]),
        (["a/."], ["a"]),
    ],
)
def test_models_are_called_as_their_folders_or_by_their_names(words, names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = models.named(words)
    assert list(found) == names


def test_several_categories_share_one_program_and_one_set_of_weights(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    card = json.loads((copy / "card.json").read_text())
    (one,) = card["categories"].values()
    higher = {**one, "scores": [x + 1 for x in one["scores"]]}
    card["categories"] = {"a": one, "b": higher}
    (copy / "card.json").write_text(json.dumps(card))
    found = models.load("both", copy, (1,))
    assert list(found.predictors) == ["a", "b"]
    a, b = found.predictors.values()
    assert a._arguments is b._arguments
    image = picture()
    assert a(image).judgement.score == b(image).judgement.score
    assert b(image).judgement.percentile < a(image).judgement.percentile or (
        a(image).judgement.percentile == 0
    )
    assert b.card.thresholds("b")[0] == pytest.approx(a.card.thresholds("a")[0] + 1)


def test_a_picture_has_at_most_as_many_pixels_as_run_and_service_allow(run):
    limit = lambda found: found.first.preprocessing.reading.max_pixels
    assert limit(models.load("a", run, (1,))) == 40_000_000
    assert limit(models.load("a", run, (1,), max_pixels=1000)) == 1000


@pytest.mark.parametrize(("host", "near"), [("127.0.0.1", True), ("0.0.0.0", False)])
def test_it_is_known_whether_others_reach_it(host, near):
    with server.bound(host, 0) as place:
        assert server.is_loopback(place) == near
        assert server.address(place).startswith(f"http://{host}:")


class Process:
    """`jaxad serve` in a process of its own."""

    def __init__(self, *words, **environment):
        environment = {**os.environ, **environment}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jaxad", "serve", *map(str, words), "--port", "0"],
            stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self.lines = []
        self.port = int(self.until("serving ").rpartition(":")[2].rstrip('"}'))

    def until(self, words):
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            if words in line:
                return self.lines[-1]
        raise AssertionError("\n".join(self.lines))

    def ask(self, method, path, body=None, headers=None):
        one = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        one.request(method, path, body, headers or {})
        answer = one.getresponse()
        content = answer.read()
        one.close()
        return answer.status, content

    def ended(self):
        self.lines += self.process.communicate(timeout=60)[1].splitlines()
        return self.process.returncode


@pytest.mark.skipif(os.name == "nt", reason="there are no such signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_without_loss(run, number, tmp_path):
    one = Process(run, "--batch-sizes", "1", "--log-format", "json", HOME=str(tmp_path))
    assert one.ask("GET", "/healthz")[0] == 200  # while models load
    one.until("ready after")
    assert one.ask("GET", "/readyz")[0] == 200
    slow = http.client.HTTPConnection("127.0.0.1", one.port, timeout=60)
    content = file_of(picture())
    slow.putrequest("POST", "/v1/predict")
    slow.putheader("Content-Type", "image/png")
    slow.putheader("Content-Length", str(len(content)))
    slow.endheaders()
    slow.send(content[:100])
    time.sleep(0.3)
    one.process.send_signal(number)
    time.sleep(0.3)
    assert one.ask("GET", "/readyz")[0] == 503
    assert one.ask("POST", "/v1/predict", content, PNG)[0] == 503
    slow.send(content[100:])
    with slow.getresponse() as answer:
        assert answer.status == 200
    slow.close()
    assert one.ended() == 0
    rows = [json.loads(line) for line in one.lines]
    assert rows[-1]["message"] == "ended"
    assert [row["status"] for row in rows if row.get("path") == "/v1/predict"] == [503, 200]


def test_a_picture_in_work_does_not_hold_up_the_end(monkeypatch):
    service, go, ended = Service(["tiny"], Limits()), threading.Event(), []
    monkeypatch.setattr(server, "Server", lambda *_: SimpleNamespace(run=lambda _: None))
    monkeypatch.setattr(server.os, "_exit", ended.append)
    work = threading.Thread(target=lambda: asyncio.run(service._threads.do(go.wait, 20)))
    assert not service.working
    work.start()
    while not service.working:
        time.sleep(0.01)
    with server.bound("127.0.0.1", 0) as place:
        server.run(place, service, application(service, Gate(None)), lambda: None)
    assert ended == [0]
    go.set()
    work.join()
    assert not service.working


def test_a_model_that_cannot_be_loaded_ends_it_with_a_sentence(run, tmp_path):
    copy = pathlib.Path(shutil.copytree(run, tmp_path / "run"))
    (copy / "card.json").write_text("{}")
    one = Process(copy, HOME=str(tmp_path))
    assert one.ended() == 2
    assert one.lines[-1].startswith("jaxad: ")
    assert "card.json is no card, or damaged" in one.lines[-1]
