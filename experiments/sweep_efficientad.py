"""What EfficientAD's parts are worth: the shape of the paper's ablations, as two sweeps.

    python experiments/sweep_efficientad.py OUT [--data FOLDER --aux PHOTOGRAPHS --seeds 3 ...]

The first trains: p_hard in {0, 0.9, 0.99, 0.999, 0.9999} and the penalty on and off (tables 4 and 5
of Batzner et al., WACV 2024). The second only calibrates what the first trained with its base
setting anew: maps normalised by quantiles, by mean and deviation, or not at all, and other quantile
levels.

Under OUT/training and OUT/maps it leaves sweep.csv, sweep.jsonl, summary.txt and a plot for each
swept field; interrupted, the training continues where it was. Numbers: docs/results/efficientad.md.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxad import sweep
from jaxad.cli import script
from jaxad.cli.data import check_tests, only_one, opened
from jaxad.cli.options import asked, expected, leading
from jaxad.cli.run_options import DataOptions
from jaxad.data.pictures import image_set
from jaxad.data.source import Data
from jaxad.detector import check_settings, config, replace, static
from jaxad.methods import efficientad
from jaxad.ops.stacked import stack
from jaxad.weights.store import load_pretrained

P_HARD = (0.0, 0.9, 0.99, 0.999, 0.9999)  # table 4 has 0, 0.99, 0.999 and 0.9999
LEVELS = (
    (0.9, 0.995),
    (0.8, 0.9),
    (0.5, 0.95),
    (0.98, 0.998),
)  # q_a, q_b; the first is the paper's
# A quarter of the paper's pixels and hardly any of its steps, as in `jaxad quickstart`.
SMALL = efficientad.Config(
    size=128, autoencoder_kernel=4, student_width=64, steps=300, lr=1e-3, p_hard=0.99
)


@config
class Options:
    """Settings of the sweep."""

    data: str = static("workpieces/plate")  # the category
    seeds: int = static(3, 1)  # how many
    at_once: int | None = static(None, 1)  # members that train at once; none: as many as fit
    save_every: int = static(500, 1)  # steps between checkpoints


def main(words: Sequence[str]) -> None:
    """Trains, calibrates, evaluates, and writes the tables."""
    places, rest = leading(words)
    options, pictures, base = asked(
        rest, "python experiments/sweep_efficientad.py OUT", __doc__,
        script=Options(), data=DataOptions(), settings=SMALL,
    )  # fmt: skip
    (out,) = expected(places, "OUT")
    detector, workdir, configs = efficientad.DETECTOR, pathlib.Path(out), trained_settings(base)
    for cfg in configs:
        check_settings(detector, cfg)
    script.prepare()
    print(f"{base}\n{options}")
    pretrained = load_pretrained(base.weights)
    penalised = replace(base, penalty=True)  # some of the settings are, and want photographs
    several = opened(detector, penalised, options.data, pictures, 0, workdir)
    check_tests(several)
    data = only_one(several)
    keys = jax.random.split(jax.random.key(0), options.seeds)

    members = sweep.run(
        detector, configs, pretrained, data, keys, workdir / "run",
        at_once=options.at_once, save_every=options.save_every,
    )  # fmt: skip
    scores = sweep.evaluate(detector, configs, pretrained, members, data.test)
    sweep.write(workdir / "training", detector, configs, keys, scores)
    print(f"\nWhat is trained:\n{sweep.text(configs, scores)}")

    configs, members = calibrated(base, members, pretrained, data, options.seeds)
    scores = sweep.evaluate(detector, configs, pretrained, members, data.test)
    sweep.write(workdir / "maps", detector, configs, keys, scores)
    print(f"\nHow the maps are normalised:\n{sweep.text(configs, scores)}")


def trained_settings(base: efficientad.Config) -> tuple[efficientad.Config, ...]:
    """The base setting, then what differs from it in one thing."""
    others = [p for p in P_HARD if p != base.p_hard]
    other = sweep.grid(base, penalty=[not base.penalty])
    return (base, *sweep.grid(base, p_hard=others), *other)


def calibrated(
    base: efficientad.Config,
    members: sweep.Members,
    pretrained: dict,
    data: Data,
    seeds: int,
) -> tuple[tuple[efficientad.Config, ...], sweep.Members]:
    """The base setting's states under every way of normalising maps: nothing is trained again."""
    levels = sweep.zip(base, q_a=[a for a, _ in LEVELS], q_b=[b for _, b in LEVELS])
    configs = (*levels, *sweep.grid(base, map_norm=["gaussian", "none"]))
    heldout = image_set(data.heldout, base.size)
    trained = [members.state(trained_settings(base), 0, seed) for seed in range(seeds)]

    def states(cfg: Any) -> Any:
        return stack([efficientad.calibrate(cfg, pretrained, one, heldout) for one in trained])

    groups = [stack([states(configs[place]) for place in group]) for group in sweep.groups(configs)]
    diverged = np.repeat(members.diverged[:1], len(configs), 0)
    return configs, sweep.Members(tuple(groups), diverged)


if __name__ == "__main__":
    script.run(main)
