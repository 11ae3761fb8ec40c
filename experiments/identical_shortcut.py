r"""Does a reconstruction learn to copy? Loss and AUROC over training, unified and separate.

    python experiments/identical_shortcut.py OUT [--data A,B --epochs 100 --every 10 ...]

The study behind UniAD (You et al., NeurIPS 2022, arXiv:2206.03687, section 3): an MLP, a
convolutional network and a plain transformer reconstruct frozen features. If one drifts towards
the identity, its loss on normal pictures goes on falling while AUROC rises first and then falls,
above all where one model has many categories. UniAD is measured beside them. All share extractor,
optimiser and loop; settings of the network itself (--hidden, --depth) are the plain ones', those
that only UniAD has (--mask-size, --jitter, --encoder-layers: `jaxad train uniad --help`) its.
Interrupted, it continues; for numbers and settings for two cores see docs/results/uniad.md.

OUT gets curves.json, curves.png, and reconstructions.png: features of test pictures turned back
into pictures, each cell by the training patch whose features are nearest.
"""

import pathlib
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxad import compile
from jaxad.cli import script
from jaxad.cli.data import categories, check_tests
from jaxad.cli.errors import Usage
from jaxad.cli.options import asked, expected, given, leading, parted
from jaxad.data import multiclass
from jaxad.data.pictures import image_set, resized
from jaxad.data.source import Data
from jaxad.detector import Detector, State, check_settings, config, replace, static
from jaxad.detector import settings as settings_of
from jaxad.evaluation.evaluate import evaluate
from jaxad.evaluation.results import mean
from jaxad.methods import feature_reconstruction, uniad
from jaxad.nets.extractors import load_for
from jaxad.report import figures
from jaxad.training import fitting
from jaxad.training.epochs import steps_of
from jaxad.training.record import write_json
from jaxad.training.selection import heldout_loss

NETWORKS = ("mlp", "cnn", "transformer", "uniad")
SHARED = (
    "size", "batch_size", "weights", "extractor", "layers", "grid", "lr", "weight_decay", "clip",
    "score", "pool",
)  # fmt: skip
CURVES = {
    "heldout_loss": "reconstruction error of normals",
    "image_auroc": "image AUROC",
    "pixel_auroc": "pixel AUROC",
}
SHOWN = 6  # test pictures, half of them anomalous
PATCHES = 20_000  # training cells at most that are searched

Row = dict[str, float | None]  # what was measured at one point of a curve


@config
class Options:
    """Settings of the study."""

    data: tuple[str, ...] = static(("workpieces",))  # folders
    train: int = static(60, 1)  # rendered pictures of each category to learn from
    test: tuple[int, int] = static((40, 8), 0)  # ... to test on: good, of each defect
    epochs: int = static(100, 1)  # passes over the pictures of a model
    every: int = static(10, 1)  # epochs between points of the curves
    networks: tuple[Literal[NETWORKS], ...] = static(NETWORKS, fewest=1)  # to compare
    seed: int = static(0, 0)  # of the training


def main(words: Sequence[str]) -> None:
    """Trains every network under both protocols and draws the curves."""
    places, rest = leading(words)
    options, common, own = parsed(rest)
    (out,) = expected(places, "OUT")
    script.prepare()
    workdir = pathlib.Path(out)
    several = categories(options.data, common.size, train=options.train, test=options.test)
    check_tests(several, both=True)
    pretrained = load_for(common)
    sets = {"unified": {"all": multiclass.pooled(several)}, "separate": several}
    found: dict[str, dict[str, list]] = {protocol: {} for protocol in sets}
    pictures = {}
    for name in options.networks:
        detector, cfg = chosen(name, common, own)
        for protocol, parts in sets.items():
            rows = []
            for part, data in parts.items():
                place = workdir / "runs" / name / protocol / part
                state, curve = trained(detector, cfg, pretrained, data, options, place, workdir)
                rows.append(curve)
                if protocol == "unified":
                    pictures[name] = decoded(detector, cfg, pretrained, state, data)
            found[protocol][name] = mean_curve(rows)
            print(f"{protocol} {name}: {found[protocol][name][-1]}", flush=True)
    write_json(workdir / "curves.json", found)
    draw_curves(workdir / "curves.png", found)
    draw_pictures(workdir / "reconstructions.png", pictures)


def parsed(
    words: Sequence[str],
) -> tuple[Options, feature_reconstruction.Config, uniad.Config]:
    """This script's settings, those of the plain networks, and UniAD's.

    Raises:
      ValueError: a setting is unknown, or has a value that cannot work.
    """
    usage, common = "python experiments/identical_shortcut.py OUT", feature_reconstruction.Config()
    if given(words, "steps"):
        raise Usage("--steps: say --epochs, of which the steps of every model follow")
    of_uniad = settings_of(uniad.Config()).keys() - settings_of(common).keys()
    of_uniad, others = parted(words, of_uniad)
    options, common = asked(others, usage, __doc__, script=Options(), settings=common)
    (own,) = asked(of_uniad, usage, uniad=uniad.Config())
    for name in options.networks:
        check_settings(*chosen(name, common, own))
    return options, common, own


