"""EfficientAD on a folder of pictures: MVTec AD, MVTec LOCO, VisA, or one laid out like these.

    python experiments/efficientad.py DATA_FOLDER RUN_FOLDER [aux=PHOTOGRAPHS] [seed=0] [key=value]

Interrupted and started again, it continues. Under RUN_FOLDER it leaves `report/index.html`,
`evaluation.json`, and `curve.json`: the metrics after every so many steps (of which none is picked:
the last state counts). Settings are those of `jaxad.methods.efficientad.Config`, for example
`steps=1000 lr=4e-4 medium=true weights=pdn_medium`. `aux` is a folder of photographs of anything
for the penalty; without it, procedural textures take their place, and that costs accuracy.

Expected scores and run times: README.md, "Results".
"""

import json
import logging
import pathlib
import sys

import jax

from jaxad import compile
from jaxad.assess import assess
from jaxad.checkpoint import write_json
from jaxad.data import folder, layouts, pipeline
from jaxad.data.textures import Textures
from jaxad.detector import override
from jaxad.evaluate import evaluate
from jaxad.methods import efficientad
from jaxad.pretrained import load_pretrained
from jaxad.train import run

CURVE = ("image_auroc", "pixel_auroc", "aupro_0.3")


def main(data_folder: str, workdir: str, *settings: str) -> None:
    """Trains, evaluates and reports."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("absl").setLevel(logging.WARNING)
    compile.enable_cache()
    options = {"aux": "", "seed": "0", "save_every": "500"}
    chosen = [s for s in settings if s.partition("=")[0] not in options]
    options |= dict(s.split("=", 1) for s in settings if s not in chosen)
    cfg = override(efficientad.Config(), chosen)
    print(cfg)

    seed = int(options["seed"])
    if options["aux"]:
        aux = folder.photographs(options["aux"])
    else:
        logging.warning("no photographs given (aux=FOLDER): textures take their place")
        aux = Textures(size=2 * cfg.size)
    data = layouts.load(data_folder, seed=seed, aux=aux)
    pretrained = load_pretrained(cfg.weights)
    curve_file = pathlib.Path(workdir) / "curve.json"

    def measure(step: int, state: efficientad.State) -> None:
        """The metrics of a state that is not finished; what they say changes nothing."""
        heldout = pipeline.image_set(data.heldout, cfg.size)
        state = efficientad.calibrate(cfg, pretrained, state, heldout)
        found = evaluate(efficientad.DETECTOR, cfg, pretrained, state, data.test).mean
        rows = json.loads(curve_file.read_text()) if curve_file.exists() else []
        rows = [row for row in rows if row["step"] < step]
        write_json(curve_file, [*rows, {"step": step} | {name: found[name] for name in CURVE}])
        print(f"step {step}: " + "  ".join(f"{n} {found[n]}" for n in CURVE), file=sys.stderr)

    state = run(
        efficientad.DETECTOR, cfg, pretrained, data, jax.random.key(seed), workdir,
        save_every=int(options["save_every"]), at_save=measure,
    )  # fmt: skip
    title = f"EfficientAD on {pathlib.Path(data_folder).name}, {cfg.steps} steps, seed {seed}"
    print(assess(efficientad.DETECTOR, cfg, pretrained, state, data, workdir, title))
    print(f"report: {pathlib.Path(workdir) / 'report' / 'index.html'}")


if __name__ == "__main__":
    main(*sys.argv[1:])
