"""How often normal pictures raise an alarm, against what decision cards promise.

    python experiments/false_alarms.py [OUT.json] [--cards 1000 ...]

1. Simulated: for each target rate and number of normal pictures many cards are made, each from
   scores drawn anew. The long-run rate of a card's limit is known exactly, for the distribution of
   the scores is. Counted is in how many cards the stated interval covers it, and in how many the
   stated interval for the count covers the false alarms among further pictures that are drawn.
2. Rendered: a model learns from pictures of workpieces, ten cards are made of others, and further
   normal ones are judged by each; and by cards that are drawn from all of these others at random.
   One model, as an illustration.

Seconds for the first, minutes for the second on two cores: most of them to render.
"""

import functools
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float
from scipy import stats

from jaxad import fit, load_pretrained, override
from jaxad.cli import script
from jaxad.cli.options import asked, expected, leading
from jaxad.data.source import Data
from jaxad.data.workpieces import Workpieces
from jaxad.decision import conformal
from jaxad.decision.card import Card, Normals
from jaxad.decision.scale import Scale
from jaxad.detector import config, static
from jaxad.evaluation.predictions import predictions
from jaxad.methods import patchcore
from jaxad.sweep.table import circumstances
from jaxad.training.record import write_json

TARGETS, COUNTS = (0.01, 0.05, 0.1), (50, 200, 1000)
SPREAD = 0.5  # of the logarithm of the simulated scores


@config
class Options:
    """Settings of the study."""

    cards: int = static(1000, 1)  # simulated, of each cell
    pictures: int = static(200, 1)  # further normal ones, of each card
    seed: int = static(0, 0)
    size: int = static(128, 64)  # of rendered pictures, in pixels
    learned: int = static(60, 2)  # rendered pictures to learn from
    held_out: int = static(200, 1)  # of each card
    rendered_cards: int = static(10, 1)
    later: int = static(1000, 1)  # judged


def main(words: Sequence[str]) -> None:
    """Prints both tables and stores them."""
    places, rest = leading(words)
    if len(places) > 1:
        expected(places, "[OUT.json]")
    (options,) = asked(rest, "python experiments/false_alarms.py [OUT.json]", study=Options())
    script.prepare()
    found = {
        **circumstances(),
        "options": vars(options),
        "simulated": [
            cell(target, count, options)
            for target in TARGETS
            for count in COUNTS
            if target >= conformal.reachable(count)
        ],
    }
    for row in found["simulated"]:
        print(
            f"target {row['target']:4.2f}, {row['normals']:4d} normals: the interval covers the "
            f"rate in {row['rate_covered']:.3f} of cards, the count in {row['count_covered']:.3f}; "
            f"mean rate {row['mean_rate']:.4f}"
        )
    found["rendered"] = rendered(options)
    for row in found["rendered"]:
        low, high = row["stated"]
        print(
            f"rendered, target {row['target']:4.2f}: {', '.join(map(str, row['alarms']))} of "
            f"{row['pictures']} normal pictures are alarms by {len(row['alarms'])} cards of "
            f"{row['normals']}; stated {low:.0f} to {high:.0f}, which covers {row['covered']}, and "
            f"{row['drawn_covered']:.3f} of cards drawn from them all"
        )
    if places:
        write_json(pathlib.Path(places[0]), found)


def cell(target: float, count: int, options: Options) -> dict[str, Any]:
    """What holds in how many simulated cards."""
    rng = np.random.default_rng((options.seed, count, round(1000 * target)))
    rates, covered, counted = [], 0, 0
    for _ in range(options.cards):
        scores = np.sort(rng.lognormal(0, SPREAD, count))
        card = Card("", {"": Normals(scores, scores, "drawn")}, Scale(0, 1), 0.0, target)
        limits = card.limits()
        assert limits.score is not None
        assert limits.rate == target
        later = rng.lognormal(0, SPREAD, options.pictures)
        rates.append(survival(limits.score))
        covered += limits.interval.low <= rates[-1] <= limits.interval.high
        low, high = conformal.count_interval(count, target, options.pictures)
        counted += low <= (later > limits.score).sum() <= high
    return {
        "target": target,
        "normals": count,
        "cards": options.cards,
        "mean_rate": float(np.mean(rates)),
        "rate_covered": covered / options.cards,
        "count_covered": counted / options.cards,
    }


def survival(score: float) -> float:
    """The probability that a simulated score is above this one: exact."""
    return float(stats.lognorm(SPREAD).sf(score))


def rendered(options: Options) -> list[dict[str, Any]]:
    """One model, several cards, and what each says of later normal pictures."""
    cfg = override(
        patchcore.Config(),
        ["extractor=pdn_small", "weights=pdn_free", "capacity=1000", f"size={options.size}"],
    )
    weights = load_pretrained(cfg.weights)
    pictures = lambda split, count, seed: Workpieces(
        "plate", split, good=count, size=options.size, seed=seed
    )
    held = pictures("heldout", options.held_out * options.rendered_cards, options.seed)
    data = Data(pictures("train", options.learned, options.seed), held)
    state = fit(patchcore.DETECTOR, cfg, weights, data, jax.random.key(options.seed))
    score = functools.partial(scores, cfg, weights, state)
    later, normal = score(pictures("test", options.later, options.seed)), score(held)
    rng = np.random.default_rng(options.seed)
    several = normal.reshape(options.rendered_cards, options.held_out)
    drawn = [rng.choice(normal, options.held_out, replace=False) for _ in range(options.cards)]
    rows = []
    for target in TARGETS:
        stated = conformal.count_interval(options.held_out, target, options.later)
        alarms = [raised(later, some, target) for some in several]
        inside = lambda count, stated=stated: stated.low <= count <= stated.high
        rows.append(
            {
                "target": target,
                "normals": options.held_out,
                "pictures": options.later,
                "alarms": alarms,
                "stated": list(stated),
                "covered": sum(map(inside, alarms)),
                "drawn_covered": np.mean([inside(raised(later, x, target)) for x in drawn]).item(),
            }
        )
    return rows


def raised(later: Float[np.ndarray, "n"], normal: Float[np.ndarray, "m"], target: float) -> int:
    """How many alarms a card of normal scores raises among later ones."""
    scores = np.sort(normal)
    card = Card("", {"plate": Normals(scores, scores, "rendered")}, Scale(0, 1), 0.0, target)
    limit = card.limits().score
    assert limit is not None
    return int((later > limit).sum())


def scores(cfg: Any, weights: Any, state: Any, source: Workpieces) -> Float[np.ndarray, "n"]:
    """Of all pictures, in their order."""
    with predictions(patchcore.DETECTOR, cfg, weights, state, source) as found:
        return np.array([one.score for one in found])


if __name__ == "__main__":
    script.run(main)
