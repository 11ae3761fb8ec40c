"""What `run.json` says of a run: what its numbers depend on, and what a person wants to know.

All but `ABOUT` is compared when a run goes on in a folder: method, settings, key, data.
"""

import json
import pathlib
import zlib
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jaxad import whole
from jaxad.detector import Detector, State, values
from jaxad.mesh import hosts

FILE = "run.json"
ABOUT = "about"  # where the data lay, licences of the weights, versions: nothing is told by it


def settings(detector: Detector, cfg: Any) -> dict:
    """A detector and its config as plain JSON values.

    Raises:
      ValueError: a field is not a number, text or tuple of these: a sweep's stacked config, say.
    """
    found = values(cfg)
    for name, value in found.items():
        if isinstance(value, jax.Array):
            if value.ndim:
                raise ValueError(f"{name} has shape {value.shape}: a run has one value a setting")
            found[name] = value.item()
    return {"method": detector.name, "settings": found}


def read(folder: pathlib.Path) -> dict | None:
    """The record in a run's folder; None where there is none.

    Raises:
      ValueError: it is damaged.
    """
    file = folder / FILE
    if not file.exists():
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it holds no record")
        return found
    except ValueError as error:
        raise ValueError(f"{file} is damaged ({error}); give another folder") from error


def steps(record: dict) -> int | None:
    """How many steps a run takes in all; None of a sweep."""
    return record.get("settings", {}).get("steps")


def differences(now: dict, there: dict) -> list[str]:
    """Where two records differ, in words; fewer steps before than now are no difference."""
    now, there = (json.loads(json.dumps(record)) for record in (now, there))
    before, after = steps(there), steps(now)
    if before is not None and after is not None and before < after:
        there["settings"]["steps"] = after
    for record in (now, there):
        record.pop(ABOUT, None)
    return _differences(now, there)


def fingerprint(tree: PyTree) -> str:
    """A checksum of all numbers in a tree."""
    checksum = 0
    for leaf in jax.tree.leaves(tree):
        checksum = zlib.crc32(np.ascontiguousarray(leaf).tobytes(), checksum)
    return f"{checksum:08x}"


def model(pretrained: PyTree, state: State) -> str:
    """What tells one model's scores from another's: the name that a decision card gives it."""
    return fingerprint((pretrained, state.params, state.stats))


def write_json(path: pathlib.Path, value: Any, indent: int | None = 1) -> None:
    """Writes a file whole or not at all; of many hosts, the first one does.

    Args:
      path: of the file.
      value: as JSON.
      indent: None for one line, which is sooner written where there is much.

    Raises:
      OSError: it cannot be written; the error names the file.
    """
    if not hosts.primary():
        return
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    with whole.written(path) as part:
        part.write_text(text + "\n", encoding="utf-8")


def _differences(now: Any, there: Any, name: str = "") -> list[str]:
    """Where two JSON values differ, in words."""
    if isinstance(now, dict) and isinstance(there, dict):
        fields = [*now, *(field for field in there if field not in now)]
        parts = [
            _differences(now.get(f), there.get(f), f"{name}.{f}" if name else f) for f in fields
        ]
        return [line for part in parts for line in part]
    if now == there:
        return []
    if name == "data.categories":
        renamed = "or its folder was renamed"
        return [f"the category is called {_called(there)} there, {_called(now)} now, {renamed}"]
    if name in ("data.train", "data.heldout"):
        return [f"{name} has pictures of other names: {there} there, {now} now"]
    return [f"{name} is {there!r} there, {now!r} now"]


def _called(names: Any) -> str:
    return ", ".join(map(repr, names)) if isinstance(names, list) else repr(names)
