"""`jaxad predict` as a process: killed, restarted, and watching a folder."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image
from scripts import script

pytestmark = pytest.mark.slow


def test_a_killed_process_loses_and_repeats_nothing(tmp_path):
    many = script("predict_many")
    found = many.trial(tmp_path, many.Options(files=800, kills=2))
    assert len(found["killed_at"]) == 2
    assert [found[x] for x in ("lost", "repeated", "different", "without_mask")] == [0, 0, 0, 0]


@pytest.fixture
def watching(carded, tmp_path):
    """(process, the watched folder, the folder of results)."""
    run, hot, out = tmp_path / "run", tmp_path / "hot", tmp_path / "out"
    shutil.copytree(carded("autoencoder")[-1], run)
    hot.mkdir()
    words = ["predict", str(run), str(hot), "--out", str(out), "--watch", "true", "--masks", "true"]
    process = subprocess.Popen(
        [sys.executable, "-m", "jaxad", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    yield process, hot, out
    process.kill()
    process.communicate()


def rows(out):
    file = out / "predictions.jsonl"
    return [json.loads(x) for x in file.read_text().splitlines()] if file.exists() else []


def wait(condition, process, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.1)


def test_a_watched_folder_is_predicted_as_files_settle(watching):
    process, hot, out = watching
    whole = hot.parent / "whole.png"
    Image.effect_noise((60, 40), 50).convert("RGB").save(whole)
    content = whole.read_bytes()
    (hot / "first.png").write_bytes(content)
    wait(lambda: len(rows(out)) == 1, process)
    with open(hot / "second.png", "wb") as growing:  # as a camera writes
        for start in range(0, len(content), len(content) // 8):
            growing.write(content[start : start + len(content) // 8])
            growing.flush()
            time.sleep(0.3)
    wait(lambda: len(rows(out)) == 2, process)
    assert [row["path"] for row in rows(out)] == [
        str(hot / f"{x}.png") for x in ("first", "second")
    ]
    assert not any("error" in row for row in rows(out))
    process.send_signal(signal.SIGTERM)  # of a background job a shell has SIGINT ignored
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"{hot / 'second.png'}: " in printed
    assert (out / "summary.csv").read_text().count("\n") == 3
    assert (out / "index.html").exists()
    assert (out / "masks" / "second.png.png").exists()


def test_a_watched_folder_that_goes_ends_it_with_what_there_is(watching):
    process, hot, out = watching
    Image.effect_noise((60, 40), 50).convert("RGB").save(hot / "first.png")
    wait(lambda: len(rows(out)) == 1, process)
    shutil.rmtree(hot)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "the watched folder is not there any more" in told
    assert (out / "summary.csv").exists()
