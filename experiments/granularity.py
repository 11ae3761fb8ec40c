r"""How finely must an image be divided? Reconstruction errors and AUROC against DAAD's rate.

    python experiments/granularity.py OUT [--category plate --rates 1,4,16 --seeds 3 ...]

The claim of Hou et al., ICCV 2021 (arXiv:2107.13118): with blocks too fine anomalies are
reconstructed as well, with blocks too coarse what is normal is not, and between them the two are
told apart. For each of --rates, every memory is divided into so many blocks a side, or into single
cells where it has fewer. All else is equal, seeds are shared. The pictures are rendered workpieces.

OUT gets granularity.json, granularity.png (errors of normal and anomalous test pictures, AUROC;
points are seeds) and reconstructions.png (the same test pictures at each rate). Interrupted, it
continues. Numbers: docs/results/daad.md.
"""

import math
import pathlib
from collections.abc import Sequence
from typing import Literal

import jax
import numpy as np
from jaxtyping import Float

from jaxad import compile, sweep
from jaxad.cli import script
from jaxad.cli.errors import Usage
from jaxad.cli.options import asked, expected, leading
from jaxad.data import workpieces
from jaxad.data.pictures import resized
from jaxad.data.source import Data
from jaxad.detector import check_settings, config, replace, static
from jaxad.methods import daad
from jaxad.report import figures
from jaxad.sweep.fitting import Members
from jaxad.sweep.scores import Scores, bootstrap
from jaxad.sweep.table import circumstances
from jaxad.training.record import settings, write_json

# Small enough for two cores: sides of 32, 16 and 8 cells. Its rates are those to compare.
SMALL = daad.Config(
    size=64, batch_size=16, steps=600, adversarial=False, widths=(16, 32, 64),
    rates=(1, 2, 4, 8, 16, 32), items=(50, 50, 50), discriminator_widths=(16, 32, 64),
    smoothing=2.0, lr=1e-3,
)  # fmt: skip
SHOWN = 6  # test pictures, half of them anomalous
ERRORS = {"normal": figures.NORMAL, "anomalous": figures.ANOMALOUS}
Values = dict[str, Float[np.ndarray, "S K"]]


@config
class Options:
    """Settings of the study."""

    category: Literal[workpieces.CATEGORIES] = static("plate")  # of the rendered workpieces
    train: int = static(200, 1)  # rendered pictures to learn from
    seeds: int = static(3, 1)  # how many
    save_every: int = static(200, 1)  # steps between checkpoints


def main(words: Sequence[str]) -> None:
    """Trains at every rate, measures, draws."""
    places, rest = leading(words)
    usage = "python experiments/granularity.py OUT"
    options, base = asked(rest, usage, __doc__, script=Options(), settings=SMALL)
    (out,) = expected(places, "OUT")
    if not base.rates or min(base.rates) < 1:
        raise Usage("--rates are what is compared: give some, each 1 or more")
    if base.adversarial or base.score != "mean":
        raise Usage("the study is of the mean error: leave --adversarial false and --score mean")
    configs = tuple(divided(base, rate) for rate in base.rates)
    for cfg in configs:
        check_settings(daad.DETECTOR, cfg)
    script.prepare()
    print(f"{base}\n{options}")
    data = workpieces.load(options.category, size=base.size, train=options.train)
    keys = jax.random.split(jax.random.key(0), options.seeds)
    folder = pathlib.Path(out)
    members = sweep.run(
        daad.DETECTOR, configs, {}, data, keys, folder / "run", save_every=options.save_every
    )
    scores = sweep.evaluate(daad.DETECTOR, configs, {}, members, data.test)
    values = measured(configs, members, scores)
    made = {"options": vars(options), **settings(daad.DETECTOR, base), "made_with": circumstances()}
    write_json(folder / "granularity.json", {**made, "rates": table(base.rates, values)})
    draw(folder / "granularity.png", base.rates, values)
    draw_pictures(folder / "reconstructions.png", base.rates, configs, members, data)
    print(text(base.rates, values))


def divided(base: daad.Config, rate: int) -> daad.Config:
    """Every memory in `rate` blocks a side, or in as many as it has cells."""
    sides = [base.size >> level for level in range(1, len(base.widths) + 1)]
    return replace(base, rates=tuple(min(rate, side) for side in sides))


def measured(configs: Sequence[daad.Config], members: Members, scores: Scores) -> Values:
    """By rate and seed: R of normal and of anomalous test pictures, image AUROC; NaN if diverged.

    R is the mean squared error before it is scaled by its range on held-out pictures.
    """
    values = {name: np.full(scores.image_auroc.shape, np.nan) for name in ERRORS}
    for s, k in np.ndindex(*scores.image_auroc.shape):
        evaluation = scores.evaluations[s][k]
        if evaluation is None:
            continue
        low, high = np.asarray(members.state(configs, s, k).stats.range)[:, 0]
        for name in ERRORS:
            found = [
                picture.score
                for picture in evaluation.pictures
                if (picture.record.defect == "good") == (name == "normal")
            ]
            values[name][s, k] = np.mean(found) * (high - low) + low
    return {**values, "image_auroc": scores.image_auroc}


