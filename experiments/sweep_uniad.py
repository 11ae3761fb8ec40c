r"""What UniAD's three parts are worth: layer-wise query, neighbour mask and feature jitter.

    python experiments/sweep_uniad.py OUT_FOLDER [data=FOLDER[,FOLDER...]] [epochs=50] [seeds=3]
                                      [key=value ...]

All eight combinations of the parts, every seed shared, on one model for all categories: the
ablation of You et al., NeurIPS 2022 (arXiv:2206.03687). Differences are to the plain transformer,
with 95 % intervals paired by seed. Without `data`: the rendered workpieces. Interrupted, it
continues. OUT_FOLDER gets sweep.csv, sweep.jsonl, summary.txt and a plot for each part.
"""

import itertools
import pathlib
import sys

import jax

from jaxad import sweep
from jaxad.cli import script
from jaxad.data import multiclass
from jaxad.detector import config, override, static
from jaxad.methods import uniad
from jaxad.nets.extractors import load_for


@config
class Options:
    """Settings of the sweep that are not the detector's."""

    data: tuple[str, ...] = static(())  # folders; none: rendered workpieces
    train: int = static(60)  # rendered pictures of each category
    test: tuple[int, int] = static((40, 8))  # of them to test on: good ones, and of each defect
    epochs: int = static(50)
    seeds: int = static(3)
    save_every: int = static(1000)


def main(out: str, *settings: str) -> None:
    """Trains, evaluates, and writes the table."""
    script.prepare()
    options, base = script.parsed(settings, Options(), uniad.Config())
    script.check_counts(options, "train", "epochs", "seeds", "save_every")
    several = script.categories(options.data, base.size, train=options.train, test=options.test)
    data = multiclass.pooled(several)
    if data.test is None:
        raise ValueError(f"there are no test pictures in {', '.join(options.data)}")
    steps = -(-options.epochs * len(data.train) // base.batch_size)
    base = override(base, f"steps={steps}")
    print(f"{base}\n{options}\n{script.said_of(several)}")
    pretrained = load_for(base)
    keys = jax.random.split(jax.random.key(0), options.seeds)
    configs = combinations(base)
    workdir = pathlib.Path(out)
    members = sweep.run(
        uniad.DETECTOR, configs, pretrained, data, keys, workdir / "run",
        save_every=options.save_every, cache=workdir / "features",
    )  # fmt: skip
    scores = sweep.evaluate(uniad.DETECTOR, configs, pretrained, members, data.test)
    sweep.write(workdir, uniad.DETECTOR, configs, keys, scores)
    print(sweep.text(configs, scores))


def combinations(base: uniad.Config) -> tuple[uniad.Config, ...]:
    """The plain transformer first, the whole method last."""
    found = ()
    for query, mask, jitter in itertools.product((False, True), repeat=3):
        found += sweep.grid(
            base,
            layer_wise_query=[query],
            masked=[base.masked if mask else (False, False, False)],
            jitter=[base.jitter if jitter else 0.0],
        )
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
