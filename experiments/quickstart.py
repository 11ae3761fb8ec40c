"""The main job in a few minutes on two CPU cores: train, find defects, show where they are.

    python experiments/quickstart.py [RUN_FOLDER] [key=value ...]

EfficientAD learns what a normal workpiece looks like from rendered pictures (the embedded data set,
nothing is downloaded), is tested on pictures with structural defects (scratches, dents) and logical
ones (a part missing, too many, elsewhere), and leaves a page with every picture's heat map under
RUN_FOLDER/report/index.html. Without RUN_FOLDER it writes to `runs/quickstart`, made anew.
"""

# ruff: noqa: E402
import time

START = time.monotonic()  # before the imports, which take seconds too

import shutil
import sys

import jax

from jaxad.cli import script
from jaxad.data import workpieces
from jaxad.detector import override
from jaxad.methods import efficientad
from jaxad.report.assess import assess
from jaxad.training.fitting import run
from jaxad.weights.store import load_pretrained

# A quarter of the paper's pixels, half its student's width and hardly any of its steps; so the rate
# is higher, and more of the distances are mined in each.
SMALL = efficientad.Config(
    size=128, autoencoder_kernel=4, student_width=64, steps=450, lr=1e-3, p_hard=0.99
)


def main(*arguments: str) -> None:
    """Trains, evaluates, prints the metrics and where the report lies."""
    script.prepare()
    settings = [a for a in arguments if "=" in a]
    given = [a for a in arguments if "=" not in a]
    cfg = override(SMALL, settings)
    workdir = given[0] if given else "runs/quickstart"
    if not given:
        shutil.rmtree(workdir, ignore_errors=True)

    data = workpieces.load("plate", size=cfg.size)
    print(f"{len(data.train)} normal workpieces to learn from, {len(data.test)} to test on")
    pretrained = load_pretrained(cfg.weights)
    state = run(efficientad.DETECTOR, cfg, pretrained, data, jax.random.key(0), workdir)
    title = "EfficientAD on rendered workpieces"
    found = assess(efficientad.DETECTOR, cfg, pretrained, state, data, workdir, title)
    print(found)
    (category,) = found.categories.values()
    for kind, metrics in category.kinds.items():
        print(f"image AUROC on {kind} defects: {metrics['image_auroc']:.3f}")
    print(f"look at {workdir}/report/index.html   ({time.monotonic() - START:.0f} s in all)")


if __name__ == "__main__":
    main(*sys.argv[1:])
