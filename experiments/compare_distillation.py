r"""The distillation methods and EfficientAD on the same data, with the same budget.

    python experiments/compare_distillation.py OUT [--data A,B --stfpm.lr 0.2 ...]
    python experiments/compare_distillation.py runs/compare --data cookies,magnetic_tile,elpv \
        --extractor resnet18 --weights resnet18 --patches patch_33 --aux photographs

Every method takes --steps steps on batches of one size; then as many as it takes in --seconds of
training, by the time of its own step here. STFPM, reverse distillation and MKD share one teacher,
--extractor and --weights. The other two need a network of patches: Uninformed Students takes
--patches, EfficientAD a PDN, both the shipped one by default, which is everybody's teacher unless
another is given. All else is each method's own default, but for EfficientAD's rate and p_hard,
which are those of short runs, its autoencoder's kernel, which goes with the size, and the students'
descriptors, which are not dense. --METHOD.lr and the like change it: `jaxad train METHOD --help`
tells a method's settings.

OUT gets compare.json and compare.txt; interrupted, the same command continues. With the defaults it
trains for hours: 5 methods x 5 workpieces x 3 seeds, twice. Numbers: docs/results/comparison.md.
"""

import json
import pathlib
import time
from collections.abc import Sequence
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import PyTree

from jaxad import compile, sweep
from jaxad.cli import script
from jaxad.cli.data import categories, check_tests
from jaxad.cli.errors import Usage
from jaxad.cli.options import asked, expected, field, grouped, leading
from jaxad.cli.streams import photographs
from jaxad.data.pictures import image_set
from jaxad.data.source import Data
from jaxad.detector import Detector, check_settings, config, replace, static, values
from jaxad.methods import DETECTORS
from jaxad.nets.extractors import load_for
from jaxad.sweep.table import circumstances
from jaxad.training import fitting
from jaxad.training.features import MEMORY, frozen_features
from jaxad.training.record import write_json

USAGE = "python experiments/compare_distillation.py OUT"
METHODS = ("efficientad", "uninformed_students", "stfpm", "reverse_distillation", "mkd")
METRICS = ("image_auroc", "pixel_auroc", "aupro_0.3")
TIMED = 5  # steps


@config
class Options:
    """Settings of the comparison, and those that methods share."""

    methods: tuple[Literal[METHODS], ...] = static(METHODS, fewest=1)  # to compare
    data: tuple[str, ...] = static(("workpieces",))  # folders
    train: int = static(60, 1)  # rendered pictures of each category to learn from
    aux: str | None = static(None)  # folder of photographs for EfficientAD; none: textures
    size: int = static(128, 1)  # image side in pixels
    batch_size: int = static(8, 1)  # pictures in a step
    extractor: str = static("pdn_small")  # of STFPM, reverse distillation and MKD
    weights: tuple[str, ...] = static(("pdn_small",), count=1)  # of that extractor
    patches: tuple[str, ...] = static(("pdn_small",), fewest=1)  # teachers of Uninformed Students
    steps: int = static(500, 1)  # the first budget
    seconds: float | None = static(300.0, above=0)  # the second, of training; none: no second one
    seeds: int = static(3, 1)  # how many
    save_every: int = static(500, 1)  # steps between checkpoints


def main(words: Sequence[str]) -> None:
    """Trains with both budgets, evaluates, prints and writes the table."""
    places, rest = leading(words)
    options, configs = parsed(rest)
    (out,) = expected(places, "OUT")
    script.prepare()
    data = load(options)
    folder = pathlib.Path(out)
    print(f"{options}\ncategories: {', '.join(data)}")
    speeds = measured(folder / "speeds.json", configs, next(iter(data.values())))
    each = {name: values(cfg) for name, cfg in configs.items()}
    rows = []
    for budget in ("steps", "seconds"):
        if budget == "seconds" and options.seconds is None:
            continue
        for name, cfg in configs.items():
            if budget == "seconds":
                cfg = replace(cfg, steps=max(1, int(options.seconds / speeds[name])))
            found = trained(name, cfg, data, options, folder / budget / name)
            about = {
                "budget": f"{getattr(options, budget)} {budget}",
                "method": name,
                "teacher": ",".join(cfg.weights),
                "steps": cfg.steps,
                "seconds": cfg.steps * speeds[name],
            }
            rows += [about | row for row in found]
            made = {"options": vars(options), "settings": each, "rows": rows}
            made["made_with"] = circumstances()
            write_json(folder / "compare.json", made)
            (folder / "compare.txt").write_text(table(rows) + "\n", encoding="utf-8")
    print(table(rows))


