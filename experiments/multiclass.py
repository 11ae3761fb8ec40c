r"""One model for many categories against one model for each: the unified and the separate protocol.

    python experiments/multiclass.py METHOD OUT_FOLDER [data=FOLDER[,FOLDER...]] [epochs=100]
                                     [seeds=3] [protocols=unified,separate] [key=value ...]

METHOD is a name in `jaxad.methods.DETECTORS`. `data` names folders of one category each, or
that hold such folders; without it the categories are the rendered workpieces. The unified
model gets no label in training or test; both protocols see every picture `epochs` times. Metrics
are per category, then averaged. Interrupted, it continues; OUT_FOLDER/multiclass.json has all,
settings and versions included.

    python experiments/multiclass.py uniad runs/three data=cookies,magnetic_tile,elpv \\
        extractor=resnet18 weights=resnet18
"""

import pathlib
import sys
from typing import Any

import jax
import numpy as np

from jaxad import sweep
from jaxad.cli import script
from jaxad.data import multiclass
from jaxad.data.source import Data
from jaxad.detector import Detector, config, override, static
from jaxad.evaluation.results import Evaluation
from jaxad.methods import DETECTORS
from jaxad.nets.extractors import load_for
from jaxad.sweep.table import circumstances
from jaxad.training.checkpoint import settings as settings_of
from jaxad.training.checkpoint import write_json
from jaxad.training.features import MEMORY

METRICS = ("image_auroc", "pixel_auroc", "aupro_0.3")
PROTOCOLS = ("unified", "separate")


@config
class Options:
    """Settings of the comparison that are not the detector's."""

    data: tuple[str, ...] = static(())  # folders; none: rendered workpieces
    train: int = static(100)  # rendered pictures of each category
    aux: str | None = static(None)  # folder of photographs; None: procedural textures
    epochs: int = static(100)
    seeds: int = static(3)
    protocols: tuple[str, ...] = static(PROTOCOLS)
    cache: str | None = static(MEMORY)  # of frozen features: a folder, "memory", or none
    save_every: int = static(1000)


def main(method: str, out: str, *settings: str) -> None:
    """Trains under each protocol, evaluates, prints and writes the table."""
    script.prepare()
    if method not in DETECTORS:
        raise ValueError(f"there is no method {method!r}: expected one of {', '.join(DETECTORS)}")
    detector = DETECTORS[method]
    options, cfg = script.parsed(settings, Options(), detector.Config())
    if wrong := [name for name in options.protocols if name not in PROTOCOLS]:
        raise ValueError(f"protocols={','.join(wrong)}: expected {' or '.join(PROTOCOLS)}")
    if any(setting.startswith("steps=") for setting in settings):
        raise ValueError("steps: say epochs=..., of which the steps of both protocols follow")
    script.check_counts(options, "epochs", "seeds", "save_every", "train")
    data = load(cfg, options, detector)
    print(f"{cfg}\n{options}\n{script.said_of(data)}")
    pretrained = load_for(cfg)
    keys = jax.random.split(jax.random.key(0), options.seeds)

    found, steps = {}, {}
    for protocol in options.protocols:
        sets = [multiclass.pooled(data)] if protocol == "unified" else list(data.values())
        configs = tuple(with_epochs(cfg, one, options.epochs) for one in sets)
        steps[protocol] = [one.steps for one in configs]
        members = sweep.run(
            detector, configs, pretrained, sets, keys, pathlib.Path(out) / protocol,
            save_every=options.save_every, cache=options.cache,
        )  # fmt: skip
        tests = [one.test for one in sets]
        scores = sweep.evaluate(detector, configs, pretrained, members, tests)
        found[protocol] = by_category(scores.evaluations, list(data))
    made = {"options": vars(options), **settings_of(detector, cfg), "made_with": circumstances()}
    made["settings"]["steps"] = steps
    write_json(pathlib.Path(out) / "multiclass.json", {**made, "metrics": plain(found)})
    print(table(found, list(data)))


def load(cfg: Any, options: Options, detector: Detector) -> dict[str, Data]:
    """The data of each category, by name, with other pictures for detectors that want some."""
    found = script.categories(options.data, cfg.size, train=options.train)
    if missing := [name for name, one in found.items() if one.test is None]:
        raise ValueError(f"there are no test pictures of {', '.join(missing)}")
    wanted = any(stream.name == "aux" for stream in detector.streams(cfg))
    if not wanted or (options.aux is None and not options.data):
        return found
    aux = script.photographs(options.aux, 2 * cfg.size)
    return {name: one.with_streams(aux=aux) for name, one in found.items()}


def with_epochs(cfg: Any, data: Data, epochs: int) -> Any:
    """The settings with as many steps as show every training picture `epochs` times."""
    return override(cfg, f"steps={max(1, round(epochs * len(data.train) / cfg.batch_size))}")


def by_category(
    evaluations: tuple[tuple[Evaluation | None, ...], ...], names: list[str]
) -> dict[str, dict[str, np.ndarray]]:
    """{category: {metric: value of each seed}}; NaN of seeds that diverged."""
    seeds, found = len(evaluations[0]), {}
    for name in names:
        trained = (row for row in evaluations if any(one and name in one.categories for one in row))
        row = next(trained, (None,) * seeds)
        values = {
            metric: [np.nan if one is None else one.categories[name].metrics[metric] for one in row]
            for metric in METRICS
        }
        found[name] = {metric: np.array(x, np.float64) for metric, x in values.items()}
    means = {}
    for metric in METRICS:
        several = np.stack([found[name][metric] for name in names])
        there = several[~np.isnan(several).all(1)]
        means[metric] = there.mean(0) if len(there) else several[0]
    return {**found, "mean": means}


def table(found: dict, names: list[str]) -> str:
    """Mean and deviation over the seeds, protocols side by side."""
    lines = [["", *(f"{protocol} {metric}" for protocol in found for metric in METRICS)]]
    for name in [*names, "mean"]:
        cells = [found[protocol][name][metric] for protocol in found for metric in METRICS]
        lines.append([name, *map(cell, cells)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(x.ljust(width) for x, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def cell(values: np.ndarray) -> str:
    """Mean and, of several seeds, standard deviation."""
    if np.isnan(values).all():
        return "-"
    values = values[~np.isnan(values)]
    return f"{values.mean():.4f}" + (f" ± {values.std(ddof=1):.4f}" if len(values) > 1 else "")


def plain(found: dict) -> dict:
    """For JSON: lists, None for what is not a number."""
    return {
        protocol: {
            name: {
                metric: [None if np.isnan(x) else float(x) for x in values]
                for metric, values in metrics.items()
            }
            for name, metrics in categories.items()
        }
        for protocol, categories in found.items()
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
