"""The site: pages have their places, links lead somewhere, what is shown runs, and it builds."""

import importlib
import importlib.util
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from scripts import category, script

from jaxad.cli.main import main

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = ("start", "thresholds", "weights", "large_pictures")  # pages whose blocks are run here
SMALL = {"patchcore": "--size 64", "tiled(patchcore)": "--size 64 --tiles 2 --overlap 16"}
ONCE = (
    "jaxad quickstart",
    "jaxad doctor",
)  # the front page's test runs one, that of the command the other
FINDS = {"inspect": (0, 3)}
SMALLER = {"size=128": "size=64", "--size 128": "--size 64"}  # of notebooks
PRINTED = {  # by notebooks; a detector that was saved says what it said before
    "researcher": ("one_gaussian True", "to the first setting"),
    "engineer": ("nothing to look at", "image AUROC", "anomalous", "page: COMPARED/index.html"),
}
ELSEWHERE = re.compile(
    r"<(?:script|link|img)\b[^>]*?\s(?:src|href)=[\"']?((?:https?:)?//[^\s\"'>]+)"
)


def listed():
    """Pages that `nav` of mkdocs.yml names."""
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1]
    return re.findall(r"([\w/]+\.md)$", nav, re.MULTILINE)


def text_of(page):
    """A page without its blocks of code."""
    return BLOCK.sub("", page.read_text(encoding="utf-8"))


def test_the_navigation_lists_every_page_once_and_no_other():
    assert sorted(listed()) == [page.relative_to(DOCS).as_posix() for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_links_and_pictures_of_a_page_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)[^)]*\)", text_of(page)):
        if not link.startswith(("http", "#")):
            assert (page.parent / link.partition("#")[0]).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_blocks_are_of_languages_that_are_run(page):
    found = {language for language, _ in BLOCK.findall(page.read_text(encoding="utf-8"))}
    assert found <= {"bash", "python", ""}


def test_modules_of_the_reference_are_there():
    for page in (DOCS / "reference").glob("*.md"):
        for name in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
            parts = name.split(".")
            places = [ROOT.joinpath(*parts[:n]) for n in (len(parts), len(parts) - 1)]
            assert any(p.with_suffix(".py").exists() or p.is_dir() for p in places), name


@pytest.mark.parametrize("package", ["", ".detector", ".sweep", ".compile", ".mesh"])
def test_the_reference_names_all_that_a_package_calls_public(package):
    page = DOCS / "reference" / f"{package.removeprefix('.') or 'jaxad'}.md"
    named = set(re.findall(r"\w+", page.read_text(encoding="utf-8")))
    assert set(importlib.import_module(f"jaxad{package}").__all__) <= named


def test_links_that_leave_the_documentation_are_led_back_into_the_site():
    pytest.importorskip("mkdocs")
    outside = script("outside", DOCS / "site")
    text = (
        "[a](../jaxad/optim.py) [b](data.md#bits) [c](https://x.org)\n```\n[d](../README.md)\n```\n"
    )
    assert outside.relinked(text, "research.md") == text.replace("../jaxad", "repository/jaxad")
    there = outside.relinked(
        "[a](pdn_free/README.md) [b](../docs/data.md)", "repository/checkpoints/README.md"
    )
    assert there == "[a](pdn_free/README.md) [b](../../data.md)"


def test_notebooks_are_those_of_the_tutorials():
    pytest.importorskip("nbformat")
    notebooks = script("notebooks", DOCS / "site")
    made = [place.stem for place in (DOCS / "notebooks").glob("*.ipynb")]
    assert "researcher" in made
    assert notebooks.main(*made, "--check") == 0


def test_notebooks_are_small_and_name_no_place_of_the_machine_that_ran_them():
    for place in (DOCS / "notebooks").glob("*.ipynb"):
        text = place.read_text(encoding="utf-8")
        assert len(text) < 400_000, place.name
        assert not re.search(r"/(?:home|root|Users|tmp)/", text), place.name
        cells = json.loads(text)["cells"]
        assert any(cell.get("outputs") for cell in cells), f"{place.name} was not run"


@pytest.mark.slow
@pytest.mark.parametrize("name", RUN)
def test_the_blocks_of_a_page_run_in_order(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for seed, place in enumerate(("FOLDER", "SMALL_FOLDER", "PICTURES", "NORMAL_PICTURES")):
        category(tmp_path / place, seed=seed, normal=24 if "PICTURES" in place else 5)
    for place in ("PICTURES", "NORMAL_PICTURES"):
        normal = (tmp_path / place / "train" / "good").rename(tmp_path / "normal")
        shutil.rmtree(tmp_path / place)
        normal.rename(tmp_path / place)
    names = {}
    for language, code in BLOCK.findall((DOCS / f"{name}.md").read_text(encoding="utf-8")):
        if language == "python":
            exec(compile(code, name, "exec"), names)
        for line in code.splitlines() if language == "bash" else ():
            if line in ONCE or line.startswith("python3 -m venv"):
                continue
            words = shlex.split(line)[1:]
            small = shlex.split(SMALL[words[1]]) if words[0] == "train" else []
            status = main([*words, *small])
            assert status in FINDS.get(words[0], (0,)), (line, capsys.readouterr().err)


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_asks_no_other_host(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    assert importlib.util.find_spec("material"), "the extra `docs` is half installed"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    pages = sorted(tmp_path.rglob("*.html"))
    assert len(pages) > len(PAGES)
    found = {page.name: ELSEWHERE.findall(page.read_text(encoding="utf-8")) for page in pages}
    assert {name: hosts for name, hosts in found.items() if hosts} == {}
    styles = "".join(x.read_text(encoding="utf-8") for x in tmp_path.rglob("*.css"))
    assert not re.search(r"url\([\"']?(?:https?:)?//", styles)
    assert not list(tmp_path.rglob("tables_of_*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "place", sorted((DOCS / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem
)
def test_a_notebook_runs_and_so_do_the_blocks_of_its_tutorial(place):
    pytest.importorskip("nbclient")
    notebooks = script("notebooks", DOCS / "site")
    made = notebooks.notebook(place.stem)
    for cell in made.cells:
        for large, small in SMALLER.items():
            cell.source = cell.source.replace(large, small)
    made = notebooks.executed(made)
    outputs = [one for cell in made.cells for one in cell.get("outputs", ())]
    assert all(one.output_type != "error" for one in outputs)
    printed = "".join(one.get("text", "") for one in outputs)
    for words in PRINTED[place.stem]:
        assert words in printed
