"""Runs the tests and benchmarks for accelerators, and puts what they say into one JSON file.

    python experiments/gpu_check.py [OUT.json] [--dry-run]

`gpu_check.sh` says what for. The file is written again after every part, so that what is known is
kept whatever happens next. Every part has a time limit, and all share ten minutes, of which those
that come first may leave the last ones too little.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[1]
OUTCOMES = {"failure": "failed", "error": "failed", "skipped": "skipped"}  # of JUnit's XML
TOTAL = 560.0  # seconds of all together
LAST = 30  # lines that are kept of what failed
MACHINE = (
    "import json, jax; from jaxad.sweep.table import circumstances; "
    "print(json.dumps({'backend': jax.default_backend(), **circumstances()}))"
)


class Benchmark(NamedTuple):
    """A script among experiments/bench_*.py, and how it is called."""

    name: str
    options: str  # on an accelerator
    smallest: str  # in a dry run
    limit: float  # seconds


# Those whose times an accelerator changes; the longest is last.
BENCHMARKS = (
    Benchmark("efficientad", "", "--size 64 --channels 8 --width 8 --autoencoder-kernel 2", 90),
    Benchmark("uniad", "", "--hidden 32 --heads 2 --ffn 32 --batch-size 1", 60),
    Benchmark("compile", "", "", 60),
    Benchmark(
        "distillation", "--steps 100", "--size 64 --batch-size 1 --students 1 --steps 1", 120
    ),
    Benchmark("synthesis", "", "--size 64 --batch-size 1", 90),
    Benchmark("sweep", "--steps 20 --repeats 5", "--steps 1 --repeats 1", 240),
)
TESTS_LIMIT = 300.0
PROCESSES = 4  # of the tests: most of their time is compilation


class Done(NamedTuple):
    """A command that has ended."""

    outcome: str  # passed, failed, timed out
    seconds: float
    lines: list[str]  # that it printed
    errors: list[str]  # the last of those that it printed as errors, unless it passed


def call(command: Sequence[str], limit: float, environment: dict[str, str]) -> Done:
    """Runs a command; after `limit` seconds it is interrupted, and killed if it does not end."""
    if limit <= 0:
        return Done("timed out", 0.0, [], ["not begun: the others took all the time there is"])
    start = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            command, stdout=out, stderr=err, cwd=ROOT, env=environment, start_new_session=True
        )
        try:
            outcome = "passed" if process.wait(limit) == 0 else "failed"
        except subprocess.TimeoutExpired:
            outcome = "timed out"
            process.send_signal(signal.SIGINT)  # pytest then writes what it has
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10.0)
        finally:
            with contextlib.suppress(ProcessLookupError):  # with all that it started
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        lines, errors = (_lines(stream) for stream in (out, err))
    seconds = round(time.monotonic() - start, 1)
    return Done(outcome, seconds, lines, [] if outcome == "passed" else errors[-LAST:])


def _lines(stream: Any) -> list[str]:
    stream.seek(0)
    return stream.read().decode(errors="replace").splitlines()


def tests(folder: pathlib.Path, processes: int, limit: float, environment: dict) -> dict[str, Any]:
    """Outcome, seconds and message of each `gpu` test in a folder; no test at all is a failure."""
    with tempfile.TemporaryDirectory() as place:
        report = pathlib.Path(place) / "report.xml"
        command = [
            sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-n", str(processes),
            "--dist", "load", "--junitxml", str(report), str(folder),
        ]  # fmt: skip
        done = call(command, limit, environment)
        cases = read_report(report.read_text(encoding="utf-8")) if report.exists() else []
    found = {"outcome": done.outcome, "seconds": done.seconds, "cases": cases}
    if done.outcome == "passed":
        return found
    return {**found, "lines": done.lines[-LAST:], "errors": done.errors}


def read_report(text: str) -> list[dict[str, Any]]:
    """The cases of a report in JUnit's XML."""
    cases = []
    for case in ET.fromstring(text).iter("testcase"):
        wrong = [x for x in case if x.tag in OUTCOMES]
        cases.append(
            {
                "name": case.get("name"),
                "outcome": OUTCOMES[wrong[0].tag] if wrong else "passed",
                "seconds": float(case.get("time", 0.0)),
                "message": "\n".join(x.get("message") or "" for x in wrong),
            }
        )
    return cases


