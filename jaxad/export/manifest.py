"""`bundle.json`: what a bundle holds, and checksums by which damage is seen."""

import hashlib
import json
import pathlib
from typing import Any

FILE = "bundle.json"
FORMAT = 1
SEAL = "sha256"  # of the rest of the manifest


def is_bundle(folder: pathlib.Path) -> bool:
    """Whether a folder is that of a bundle."""
    return (folder / FILE).exists()


def write(folder: pathlib.Path, content: dict[str, Any]) -> None:
    """Writes the manifest of the files that lie in a folder, each with its checksum.

    Args:
      folder: of the bundle, which has all its files.
      content: what the manifest says beside format and files.

    Raises:
      OSError: it cannot be written.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != FILE)
    sums = {path.relative_to(folder).as_posix(): _sum(path) for path in files}
    whole = {"format": FORMAT, **content, "files": sums}
    text = json.dumps({**whole, SEAL: _seal(whole)}, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def read(folder: pathlib.Path) -> dict[str, Any]:
    """The manifest of a bundle whose files are as they were written.

    Checksums show damage. They do not show who made a bundle: whoever changes a file can write its
    checksum anew.

    Raises:
      FileNotFoundError: there is no bundle, or a file of it is missing.
      ValueError: a file is damaged, or the bundle is of a later format.
    """
    path = folder / FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is not the folder of a bundle: it has no {FILE}")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        form = found["format"]
        if not isinstance(form, int):
            raise ValueError(f"its format is {form!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}): {_REMEDY}") from error
    if form > FORMAT:  # before all else, which may be called otherwise there
        raise ValueError(
            f"{folder} is a bundle of format {form}, and this version of jaxad reads formats up to "
            f"{FORMAT}: install a newer one, or export the bundle anew"
        )
    try:
        files = dict(found["files"])
        seal = found.pop(SEAL)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}): {_REMEDY}") from error
    if seal != _seal(found):
        raise ValueError(f"{path} is damaged, its checksum is another: {_REMEDY}")
    for name, expected in files.items():
        file = folder / name
        if not file.is_file():
            raise FileNotFoundError(f"{file}, a file of the bundle, is missing: {_REMEDY}")
        if _sum(file) != expected:
            raise ValueError(f"{file} is damaged, its checksum is another: {_REMEDY}")
    return found


_REMEDY = "copy the bundle again, or export it anew"


def _seal(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sum(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
