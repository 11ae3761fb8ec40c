"""Whether `jaxad serve` stands 200 clients of which half are hostile, and how fast it answers.

    python experiments/bench_service.py [OUT.json] [--methods autoencoder,patchcore]
        [--run FOLDER --requests 10000 --clients 200]

A model is made of rendered pictures (or --run names a run or a bundle). Then:

1. The floor: the compiled program alone, on each size of a batch; of the sizes the fastest a
   picture is what no service could be faster than.
2. `jaxad serve` in a process of its own, asked by a few well-meaning clients one after the other:
   what a request takes where nothing waits.
3. All clients at once, half of the requests hostile: cut files, headers of billions of pixels,
   wrong types, nothing, bodies and heads that trickle, and so on; see `hostile_clients.py`. Valid
   answers are compared with `Predictor`'s own; the resident memory of the process is read all the
   time; refusals of a full queue are tried again, as Retry-After says.
4. SIGTERM: the exit status is to be 0.

The clients compute on the same machine, and take their part of its cores. For Linux, which tells
the memory of a process in /proc.
"""

import asyncio
import json
import os
import pathlib
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from hostile_clients import HOSTILE, Connection, decided
from PIL import Image

from jaxad.cli import script
from jaxad.cli.options import asked, expected, leading
from jaxad.data.workpieces import Workpieces
from jaxad.decision.predictor import Finding, Predictor
from jaxad.detector import config, static
from jaxad.sweep.table import circumstances
from jaxad.training.record import write_json

# What the training says beside the defaults.
SETTINGS = {"autoencoder": ("--size", "64", "--widths", "4,8", "--steps", "20")}
PICTURES = 32  # different ones that are asked about
SLOW = 5  # seconds after which the service gives slow senders up
CALM = 8  # clients of the part where nothing waits, one after the other
TOLERANCE = 1e-5  # of scores, relatively: batches of other sizes round otherwise


@config
class Options:
    """Settings of the benchmark."""

    methods: tuple[str, ...] = static(("autoencoder", "patchcore"))
    run: str | None = static(None)  # folder of a run or a bundle, in place of --methods
    clients: int = static(200, 1)
    requests: int = static(10_000, 1)
    side: int = static(256, 16)  # of the pictures, in pixels
    queue: int = static(256, 1)  # of the service
    batch_sizes: tuple[int, ...] = static((1, 2, 4, 8), 1)
    seed: int = static(0, 0)


def main(words: Sequence[str]) -> None:
    """Measures, prints, stores."""
    places, rest = leading(words)
    usage = "python experiments/bench_service.py [OUT.json]"
    (options,) = asked(rest, usage, __doc__ or "", benchmark=Options())
    outs = expected(places, "OUT.json") if places else []
    script.prepare()
    found = {}
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        if options.run is not None:
            runs = {pathlib.Path(options.run).resolve().name: pathlib.Path(options.run)}
        else:
            runs = {name: _trained(name, folder) for name in options.methods}
        for name, run in runs.items():
            found[name] = measured(run, folder, options)
            print(_said(name, found[name]), flush=True)
    if outs:
        write_json(
            pathlib.Path(outs[0]), {**circumstances(), "options": vars(options), "models": found}
        )


