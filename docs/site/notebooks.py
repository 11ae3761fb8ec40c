"""Makes docs/notebooks/NAME.ipynb of docs/tutorials/NAME.md, so that the two cannot part.

    python docs/site/notebooks.py [NAME ...] [--check]

Blocks of Python and of the shell become cells of code, in their order, and all else cells of text.
Notebooks are run, in a folder of their own, and keep what they print; pictures that they write are
put into docs/assets. With --check nothing is run or written: of each notebook whose cells are not
those of its tutorial the name is printed, and the exit status is 1.
"""

import argparse
import os
import pathlib
import re
import shutil
import sys
import tempfile

import nbformat

DOCS = pathlib.Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```\n?", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()(?!\.\./|#|[a-z]+:)")  # to a page beside the tutorial
SECONDS = 600  # of one cell
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def main(*words: str) -> int:
    """Makes or checks notebooks; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--check", action="store_true")
    asked = parser.parse_args(words)
    wrong = 0
    for name in asked.names or sorted(page.stem for page in (DOCS / "tutorials").glob("*.md")):
        place = DOCS / "notebooks" / f"{name}.ipynb"
        if not asked.check:
            place.parent.mkdir(exist_ok=True)
            nbformat.write(executed(notebook(name), DOCS / "assets"), place)
        elif not place.exists() or sources(nbformat.read(place, 4)) != sources(notebook(name)):
            print(f"{place} is not made of its tutorial: python docs/site/notebooks.py {name}")
            wrong = 1
    return wrong


def notebook(name: str) -> nbformat.NotebookNode:
    """A tutorial as a notebook that was not run."""
    text = (DOCS / "tutorials" / f"{name}.md").read_text(encoding="utf-8")
    cells, end = [], 0
    for block in BLOCK.finditer(text):
        cells.append(_said(text[end : block.start()]))
        language, code = block.groups()
        magic = "%%bash\n" if language == "bash" else ""
        cells.append(nbformat.v4.new_code_cell(magic + code.rstrip("\n")))
        end = block.end()
    cells = [cell for cell in [*cells, _said(text[end:])] if cell.source]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"  # drawn at random otherwise
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL})


def _said(text: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_markdown_cell(LINK.sub("../tutorials/", text).strip())


def executed(
    made: nbformat.NotebookNode, pictures: pathlib.Path | None = None
) -> nbformat.NotebookNode:
    """The notebook with what its cells print, without progress, warnings and times.

    Args:
      made: not run; it is changed.
      pictures: a folder for those that it writes as .png and shows; None: they are not kept.
    """
    from nbclient import NotebookClient

    beside = str(pathlib.Path(sys.executable).parent)  # the command `jaxad`
    os.environ["PATH"] = os.pathsep.join([beside, os.environ.get("PATH", "")])
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        client = NotebookClient(
            made, timeout=SECONDS, resources=resources, record_timing=False, kernel_name="python3"
        )
        client.execute()
        said = "".join(cell.source for cell in made.cells)
        for picture in pathlib.Path(folder).glob("*.png") if pictures else ():
            if f"assets/{picture.name}" in said:
                shutil.copy(picture, pictures)
    for cell in made.cells:
        if cell.cell_type == "code":
            cell.outputs = [x for x in cell.outputs if x.get("name") != "stderr"]
            for one in cell.outputs:
                if "text" in one:  # where it ran says nothing to a reader
                    one.text = one.text.replace(f"{folder}/", "").replace(folder, ".")
    made.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    return made


def sources(made: nbformat.NotebookNode) -> list[tuple[str, str]]:
    """What a notebook says and runs, without what it printed."""
    return [(cell.cell_type, cell.source) for cell in made.cells]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
