r"""What DiffusionAD's parts are worth, and what the scale of the noise does.

    python experiments/sweep_diffusionad.py OUT [--data FOLDER --aux TEXTURES --seeds 2 ...]

1. Restorations, every seed shared (Zhang et al., arXiv:2303.08730, table 3): an autoencoder,
   iterative denoising, one step, and one step with guidance. The first is what the differences are
   to. Iterative denoising takes the networks of one step: both train alike.
2. The scale of the noise (figures 7 and 8): one step, trained on timesteps up to nearly all, and
   used at smaller and larger ones: error of the reconstruction on held-out pictures, and AUROCs.

Settings are those of experiments/diffusionad_small.py, masks as there. Interrupted, it continues.
OUT gets restorations/ (sweep.csv, sweep.jsonl, summary.txt, a plot), noise.json, noise.png, and
pictures.png: input, noised input, reconstruction from the small and from the large timestep, guided
reconstruction, and map. Takes two hours on one core; numbers: docs/results/diffusionad.md.
"""

import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxad import compile, sweep
from jaxad.cli import script
from jaxad.cli.data import check_tests, only_one, opened
from jaxad.cli.options import asked, expected, leading
from jaxad.cli.run_options import DataOptions
from jaxad.data.pictures import image_set, resized
from jaxad.data.source import Data
from jaxad.detector import State, check_settings, config, replace, static
from jaxad.evaluation.evaluate import evaluate
from jaxad.methods import diffusionad
from jaxad.report import figures
from jaxad.training import fitting
from jaxad.training.record import write_json

SMALL = replace(diffusionad.SMALL, foreground="masks")
TRAINED = ["autoencoder", "one_step", "guided"]
RESTORATIONS = ["autoencoder", "iterative", "one_step", "guided"]
SCALES = (25.0, 50.0, 100.0, 200.0, 400.0, 600.0, 800.0)  # timesteps, of 1000
SHOWN = 6  # test pictures, half of them anomalous
PARTS = ("noised", "small", "large", "reconstruction")


@config
class Options:
    """Settings of the sweep."""

    data: str = static("workpieces/plate")  # the category
    seeds: int = static(2, 1)  # how many
    save_every: int = static(500, 1)  # steps between checkpoints


def main(words: Sequence[str]) -> None:
    """Trains, evaluates, and writes tables and pictures."""
    places, rest = leading(words)
    options, pictures, base = asked(
        rest, "python experiments/sweep_diffusionad.py OUT", __doc__,
        script=Options(), data=DataOptions(), settings=SMALL,
    )  # fmt: skip
    (out,) = expected(places, "OUT")
    for name in RESTORATIONS:
        check_settings(diffusionad.DETECTOR, replace(base, restoration=name))
    script.prepare()
    workdir = pathlib.Path(out)
    several = opened(diffusionad.DETECTOR, base, options.data, pictures, 0, workdir)
    check_tests(several, both=True)
    data = only_one(several)
    print(f"{base}\n{options}")

    keys = jax.random.split(jax.random.key(0), options.seeds)
    members = sweep.run(
        diffusionad.DETECTOR, sweep.grid(base, restoration=TRAINED), {}, data, keys,
        workdir / "run", save_every=options.save_every,
    )  # fmt: skip
    configs, members = sweep.grid(base, restoration=RESTORATIONS), with_iterative(members)
    scores = sweep.evaluate(diffusionad.DETECTOR, configs, {}, members, data.test)
    sweep.write(workdir / "restorations", diffusionad.DETECTOR, configs, keys, scores)
    print(f"\nRestorations:\n{sweep.text(configs, scores)}")
    guided = RESTORATIONS.index("guided")
    state = members.state(configs, guided, 0)
    draw_pictures(workdir / "pictures.png", configs[guided], state, data)

    ends = {"t_boundary": float(base.timesteps - 1), "t_end": float(base.timesteps)}
    cfg = replace(base, restoration="one_step", **ends)
    state = fitting.run(
        diffusionad.DETECTOR, cfg, {}, data, keys[0], workdir / "noise", keep=1,
        save_every=options.save_every,
    )  # fmt: skip
    rows = noise_curve(cfg, state, data)
    write_json(workdir / "noise.json", rows)
    draw_curve(workdir / "noise.png", rows)


