"""The front page and the pages of documentation: their code runs, their links lead somewhere."""

import pathlib
import re
import shlex
import shutil

import pytest
from scripts import category

from jaxad.cli.main import main

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *(ROOT / "docs" / f"{x}.md" for x in ("research", "data", "deciding"))]
FINDS = {"inspect": (0, 3), "drift": (0, 3)}  # exit statuses that tell of what was found
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What a page's settings become, so that they take seconds.
SMALLER = {
    "steps=450": "steps=2",
    "size=128": "size=64",
    "kernel=4": "kernel=2",
    "width=64": "width=8",
    "p_hard=[0.9, 0.99, 0.999]": "p_hard=[0.9]",
    "jax.random.split(jax.random.key(0), 4)": "jax.random.split(jax.random.key(0), 2)",
}
SMALL = {
    "efficientad": "--steps 2 --size 64 --autoencoder-kernel 2 --student-width 8",
    "patchcore": "--size 64",
}


def blocks(page, language):
    return [code for kind, code in BLOCK.findall(page.read_text()) if kind == language]


def test_the_front_page_is_read_in_two_minutes():
    assert len((ROOT / "README.md").read_bytes()) <= 9 * 1024


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_is_in_languages_that_are_run(page):
    assert {kind for kind, _ in BLOCK.findall(page.read_text())} <= {"bash", "python"}


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES[:2], ids=lambda page: page.name)
def test_blocks_of_python_run_one_after_the_other(page, tmp_path, monkeypatch, capsys):
    from jaxad.data import workpieces

    load = workpieces.load
    few = lambda *names, **given: load(*names, **given, train=6, heldout=3, test=(2, 1))
    monkeypatch.setattr(workpieces, "load", few)
    monkeypatch.chdir(tmp_path)
    names = {}
    whole = "".join(blocks(page, "python"))
    assert all(large in whole for large in SMALLER)
    for code in blocks(page, "python"):
        for large, small in SMALLER.items():
            code = code.replace(large, small)
        exec(compile(code, page.name, "exec"), names)
    printed = capsys.readouterr().out
    assert "image AUROC" in printed  # of the evaluation
    assert "to the first setting" in printed  # of the sweep


@pytest.mark.slow
@pytest.mark.parametrize("name", ["README.md", "docs/deciding.md"])
def test_the_commands_of_a_page_run_one_after_the_other(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    category(tmp_path / "FOLDER")
    later = ("PICTURES", "NORMAL_PICTURES", "day1", "day2-normal", "day3")
    for seed, place in enumerate(later, start=1):
        category(tmp_path / "later", seed=seed)
        (tmp_path / "later" / "test" / "good").rename(tmp_path / place)
        shutil.rmtree(tmp_path / "later")
    lines = [line for code in blocks(ROOT / name, "bash") for line in code.splitlines()]
    others = [line for line in lines if not line.startswith("jaxad ")]
    assert all(line.startswith("python3 -m venv") for line in others)  # `.ci/run` runs these
    for line in lines:
        if line not in others:
            words = shlex.split(line)[1:]
            learns = words[0] in ("train", "sweep")
            small = shlex.split(SMALL[words[1]]) if learns else []
            if "OTHER_RUN" in words:
                shutil.copytree("RUN", "OTHER_RUN")
            status = main(words + small)
            assert status in FINDS.get(words[0], (0,)), (line, capsys.readouterr().err)
    for code in blocks(ROOT / name, "python") if name != "README.md" else ():
        exec(compile(code.replace("0007", "0"), name, "exec"), {})


@pytest.mark.parametrize(
    "page", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]), ids=lambda page: page.name
)
def test_links_lead_to_files(page):
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert link.startswith("http") or (page.parent / link).exists(), link


def test_what_the_pages_name_is_there():
    for page in PAGES:
        text = page.read_text()
        for name in re.findall(r"`((?:jaxad|experiments|tests|checkpoints)/[\w./]*\w)`", text):
            assert (ROOT / name).exists(), name
        for name in re.findall(r"`(\w+\.(?:py|sh))`", text):
            assert (ROOT / "experiments" / name).exists(), name
