r"""UniAD on CIFAR-10: five classes together are normal, the other five anomalous; four such splits.

    python experiments/uniad_cifar10.py OUT_FOLDER data=FILE_OR_FOLDER [seeds=3] [epochs=100]
                                        [splits=01234,56789,02468,13579] [key=value ...]

`data` is an npz file (`jaxad.data.prepared.from_npz` says of what) or a folder prepared once from
the original archive:

    python -c "from jaxad.data import archives as a, array_records as r; \
        r.prepare(a.cifar10('cifar-10-python.tar.gz'), 'data')"

Settings beside those of `Options` below are UniAD's; batch_size=16 and score=mean are the authors'
for CIFAR-10, and so are 1000 epochs, and the five layers that an EfficientNet-B4 gets here:

    python experiments/uniad_cifar10.py runs/cifar10 data=data/cifar10/1.0.0 epochs=1000 \
        extractor=efficientnet_b4 weights=efficientnet_b4 cache=features

Seeds differ in the training only: all have the same pictures. Of the last state, which no test
picture has picked. Interrupted, it continues; OUT_FOLDER/uniad_cifar10.json has all.

You et al., NeurIPS 2022 (arXiv:2206.03687), section 4.3.
"""

import math
import pathlib
import sys
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Float

from jaxad import sweep
from jaxad.cli import script
from jaxad.data import prepared
from jaxad.data.labelled import Labelled
from jaxad.detector import check_settings, config, override, static
from jaxad.methods import uniad
from jaxad.nets.extractors import load_for
from jaxad.sweep.table import circumstances
from jaxad.training import checkpoint
from jaxad.training.features import MEMORY

B4_LAYERS = ("block1", "block5", "block9", "block21", "block31")
WHOLE = (50_000, 10_000)  # training and test pictures of CIFAR-10


@config
class Options:
    """Settings of the comparison that are not the detector's."""

    data: str | None = static(None)  # npz file or prepared folder
    splits: tuple[str, ...] = static(tuple(prepared.UNIFIED_SPLITS))
    epochs: int = static(100)
    seeds: int = static(3)
    heldout: float = static(0.01)  # UniAD learns nothing from held-out pictures
    cache: str | None = static(MEMORY)  # of frozen features: a folder, "memory", or none
    save_every: int = static(1000)


def main(out: str, *settings: str) -> None:
    """Trains on each split, evaluates, prints and writes the table."""
    script.prepare()
    options, cfg = parsed(settings)
    source = prepared.load(options.data)
    sets = [
        prepared.unified(source, prepared.UNIFIED_SPLITS[name], heldout=options.heldout)
        for name in options.splits
    ]
    configs = tuple(
        override(cfg, f"steps={max(1, round(options.epochs * len(one.train) / cfg.batch_size))}")
        for one in sets
    )
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
    checkpoint.write_json(
        folder / "uniad_cifar10.json",
        {
            "data": said_of(source),
            "whole_data": is_whole(source),
            "classes": source.classes,
            "options": vars(options),
            **checkpoint.settings(uniad.DETECTOR, configs[0]),
            "steps": [one.steps for one in configs],
            "image_auroc": {name: summarised(values) for name, values in found.items()},
            "made_with": circumstances(),
        },
    )
    print(f"{table(found)}\n{said_of(source)}")


def parsed(settings: Sequence[str]) -> tuple[Options, uniad.Config]:
    """This script's settings and UniAD's, with the authors' for CIFAR-10 where none are given.

    Raises:
      ValueError: a setting is unknown, missing, or has a value that cannot work.
    """
    if any(setting.startswith("steps=") for setting in settings):
        raise ValueError("steps: say epochs=..., of which the steps of each split follow")
    base = uniad.Config(batch_size=16, score="mean")
    options, cfg = script.parsed(settings, Options(), base)
    if cfg.extractor in ("efficientnet_b4", "tf_efficientnet_b4") and not cfg.layers:
        cfg = override(cfg, f"layers={','.join(B4_LAYERS)}")
    if not options.data:
        raise ValueError("data is missing: say data=FILE.npz or data=PREPARED_FOLDER")
    if wrong := [name for name in options.splits if name not in prepared.UNIFIED_SPLITS]:
        known = ", ".join(prepared.UNIFIED_SPLITS)
        raise ValueError(f"splits={','.join(wrong)}: expected some of {known}")
    if not options.splits:
        raise ValueError("splits= is empty: leave it out for all four")
    script.check_counts(options, "epochs", "seeds", "save_every")
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
    main(*sys.argv[1:])
