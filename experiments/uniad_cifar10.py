r"""UniAD on CIFAR-10: five classes together are normal, the other five anomalous; four such splits.

    python experiments/uniad_cifar10.py OUT --data FILE_OR_FOLDER [--seeds 3 --epochs 100 ...]

--data is an npz file (`jaxad.data.prepared.from_npz` says of what) or a folder prepared once from
the original archive:

    python -c "from jaxad.data import archives as a, array_records as r; \
        r.prepare(a.cifar10('cifar-10-python.tar.gz'), 'data')"

Batches of 16 and the mean of the map as the score are the authors' for CIFAR-10, and so are 1000
epochs, and the five layers that an EfficientNet-B4 gets here:

    python experiments/uniad_cifar10.py runs/cifar10 --data data/cifar10/1.0.0 --epochs 1000 \
        --extractor efficientnet_b4 --weights efficientnet_b4 --cache features

Seeds differ in the training only: all have the same pictures. Of the last state, which no test
picture has picked. Interrupted, it continues; OUT/uniad_cifar10.json has all. The whole data set
wants an accelerator; a thousand pictures at 128 px take minutes on two cores.

You et al., NeurIPS 2022 (arXiv:2206.03687), section 4.3.
"""

import math
import pathlib
from collections.abc import Sequence
from typing import Literal

import jax
import numpy as np
from jaxtyping import Float

from jaxad import sweep
from jaxad.cli import script
from jaxad.cli.errors import Usage
from jaxad.cli.learn import with_epochs
from jaxad.cli.options import asked, expected, given, leading
from jaxad.data import prepared
from jaxad.data.labelled import Labelled
from jaxad.detector import check_settings, config, replace, static
from jaxad.methods import uniad
from jaxad.nets.extractors import load_for
from jaxad.sweep.table import circumstances
from jaxad.training.features import MEMORY
from jaxad.training.record import settings, write_json

B4_LAYERS = ("block1", "block5", "block9", "block21", "block31")
SPLITS = tuple(prepared.UNIFIED_SPLITS)
WHOLE = (50_000, 10_000)  # training and test pictures of CIFAR-10


@config
class Options:
    """Settings of the comparison."""

    data: str | None = static(None)  # npz file or prepared folder
    splits: tuple[Literal[SPLITS], ...] = static(SPLITS, fewest=1)  # the classes that are normal
    epochs: float = static(100, above=0)  # passes over the pictures, in place of --steps
    seeds: int = static(3, 1)  # how many
    # Share of the normal pictures; UniAD learns nothing from them
    heldout: float = static(0.01, above=0, below=1)
    cache: str | None = static(MEMORY)  # of frozen features: a folder, "memory", or none
    save_every: int = static(1000, 1)  # steps between checkpoints


def main(words: Sequence[str]) -> None:
    """Trains on each split, evaluates, prints and writes the table."""
    places, rest = leading(words)
    options, cfg = parsed(rest)
    (out,) = expected(places, "OUT")
    script.prepare()
    source = prepared.load(options.data)
    sets = [
        prepared.unified(source, prepared.UNIFIED_SPLITS[name], heldout=options.heldout)
        for name in options.splits
    ]
    epochs = None if given(rest, "steps") else options.epochs
    configs = tuple(with_epochs(cfg, epochs, one) for one in sets)
    print(f"{configs[0]}\n{options}\n{said_of(source)}")
    pretrained = load_for(cfg)
    keys = jax.random.split(jax.random.key(0), options.seeds)
    folder = pathlib.Path(out)
    members = sweep.run(
        uniad.DETECTOR, configs, pretrained, sets, keys, folder / "members",
        save_every=options.save_every, cache=options.cache,
    )  # fmt: skip
    tests = [one.test for one in sets]
    scores = sweep.evaluate(uniad.DETECTOR, configs, pretrained, members, tests)
    diverged = np.full((len(configs), options.seeds), np.nan)  # if all members have
    rows = scores.metrics.get("image_auroc", diverged)
    found = dict(zip(options.splits, rows, strict=True)) | {"mean": rows.mean(0)}
    write_json(
        folder / "uniad_cifar10.json",
        {
            "data": said_of(source),
            "whole_data": is_whole(source),
            "classes": source.classes,
            "options": vars(options),
            **settings(uniad.DETECTOR, configs[0]),
            "steps": [one.steps for one in configs],
            "image_auroc": {name: summarised(values) for name, values in found.items()},
            "made_with": circumstances(),
        },
    )
    print(f"{table(found)}\n{said_of(source)}")


def parsed(words: Sequence[str]) -> tuple[Options, uniad.Config]:
    """This script's settings and UniAD's, with the authors' for CIFAR-10 where none are given.

    Raises:
      ValueError: a setting is unknown, missing, or has a value that cannot work.
    """
    usage = "python experiments/uniad_cifar10.py OUT --data FILE_OR_FOLDER"
    base = uniad.Config(batch_size=16, score="mean")
    options, cfg = asked(words, usage, __doc__, script=Options(), settings=base)
    if cfg.extractor in ("efficientnet_b4", "tf_efficientnet_b4") and not cfg.layers:
        cfg = replace(cfg, layers=B4_LAYERS)
    if not options.data:
        raise Usage("--data is missing: say --data FILE.npz or --data PREPARED_FOLDER")
    check_settings(uniad.DETECTOR, cfg)
    return options, cfg


def is_whole(source: Labelled) -> bool:
    """Whether the set has as many pictures as CIFAR-10."""
    return (len(source.train.labels), len(source.test.labels)) == WHOLE


def said_of(source: Labelled) -> str:
    """What the figures may be compared with."""
    train, test = len(source.train.labels), len(source.test.labels)
    counts = f"{source.name}: {train} training and {test} test pictures"
    if is_whole(source):
        return f"{counts}, as many as CIFAR-10 has"
    return (
        f"{counts}: small-data results (CIFAR-10 has {WHOLE[0]} and {WHOLE[1]}), not to be put "
        "beside published ones"
    )


def summarised(values: Float[np.ndarray, "K"]) -> dict:
    """For JSON: of each seed, mean, deviation; None where it is not a number."""
    (of_seeds,) = sweep.summary(values[None])
    found = {"seeds": values.tolist(), "mean": of_seeds.mean, "std": of_seeds.std}
    plain = lambda x: None if math.isnan(x) else x
    return {
        name: [plain(x) for x in value] if name == "seeds" else plain(value)
        for name, value in found.items()
    }


def table(found: dict[str, Float[np.ndarray, "K"]]) -> str:
    """Image AUROC of each split and their mean: mean and deviation over the seeds."""
    lines = ["normal  image AUROC"]
    for name, values in found.items():
        (of_seeds,) = sweep.summary(values[None])
        spread = "" if math.isnan(of_seeds.std) else f" ± {of_seeds.std:.4f}"
        mean = "-" if math.isnan(of_seeds.mean) else f"{of_seeds.mean:.4f}"
        lines.append(f"{name:<8}{mean}{spread}")
    return "\n".join(lines)


if __name__ == "__main__":
    script.run(main)
