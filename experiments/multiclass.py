r"""One model for many categories against one model for each: the unified and the separate protocol.

    python experiments/multiclass.py METHOD OUT [--data A,B --epochs 100 ...]
    python experiments/multiclass.py uniad runs/three --data cookies,magnetic_tile,elpv \
        --extractor resnet18 --weights resnet18

METHOD and the folders of --data are those of `jaxad train`. The unified model gets no label in
training or test; both protocols see every picture as often, unless --steps says how many steps
every model takes. Metrics are per category, then averaged. Interrupted, it continues.
OUT/multiclass.json has all, settings and versions included. UniAD at 128 px takes two cores nine
minutes for a model of all workpieces (docs/results/uniad.md).
"""

import pathlib
from collections.abc import Sequence
from typing import Literal

import jax
import numpy as np

from jaxad import sweep
from jaxad.cli import script
from jaxad.cli.data import check_tests, opened, said_of
from jaxad.cli.learn import with_epochs
from jaxad.cli.options import asked, expected, given, leading
from jaxad.cli.run_options import DataOptions
from jaxad.data import multiclass
from jaxad.detector import check_settings, config, static
from jaxad.evaluation.results import Evaluation
from jaxad.nets.extractors import load_for
from jaxad.sweep.table import circumstances
from jaxad.training.features import MEMORY
from jaxad.training.named import detector as named
from jaxad.training.record import settings, write_json

METRICS = ("image_auroc", "pixel_auroc", "aupro_0.3")


@config
class Options:
    """Settings of the comparison."""

    data: str = static("workpieces")  # a folder or several, A,B
    train: int = static(100, 1)  # rendered pictures of each category to learn from
    aux: str | None = static(None)  # folder of photographs, for methods that want some
    epochs: float = static(100, above=0)  # passes over the pictures of a model
    seeds: int = static(3, 1)  # how many
    protocols: tuple[Literal["unified", "separate"], ...] = static(("unified", "separate"))
    cache: str | None = static(MEMORY)  # of frozen features: a folder, "memory", or none
    save_every: int = static(1000, 1)  # steps between checkpoints


def main(words: Sequence[str]) -> None:
    """Trains under each protocol, evaluates, prints and writes the table."""
    places, rest = leading(words)
    detector = named(places[0] if places else "uniad")
    usage = f"python experiments/multiclass.py {places[0] if places else 'METHOD'} OUT"
    options, cfg = asked(rest, usage, __doc__, script=Options(), settings=detector.Config())
    _, out = expected(places, "METHOD", "OUT")
    check_settings(detector, cfg)
    script.prepare()
    folder, epochs = pathlib.Path(out), None if given(rest, "steps") else options.epochs
    pictures = DataOptions(rendered=options.train, aux=options.aux)
    data = opened(detector, cfg, options.data, pictures, 0, folder)
    check_tests(data)
    print(f"{cfg}\n{options}\n{said_of(data)}")
    pretrained = load_for(cfg)
    keys = jax.random.split(jax.random.key(0), options.seeds)

    found, steps = {}, {}
    for protocol in options.protocols:
        sets = [multiclass.pooled(data)] if protocol == "unified" else list(data.values())
        configs = tuple(with_epochs(cfg, epochs, one) for one in sets)
        steps[protocol] = [one.steps for one in configs]
        members = sweep.run(
            detector, configs, pretrained, sets, keys, folder / protocol,
            save_every=options.save_every, cache=options.cache,
        )  # fmt: skip
        tests = [one.test for one in sets]
        scores = sweep.evaluate(detector, configs, pretrained, members, tests)
        found[protocol] = by_category(scores.evaluations, list(data))
    made = {"options": vars(options), **settings(detector, cfg), "made_with": circumstances()}
    made["settings"]["steps"] = steps
    write_json(folder / "multiclass.json", {**made, "metrics": plain(found)})
    print(table(found, list(data)))


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
    script.run(main)
