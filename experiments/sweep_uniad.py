r"""What UniAD's three parts are worth: layer-wise query, neighbour mask and feature jitter.

    python experiments/sweep_uniad.py OUT [--data A,B --epochs 50 --seeds 3 ...]

All eight combinations of the parts, every seed shared, on one model for all categories: the
ablation of You et al., NeurIPS 2022 (arXiv:2206.03687). Differences are to the plain transformer,
with 95 % intervals paired by seed. Interrupted, it continues. OUT gets sweep.csv, sweep.jsonl,
summary.txt and a plot for each part. Duration and numbers: docs/results/uniad.md.
"""

import itertools
import pathlib
from collections.abc import Sequence

import jax

from jaxad import sweep
from jaxad.cli import script
from jaxad.cli.data import categories, check_tests, said_of
from jaxad.cli.learn import with_epochs
from jaxad.cli.options import asked, expected, given, leading
from jaxad.data import multiclass
from jaxad.detector import check_settings, config, static
from jaxad.methods import uniad
from jaxad.nets.extractors import load_for


@config
class Options:
    """Settings of the sweep."""

    data: tuple[str, ...] = static(("workpieces",))  # folders
    train: int = static(60, 1)  # rendered pictures of each category to learn from
    test: tuple[int, int] = static((40, 8), 0)  # ... to test on: good, of each defect
    epochs: float = static(50, above=0)  # passes over the pictures, in place of --steps
    seeds: int = static(3, 1)  # how many
    save_every: int = static(1000, 1)  # steps between checkpoints


def main(words: Sequence[str]) -> None:
    """Trains, evaluates, and writes the table."""
    places, rest = leading(words)
    usage = "python experiments/sweep_uniad.py OUT"
    options, base = asked(rest, usage, __doc__, script=Options(), settings=uniad.Config())
    (out,) = expected(places, "OUT")
    check_settings(uniad.DETECTOR, base)
    script.prepare()
    several = categories(options.data, base.size, train=options.train, test=options.test)
    data = multiclass.pooled(several)
    check_tests({"all categories": data})
    base = with_epochs(base, None if given(rest, "steps") else options.epochs, data)
    print(f"{base}\n{options}\n{said_of(several)}")
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
    script.run(main)
