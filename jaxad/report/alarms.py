"""Which pictures raise an alarm, in the order in which a person should look at them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray as NpArray

from jaxad.decision.card import Card
from jaxad.evaluation.results import Scored


def alarms(pictures: Sequence[Scored], card: Card) -> list[int]:
    """The indices of all pictures that raise one, the clearest first.

    An alarm is a score above the card's limit for the picture's category. Of several categories
    first the clearest of each, then their second ones, and so on.
    """
    margin = _margins(pictures, card)
    found, seen = [], dict.fromkeys((picture.record.category for picture in pictures), 0)
    for i in np.argsort(-margin, kind="stable").tolist():
        if margin[i] > 0:
            category = pictures[i].record.category
            found.append((seen[category], i))
            seen[category] += 1
    return [i for _, i in sorted(found, key=lambda place: place[0])]


def _margins(pictures: Sequence[Scored], card: Card) -> Float[NpArray, "N"]:
    """How far scores are above the card's limit; nowhere where it has none."""
    scores = np.array([picture.score for picture in pictures])
    categories = np.array([picture.record.category for picture in pictures])
    margin = np.zeros(len(pictures))
    for name in np.unique(categories):
        members = categories == name
        limit = card.limits(name).score
        margin[members] = scores[members] - (scores[members].max() if limit is None else limit)
    return margin
