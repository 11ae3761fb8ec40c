"""What a page tells of a run beside its results: settings, pictures, training, how to make it."""

import importlib.metadata
import logging
import pathlib
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import UInt8

from jaxad.data.files import counted
from jaxad.data.source import Data, LeftOut, Source, skipped, spread
from jaxad.data.view import WHOLE
from jaxad.detector import Detector, static_settings, values
from jaxad.report import curves, sheets
from jaxad.training import record as records
from jaxad.training.restore import has_model

log = logging.getLogger(__name__)

METRICS = "metrics.jsonl"
SAMPLES, TYPES = 8, 24  # pictures of a row; types of defect that have a row each
SIDE = 112  # pixels of a sample


class Setting(NamedTuple):
    """A setting: its name, its value, whether it is the default, and whether it is compiled in."""

    name: str
    value: str
    default: str
    static: bool

    @property
    def changed(self) -> bool:
        """Whether it differs from the default."""
        return self.value != self.default


class Sample(NamedTuple):
    """Some pictures of one sort, side by side as WebP, and how many there are in all."""

    title: str
    count: int
    strip: bytes | None


class Facts(NamedTuple):
    """What is known of a run.

    Attributes:
      method: the detector's name.
      settings: all of them.
      samples: of the pictures.
      left_out: pictures that cannot be read, and files that are not used.
      history: of its training; None where nothing was written.
      steps: that it takes in all.
      finished: whether there is a model.
      command: that made it; empty where the record does not tell.
      about: names and values: data, seed, weights, versions.
    """

    method: str
    settings: list[Setting]
    samples: list[Sample]
    left_out: list[LeftOut]
    history: curves.History | None
    steps: int
    finished: bool
    command: str
    about: list[tuple[str, str]]


def facts(
    detector: Detector, cfg: Any, run: pathlib.Path, data: Data | None, own: bool = True
) -> Facts:
    """What the folder of a run and its data tell.

    Args:
      detector: the method.
      cfg: its settings.
      run: the folder; where it has no record, less is told.
      data: the pictures; None where they are not at hand.
      own: whether the run learned from these, and not from others.

    Raises:
      OSError, ValueError: a file of the run is damaged.
    """
    record = records.read(run) or {}
    about = record.get(records.ABOUT, {})
    sources = [] if data is None else [data.train, data.heldout, data.test]
    unread = [one for source in sources if source is not None for one in skipped(source)]
    passed = [] if data is None else list(data.passed_over)
    return Facts(
        detector.name,
        _settings(detector, cfg, record.get("settings", {})),
        [] if data is None else _samples(data, own),
        [*dict.fromkeys(unread), *passed],
        curves.history(run / METRICS),
        cfg.steps,
        has_model(run),
        about.get("command", ""),
        _about(about),
    )


def _settings(detector: Detector, cfg: Any, recorded: Mapping[str, Any]) -> list[Setting]:
    """Those of the config, and what a record has besides: of a bundle, those of its method."""
    defaults = values(detector.Config())
    found = values(cfg) | {name: x for name, x in recorded.items() if name not in defaults}
    compiled = static_settings(cfg)
    return [
        Setting(name, _shown(value), _shown(defaults.get(name, value)), name in compiled)
        for name, value in found.items()
    ]


def _shown(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(_shown, value)) or "none"
    if isinstance(value, jax.Array | np.generic):
        value = value.item()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _about(about: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [("data", about.get("data")), ("category", about.get("category"))]
    rows += [("seed", about.get("seed")), ("trained with jaxad", about.get("jaxad"))]
    rows += [
        (f"licence of the weights {name}", terms)
        for name, terms in (about.get("weights") or {}).items()
    ]
    here = (
        f"jaxad {importlib.metadata.version('jaxad')}, JAX {jax.__version__}, Python "
        f"{platform.python_version()}, {jax.devices()[0].device_kind}"
    )
    rows.append(("scored with", here))
    return [(name, str(value)) for name, value in rows if value is not None]


def _samples(data: Data, own: bool) -> list[Sample]:
    """Pictures to learn from, held-out ones, and each type of defect of the test set."""
    found = []
    learned = (("to learn from", data.train), ("held out", data.heldout)) if own else ()
    for title, source in learned:
        found.append(Sample(title, len(source), _strip(source, range(len(source)))))
    if data.test is None:
        return found
    counts = Counter(record.defect for record in data.test.records)
    names = sorted(counts, key=lambda name: (name != "good", name))
    for name in names[:TYPES]:
        members = [i for i, record in enumerate(data.test.records) if record.defect == name]
        found.append(Sample(f"to test on: {name}", counts[name], _strip(data.test, members)))
    if more := names[TYPES:]:
        title = f"to test on: {counted(len(more), 'more type')} of defects"
        found.append(Sample(title, sum(counts[name] for name in more), None))
    return found


def _strip(source: Source, members: Sequence[int]) -> bytes | None:
    chosen = [members[i] for i in spread(len(members), SAMPLES)] if len(members) else []
    if not chosen:
        return None
    gap = np.full((SIDE, SIDE // 16, 4), 0, np.uint8)
    seen = [sample for index in chosen if (sample := _sample(source, index)) is not None]
    parts = [part for sample in seen for part in (sample, gap)]
    if not parts:
        return None
    return sheets.webp(np.concatenate(parts[:-1], 1), sheets.QUALITY["picture"])


def _sample(source: Source, index: int) -> UInt8[np.ndarray, "s s 4"] | None:
    try:
        item = source[index]
    except (OSError, ValueError) as error:  # one that was not needed for what was measured
        log.warning("not shown among the data of the report: %s", error)
        return None
    square = item.get("view", WHOLE).square(item["image"], SIDE)
    return np.dstack([square, np.full(square.shape[:2], 255, np.uint8)])
