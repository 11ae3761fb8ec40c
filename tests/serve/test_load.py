"""A small `experiments/bench_service.py`: a real process, half of the requests hostile."""

import sys

import pytest
from scripts import script

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="it reads memory in /proc"),
]


def test_hostile_clients_harm_nobody(run, tmp_path):
    bench = script("bench_service")
    options = bench.Options(clients=40, requests=400, side=64, batch_sizes=(1, 2))
    found = bench.measured(run, tmp_path, options)
    load = found["load"]
    assert load["wrong"] == []
    assert load["valid"] + sum(load["hostile"].values()) == 400
    assert 120 < load["valid"] < 280
    assert len({kind.split()[0] for kind in load["hostile"]}) == len(bench.HOSTILE)
    assert load["score_error"] < bench.TOLERANCE
    assert found["alive"]
    assert found["exit_status"] == 0
    assert found["tracebacks"] == 0
    assert found["memory"]["last_over_second_quarter"] < 1.1
