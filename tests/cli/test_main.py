"""The command: what it answers, and how it ends."""

import pathlib
import subprocess
import sys
import tempfile

import pytest
from scripts import category

from jaxad.cli import main as command
from jaxad.cli import methods
from jaxad.cli.errors import told
from jaxad.cli.main import VERBS, main
from jaxad.methods import DETECTORS


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return str(category(tmp_path_factory.mktemp("data") / "squares"))


def last_line(capsys):
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("jaxad: ")
    assert not any("Traceback" in line for line in lines)
    return lines[-1]


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"]])
def test_without_a_verb_it_says_what_there_is(words, capsys):
    assert main(words) == 0
    said = capsys.readouterr().out
    assert all(verb in said for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb, capsys):
    assert main([verb, "--help"]) == 0
    assert f"jaxad {verb}" in capsys.readouterr().out


def test_the_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == 0
    import importlib.metadata

    assert capsys.readouterr().out == f"jaxad {importlib.metadata.version('jaxad')}\n"


def test_help_needs_neither_jax_nor_tyro():
    code = (
        "import sys\nfrom jaxad.cli.main import main\nmain(['--help'])\n"
        "assert not {'jax', 'tyro', 'numpy'} & set(sys.modules), sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("verb", ["train", "sweep"])
def test_help_of_a_method_needs_no_data_pipelines_and_no_checkpoints(verb):
    code = (
        "import sys\nfrom jaxad.cli.main import main\n"
        f"assert main([{verb!r}, 'stfpm', '--help']) == 0\n"
        "heavy = {'grain', 'orbax', 'matplotlib', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--lr FLOAT" in done.stdout


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "jaxad", "trian"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "did you mean train?" in done.stderr


@pytest.mark.parametrize("name", DETECTORS)
def test_every_method_is_listed_with_what_it_says_of_its_source(name):
    assert methods.summary(name).endswith(".")
    assert methods.sources(name)


# What people get wrong: words after `jaxad`, D for a folder of pictures, R for one to write to.
WRONG = [
    (["trian", "stfpm"], "did you mean train?"),
    (["train", "stfmp", "D", "R"], "there is no method 'stfmp': did you mean stfpm"),
    (["train", "fliped(stfpm)", "D", "R"], "did you mean flipped"),
    (["train", "stfpm", "D", "R", "--larning-rate", "1"], "--larning-rate"),
    (["train", "stfpm", "D", "R", "--sise", "32"], "did you mean --size"),
    (["train", "stfpm", "D", "R", "--lr", "fast"], "--lr: expected a number, not 'fast'"),
    (["train", "stfpm", "D", "R", "--lr"], "--lr"),
    (["train", "stfpm", "D", "R", "--lr", "-1"], "lr=-1.0: expected"),
    (["train", "stfpm", "D", "R", "--seed", "-1"], "seed=-1: expected 0 or more"),
    (["train", "stfpm", "D", "R", "--upsampling", "thrice"], "twice"),
    (["train", "stfpm", "D", "R", "lr=3e-4"], "write --lr 3e-4"),
    (["train", "stfpm", "D", "R", "--epochs", "0"], "epochs=0"),
    (["train", "stfpm", "D", "R", "--steps", "3", "--epochs", "2"], "one of the two"),
    (["train", "stfpm", "D", "R", "--aux", "D"], "has no use for aux"),
    (["train", "stfpm", "D", "R", "--test", "D"], "--test belongs to --normal"),
    (
        ["train", "stfpm", "D", "R", "--device", "abacus"],
        "cpu, gpu, tpu or none, not 'abacus'",
    ),
    (["train", "stfpm", "D", "R", "--device", "tpu"], "--device tpu: there is none here; JAX has"),
    (["train", "stfpm", "D", "R", "more"], "expected options after DATA RUN"),
    (["train", "stfpm", "nowhere", "R"], "nowhere: no such folder"),
    (["train", "stfpm", "D/train/good", "R"], "no normal pictures in"),
    (["train", "stfpm", "D"], "the folder to write to, RUN, is missing"),
    (["train", "stfpm", "D", "steps=3"], "'steps=3' stands where a folder was expected"),
    (["train", "stfpm", "D", "--steps", "3"], "RUN, is missing"),
    (["train", "stfpm"], "the folder of pictures, DATA, is missing"),
    (["train", "stfpm", "D,D", "R"], "categories need names of their own"),
    (["train", "stfpm", "workpieces/plat", "R"], "expected one of plate"),
    (["train", "stfpm", "D", "R", "--weights", "resnet18"], "there are no weights 'resnet18'"),
    (["train", "efficientad", "D", "R", "--aux", ""], "--aux is empty"),
    (["evaluate", "nowhere"], "there is no run folder nowhere"),
    (["evaluate", "D"], "not the folder of a run"),
    (["sweep", "stfpm", "D", "R", "--seeds", "0"], "seeds=0: expected 1 or more"),
    (["sweep", "stfpm", "D", "R", "--lr", "1", "x"], "lr=x: expected a number"),
    (["sweep", "stfpm", "D", "R", "--seeds", "2", "3"], "--seeds is no setting"),
    (["sweep", "stfpm", "D"], "expected DATA and OUT"),
    (["quickstart", "a", "b"], "expected one folder"),
    (["methods", "stfpm"], "takes nothing"),
    (["doctor", "now"], "takes nothing"),
]


@pytest.mark.parametrize(("words", "message"), WRONG, ids=lambda x: " ".join(x)[:40])
def test_wrong_use_is_one_sentence_and_status_two(
    words, message, pictures, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAXAD_CHECKPOINTS", str(pathlib.Path(__file__).parents[2] / "checkpoints"))
    (tmp_path / "D").symlink_to(pictures)
    assert main(words) == 2
    assert message in last_line(capsys)
    assert not (tmp_path / "R").exists() or not list((tmp_path / "R").glob("run.json"))


def test_a_folder_that_cannot_be_written_is_named(pictures, tmp_path, monkeypatch, capsys):
    def refused(*, dir):
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)  # root may write anywhere
    assert main(["train", "autoencoder", pictures, str(tmp_path / "run"), "--size", "32"]) == 2
    assert "cannot write to the run folder" in last_line(capsys)
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_run_folder_below_a_file_is_named(pictures, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    words = ["train", "autoencoder", pictures, str(tmp_path / "file" / "run"), "--size", "32"]
    assert main(words) == 2
    assert "cannot write to the run folder" in last_line(capsys)


def broken(words):
    raise KeyError("inside")


def test_a_fault_of_ours_says_so_and_a_fault_elsewhere_shows_where(capsys):
    assert told(broken, []) == 1
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.splitlines()[-1].startswith("jaxad: KeyError: 'inside'; this is a fault of jaxad")


def test_debug_shows_where_an_error_comes_from(monkeypatch, capsys):
    assert main(["train", "stfmp", "--debug"]) == 2
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.splitlines()[-1].startswith("jaxad: there is no method")


def test_memory_that_is_exhausted_names_what_to_make_smaller(capsys):
    def fail(words):
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 byte\nat")

    assert told(fail, []) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "smaller --batch-size or --size" in line


def test_an_interruption_is_status_130_and_says_how_to_go_on(capsys):
    def stop(words):
        raise KeyboardInterrupt

    assert told(stop, []) == 130
    assert "the command of a run goes on, given again" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_traceback():
    words = f"{sys.executable} -m jaxad methods | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert command.__doc__
