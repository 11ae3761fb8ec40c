"""The check of a machine keeps what went well, and tells what did not."""

import json
import sys

import gpu_check
import pytest

FAILING = """
import pytest
pytestmark = pytest.mark.gpu
def test_good(): pass
def test_bad(): assert 1 == 2, "one is not two"
def test_left_out(): pytest.skip("for a reason")
"""
CRASHING = "print('| some | table |'); raise SystemExit('out of memory')"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A repository with failing parts, on a machine with an accelerator; its out file."""
    for folder, name, text in (
        ("tests/gpu", "test_some.py", FAILING),
        ("experiments", "bench_crashing.py", CRASHING),
        ("experiments", "bench_good.py", "import sys; print(sys.argv[1:])"),
    ):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / name).write_text(text)
    monkeypatch.setattr(gpu_check, "ROOT", tmp_path)
    monkeypatch.setattr(gpu_check, "PROCESSES", 0)
    monkeypatch.setattr(gpu_check, "machine", lambda environment: {"backend": "gpu"})
    benchmarks = (
        gpu_check.Benchmark("crashing", "", "", 60),
        gpu_check.Benchmark("good", "--steps 20", "--steps 1", 60),
    )
    monkeypatch.setattr(gpu_check, "BENCHMARKS", benchmarks)
    return tmp_path / "out.json"


def test_a_crashed_benchmark_and_a_failing_test_are_in_the_file_with_their_messages(
    machine, capsys
):
    assert gpu_check.main([str(machine)]) == 1
    found = json.loads(machine.read_text())
    cases = {case["name"]: case for case in found["tests"]["cases"]}
    outcomes = {name: case["outcome"] for name, case in cases.items()}
    assert outcomes == {"test_good": "passed", "test_bad": "failed", "test_left_out": "skipped"}
    assert "one is not two" in cases["test_bad"]["message"]
    crashed, good = found["benchmarks"]["crashing"], found["benchmarks"]["good"]
    assert (crashed["outcome"], crashed["errors"]) == ("failed", ["out of memory"])
    assert crashed["lines"] == ["| some | table |"]
    assert (good["outcome"], good["lines"]) == ("passed", ["['--steps', '20']"])
    assert good["command"] == "python experiments/bench_good.py --steps 20"
    printed = capsys.readouterr().out
    assert "crashing: failed" in printed
    assert "test_bad: failed" in printed
    assert "test_left_out: skipped" in printed


def test_all_is_well_where_all_passes(machine):
    (machine.parent / "experiments" / "bench_crashing.py").write_text("")
    test = machine.parent / "tests" / "gpu" / "test_some.py"
    test.write_text(FAILING.replace("1 == 2", "2 == 2").replace("pytest.skip", "print"))
    assert gpu_check.main([str(machine), "--dry-run"]) == 0
    assert json.loads(machine.read_text())["benchmarks"]["good"]["lines"] == ["['--steps', '1']"]


def test_no_test_at_all_is_a_failure(machine):
    (machine.parent / "tests" / "gpu" / "test_some.py").write_text("")
    assert gpu_check.main([str(machine)]) == 1
    assert json.loads(machine.read_text())["tests"]["outcome"] == "failed"


def test_without_an_accelerator_nothing_runs(machine, monkeypatch, capsys):
    monkeypatch.setattr(gpu_check, "machine", lambda environment: {"backend": "cpu"})
    assert gpu_check.main([str(machine)]) == 2
    assert not machine.exists()
    assert "jax sees no accelerator" in capsys.readouterr().err


def test_of_a_command_that_takes_too_long_what_it_printed_is_kept():
    endless = "import subprocess, sys; print('begun', flush=True); "
    endless += "subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    done = gpu_check.call([sys.executable, "-c", endless], 1.0, {})
    assert (done.outcome, done.lines) == ("timed out", ["begun"])
    assert done.seconds < 30


def test_a_command_without_time_is_not_begun():
    done = gpu_check.call([sys.executable, "-c", "print('begun')"], -1.0, {})
    assert (done.outcome, done.lines) == ("timed out", [])


def test_every_benchmark_is_a_script():
    for one in gpu_check.BENCHMARKS:
        assert (gpu_check.ROOT / "experiments" / f"bench_{one.name}.py").is_file(), one.name