def measured(run: pathlib.Path, folder: pathlib.Path, options: Options) -> dict[str, Any]:
    """All four parts for one model."""
    predictor = Predictor.load(run)
    files = _pictures(folder / "asked", options.side)
    findings = predictor(files)
    pictures = [file.read_bytes() for file in files]
    found: dict[str, Any] = {"floor": _floor(predictor, options.batch_sizes)}
    del predictor
    log = (folder / "service.log").open("w")
    process = _service(run, options, log)
    try:
        port, began = _port(folder / "service.log", process), time.monotonic()
        while _status(port, "/readyz") != 200:
            assert process.poll() is None, (folder / "service.log").read_text()
            time.sleep(0.2)
        found["ready_after_s"] = time.monotonic() - began
        few = _Load(port, pictures, findings, options.seed)
        calm = max(CALM, min(400, options.requests // 4))
        found["calm"] = few.done(calm, 1, hostile=0.0)
        load = _Load(port, pictures, findings, options.seed)
        with _Memory(process.pid) as memory:
            found["load"] = load.done(options.requests, options.clients, hostile=0.5)
        found["memory"] = memory.said()
        found["alive"] = process.poll() is None and _status(port, "/readyz") == 200
        process.send_signal(signal.SIGTERM)
        found["exit_status"] = process.wait(60)
    finally:
        process.kill()
        process.wait()
        log.close()
    text = (folder / "service.log").read_text()
    found["tracebacks"] = text.count("Traceback")
    return found


class _Load:
    """Requests, and what became of them."""

    def __init__(
        self, port: int, pictures: list[bytes], findings: list[Finding], seed: int
    ) -> None:
        self._port, self._pictures, self._findings = port, pictures, findings
        self._random = random.Random(seed)
        self._seconds: list[float] = []
        self._put_off = 0
        self._errors: list[float] = []
        self._wrong: list[str] = []
        self._hostile: Counter[str] = Counter()

    def done(self, requests: int, clients: int, hostile: float) -> dict[str, Any]:
        """Sends them, so many clients at once; a share of them is hostile."""
        began = time.perf_counter()
        asyncio.run(self._all(requests, clients, hostile))
        seconds = time.perf_counter() - began
        valid = sorted(self._seconds)
        return {
            "clients": clients,
            "requests": requests,
            "hostile": dict(sorted(self._hostile.items())),
            "valid": len(valid),
            "put_off": self._put_off,
            "wrong": self._wrong[:20],
            "wrong_count": len(self._wrong),
            "score_error": max(self._errors, default=0.0),
            "seconds": seconds,
            "requests_a_second": requests / seconds,
            "valid_a_second": len(valid) / seconds,
            "p50_ms": 1000 * float(np.quantile(valid, 0.5)),
            "p99_ms": 1000 * float(np.quantile(valid, 0.99)),
        }

    async def _all(self, requests: int, clients: int, hostile: float) -> None:
        line = iter(range(requests))
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(self._client(line, hostile))

    async def _client(self, line: Iterator[int], hostile: float) -> None:
        kinds, mine = list(HOSTILE), Connection(self._port)
        for number in line:
            which = number % len(self._pictures)
            if self._random.random() < hostile:
                kind = self._random.choice(kinds)
                answer = await kind(self._port, self._pictures[which])
                self._hostile[f"{kind.__name__} {answer.status}"] += 1
                if answer.status not in (*HOSTILE[kind], 503):
                    self._wrong.append(f"{kind.__name__}: {answer}")
            else:
                await self._valid(mine, which)
        await mine.close()

    async def _valid(self, mine: Connection, which: int) -> None:
        answer, put_off, seconds = await decided(mine, self._pictures[which])
        self._put_off += put_off
        judged = self._findings[which].judgement
        if answer.status != 200:
            self._wrong.append(f"valid: {answer}")
            return
        (row,) = answer.body["pictures"]
        self._seconds.append(seconds)
        error = abs(row["score"] - judged.score) / max(abs(judged.score), 1e-12)
        self._errors.append(error)
        regions = [list(one.box) for one in self._findings[which].regions]
        if error > TOLERANCE or row["label"] != judged.label:
            self._wrong.append(f"picture {which}: {row} but {judged}")
        elif len(row["regions"]) != len(regions):
            self._wrong.append(
                f"picture {which}: {len(row['regions'])} regions, not {len(regions)}"
            )


class _Memory:
    """The resident memory of a process, read all the time."""

    def __init__(self, pid: int) -> None:
        self._place, self._rows, self._end = f"/proc/{pid}/statm", [], threading.Event()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> "_Memory":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()

    def said(self) -> dict[str, Any]:
        """By tenths of the time, in bytes; and the last quarter beside the second one."""
        count = len(self._rows)
        parts = lambda n: [self._rows[i * count // n : (i + 1) * count // n] for i in range(n)]
        quarters = [statistics.fmean(part) for part in parts(4)]
        return {
            "resident_by_tenths": [round(statistics.fmean(part)) for part in parts(10)],
            "resident_most": max(self._rows),
            "last_over_second_quarter": quarters[3] / quarters[1],
        }

    def _read(self) -> None:
        page = os.sysconf("SC_PAGE_SIZE")
        while len(self._rows) < 10 or not self._end.is_set():
            self._rows.append(int(pathlib.Path(self._place).read_text().split()[1]) * page)
            self._end.wait(0.1)


def _floor(predictor: Predictor, sizes: Sequence[int]) -> dict[str, Any]:
    """Milliseconds of the bare program for each size of a batch, the fastest of several."""
    rng, size, found = np.random.default_rng(0), predictor.cfg.size, {}
    for count in sizes:
        squares = rng.integers(0, 256, (count, size, size, 3), np.uint8)
        np.asarray(predictor.compute(squares).score)  # compiles
        seconds = []
        for _ in range(10):
            began = time.perf_counter()
            np.asarray(predictor.compute(squares).map)
            seconds.append(time.perf_counter() - began)
        found[str(count)] = 1000 * min(seconds)
    each = min(ms / int(count) for count, ms in found.items())
    return {"ms": found, "best_ms_a_picture": each, "best_pictures_a_second": 1000 / each}


def _trained(method: str, folder: pathlib.Path) -> pathlib.Path:
    run = folder / method
    words = ("train", method, "workpieces/plate", str(run), "--rendered", "100", "--folds", "0")
    command = [sys.executable, "-m", "jaxad", *words, *SETTINGS.get(method, ())]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return run


def _pictures(folder: pathlib.Path, side: int) -> list[pathlib.Path]:
    folder.mkdir(exist_ok=True)
    source = Workpieces("plate", "test", good=PICTURES // 2, per_defect=2, size=side)
    found = []
    for number in range(min(PICTURES, len(source))):
        found.append(folder / f"{number}.png")
        Image.fromarray(source[number]["image"]).save(found[-1], compress_level=1)
    return found


def _service(run: pathlib.Path, options: Options, log: Any) -> subprocess.Popen:
    sizes = ",".join(map(str, options.batch_sizes))
    words = (
        "serve", f"model={run}", "--port", "0", "--batch-sizes", sizes,
        "--queue", str(options.queue), "--connections", str(2 * options.clients + 64),
        "--body-timeout", str(SLOW), "--head-timeout", str(SLOW), "--timeout", "60",
    )  # fmt: skip
    return subprocess.Popen([sys.executable, "-m", "jaxad", *words], stderr=log, stdout=log)


def _port(log: pathlib.Path, process: subprocess.Popen) -> int:
    while process.poll() is None:
        for line in log.read_text().splitlines():
            if "serving model at " in line:
                return int(line.rpartition(":")[2])
        time.sleep(0.1)
    raise RuntimeError(log.read_text())


def _status(port: int, path: str) -> int:
    async def once() -> int:
        one = Connection(port)
        await one.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        found = await one.answer()
        await one.close()
        return found.status

    return asyncio.run(once())


def _said(name: str, found: dict[str, Any]) -> str:
    calm, load, memory = found["calm"], found["load"], found["memory"]
    tenths = ", ".join(f"{value / 1e6:.0f}" for value in memory["resident_by_tenths"])
    return (
        f"{name}: floor {found['floor']['best_ms_a_picture']:.2f} ms a picture\n"
        f"  one client: p50 {calm['p50_ms']:.1f} ms, p99 {calm['p99_ms']:.1f} ms\n"
        f"  {load['clients']} clients, {load['requests']} requests, {load['valid']} valid ones: "
        f"p50 {load['p50_ms']:.0f} ms, p99 {load['p99_ms']:.0f} ms, "
        f"{load['requests_a_second']:.0f} requests and {load['valid_a_second']:.0f} valid ones a "
        f"second; {load['put_off']} put off\n"
        f"  {load['wrong_count']} wrong answers; scores differ by {load['score_error']:.1e}\n"
        f"  hostile: {json.dumps(load['hostile'])}\n"
        f"  memory by tenths: {tenths} MB; last over second quarter "
        f"{memory['last_over_second_quarter']:.3f}\n"
        f"  alive at the end: {found['alive']}, exit status {found['exit_status']}, "
        f"{found['tracebacks']} tracebacks"
    )


if __name__ == "__main__":
    script.run(main)
