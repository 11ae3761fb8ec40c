r"""Which layers STFPM compares, how fast it learns, and how far its seeds lie apart.

    python experiments/sweep_stfpm.py OUT_FOLDER [data=FOLDER] [epochs=100] [seeds=5]
                                      [key=value ...]

Every non-empty choice of the teacher's layers (the ablation of Wang et al., BMVC 2021,
arXiv:2103.04257), then the learning rate of all of them, seeds shared. Without `data`: rendered
workpieces. Interrupted, it continues. OUT_FOLDER gets sweep.csv, sweep.jsonl, a plot for each swept
field, and summary.txt: mean and deviation over the seeds, differences to the authors' setting
paired by seed, and the worst and the best seed.

    python experiments/sweep_stfpm.py runs/layers data=cookies extractor=resnet18 weights=resnet18 \
        size=128 batch_size=8
"""

import itertools
import pathlib
import sys

import jax
import numpy as np
from jaxtyping import Float

from jaxad import sweep
from jaxad.cli import script
from jaxad.data import layouts, workpieces
from jaxad.data.source import Data
from jaxad.detector import config, override, static
from jaxad.methods import stfpm
from jaxad.nets.extractors import load_for
from jaxad.training.features import MEMORY

RATES = (0.1, 0.2, 0.4, 0.8)  # the authors' is 0.4
SPREAD = ("image_auroc", "pixel_auroc")


@config
class Options:
    """Settings of the sweep that are not the detector's."""

    data: str | None = static(None)  # folder; None: rendered workpieces
    category: str = static("plate")  # of the rendered workpieces
    epochs: int = static(100)
    seeds: int = static(5)
    save_every: int = static(500)


def main(out: str, *settings: str) -> None:
    """Trains, evaluates, and writes the table."""
    script.prepare()
    options, base = script.parsed(settings, Options(), stfpm.Config())
    script.check_counts(options, "seeds")
    data = load(base, options)
    if not any(setting.startswith("steps=") for setting in settings):
        batches = -(-len(data.train) // base.batch_size)  # in an epoch
        base = override(base, f"steps={options.epochs * batches}")
    print(f"{base}\n{options}")
    pretrained = load_for(base)
    keys = jax.random.split(jax.random.key(0), options.seeds)
    configs, workdir = swept(base), pathlib.Path(out)
    members = sweep.run(
        stfpm.DETECTOR, configs, pretrained, data, keys, workdir / "run",
        save_every=options.save_every, cache=MEMORY,
    )  # fmt: skip
    scores = sweep.evaluate(stfpm.DETECTOR, configs, pretrained, members, data.test)
    sweep.write(workdir, stfpm.DETECTOR, configs, keys, scores)
    summary = f"{sweep.text(configs, scores)}\n\n{spread(configs, scores)}"
    (workdir / "summary.txt").write_text(summary + "\n", encoding="utf-8")
    print(summary)


def load(cfg: stfpm.Config, options: Options) -> Data:
    """The pictures."""
    if options.data is None:
        return workpieces.load(options.category, size=cfg.size)
    data = layouts.load(options.data, seed=0)
    if data.test is None:
        raise ValueError(f"there are no test pictures in {options.data}")
    return data


def swept(base: stfpm.Config) -> tuple[stfpm.Config, ...]:
    """All layers, then every other choice of them, then all of them at other rates."""
    names = stfpm.layers(base)
    base = override(base, f"layers={','.join(names)}")
    choices = [
        chosen for count in range(1, len(names)) for chosen in itertools.combinations(names, count)
    ]
    rates = [rate for rate in RATES if rate != base.lr]
    return (base, *sweep.grid(base, layers=choices), *sweep.grid(base, lr=rates))


def spread(configs: tuple[stfpm.Config, ...], scores: sweep.Scores) -> str:
    """Of each setting and metric the worst and the best seed."""
    metrics = [name for name in SPREAD if name in scores.metrics]
    lines = [f"worst and best seed: {', '.join(metrics)}"]
    for s, setting in enumerate(sweep.rows(configs)):
        ends = [extremes(scores.metrics[name][s]) for name in metrics]
        about = f"layers {','.join(setting['layers'])}, lr {setting['lr']}"
        lines.append(f"{about}: {', '.join(ends)}")
    return "\n".join(lines)


def extremes(values: Float[np.ndarray, "K"]) -> str:
    """The lowest and the highest of those that did not diverge."""
    there = values[~np.isnan(values)]
    return f"{there.min():.4f} to {there.max():.4f}" if there.size else "-"


if __name__ == "__main__":
    main(*sys.argv[1:])
