"""`jaxad inspect DATA`: what a folder of pictures holds, before anything is trained on it."""

import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from jaxad.cli import found as findings
from jaxad.cli.data import pictures, places
from jaxad.cli.errors import Usage
from jaxad.cli.options import asked, leading
from jaxad.cli.run_options import DataOptions
from jaxad.data import inspection
from jaxad.data.files import counted
from jaxad.data.inspection import Concern, Look
from jaxad.data.reading import Reading
from jaxad.data.source import spread
from jaxad.detector import config, replace, static
from jaxad.report import contact

USAGE = "jaxad inspect DATA"
CONCERNS = 3  # exit status
DESCRIPTION = """Reads every picture of a folder and tells what there is, what training would make
of it, and what should be looked at: files that cannot be read, copies across train and test, nearly
black and blurred pictures, masks without pictures.

DATA: as of `jaxad train`: a folder of a category, or of several; or --normal and beside it.

Exit status: 0 nothing to look at, 3 something, 1 or 2 a failure."""


@config
class InspectOptions:
    """What is written."""

    json: bool = static(False)  # print it all as JSON
    sheet: str | None = static(None)  # file for a contact sheet, such as sheet.png


def main(words: Sequence[str]) -> None:
    """The verb."""
    where, rest = leading(words)
    if not where and not rest:
        rest = ["--help"]
    options, data, reading = asked(
        rest, USAGE, DESCRIPTION, output=InspectOptions(), data=DataOptions(), reading=Reading()
    )
    roots = _roots(where, data)
    looks = [one for root in roots for one in inspection.looks(root, reading)]
    concerns = inspection.concerns(looks)
    several, problem = _opened(where, data, reading)
    if problem:
        concerns.insert(0, Concern("layout", f"training would refuse this: {problem}"))
    if options.sheet is not None:
        contact.sheet(_rows(looks)).save(options.sheet)
    tables = inspection.table(looks)
    if options.json:
        about = {
            "folders": tables,
            "splits": several,
            "concerns": [
                {**one._asdict(), "paths": [str(path) for path in one.paths]} for one in concerns
            ],
        }
        print(json.dumps(about, indent=1, ensure_ascii=False))
    else:
        print(_text(looks, tables, several, concerns))
    if concerns:
        sys.exit(CONCERNS)


def _roots(where: Sequence[str], data: DataOptions) -> list[pathlib.Path]:
    """The folders to look into."""
    if data.normal is not None:
        given = (data.normal, data.test, data.test_normal, data.masks)
        found = [pathlib.Path(one) for one in given if one is not None]
        return [one for one in found if not any(one in other.parents for other in found)]
    if len(where) != 1:
        raise Usage(f"expected one DATA, or --normal: {USAGE}")
    return [pathlib.Path(one) for one in places(where[0])]


def _opened(
    where: Sequence[str], data: DataOptions, reading: Reading
) -> tuple[dict[str, dict[str, Any]], str]:
    """What training would make of it, by category; and why it would not, if so."""
    place = where[0] if where else None
    lenient = replace(data, on_bad_image="skip")  # bad files are concerns of their own
    try:
        found = pictures(place, 64, lenient, 0, lambda category: reading)
    except (ValueError, OSError) as error:
        return {}, str(error)
    return {
        name: {
            "learn": len(one.train),
            "held_out": len(one.heldout),
            "test": {} if one.test is None else findings.defects(one.test),
            "masks": one.test is not None and one.test.has_masks,
        }
        for name, one in found.items()
    }, ""


def _rows(looks: Sequence[Look]) -> dict[str, list[Any]]:
    """Some pictures of each folder, spread evenly."""
    rows = {}
    for folder in sorted({one.folder for one in looks}):
        inside = [one.small for one in looks if one.folder == folder and one.small is not None]
        rows[f"{folder}: {counted(len(inside), 'picture')}"] = [
            inside[place] for place in spread(len(inside), contact.COLUMNS)
        ]
    return rows


def _text(
    looks: Sequence[Look],
    tables: list[dict[str, Any]],
    several: dict[str, dict[str, Any]],
    concerns: Sequence[Concern],
) -> str:
    lines = [counted(len(looks), "picture file")]
    for row in tables:
        sizes = ", ".join(f"{count} of {size}" for size, count in row["sizes"].items())
        kinds = ", ".join(f"{x} bits" for x in row["bits"]) + ", " + ", ".join(row["modes"])
        bad = f", {row['unreadable']} cannot be read" if row["unreadable"] else ""
        lines.append(f"  {row['folder']}: {counted(row['files'], 'file')}{bad}; {sizes}; {kinds}")
    for name, one in several.items():
        tests = ", ".join(f"{count} {defect}" for defect, count in one["test"].items())
        masks = "with masks" if one["masks"] else "no masks"
        tested = f"to test on: {tests} ({masks})" if tests else "no test pictures"
        lines.append(f"{name}: {one['learn']} to learn from, {one['held_out']} held out; {tested}")
    lines += [f"\nlook at this: {one}" for one in concerns] or ["\nnothing to look at"]
    return "\n".join(lines)