def chosen(
    name: str, common: feature_reconstruction.Config, own: uniad.Config
) -> tuple[Detector, Any]:
    """A detector and its settings: those that all share, and UniAD's own."""
    if name != "uniad":
        return feature_reconstruction.DETECTOR, replace(common, network=name)
    return uniad.DETECTOR, replace(own, **{field: getattr(common, field) for field in SHARED})


def trained(
    detector: Detector,
    cfg: Any,
    pretrained: dict,
    data: Data,
    options: Options,
    place: pathlib.Path,
    workdir: pathlib.Path,
) -> tuple[State, list[Row]]:
    """The last state, and its measurements by epoch; continues after an interruption."""
    epochs = min(options.every, options.epochs)
    every = steps_of(epochs, len(data.train), cfg.batch_size)
    points = -(-options.epochs // epochs)  # as many for all
    cfg = replace(cfg, steps=points * every)
    curve_file = place / "curve.json"
    heldout = image_set(data.heldout, cfg.size)

    def measure(step: int, state: State) -> None:
        rows = script.read_rows(curve_file, before=step)
        metrics = evaluate(detector, cfg, pretrained, state, data.test).mean
        row = {"epoch": step * cfg.batch_size / len(data.train)}
        row["heldout_loss"] = float(heldout_loss(detector, cfg, pretrained, state, heldout))
        row |= {name: metrics[name] for name in ("image_auroc", "pixel_auroc")}
        write_json(curve_file, [*rows, {"step": step, **row}])

    state = fitting.run(
        detector, cfg, pretrained, data, jax.random.key(options.seed), place,
        save_every=every, cache=workdir / "features", at_save=measure,
    )  # fmt: skip
    return state, script.read_rows(curve_file)


def mean_curve(curves: list[list[Row]]) -> list[Row]:
    """The mean over categories, point by point; their epochs differ by a part of one at most.

    Pixel metrics are the mean over those categories that have masks; None where none has.
    """
    measured = lambda row: {name: row[name] for name in ("epoch", *CURVES)}
    return [mean([measured(row) for row in rows]) for rows in zip(*curves, strict=True)]


def decoded(
    detector: Detector, cfg: Any, pretrained: dict, state: State, data: Data
) -> list[np.ndarray]:
    """Test pictures above what their features and their reconstructions look like."""
    labels = np.array([record.label for record in data.test.records])
    half = SHOWN // 2
    spread = lambda places: places[np.linspace(0, len(places) - 1, half).astype(int)]
    places = np.concatenate([spread(np.flatnonzero(labels == label)) for label in (0, 1)])
    images = np.stack([resized(data.test[int(i)]["image"], cfg.size) for i in places])
    parts = compile.predict(detector)(cfg, pretrained, state, images).parts
    known = image_set(data.train, cfg.size, limit=PATCHES // cfg.grid**2)
    bank = np.asarray(compile.over_set(detector.embed, (cfg, pretrained), known))
    side = cfg.size // cfg.grid
    patches = known.reshape(len(known), cfg.grid, side, cfg.grid, side, 3).swapaxes(2, 3)
    rows = [images]
    for name in ("features", "reconstruction"):
        nearest = np.asarray(nearest_rows(parts[name], bank))
        picture = patches.reshape(-1, side, side, 3)[nearest]
        rows.append(picture.swapaxes(2, 3).reshape(images.shape))
    return rows


def nearest_rows(features: jax.Array, bank: np.ndarray) -> jax.Array:
    """Of each cell, the place of the nearest cell in the bank."""
    cells = jnp.asarray(bank.reshape(-1, bank.shape[-1]))
    squares = jnp.square(cells).sum(-1)
    nearest = lambda x: jnp.argmin(squares[None, None] - 2 * x @ cells.T, -1)
    return jnp.stack([nearest(one) for one in jnp.asarray(features)])


def draw_curves(path: pathlib.Path, found: dict) -> None:
    """A row for each protocol, a column for each measurement."""
    figure = figures.new_figure(4.0 * len(CURVES), 2.9 * len(found))
    axes = figure.subplots(len(found), len(CURVES), squeeze=False)
    for line, (protocol, networks) in zip(axes, found.items(), strict=True):
        for axis, (name, title) in zip(line, CURVES.items(), strict=True):
            for network, rows in networks.items():
                x, y = (np.array([row[key] for row in rows], float) for key in ("epoch", name))
                axis.plot(x, y, label=network)
            axis.set(xlabel="epoch", title=f"{protocol}: {title}")
            figures.clean(axis)
    axes[0, 0].legend(fontsize=8)
    figures.save(figure, path)


def draw_pictures(path: pathlib.Path, pictures: dict[str, list[np.ndarray]]) -> None:
    """Test pictures, their features decoded, and each network's reconstruction decoded."""
    first = next(iter(pictures.values()))
    rows = {"picture": first[0], "its features": first[1]}
    rows |= {name: several[2] for name, several in pictures.items()}
    figure = figures.new_figure(1.5 * SHOWN, 1.6 * len(rows))
    axes = figure.subplots(len(rows), SHOWN, squeeze=False)
    for line, (name, several) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(name, fontsize=8)
        for axis, picture in zip(line, several, strict=True):
            axis.imshow(picture)
            axis.set(xticks=[], yticks=[])
    figures.save(figure, path)


if __name__ == "__main__":
    script.run(main)
