"""Every script tells its options, and says in a sentence what it does not understand."""

import runpy
import sys

import pytest
from scripts import EXPERIMENTS

SCRIPTS = sorted(
    file.stem for file in EXPERIMENTS.glob("*.py") if "script.run(main)" in file.read_text()
)


@pytest.fixture
def run(monkeypatch):
    """Runs a script as `python experiments/NAME.py WORDS` does; gives its exit status."""

    def run(name, *words):
        file = str(EXPERIMENTS / f"{name}.py")
        monkeypatch.setattr(sys, "argv", [file, *words])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(file, run_name="__main__")
        return end.value.code

    return run


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_has_help_and_refuses_unknown_options(name, run, capsys):
    assert run(name, "--help") == 0
    said = capsys.readouterr().out
    assert f"usage: python experiments/{name}.py" in said
    assert run(name, "--lrr", "3") == 2
    assert capsys.readouterr().err.startswith("jaxad: Unrecognized options: --lrr")


def test_what_a_script_itself_refuses_is_one_sentence(run, capsys):
    assert run("granularity", "OUT", "--rates", "0,1") == 2
    said = "jaxad: --rates are what is compared: give some, each 1 or more\n"
    assert capsys.readouterr().err == said
