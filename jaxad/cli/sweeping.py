"""Settings and seeds trained together, and compared on test pictures."""

import contextlib
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
from jaxtyping import Array, PyTree

from jaxad import sweep
from jaxad.cli import script
from jaxad.cli.data import opened
from jaxad.cli.learn import cache, with_epochs
from jaxad.cli.run_options import DataOptions, DeviceOptions, HostOptions
from jaxad.cli.script import prepare
from jaxad.cli.sweep import SweepOptions, grid
from jaxad.data.files import counted
from jaxad.data.reading import Reading
from jaxad.data.source import Data
from jaxad.detector import Detector
from jaxad.mesh import hosts
from jaxad.nets.extractors import load_for
from jaxad.sweep import Members
from jaxad.sweep.page import PAGE
from jaxad.training.record import settings
from jaxad.training.writers import make


def run_sweep(
    detector: Detector,
    base: Any,
    swept: dict[str, list[str]],
    place: str | None,
    workdir: pathlib.Path,
    options: SweepOptions,
    data: DataOptions,
    reading: Reading,
    devices: DeviceOptions = DeviceOptions(),  # noqa: B008, frozen
    others: HostOptions = HostOptions(),  # noqa: B008
) -> None:
    """Trains every setting with every seed on each category, and writes tables and plots.

    Args:
      detector: the method.
      base: its settings.
      swept: the values of those that are compared, as text.
      place: DATA of the command; None where `data.normal` takes its place.
      workdir: OUT of the command; several categories get a folder each in it.
      options: of the sweep.
      data: options of the data.
      reading: how files become pictures.
      devices: what computes; by default all, each with its own members.
      others: hosts that train together; the first one compares what was learned.
    """
    prepare(devices.device, others)
    several = opened(detector, base, place, data, 0, workdir, reading)
    keys = jax.random.split(jax.random.key(0), options.seeds)
    learned = []
    with script.devices(devices.mesh, base.batch_size if base.steps else 0, "member"):
        for name, one in several.items():
            folder = workdir / name if len(several) > 1 else workdir
            configs = grid(with_epochs(base, options.epochs, one), swept)
            pretrained = load_all(configs)
            pictures = counted(len(one.train), "picture")
            print(f"{name}: {len(configs)} settings, {options.seeds} seeds, {pictures}")
            said = {"category": name, **described(detector, configs, options.seeds)}
            with contextlib.closing(make(options.log, folder, said)) as writer:
                members = sweep.run(
                    detector, configs, pretrained, one, keys, folder / "run",
                    at_once=options.at_once, save_every=options.save_every,
                    workers=options.workers, cache=cache(options.cache), select=options.select,
                    writer=writer,
                )  # fmt: skip
            learned.append((folder, configs, pretrained, one, members))
            if hosts.count() == 1:
                _compare(detector, keys, *learned.pop())
    if hosts.count() > 1:
        hosts.leave()
        if not hosts.primary():
            return
        with script.devices(None):
            for one in learned:
                _compare(detector, keys, *one)


def _compare(
    detector: Detector,
    keys: Array,
    folder: pathlib.Path,
    configs: Sequence[Any],
    pretrained: PyTree,
    data: Data,
    members: Members,
) -> None:
    """Measures the members on the test pictures, and writes tables and plots."""
    if data.test is None:
        print("no test pictures: nothing to compare on")
        return
    scores = sweep.evaluate(detector, configs, pretrained, members, data.test)
    sweep.write(folder, detector, configs, keys, scores)
    print(f"{sweep.text(configs, scores)}\ntables and plots: {folder}\npage: {folder / PAGE}")


def described(detector: Detector, configs: Sequence[Any], seeds: int) -> dict[str, Any]:
    """The settings and the seed of each member, under the name that its metrics have."""
    rows = [settings(detector, cfg)["settings"] for cfg in configs]
    return {"method": detector.name} | {
        f"member_{place * seeds + seed}": row | {"seed": seed}
        for place, row in enumerate(rows)
        for seed in range(seeds)
    }


def load_all(configs: Sequence[Any]) -> dict[str, Any]:
    """The weights of all settings."""
    found: dict[str, Any] = {}
    for cfg in configs:
        if not set(cfg.weights) <= found.keys():
            found |= load_for(cfg)
    return found
