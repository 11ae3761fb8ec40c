"""`jaxad quickstart`: the main job in a few minutes on two CPU cores."""

import pathlib
import shlex
import shutil
import time
from collections.abc import Sequence

from jaxad.cli.errors import Usage
from jaxad.cli.learn import assessed, carded, described, learned
from jaxad.cli.options import asked, leading
from jaxad.cli.run_options import DataOptions, RunOptions
from jaxad.cli.script import prepare
from jaxad.data import workpieces
from jaxad.data.textures import Textures
from jaxad.detector import check_settings, config, static
from jaxad.methods import efficientad
from jaxad.nets.extractors import load_for
from jaxad.weights import store

DEFAULT = "runs/quickstart"
DESCRIPTION = """Learns what a normal workpiece looks like from rendered pictures, which need no
download, finds structural defects (scratches, dents) and logical ones (a part missing, too many,
elsewhere), and leaves a page with every picture's heat map: RUN/report/index.html.

RUN: the folder to write to; runs/quickstart, made anew, by default."""

# A quarter of the paper's pixels, half its student's width and hardly any of its steps; so the rate
# is higher, and more of the distances are mined in each.
SMALL = efficientad.Config(
    size=128, autoencoder_kernel=4, student_width=64, steps=450, lr=1e-3, p_hard=0.99
)


@config
class QuickstartOptions:
    """The run."""

    seed: int = static(0, 0)  # of everything random but the rendered pictures


def main(words: Sequence[str]) -> None:
    """The verb."""
    start = time.monotonic()
    places, rest = leading(words)
    if len(places) > 1:
        raise Usage(f"{' '.join(places)!r}: expected one folder to write to")
    detector = efficientad.DETECTOR
    chosen, cfg = asked(
        rest, "jaxad quickstart [RUN]", DESCRIPTION, run=QuickstartOptions(), settings=SMALL
    )
    options = RunOptions(seed=chosen.seed)
    check_settings(detector, cfg)
    prepare()
    workdir = pathlib.Path(places[0] if places else DEFAULT)
    if not places:
        shutil.rmtree(workdir, ignore_errors=True)
    data = workpieces.load("plate", size=cfg.size)
    data = data.with_streams(aux=Textures(size=2 * cfg.size))
    counts = f"{len(data.train)} normal workpieces to learn from, {len(data.test_set())} to test on"
    print(f"{detector.name}: {counts}")
    for name in cfg.weights:
        print(f"licence of its network {name}: {store.terms(name)}")
    pretrained = load_for(cfg)
    about = described(
        cfg, category="plate", data="workpieces/plate", options=vars(DataOptions()),
        seed=options.seed,
        command=shlex.join(["jaxad", "quickstart", *words]),
    )  # fmt: skip
    state = learned(detector, cfg, pretrained, data, options, workdir, about)
    card = carded(detector, cfg, pretrained, state, data, options, workdir)
    title = f"{detector.name} on rendered workpieces"
    found = assessed(detector, cfg, pretrained, state, data, card, workdir, title, data.train)
    for category in found.categories.values() if found else ():
        for kind, metrics in category.kinds.items():
            print(f"image AUROC on {kind} defects: {metrics['image_auroc']:.3f}")
    print(f"look at {workdir}/report/index.html   ({time.monotonic() - start:.0f} s in all)")
