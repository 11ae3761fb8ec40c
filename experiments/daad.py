r"""DAAD, or what it is compared with, on a folder of pictures.

    python experiments/daad.py FOLDER RUN_FOLDER [method=daad] [epochs=200] [key=value ...]

FOLDER holds one category in a layout that `jaxad.data.layouts` knows; "workpieces" stands for the
rendered ones, of which `category` is taken. `method` is daad (DAAD+, and DAAD with
adversarial=false), memae or autoencoder, each with its own settings. Interrupted, the same command
continues. RUN_FOLDER gets the model and, where there are test pictures, `evaluation.json` and
`report/index.html`.
"""

import pathlib
import sys
from collections.abc import Sequence
from typing import Any, Literal

import jax

from jaxad.cli import script
from jaxad.data import layouts, workpieces
from jaxad.data.files import OnBadImage
from jaxad.detector import check_settings, config, override, static
from jaxad.methods import DETECTORS
from jaxad.report.assess import assess
from jaxad.training.fitting import run

Method = Literal["daad", "memae", "autoencoder"]


@config
class Options:
    """Settings of the run that are not the detector's."""

    method: Method = static("daad")
    category: str = static("plate")  # of the rendered workpieces
    epochs: int = static(200)
    seed: int = static(0)  # of everything random, the held-out split included
    on_bad_image: OnBadImage = static("error")  # "skip" leaves damaged files out
    save_every: int = static(500)  # steps between checkpoints


def main(folder: str, workdir: str, *settings: str) -> None:
    """Trains and, where there are test pictures, evaluates and reports."""
    script.prepare()
    options, cfg = parsed(settings)
    if folder == "workpieces":
        data = workpieces.load(options.category, size=cfg.size)
    else:
        data = layouts.load(folder, seed=options.seed, on_bad_image=options.on_bad_image)
    if not any(setting.startswith("steps=") for setting in settings):
        cfg = override(cfg, f"steps={-(-options.epochs * len(data.train) // cfg.batch_size)}")
    print(f"{cfg}\n{options}\n{len(data.train)} pictures to learn from")
    detector = DETECTORS[options.method]
    key = jax.random.key(options.seed)
    state = run(detector, cfg, {}, data, key, workdir, save_every=options.save_every)
    if data.test is None:
        print(f"no test pictures in {folder}: nothing to evaluate on")
    else:
        title = f"{options.method}, {cfg.steps} steps, seed {options.seed}"
        print(assess(detector, cfg, {}, state, data, workdir, title))
        print(f"report: {pathlib.Path(workdir) / 'report' / 'index.html'}")
    print(f"model: {pathlib.Path(workdir) / 'model'}")


def parsed(settings: Sequence[str]) -> tuple[Options, Any]:
    """This script's settings and those of the chosen method.

    Raises:
      ValueError: a setting is unknown, or has a value that cannot work.
    """
    chosen = override(Options(), [s for s in settings if s.startswith("method=")]).method
    options, cfg = script.parsed(settings, Options(), DETECTORS[chosen].Config())
    script.check_counts(options, "epochs", "save_every")
    check_settings(DETECTORS[chosen], cfg)
    return options, cfg


if __name__ == "__main__":
    main(*sys.argv[1:])