def table(rates: Sequence[int], values: Values) -> list[dict]:
    """For JSON: of each rate and measurement the values of the seeds, their mean and interval.

    None stands for what is not a number: of seeds that diverged, the interval of one seed.
    """
    plain = lambda several: [None if math.isnan(x) else float(x) for x in several]
    found = []
    for s, rate in enumerate(rates):
        row = {"rate": rate}
        for name, of_seeds in values.items():
            (mean,) = plain([of_seeds[s].mean()])
            interval = plain(bootstrap(of_seeds[s]))
            row[name] = {"seeds": plain(of_seeds[s]), "mean": mean, "interval": interval}
        found.append(row)
    return found


def text(rates: Sequence[int], values: Values) -> str:
    """The table for a person, and where the separation is best."""
    lines = ["rate  R normal  R anomalous  image AUROC [95 % over seeds]"]
    for s, rate in enumerate(rates):
        normal, anomalous, auroc = (
            values[name][s].mean() for name in ("normal", "anomalous", "image_auroc")
        )
        low, high = bootstrap(values["image_auroc"][s])
        lines.append(
            f"{rate:<6}{normal:<10.5f}{anomalous:<13.5f}{auroc:.4f} [{low:.4f}, {high:.4f}]"
        )
    means = values["image_auroc"].mean(1)
    best = int(np.argmax(np.nan_to_num(means, nan=-1.0)))
    inside = 0 < best < len(rates) - 1
    lines.append(
        f"the highest mean AUROC is at rate {rates[best]}, "
        + ("between the coarsest and the finest" if inside else "at an end of the range")
    )
    for end in sorted({0, len(rates) - 1} - {best}):
        difference = values["image_auroc"][best] - values["image_auroc"][end]
        low, high = bootstrap(difference)
        lines.append(
            f"less that at rate {rates[end]}: {difference.mean():+.4f} [{low:+.4f}, {high:+.4f}]"
        )
    return "\n".join(lines)


def draw(path: pathlib.Path, rates: Sequence[int], values: Values) -> None:
    """Errors on the left, AUROC on the right; points are seeds, lines their means."""
    figure = figures.new_figure(8.4, 3.4)
    errors, auroc = figure.subplots(1, 2)
    lines = [(errors, name, colour) for name, colour in ERRORS.items()]
    for axis, name, colour in (*lines, (auroc, "image_auroc", figures.ANOMALOUS)):
        axis.plot(rates, values[name], "o", color=colour, alpha=0.5, ms=4)
        axis.plot(rates, values[name].mean(1), color=colour, linewidth=1.6, label=name)
    for axis, label in ((errors, "reconstruction error R"), (auroc, "image AUROC")):
        axis.set_xscale("log", base=2)
        axis.set_xticks(rates, [str(rate) for rate in rates])
        axis.set(xlabel="blocks a side: coarse to fine", ylabel=label)
        figures.clean(axis)
    errors.set_yscale("log")
    errors.legend(fontsize=8)
    figures.save(figure, path)


def draw_pictures(
    path: pathlib.Path,
    rates: Sequence[int],
    configs: Sequence[daad.Config],
    members: Members,
    data: Data,
) -> None:
    """Test pictures above, what the first seed makes of them at each rate below."""
    good = [i for i, record in enumerate(data.test.records) if record.defect == "good"]
    others = [i for i, record in enumerate(data.test.records) if record.defect != "good"]
    half = SHOWN // 2
    chosen = good[:half] + others[:: max(len(others) // half, 1)][:half]
    size = configs[0].size
    images = np.stack([resized(data.test[i]["image"], size) for i in chosen])
    rows = {"picture": images}
    for s, (rate, cfg) in enumerate(zip(rates, configs, strict=True)):
        state = members.state(configs, s, 0)
        prediction = compile.predict(daad.DETECTOR)(cfg, {}, state, images)
        rows[f"rate {rate}"] = np.asarray(prediction.parts["reconstruction"])
    figure = figures.new_figure(1.5 * len(chosen), 1.6 * len(rows))
    axes = figure.subplots(len(rows), len(chosen), squeeze=False)
    for line, (name, several) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(name, fontsize=8)
        for axis, picture in zip(line, several, strict=True):
            axis.imshow(picture)
            axis.set(xticks=[], yticks=[])
    figures.save(figure, path)


if __name__ == "__main__":
    script.run(main)