def parsed(words: Sequence[str]) -> tuple[Options, dict[str, Any]]:
    """This script's settings, and those of every method.

    Raises:
      ValueError: a setting or a method is unknown, or a value cannot work.
    """
    own: list[str] = []
    of_methods: dict[str, list[str]] = {name: [] for name in METHODS}
    for first, *values_ in grouped(words):
        method, dot, name = (field(first) or "").partition(".")
        if not dot:
            own += [first, *values_]
        elif method in METHODS:
            of_methods[method] += [f"--{first.partition('.')[2]}", *values_]
        else:
            raise Usage(f"{first}: there is no {method}; methods are {', '.join(METHODS)}")
    (options,) = asked(own, USAGE, __doc__, script=Options())
    shared = {name: getattr(options, name) for name in ("size", "batch_size", "steps")}
    teacher = {"extractor": options.extractor, "weights": options.weights}
    chosen = {
        # As in `jaxad quickstart`: the paper's are for 70,000 steps, and for 256 pixels.
        "efficientad": {"lr": 1e-3, "p_hard": 0.99, "autoencoder_kernel": options.size // 32},
        "uninformed_students": {"weights": options.patches, "dense": False},
        **dict.fromkeys(("stfpm", "reverse_distillation", "mkd"), teacher),
    }
    configs = {}
    for name in options.methods:
        detector = DETECTORS[name]
        cfg = replace(detector.Config(), **shared, **chosen[name])
        (configs[name],) = asked(of_methods.pop(name), f"{USAGE} --{name}.", settings=cfg)
        check_settings(detector, configs[name])
    if unused := [name for name, several in of_methods.items() if several]:
        raise Usage(f"settings of {', '.join(unused)}, which is not among --methods")
    return options, configs


def load(options: Options) -> dict[str, Data]:
    """The data of each category, by name."""
    found = categories(options.data, options.size, train=options.train)
    check_tests(found)
    aux = photographs(options.aux, 2 * options.size)
    return {name: one.with_streams(aux=aux) for name, one in found.items()}


def measured(file: pathlib.Path, configs: dict[str, Any], data: Data) -> dict[str, float]:
    """Seconds of each method's training step; of an interrupted run, those from its file."""
    speeds = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for name in (name for name in configs if name not in speeds):
        speeds[name] = seconds_per_step(DETECTORS[name], configs[name], data)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, speeds)
    return speeds


def seconds_per_step(detector: Detector, cfg: Any, data: Data) -> float:
    """Of a training step on cached features, compilation left out."""
    pretrained, key = load_for(cfg), jax.random.key(0)
    images = image_set(data.train, cfg.size)
    kept = frozen_features(detector, cfg, pretrained, images, MEMORY)
    batches = iter(fitting.train_batches(detector, cfg, data, key, features=kept, images=images))
    state = fitting.begun(detector, cfg, pretrained, images, key)

    def take(state: PyTree, count: int) -> PyTree:
        some = [next(batches) for _ in range(count)]
        state, _ = compile.steps(detector, cfg, pretrained, state, some, key)
        return jax.block_until_ready(state)

    state = take(state, TIMED)
    start = time.perf_counter()
    take(state, TIMED)
    batches.close()
    return (time.perf_counter() - start) / TIMED


def trained(
    name: str, cfg: Any, data: dict[str, Data], options: Options, folder: pathlib.Path
) -> list[dict]:
    """The metrics of one method with one budget, by category: a value for each seed."""
    detector, pretrained = DETECTORS[name], load_for(cfg)
    keys = jax.random.split(jax.random.key(0), options.seeds)
    configs = (cfg,) * len(data)
    members = sweep.run(
        detector, configs, pretrained, list(data.values()), keys, folder,
        save_every=options.save_every, cache=MEMORY,
    )  # fmt: skip
    tests = [one.test for one in data.values()]
    scores = sweep.evaluate(detector, configs, pretrained, members, tests)
    rows = []
    for category, evaluations in zip(data, scores.evaluations, strict=True):
        values = {m: [x if x is None else x.mean[m] for x in evaluations] for m in METRICS}
        rows.append({"category": category, **values})
    return rows if len(rows) == 1 else [*rows, {"category": "mean", **mean(rows)}]


def mean(rows: Sequence[dict]) -> dict[str, list[float | None]]:
    """Of each metric, over the categories that have it: a value for each seed, if none diverged."""
    found = {}
    for metric in METRICS:
        several = [row[metric] for row in rows if any(x is not None for x in row[metric])]
        seeds = zip(*several, strict=True)
        found[metric] = [None if None in x else float(np.mean(x)) for x in seeds]
    return found


def table(rows: Sequence[dict]) -> str:
    """Mean and deviation over the seeds of every category."""
    lines = [["budget", "method", "teacher", "steps", "seconds", "category", *METRICS]]
    for row in rows:
        about = [row[name] for name in ("budget", "method", "teacher")]
        numbers = [str(row["steps"]), f"{row['seconds']:.0f}", row["category"]]
        lines.append([*about, *numbers, *(cell(row[metric]) for metric in METRICS)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(x.ljust(width) for x, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def cell(values: Sequence[float | None]) -> str:
    """Mean and deviation; nothing of a metric without values."""
    there = np.array([np.nan if x is None else x for x in values], np.float64)
    (of_seeds,) = sweep.summary(there[None])
    if of_seeds.count == 0:
        return "-"
    return f"{of_seeds.mean:.4f}" + (f" ± {of_seeds.std:.4f}" if of_seeds.count > 1 else "")


if __name__ == "__main__":
    script.run(main)
