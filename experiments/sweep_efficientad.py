"""What EfficientAD's parts are worth: the shape of the paper's ablations, as two sweeps.

    python experiments/sweep_efficientad.py OUT_FOLDER [data=FOLDER] [aux=PHOTOGRAPHS] [seeds=3]
                                            [key=value ...]

The first trains: p_hard in {0, 0.9, 0.99, 0.999, 0.9999} and the penalty on and off (tables 4 and 5
of Batzner et al., WACV 2024). The second only calibrates what the first trained with its base
setting anew: maps normalised by quantiles, by mean and deviation, or not at all, and other quantile
levels. Without `data` the pictures are rendered workpieces with structural and logical defects.

Under OUT_FOLDER/training and OUT_FOLDER/maps it leaves sweep.csv, sweep.jsonl, summary.txt and a
plot for each swept field; interrupted, the training continues where it was.
"""

import pathlib
import sys
from typing import Any

import jax
import numpy as np

from jaxad import sweep
from jaxad.cli import script
from jaxad.data import layouts, workpieces
from jaxad.data.pictures import image_set
from jaxad.data.source import Data
from jaxad.detector import config, override, static
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
# A quarter of the paper's pixels and hardly any of its steps, as in quickstart.py.
SMALL = efficientad.Config(
    size=128, autoencoder_kernel=4, student_width=64, steps=300, lr=1e-3, p_hard=0.99
)


@config
class Options:
    """Settings of the sweep that are not the detector's."""

    data: str | None = static(None)  # folder; None: rendered workpieces
    category: str = static("plate")  # of the rendered workpieces
    aux: str | None = static(None)  # folder of photographs; None: procedural textures
    seeds: int = static(3)
    at_once: int | None = static(None)  # members that train at once; None: chosen
    save_every: int = static(500)  # steps between checkpoints


def main(out: str, *settings: str) -> None:
    """Trains, calibrates, evaluates, and writes the tables."""
    script.prepare()
    options, base = script.parsed(settings, Options(), SMALL)
    script.check_counts(options, "seeds")
    print(f"{base}\n{options}")
    detector, pretrained = efficientad.DETECTOR, load_pretrained(base.weights)
    data = load(base, options)
    keys = jax.random.split(jax.random.key(0), options.seeds)

    configs = trained_settings(base)
    workdir = pathlib.Path(out)
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


def load(cfg: efficientad.Config, options: Options) -> Data:
    """The pictures, with photographs or textures for the penalty."""
    if options.data is None:
        data = workpieces.load(options.category, size=cfg.size)
    else:
        data = layouts.load(options.data, seed=0)
    if data.test is None:
        raise ValueError(f"there are no test pictures in {options.data}")
    if "aux" in data.streams and options.aux is None:
        return data
    return data.with_streams(aux=script.photographs(options.aux, 2 * cfg.size))


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
    configs = (*levels, override(base, "map_norm=gaussian"), override(base, "map_norm=none"))
    heldout = image_set(data.heldout, base.size)
    trained = [members.state(trained_settings(base), 0, seed) for seed in range(seeds)]

    def states(cfg: Any) -> Any:
        return stack([efficientad.calibrate(cfg, pretrained, one, heldout) for one in trained])

    groups = [stack([states(configs[place]) for place in group]) for group in sweep.groups(configs)]
    diverged = np.repeat(members.diverged[:1], len(configs), 0)
    return configs, sweep.Members(tuple(groups), diverged)


if __name__ == "__main__":
    main(*sys.argv[1:])
