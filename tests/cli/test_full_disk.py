"""A full disk: the command ends with one sentence, and goes on once there is space."""

import errno
import importlib
import json
import os
import pathlib
import py_compile
import subprocess
import sys

import grain
import jax
import numpy as np
import pytest
from scripts import category

from jaxad.cli.errors import told
from jaxad.cli.main import main
from jaxad.training.checkpoint import RunFolder

SMALL = ["--size", "32", "--batch-size", "2", "--widths", "4,8", "--steps", "2"]
FULL = os.strerror(errno.ENOSPC)
# Files may not grow beyond 300 bytes while the second checkpoint is written, and the third.
FILLED_UP = """
import resource, sys
import grain, numpy as np
from jaxad.cli.script import run
from jaxad.training.checkpoint import RunFolder

def fill_up(words):
    state = {f"{i:02d}": np.random.default_rng(i).normal(size=100) for i in range(60)}
    batches = iter(grain.MapDataset.range(9).to_iter_dataset())
    with RunFolder(words[0]) as folder:
        folder.save(1, state, batches)
        sys.dont_write_bytecode = True  # of modules, or it is cut short, for good
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, resource.RLIM_INFINITY))
        folder.save(2, state, batches)
        folder.save(3, state, batches)

run(fill_up)
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return str(category(tmp_path_factory.mktemp("data") / "squares"))


def full_for(name, monkeypatch):
    """The disk is full once a file of this name is to be there."""
    replace = pathlib.Path.replace

    def refused(self, target):
        if target.name == name:
            raise OSError(errno.ENOSPC, FULL)
        return replace(self, target)

    monkeypatch.setattr(pathlib.Path, "replace", refused)


def test_a_checkpoint_that_does_not_fit_is_one_sentence_and_leaves_the_one_before(tmp_path):
    pytest.importorskip("resource", reason="limits that this system does not have")
    done = subprocess.run(
        [sys.executable, "-c", FILLED_UP, str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"jaxad: cannot save to {tmp_path} ({os.strerror(errno.EFBIG)}); free ")
    like = {f"{i:02d}": jax.ShapeDtypeStruct((100,), np.float64) for i in range(60)}
    with RunFolder(tmp_path) as folder:
        found, step = folder.restore(like, iter(grain.MapDataset.range(9).to_iter_dataset()))
    assert step == 1
    np.testing.assert_array_equal(
        found["07"], np.float32(np.random.default_rng(7).normal(size=100))
    )


@pytest.mark.parametrize(
    ("file", "place"),
    [("run.json", "to {run}"), ("evaluation.json", "to {run}/evaluation.json")],
)
def test_a_record_that_does_not_fit_is_one_sentence_and_the_same_command_goes_on(
    file, place, pictures, tmp_path, monkeypatch, capsys
):
    words = ["train", "autoencoder", pictures, str(tmp_path), *SMALL]
    full_for(file, monkeypatch)
    assert main(words) == 1
    said = capsys.readouterr().err
    where = " ".join(["cannot save", place.format(run=tmp_path)]).strip()
    assert said.splitlines()[-1].startswith(f"jaxad: {where} ({FULL}); free some space")
    assert "Traceback" not in said
    monkeypatch.undo()
    assert main(words) == 0
    assert json.loads((tmp_path / "evaluation.json").read_text())


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, FULL), f"cannot save ({FULL}); free some space"),
        (OSError(errno.ENOSPC, FULL, "a.txt"), f"cannot save to a.txt ({FULL}); free some space"),
        (OSError(errno.ENOSPC, "no page: full", "a"), "a: no page: full"),  # whose words are better
        (OSError("cannot save to a (RESOURCE_EXHAUSTED)"), "cannot save to a (RESOURCE_EXHAUSTED)"),
    ],
)
def test_a_full_disk_is_no_lack_of_memory(error, sentence, capsys):
    def fail(words):
        raise error

    assert told(fail, []) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"jaxad: {sentence}")


@pytest.mark.parametrize("kept", [20, -1])
def test_compiled_python_that_was_cut_short_is_named(kept, tmp_path, monkeypatch, capsys):
    source = tmp_path / f"cut_short_after_{abs(kept)}.py"
    source.write_text("answer = [1, 2, 3]\n")
    compiled = pathlib.Path(py_compile.compile(str(source), doraise=True))
    compiled.write_bytes(compiled.read_bytes()[:kept])
    monkeypatch.syspath_prepend(tmp_path)
    assert told(lambda words: importlib.import_module(source.stem), []) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"jaxad: {compiled}: ")
    assert "remove this file" in line
    compiled.unlink()
    assert told(lambda words: importlib.import_module(source.stem), []) == 0
