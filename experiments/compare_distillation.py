r"""The distillation methods and EfficientAD on the same data, with the same budget.

    python experiments/compare_distillation.py OUT_FOLDER [data=FOLDER[,FOLDER...]] [steps=500]
                                               [seconds=300] [seeds=3] [METHOD.key=value ...]

Every method takes `steps` steps on batches of one size; then as many as it takes in `seconds` of
training, by the time of its own step here (left out with seconds=none). STFPM, reverse
distillation and MKD share one teacher, `extractor` and `weights`. The other two need a network of
patches: Uninformed Students takes `patches`, EfficientAD a PDN, both the shipped one by default,
which is everybody's teacher unless another is given. All else is each method's own default, but
for EfficientAD's rate and p_hard, which are those of short runs, its autoencoder's kernel, which
goes with `size`, and the students' descriptors, which are not dense; `stfpm.lr=0.2` changes it.

Without `data`: the rendered workpieces. OUT_FOLDER gets compare.json and compare.txt; interrupted,
the same command continues.

    python experiments/compare_distillation.py runs/compare data=cookies,magnetic_tile,elpv \
        extractor=resnet18 weights=resnet18 patches=patch_33 aux=photographs
"""

import json
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jaxad import compile, sweep
from jaxad.cli import script
from jaxad.data.pictures import image_set
from jaxad.data.source import Data
from jaxad.detector import Detector, check_settings, config, override, static, values
from jaxad.methods import DETECTORS
from jaxad.nets.extractors import load_for
from jaxad.sweep.table import circumstances
from jaxad.training import fitting
from jaxad.training.checkpoint import write_json
from jaxad.training.features import MEMORY, frozen_features

METHODS = ("efficientad", "uninformed_students", "stfpm", "reverse_distillation", "mkd")
METRICS = ("image_auroc", "pixel_auroc", "aupro_0.3")
TIMED = 5  # steps


@config
class Options:
    """Settings of the comparison, and those that methods share."""

    methods: tuple[str, ...] = static(METHODS)
    data: tuple[str, ...] = static(())  # folders; none: rendered workpieces
    train: int = static(60)  # rendered pictures of each category
    aux: str | None = static(None)  # folder of photographs for EfficientAD; None: textures
    size: int = static(128)
    batch_size: int = static(8)
    extractor: str = static("pdn_small")
    weights: tuple[str, ...] = static(("pdn_small",))
    patches: tuple[str, ...] = static(("pdn_small",))  # teachers of Uninformed Students
    steps: int = static(500)
    seconds: float | None = static(300.0)  # of training; None: only steps are compared
    seeds: int = static(3)
    save_every: int = static(500)


def main(out: str, *settings: str) -> None:
    """Trains with both budgets, evaluates, prints and writes the table."""
    script.prepare()
    options, configs = parsed(settings)
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
                cfg = override(cfg, f"steps={max(1, int(options.seconds / speeds[name]))}")
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


def parsed(settings: Sequence[str]) -> tuple[Options, dict[str, Any]]:
    """This script's settings, and those of every method.

    Raises:
      ValueError: a setting or a method is unknown, or a value cannot work.
    """
    own = [s for s in settings if "." not in s.partition("=")[0]]
    options = override(Options(), own)
    if wrong := [name for name in options.methods if name not in METHODS]:
        raise ValueError(f"methods={','.join(wrong)}: expected some of {', '.join(METHODS)}")
    script.check_counts(options, "seeds")
    shared = [f"{name}={getattr(options, name)}" for name in ("size", "batch_size", "steps")]
    teacher = [f"extractor={options.extractor}", f"weights={','.join(options.weights)}"]
    chosen = {
        # As in quickstart.py: the paper's are for 70,000 steps, and for 256 pixels.
        "efficientad": ["lr=1e-3", "p_hard=0.99", f"autoencoder_kernel={options.size // 32}"],
        "uninformed_students": [f"weights={','.join(options.patches)}", "dense=false"],
        **dict.fromkeys(("stfpm", "reverse_distillation", "mkd"), teacher),
    }
    several = [s.partition(".") for s in settings if s not in own]
    if unknown := [name for name, _, _ in several if name not in options.methods]:
        raise ValueError(f"settings of {', '.join(unknown)}, which is not among the methods")
    configs = {}
    for name in options.methods:
        given = [setting for method, _, setting in several if method == name]
        detector = DETECTORS[name]
        configs[name] = override(detector.Config(), [*shared, *chosen[name], *given])
        check_settings(detector, configs[name])
    return options, configs


def load(options: Options) -> dict[str, Data]:
    """The data of each category, by name."""
    found = script.categories(options.data, options.size, train=options.train)
    if missing := [name for name, one in found.items() if one.test is None]:
        raise ValueError(f"there are no test pictures of {', '.join(missing)}")
    aux = script.photographs(options.aux, 2 * options.size)
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
    main(*sys.argv[1:])
