r"""DAAD on MNIST or CIFAR-10, one class against the rest: ten models in one sweep.

    python experiments/daad_one_class.py OUT --data FILE_OR_FOLDER [--method memae --steps 300 ...]

--data is an npz file (`jaxad.data.prepared.from_npz` says of what) or a folder that was prepared
from the original archive (`jaxad.data.array_records`). --method is daad (with --adversarial true it
is DAAD+), memae or autoencoder; the networks are small ones for pictures of 32 pixels, our choice.
Tested on the whole test set. Interrupted, it continues. OUT/one_class.json has all figures; ten
models of 300 steps take a minute or two on one core (docs/results/daad.md).
"""

import math
import pathlib
from collections.abc import Sequence
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Float

from jaxad import sweep
from jaxad.cli import script
from jaxad.cli.errors import Usage
from jaxad.cli.options import asked, expected, leading, parted
from jaxad.data import prepared
from jaxad.detector import check_settings, config, static
from jaxad.methods import DETECTORS, autoencoder, daad, memae
from jaxad.sweep.table import circumstances
from jaxad.training.record import settings, write_json

# Sides of 16, 8 and 4 cells. DAAD's only memory is one of templates of the whole bottleneck, chosen
# among five divisions and temperatures on MNIST's training digits, of which some were set aside.
SMALL = {
    "daad": daad.Config(
        size=32, batch_size=32, steps=300, adversarial=False, widths=(16, 32, 64),
        rates=(0, 0, 1), items=(0, 0, 100), discriminator_widths=(16, 32, 64),
        smoothing=1.0, lr=1e-3,
    ),
    # The paper has 100 items for MNIST; 1 / items is its least threshold.
    "memae": memae.Config(
        size=32, batch_size=32, steps=300, widths=(16, 32, 64), items=100, shrinkage=0.01,
        smoothing=1.0, lr=1e-3,
    ),
    "autoencoder": autoencoder.Config(
        size=32, batch_size=32, steps=300, widths=(16, 32, 64), smoothing=1.0, lr=1e-3
    ),
}  # fmt: skip


@config
class Options:
    """Settings of the comparison."""

    data: str | None = static(None)  # npz file or prepared folder
    method: Literal["daad", "memae", "autoencoder"] = static("daad")  # what is trained
    classes: tuple[str, ...] = static(())  # that are normal in turn, names or numbers; none: all
    seeds: int = static(1, 1)  # how many
    heldout: float = static(0.1, above=0, below=1)  # of the normal training pictures
    save_every: int = static(500, 1)  # steps between checkpoints


def main(words: Sequence[str]) -> None:
    """Trains a model of each class, evaluates, prints and writes the table."""
    places, rest = leading(words)
    options, cfg = parsed(rest)
    (out,) = expected(places, "OUT")
    script.prepare()
    source = prepared.load(options.data)
    names = options.classes or source.classes
    sets = [prepared.one_class(source, name, heldout=options.heldout) for name in names]
    configs = (cfg,) * len(names)
    print(f"{cfg}\n{options}\n{len(source.train.labels)} training pictures of all classes")
    detector, folder = DETECTORS[options.method], pathlib.Path(out)
    keys = jax.random.split(jax.random.key(0), options.seeds)
    members = sweep.run(
        detector, configs, {}, sets, keys, folder / "members", save_every=options.save_every
    )
    tests = [one.test for one in sets]
    scores = sweep.evaluate(detector, configs, {}, members, tests, batch_size=250)
    rows = scores.metrics.get("image_auroc", np.full((len(names), options.seeds), np.nan))
    found = dict(zip(names, rows, strict=True)) | {"mean": rows.mean(0)}
    write_json(
        folder / "one_class.json",
        {
            "data": source.name,
            "pictures": [len(source.train.labels), len(source.test.labels)],
            "options": vars(options),
            **settings(detector, cfg),
            "image_auroc": {
                name: [None if math.isnan(x) else x for x in values.tolist()]
                for name, values in found.items()
            },
            "made_with": circumstances(),
        },
    )
    print(table(found))


def parsed(words: Sequence[str]) -> tuple[Options, Any]:
    """This script's settings and those of the chosen method.

    Raises:
      ValueError: a setting is unknown, missing, or has a value that cannot work.
    """
    usage = "python experiments/daad_one_class.py OUT --data FILE_OR_FOLDER"
    (first,) = asked(parted(words, ["method"])[0], usage, script=Options())
    options, cfg = asked(words, usage, __doc__, script=Options(), settings=SMALL[first.method])
    if not options.data:
        raise Usage("--data is missing: say --data FILE.npz or --data PREPARED_FOLDER")
    check_settings(DETECTORS[options.method], cfg)
    return options, cfg


def table(found: dict[str, Float[np.ndarray, "K"]]) -> str:
    """Image AUROC of each normal class and their mean: mean and deviation over the seeds."""
    lines = ["normal      image AUROC"]
    for name, values in found.items():
        (of_seeds,) = sweep.summary(values[None])
        spread = f" ± {of_seeds.std:.4f}" if of_seeds.count > 1 else ""
        lines.append(f"{name:<12}{of_seeds.mean:.4f}{spread}")
    return "\n".join(lines)


if __name__ == "__main__":
    script.run(main)