def with_iterative(members: sweep.Members) -> sweep.Members:
    """The members of `RESTORATIONS`, from those of `TRAINED`; each restoration is one group."""
    places = [TRAINED.index("one_step" if x == "iterative" else x) for x in RESTORATIONS]
    return sweep.Members(tuple(members.states[place] for place in places), members.diverged[places])


def noise_curve(cfg: diffusionad.Config, state: State, data: Data) -> list[dict[str, float]]:
    """Error on held-out pictures and AUROCs, for each timestep at which pictures are restored."""
    heldout = image_set(data.heldout, cfg.size)
    state, rows = state._replace(opt=()), []
    for scale in (t for t in SCALES if t < cfg.t_boundary):
        at = replace(cfg, t_small=scale)
        errors = [
            jnp.square(prediction.parts["reconstruction"] - compile.unit(jnp.asarray(images)))
            for images, prediction in predicted(at, state, heldout)
        ]
        found = evaluate(diffusionad.DETECTOR, at, {}, state, data.test).mean
        row = {"timestep": scale, "error": float(jnp.concatenate(errors).mean())}
        rows.append(row | {name: found[name] for name in ("image_auroc", "pixel_auroc")})
        print(rows[-1], flush=True)
    return rows


def predicted(cfg: diffusionad.Config, state: State, images: np.ndarray) -> list:
    """Pictures and predictions, in slices of the batch size."""
    predict = compile.predict(diffusionad.DETECTOR)
    starts = range(0, len(images), cfg.batch_size)
    slices = [images[start : start + cfg.batch_size] for start in starts]
    return [(part, predict(cfg, {}, state, part)) for part in slices]


def draw_curve(path: pathlib.Path, rows: list[dict[str, float]]) -> None:
    """Error and AUROCs over the timestep."""
    figure = figures.new_figure(8.0, 2.9)
    axes = figure.subplots(1, 2)
    timesteps = [row["timestep"] for row in rows]
    axes[0].plot(timesteps, [row["error"] for row in rows], "o-")
    axes[0].set(xlabel="timestep", title="reconstruction error of normals", yscale="log")
    for name in ("image_auroc", "pixel_auroc"):
        axes[1].plot(timesteps, [row[name] for row in rows], "o-", label=name)
    axes[1].set(xlabel="timestep", title="AUROC")
    axes[1].legend(fontsize=8)
    for axis in axes:
        figures.clean(axis)
    figures.save(figure, path)


def draw_pictures(path: pathlib.Path, cfg: diffusionad.Config, state: State, data: Data) -> None:
    """Test pictures, the steps of their guided restoration, and their maps."""
    labels = np.array([record.label for record in data.test.records])
    spread = lambda places: places[np.linspace(0, len(places) - 1, SHOWN // 2).astype(int)]
    places = np.concatenate([spread(np.flatnonzero(labels == label)) for label in (0, 1)])
    images = np.stack([resized(data.test[int(i)]["image"], cfg.size) for i in places])
    prediction = compile.predict(diffusionad.DETECTOR)(cfg, {}, state, images)
    rows = {"input": images / 255.0}
    rows |= {name: np.clip(np.asarray(prediction.parts[name]), 0, 1) for name in PARTS}
    rows["map"] = np.asarray(prediction.map)
    figure = figures.new_figure(1.5 * SHOWN, 1.6 * len(rows))
    axes = figure.subplots(len(rows), SHOWN, squeeze=False)
    for line, (name, several) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(name, fontsize=8)
        for axis, picture in zip(line, several, strict=True):
            axis.imshow(picture, vmin=0, vmax=1, cmap="inferno")  # one scale for all maps
            axis.set(xticks=[], yticks=[])
    figures.save(figure, path)


if __name__ == "__main__":
    script.run(main)
