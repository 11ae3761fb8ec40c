r"""UniAD: one model for all the categories in the given folders.

    python experiments/uniad.py FOLDER[,FOLDER...] RUN_FOLDER [epochs=1000] [key=value ...]

Each folder holds one category in a layout that `jaxad.data.layouts` knows, or such folders;
"workpieces" stands for all rendered ones. No category is told to the model. The frozen features are
computed once and kept under RUN_FOLDER/features (`cache=memory` keeps them in memory, `cache=none`
computes them in every step). Interrupted, the same command continues. RUN_FOLDER gets the model
and, where there are test pictures, `evaluation.json` and `report/index.html`.

The published settings need EfficientNet-B4, which checkpoints/convert.py makes from the published
file:

    python experiments/uniad.py mvtec runs/uniad extractor=efficientnet_b4 weights=efficientnet_b4
"""

import pathlib
import sys

import jax

from jaxad.cli import script
from jaxad.data import multiclass
from jaxad.data.files import OnBadImage
from jaxad.detector import config, override, static
from jaxad.methods import uniad
from jaxad.nets.extractors import load_for
from jaxad.report.assess import assess
from jaxad.training.fitting import run


@config
class Options:
    """Settings of the run that are not the detector's."""

    epochs: int = static(1000)  # the authors'
    seed: int = static(0)  # of everything random, the held-out splits included
    cache: str | None = static("")  # of frozen features; "": RUN_FOLDER/features
    on_bad_image: OnBadImage = static("error")  # "skip" leaves damaged files out
    save_every: int = static(1000)  # steps between checkpoints


def main(folders: str, workdir: str, *settings: str) -> None:
    """Trains and, where there are test pictures, evaluates and reports."""
    script.prepare()
    options, cfg = script.parsed(settings, Options(), uniad.Config())
    script.check_counts(options, "epochs", "save_every")
    names = [] if folders == "workpieces" else folders.split(",")
    several = script.categories(
        names, cfg.size, seed=options.seed, on_bad_image=options.on_bad_image
    )
    data = multiclass.pooled(several)
    if not any(setting.startswith("steps=") for setting in settings):
        cfg = override(cfg, f"steps={-(-options.epochs * len(data.train) // cfg.batch_size)}")
    print(f"{cfg}\n{options}\n{script.said_of(several)}\n{len(data.train)} pictures to learn from")
    pretrained = load_for(cfg)
    cache = str(pathlib.Path(workdir) / "features") if options.cache == "" else options.cache
    state = run(
        uniad.DETECTOR, cfg, pretrained, data, jax.random.key(options.seed), workdir,
        save_every=options.save_every, cache=cache,
    )  # fmt: skip
    if data.test is None:
        print(f"no test pictures in {folders}: nothing to evaluate on")
    else:
        title = f"UniAD, one model for all, {cfg.steps} steps, seed {options.seed}"
        print(assess(uniad.DETECTOR, cfg, pretrained, state, data, workdir, title))
        print(f"report: {pathlib.Path(workdir) / 'report' / 'index.html'}")
    print(f"model: {pathlib.Path(workdir) / 'model'}")


if __name__ == "__main__":
    main(*sys.argv[1:])
