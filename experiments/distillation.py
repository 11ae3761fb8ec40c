r"""A distillation method, one model for each category.

    python experiments/distillation.py METHOD FOLDER[,FOLDER...] RUN_FOLDER [epochs=N]
                                       [key=value ...]

METHOD is stfpm, reverse_distillation, mkd or uninformed_students. Each folder holds one category in
a layout that `jaxad.data.layouts` knows, or is a folder of such folders; "workpieces" stands for
all rendered ones. Without `epochs` and `steps`, it is as many epochs as the authors take for MVTec
AD; an epoch is as many steps as in their loaders, whose last batch is smaller (here all are full,
so pictures are seen a little more often). The teacher's features are computed once and kept in
memory (`cache=none` computes them in every step, `cache=FOLDER` keeps them for later runs).
Interrupted, the same command continues.
RUN_FOLDER/CATEGORY gets the model and, where there are test pictures, `evaluation.json` and
`report/index.html`.

The published settings need published networks, which checkpoints/convert.py makes from their files:

    python experiments/distillation.py stfpm mvtec runs/stfpm extractor=resnet18 weights=resnet18
    python experiments/distillation.py reverse_distillation mvtec runs/rd \
        extractor=wide_resnet50_2 weights=wide_resnet50_2
    python experiments/distillation.py mkd mvtec runs/mkd extractor=vgg16 weights=vgg16 scaled=false

and on two cores, in minutes:

    python experiments/distillation.py stfpm cookies runs/cookies extractor=resnet18 \
        weights=resnet18 size=128 batch_size=8 steps=200
"""

import pathlib
import sys

import jax

from jaxad.cli import script
from jaxad.data.files import OnBadImage
from jaxad.detector import config, override, static
from jaxad.methods import mkd, reverse_distillation, stfpm, uninformed_students
from jaxad.nets.extractors import load_for
from jaxad.report.assess import assess
from jaxad.training.features import MEMORY
from jaxad.training.fitting import run

METHODS = {  # and the authors' epochs for MVTec AD
    "stfpm": (stfpm.DETECTOR, 100),
    "reverse_distillation": (reverse_distillation.DETECTOR, 200),
    "mkd": (mkd.DETECTOR, 601),
    "uninformed_students": (uninformed_students.DETECTOR, 100),
}


@config
class Options:
    """Settings of the run that are not the detector's."""

    epochs: int | None = static(None)  # None: the authors'
    seed: int = static(0)  # of everything random, the held-out splits included
    cache: str | None = static(MEMORY)  # of frozen features: a folder, "memory", or none
    on_bad_image: OnBadImage = static("error")  # "skip" leaves damaged files out
    save_every: int = static(500)  # steps between checkpoints


def main(method: str, folders: str, workdir: str, *settings: str) -> None:
    """Trains on each category and, where there are test pictures, evaluates and reports."""
    script.prepare()
    if method not in METHODS:
        raise ValueError(f"there is no method {method!r}: expected one of {', '.join(METHODS)}")
    detector, epochs = METHODS[method]
    options, cfg = script.parsed(settings, Options(), detector.Config())
    script.check_counts(options, "epochs", "save_every")
    fixed = any(setting.startswith("steps=") for setting in settings)
    if fixed and options.epochs is not None:
        raise ValueError("steps and epochs: say one of the two")
    names = [] if folders == "workpieces" else folders.split(",")
    several = script.categories(
        names, cfg.size, seed=options.seed, on_bad_image=options.on_bad_image
    )
    pretrained = load_for(cfg)
    for name, data in several.items():
        if not fixed:
            batches = -(-len(data.train) // cfg.batch_size)  # in an epoch
            wanted = epochs if options.epochs is None else options.epochs
            cfg = override(cfg, f"steps={wanted * batches}")
        folder = pathlib.Path(workdir) / name
        print(f"{name}: {len(data.train)} pictures to learn from\n{cfg}\n{options}")
        state = run(
            detector, cfg, pretrained, data, jax.random.key(options.seed), folder,
            save_every=options.save_every, cache=options.cache,
        )  # fmt: skip
        if data.test is None:
            print(f"no test pictures for {name}: nothing to evaluate on")
        else:
            learned = f"teacher {', '.join(cfg.weights)}, {cfg.size} px, {cfg.steps} steps"
            title = f"{name}, {method}, {learned}, seed {options.seed}"
            print(assess(detector, cfg, pretrained, state, data, folder, title))
            print(f"report: {folder / 'report' / 'index.html'}")
        print(f"model: {folder / 'model'}")


if __name__ == "__main__":
    main(*sys.argv[1:])
