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

import dataclasses
import json
import logging
import pathlib
import sys
from collections.abc import Sequence

import jax

from jaxad import compile
from jaxad.assess import assess
from jaxad.checkpoint import write_json
from jaxad.data import folder, layouts, pipeline
from jaxad.data.files import OnBadImage
from jaxad.data.source import Source
from jaxad.data.textures import Textures
from jaxad.detector import State, config, override, static
from jaxad.evaluate import evaluate
from jaxad.methods import efficientad
from jaxad.pretrained import load_pretrained
from jaxad.train import run

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
    logging.basicConfig(format="%(message)s", force=True)  # absl has configured it before
    logging.getLogger("jaxad").setLevel(logging.INFO)
    logging.getLogger("absl").setLevel(logging.WARNING)
    compile.enable_cache()
    cfg, options = parsed(settings)
    print(f"{cfg}\n{options}")

    data = layouts.load(
        data_folder, seed=options.seed, heldout=options.heldout, aux=penalty_pictures(cfg, options),
        on_bad_image=options.on_bad_image,
    )  # fmt: skip
    pretrained = load_pretrained(cfg.weights)
    curve_file = pathlib.Path(workdir) / "curve.json"
    curve_every = options.curve_every or options.save_every

    def measure(step: int, state: State) -> None:
        """The metrics of a state that is not finished; what they say changes nothing."""
        if data.test is None or (step % curve_every and step < cfg.steps):
            return
        heldout = pipeline.image_set(data.heldout, cfg.size)
        state = efficientad.calibrate(cfg, pretrained, state, heldout)
        found = evaluate(efficientad.DETECTOR, cfg, pretrained, state, data.test).as_dict()["mean"]
        row = {name: found[name] for name in CURVE}
        rows = json.loads(curve_file.read_text()) if curve_file.exists() else []
        rows = [earlier for earlier in rows if earlier["step"] < step]
        write_json(curve_file, [*rows, {"step": step} | row])
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


def parsed(settings: Sequence[str]) -> tuple[efficientad.Config, Options]:
    """The detector's settings and this script's, told apart by their names.

    Raises:
      ValueError: a setting is unknown, not of the form name=value, or has a value that cannot work.
    """
    cfg, options = efficientad.Config(), Options()
    theirs, ours = ([field.name for field in dataclasses.fields(x)] for x in (cfg, options))
    names = [setting.partition("=")[0] for setting in settings]
    unknown = [name for name in names if name not in (*theirs, *ours)]
    if unknown:
        raise ValueError(
            f"there is no setting {', '.join(map(repr, unknown))}; this script has "
            f"{', '.join(ours)}; EfficientAD has {', '.join(theirs)}"
        )
    chosen = list(zip(names, settings, strict=True))
    cfg = override(cfg, [setting for name, setting in chosen if name in theirs])
    options = override(options, [setting for name, setting in chosen if name in ours])
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
    return cfg, options


def penalty_pictures(cfg: efficientad.Config, options: Options) -> Source | None:
    """Photographs, or textures in their place; None if there is no penalty."""
    if not cfg.penalty:
        return None
    if options.aux is not None:
        return folder.photographs(options.aux, on_bad_image=options.on_bad_image)
    logging.warning("no photographs given (aux=FOLDER): textures take their place")
    return Textures(size=2 * cfg.size)


if __name__ == "__main__":
    main(*sys.argv[1:])
