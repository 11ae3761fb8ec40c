r"""Which layers STFPM compares, how fast it learns, and how far its seeds lie apart.

    python experiments/sweep_stfpm.py OUT [--data FOLDER --epochs 100 --seeds 5 ...]
    python experiments/sweep_stfpm.py runs/layers --data cookies --extractor resnet18 \
        --weights resnet18 --size 128 --batch-size 8

Every non-empty choice of the teacher's layers (the ablation of Wang et al., BMVC 2021,
arXiv:2103.04257), then the learning rate of all of them, seeds shared. Interrupted,
it continues. OUT gets sweep.csv, sweep.jsonl, a plot for each swept field, and summary.txt: mean
and deviation over the seeds, differences to the authors' setting paired by seed, and the worst and
the best seed. Duration and numbers: docs/results/stfpm.md.
"""

import itertools
import pathlib
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Float

from jaxad import sweep
from jaxad.cli import script
from jaxad.cli.data import check_tests, only_one, opened
from jaxad.cli.learn import with_epochs
from jaxad.cli.options import asked, expected, given, leading
from jaxad.cli.run_options import DataOptions
from jaxad.detector import check_settings, config, replace, static
from jaxad.methods import stfpm
from jaxad.nets.extractors import load_for
from jaxad.training.features import MEMORY

RATES = (0.1, 0.2, 0.4, 0.8)  # the authors' is 0.4
SPREAD = ("image_auroc", "pixel_auroc")


@config
class Options:
    """Settings of the sweep."""

    data: str = static("workpieces/plate")  # the category
    epochs: float = static(100, above=0)  # passes over the pictures, in place of --steps
    seeds: int = static(5, 1)  # how many
    save_every: int = static(500, 1)  # steps between checkpoints


def main(words: Sequence[str]) -> None:
    """Trains, evaluates, and writes the table."""
    places, rest = leading(words)
    options, pictures, base = asked(
        rest, "python experiments/sweep_stfpm.py OUT", __doc__,
        script=Options(), data=DataOptions(), settings=stfpm.Config(),
    )  # fmt: skip
    (out,) = expected(places, "OUT")
    check_settings(stfpm.DETECTOR, base)
    script.prepare()
    workdir = pathlib.Path(out)
    several = opened(stfpm.DETECTOR, base, options.data, pictures, 0, workdir)
    check_tests(several)
    data = only_one(several)
    base = with_epochs(base, None if given(rest, "steps") else options.epochs, data)
    print(f"{base}\n{options}")
    pretrained = load_for(base)
    keys = jax.random.split(jax.random.key(0), options.seeds)
    configs = swept(base)
    members = sweep.run(
        stfpm.DETECTOR, configs, pretrained, data, keys, workdir / "run",
        save_every=options.save_every, cache=MEMORY,
    )  # fmt: skip
    scores = sweep.evaluate(stfpm.DETECTOR, configs, pretrained, members, data.test)
    sweep.write(workdir, stfpm.DETECTOR, configs, keys, scores)
    summary = f"{sweep.text(configs, scores)}\n\n{spread(configs, scores)}"
    (workdir / "summary.txt").write_text(summary + "\n", encoding="utf-8")
    print(summary)


def swept(base: stfpm.Config) -> tuple[stfpm.Config, ...]:
    """All layers, then every other choice of them, then all of them at other rates."""
    names = stfpm.layers(base)
    base = replace(base, layers=names)
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
    script.run(main)
