"""EfficientAD on a folder of pictures: MVTec AD, MVTec LOCO, VisA, or one laid out like these.

    python experiments/efficientad.py DATA_FOLDER RUN_FOLDER [aux=PHOTOGRAPHS] [seed=0] [key=value]

Interrupted and started again, it continues. Under RUN_FOLDER it leaves the model and, where there
are test pictures, `report/index.html`, `evaluation.json`, and `curve.json`: the metrics after every
so many steps (of which none is picked: the last state counts).

Settings are those of `Options` below and of `jaxad.methods.efficientad.Config`, for example
`steps=1000 lr=4e-4 medium=true weights=pdn_medium_published`. `aux` is a folder of photographs of
anything for the penalty; without it, procedural textures take their place, and that costs accuracy.

Expected scores and run times: README.md, "Results".
"""

import pathlib
import sys
from collections.abc import Sequence

import jax

from jaxad.cli import script
from jaxad.data import layouts
from jaxad.data.files import OnBadImage
from jaxad.data.pictures import image_set
from jaxad.detector import State, config, static
from jaxad.evaluation.evaluate import evaluate
from jaxad.methods import efficientad
from jaxad.report.assess import assess
from jaxad.training.checkpoint import write_json
from jaxad.training.fitting import run
from jaxad.weights.store import load_pretrained

CURVE = ("image_auroc", "pixel_auroc", "aupro_0.3")


@config
class Options:
    """Settings of the run that are not the detector's."""

    aux: str | None = static(None)  # folder of photographs
    seed: int = static(0)  # of everything random, the held-out split included
    heldout: float = static(0.1)  # share of the training pictures, if none come held out
    on_bad_image: OnBadImage = static("error")  # "skip" leaves damaged files out
    save_every: int = static(500)  # steps between checkpoints
    curve_every: int | None = static(None)  # steps between points of the curve; None: save_every


def main(data_folder: str, workdir: str, *settings: str) -> None:
    """Trains and, where there are test pictures, evaluates and reports."""
    script.prepare()
    options, cfg = parsed(settings)
    print(f"{cfg}\n{options}")

    streams = {}
    if cfg.penalty:
        streams["aux"] = script.photographs(options.aux, 2 * cfg.size, options.on_bad_image)
    data = layouts.load(
        data_folder, seed=options.seed, heldout=options.heldout, on_bad_image=options.on_bad_image
    ).with_streams(**streams)
    pretrained = load_pretrained(cfg.weights)
    curve_file = pathlib.Path(workdir) / "curve.json"
    curve_every = options.curve_every or options.save_every

    def measure(step: int, state: State) -> None:
        """The metrics of a state that is not finished; what they say changes nothing."""
        if data.test is None or (step % curve_every and step < cfg.steps):
            return
        heldout = image_set(data.heldout, cfg.size)
        state = efficientad.calibrate(cfg, pretrained, state, heldout)
        found = evaluate(efficientad.DETECTOR, cfg, pretrained, state, data.test).as_dict()["mean"]
        row = {name: found[name] for name in CURVE}
        write_json(curve_file, [*script.read_rows(curve_file, before=step), {"step": step} | row])
        print(f"step {step}: " + "  ".join(f"{n} {x}" for n, x in row.items()), file=sys.stderr)

    state = run(
        efficientad.DETECTOR, cfg, pretrained, data, jax.random.key(options.seed), workdir,
        save_every=options.save_every, at_save=measure,
    )  # fmt: skip
    if data.test is None:
        print(f"no test pictures in {data_folder}: nothing to evaluate on")
    else:
        name = pathlib.Path(data_folder).absolute().name
        title = f"EfficientAD on {name}, {cfg.steps} steps, seed {options.seed}"
        print(assess(efficientad.DETECTOR, cfg, pretrained, state, data, workdir, title))
        print(f"report: {pathlib.Path(workdir) / 'report' / 'index.html'}")
    print(f"model: {pathlib.Path(workdir) / 'model'}")


def parsed(settings: Sequence[str]) -> tuple[Options, efficientad.Config]:
    """This script's settings and the detector's.

    Raises:
      ValueError: a setting is unknown, not of the form name=value, or has a value that cannot work.
    """
    options, cfg = script.parsed(settings, Options(), efficientad.Config())
    if options.aux == "":
        raise ValueError("aux= is empty: give a folder of photographs, or leave it out")
    for name in ("save_every", "curve_every"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"{name}={value}: expected 1 or more steps")
    if options.curve_every and options.curve_every % options.save_every:
        raise ValueError(
            f"curve_every={options.curve_every}: expected a multiple of "
            f"save_every={options.save_every}, since the curve is drawn from saved states"
        )
    return options, cfg


if __name__ == "__main__":
    main(*sys.argv[1:])
