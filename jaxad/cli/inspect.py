"""`jaxad inspect DATA`: what a folder of pictures holds, before anything is trained on it."""

import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from jaxad.cli import found as findings
from jaxad.cli.data import pictures, places
from jaxad.cli.errors import Usage
from jaxad.cli.options import asked, leading
from jaxad.cli.run_options import DataOptions
from jaxad.data import inspection
from jaxad.data.concerns import Concern, concerns
from jaxad.data.files import counted
from jaxad.data.inspection import Look
from jaxad.data.reading import Reading
from jaxad.data.source import Data, spread
from jaxad.decision import conformal
from jaxad.decision.card import TARGET
from jaxad.detector import config, replace, static
from jaxad.progress import printable
from jaxad.report import contact

USAGE = "jaxad inspect DATA"
CONCERNS = 3  # exit status
DESCRIPTION = """Reads every picture of a folder and tells what there is, what training would make
of it, and what should be looked at: files that cannot be read, copies across train and test, nearly
black and blurred pictures, masks without pictures.

DATA: a folder of a category, or of several, as of `jaxad train`; or --normal and beside it.

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
    _check_sheet(options.sheet)
    roots = _roots(where, data)
    several, problem = _opened(where, data, reading)
    if reading.bits == "auto":
        reading = replace(reading, bits=_bits(several))
    name = lambda root: root.name if len(roots) > 1 else ""
    sheet = options.sheet is not None
    looks = [one for root in roots for one in inspection.looks(root, reading, name(root), sheet)]
    found = concerns(looks)
    if problem:
        text = f"training would refuse this: {printable(problem, lines=True)}"
        found.insert(0, Concern("layout", text))
    passed_over = [one for data_ in several.values() for one in data_.passed_over]
    splits = {name: _split(one) for name, one in several.items()}
    tables, matched = inspection.table(looks), inspection.masks(looks)[0]
    if options.json:
        about = {
            "folders": tables,
            "splits": splits,
            "masks": {"files": sum(one.is_mask for one in looks), "matched": len(matched)},
            "passed_over": [{"path": str(x.path), "reason": x.reason} for x in passed_over],
            "concerns": [
                {**one._asdict(), "paths": [str(path) for path in one.paths]} for one in found
            ],
        }
        print(json.dumps(about, indent=1, ensure_ascii=False))
    else:
        lines = [*_folders(looks, tables), *_masks(looks, matched), *_splits(splits)]
        lines += findings.left(passed_over, "passed over")
        lines += [f"\nlook at this: {one}" for one in found] or ["\nnothing to look at"]
        print("\n".join(lines), flush=True)
    if options.sheet is not None and (rows := _rows(looks)):
        contact.sheet(rows).save(options.sheet)
    if found:
        sys.exit(CONCERNS)


def _check_sheet(sheet: str | None) -> None:
    """Raises Usage if the sheet is of no kind that can be written, before anything is read."""
    if sheet is None:
        return
    Image.init()
    known = {suffix for suffix, kind in Image.EXTENSION.items() if kind in Image.SAVE}
    path = pathlib.Path(sheet)
    if path.suffix.lower() not in known:
        raise Usage(f"--sheet {sheet}: expected the name of a picture, such as sheet.png")
    if not path.absolute().parent.is_dir():
        raise Usage(f"--sheet {sheet}: there is no such folder to write it to")


def _roots(where: Sequence[str], data: DataOptions) -> list[pathlib.Path]:
    """The folders to look into."""
    if data.normal is not None:
        given = (data.normal, data.test, data.test_normal, data.masks)
        found = [pathlib.Path(one) for one in given if one is not None]
        inside = lambda one: any(other in one.parents for other in found)
        return [one for one in dict.fromkeys(found) if not inside(one)]
    if len(where) != 1:
        raise Usage(f"expected one DATA, or --normal: {USAGE}")
    return [pathlib.Path(one) for one in places(where[0])]


def _opened(
    where: Sequence[str], data: DataOptions, reading: Reading
) -> tuple[dict[str, Data], str]:
    """What training would make of it, by category; and why it would not, if so."""
    place = where[0] if where else None
    lenient = replace(data, on_bad_image="skip")  # bad files are concerns of their own
    try:
        return pictures(place, 64, lenient, 0, lambda category: reading), ""
    except (ValueError, OSError) as error:
        return {}, str(error)


def _bits(several: Mapping[str, Data]) -> int | None:
    """What training decides where it is told to; None if nothing is read in more than 8 bits."""
    kinds = [kind for one in several.values() for kind in one.preprocessing.values()]
    decided = [kind.reading.bits for kind in kinds if isinstance(kind.reading.bits, int)]
    return max(decided, default=None)


def _split(data: Data) -> dict[str, Any]:
    """What training makes of a category, as plain JSON."""
    return {
        "learn": len(data.train),
        "held_out": len(data.heldout),
        "test": {} if data.test is None else findings.defects(data.test),
        "masks": data.test is not None and data.test.has_masks,
    }


def _rows(looks: Sequence[Look]) -> dict[str, list[Any]]:
    """Some pictures of each folder, spread evenly."""
    rows = {}
    for folder in sorted({one.folder for one in looks}):
        inside = [one.small for one in looks if one.folder == folder and one.small is not None]
        if not inside:
            continue
        rows[f"{printable(folder)}: {counted(len(inside), 'picture')}"] = [
            inside[place] for place in spread(len(inside), contact.COLUMNS)
        ]
    return rows


def _folders(looks: Sequence[Look], tables: list[dict[str, Any]]) -> list[str]:
    lines = [counted(len(looks), "picture file")]
    for row in tables:
        told = [f"{counted(row['files'], 'file')}"]
        if row["unreadable"]:
            told[0] += f", {row['unreadable']} cannot be read"
        told.append(_shares(row["sizes"]))
        told.append(f"{_shares(row['bits'])} bits")
        told.append(_shares(row["modes"]))
        read = row["files"] > row["unreadable"]
        lines.append(f"  {printable(row['folder'])}: {'; '.join(told if read else told[:1])}")
    return lines


def _shares(counts: dict[str, int]) -> str:
    """A value that all have, or how many have which."""
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{count} of {value}" for value, count in counts.items())


def _masks(looks: Sequence[Look], matched: Sequence[pathlib.Path]) -> list[str]:
    count = sum(one.is_mask and not one.problem for one in looks)
    if not count:
        return []
    return [f"  {len(matched)} of {counted(count, 'mask')} with a picture of their name"]


def _splits(several: dict[str, dict[str, Any]]) -> list[str]:
    lines = []
    for name, one in several.items():
        tests = ", ".join(f"{count} {defect}" for defect, count in one["test"].items())
        masks = "with masks" if one["masks"] else "no masks"
        tested = f"to test on: {tests} ({masks})" if tests else "no test pictures"
        held = one["held_out"]
        best = f"{conformal.reachable(held):.2g}" if held else "none"
        lines.append(
            f"{printable(name)}: {one['learn']} to learn from, {held} held out; "
            f"{printable(tested)}\n  smallest false-alarm rate that a card can promise: {best}, or "
            f"{conformal.reachable(one['learn'] + held):.2g} where it is cross-fit; "
            f"{TARGET:g} needs {conformal.needed(TARGET)} normal pictures"
        )
    return lines
