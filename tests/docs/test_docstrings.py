"""The examples in docstrings are run."""

import doctest
import importlib
import pathlib

import pytest

import jaxad

ROOT = pathlib.Path(jaxad.__file__).parent
WITH_EXAMPLES = [
    ".".join(["jaxad", *file.relative_to(ROOT).with_suffix("").parts])
    for file in sorted(ROOT.rglob("*.py"))
    if "    >>> " in file.read_text(encoding="utf-8")
]
CALLED_FIRST = (
    "jaxad.data.workpieces.load", "jaxad.detector.settings.override",
    "jaxad.evaluation.evaluate.evaluate", "jaxad.evaluation.metrics.auroc",
    "jaxad.export.program.serialize", "jaxad.sweep.fitting.fit", "jaxad.sweep.settings.grid",
    "jaxad.training.fitting.fit", "jaxad.training.fitting.run",
    "jaxad.training.restore.finished", "jaxad.weights.store.load_pretrained",
)  # fmt: skip


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_of_a_module_give_what_they_say(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0


@pytest.mark.parametrize("path", CALLED_FIRST)
def test_what_people_call_first_has_an_example(path):
    module, _, name = path.rpartition(".")
    assert ">>> " in getattr(importlib.import_module(module), name).__doc__