def benchmark(
    script: pathlib.Path, options: str, limit: float, environment: dict[str, str]
) -> dict[str, Any]:
    """What a script prints, how long it takes and how it ends."""
    command = [sys.executable, str(script), *options.split()]
    shown = " ".join(["python", f"experiments/{script.name}", *options.split()])
    return {"command": shown, **call(command, limit, environment)._asdict()}


def machine(environment: dict[str, str]) -> dict[str, Any]:
    """Backend, device, versions, driver.

    Raises:
      RuntimeError: jax does not work here.
    """
    done = call([sys.executable, "-c", MACHINE], 120.0, environment)
    if done.outcome != "passed":
        raise RuntimeError("\n".join(["jax does not work here:", *done.errors]))
    found = json.loads(done.lines[-1])
    if shutil.which("nvidia-smi"):
        query = "--query-gpu=name,driver_version,memory.total"
        smi = call(["nvidia-smi", query, "--format=csv,noheader"], 20.0, environment)
        found["nvidia_smi"] = smi.lines + smi.errors
    return found


def surroundings(dry_run: bool) -> dict[str, str]:
    """Environment of all parts."""
    ours = {
        "PYTHONUNBUFFERED": "1",  # or the lines of what is killed are lost
        # Several processes share the device: pytest's, and those that benchmarks start.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    if dry_run:
        ours |= {"JAXAD_GPU_DRY_RUN": "1", "JAX_PLATFORMS": "cpu"}
    else:
        ours["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "")  # tests would compile unoptimised
    return {**os.environ, **ours}


def collected(dry_run: bool, keep: Callable[[dict], None]) -> dict[str, Any]:
    """All parts; what there is of them is given to `keep` after each.

    Raises:
      RuntimeError: as `machine`, or there is no accelerator and this is no dry run.
    """
    end, environment = time.monotonic() + TOTAL, surroundings(dry_run)
    found: dict[str, Any] = {"machine": machine(environment), "dry_run": dry_run}
    if found["machine"]["backend"] == "cpu" and not dry_run:
        raise RuntimeError("jax sees no accelerator here, only a CPU; --dry-run takes it for one")
    left = lambda limit: float("inf") if dry_run else min(limit, end - time.monotonic())
    folder, processes = ROOT / "tests" / "gpu", min(PROCESSES, os.cpu_count() or 1)
    found["tests"] = tests(folder, processes, left(TESTS_LIMIT), environment)
    keep(found)
    found["benchmarks"] = {}
    for one in BENCHMARKS:
        script = ROOT / "experiments" / f"bench_{one.name}.py"
        options = one.smallest if dry_run else one.options
        found["benchmarks"][one.name] = benchmark(script, options, left(one.limit), environment)
        keep(found)
    return found


def failures(found: dict[str, Any]) -> list[str]:
    """A line for each part, and each test, that did not pass."""
    cases = {case["name"]: case for case in found["tests"]["cases"]}
    parts = {"tests": found["tests"], **cases, **found["benchmarks"]}
    return [
        f"{name}: {part['outcome']}" for name, part in parts.items() if part["outcome"] != "passed"
    ]


def main(words: Sequence[str]) -> int:
    """Runs all, writes the file, returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", nargs="?", default="gpu_check.json", metavar="OUT.json")
    parser.add_argument("--dry-run", action="store_true")
    asked = parser.parse_args(words)
    out = pathlib.Path(asked.out)
    keep = lambda found: out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    try:
        found = collected(asked.dry_run, keep)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 2
    wrong = failures(found)
    print("\n".join([f"all is in {out}", *wrong]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
