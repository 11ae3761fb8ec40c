"""The models that are served, by name: loaded, compiled for each size of a batch, and described."""

import copy
import logging
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxad import mesh
from jaxad.decision import card as cards
from jaxad.decision.card import Card
from jaxad.decision.predictor import Predictor
from jaxad.detector import replace
from jaxad.serve.failures import Refused
from jaxad.serve.limits import MOST_PIXELS

log = logging.getLogger(__name__)

NAME_LETTERS = 64
CALLS = 3  # by which the speed of a size is judged
PAYS = 0.9  # of a picture's time in a smaller batch, at most, in a larger one


class Model(NamedTuple):
    """A model that is served.

    Attributes:
      name: by which it is asked for.
      predictors: by category; all compute with one program and one set of weights.
      sizes: of the batches that are compiled.
    """

    name: str
    predictors: Mapping[str, Predictor]
    sizes: tuple[int, ...]

    @property
    def first(self) -> Predictor:
        """Of the predictors, the one that computes."""
        return next(iter(self.predictors.values()))

    def of(self, category: str | None) -> Predictor:
        """The predictor of a category; of a model with one category that, if none is named.

        Raises:
          Refused: it has several and none is named, or has none of the name.
        """
        if category is None and len(self.predictors) == 1:
            return self.first
        if category is None or category not in self.predictors:
            what = "which of" if category is None else f"{category[:80]!r} is none of"
            raise Refused(
                422,
                "unknown_category",
                f"{what} the categories of {self.name} ({', '.join(self.predictors)}): name one "
                "as category=NAME",
            )
        return self.predictors[category]

    def described(self) -> dict[str, Any]:
        """What a caller wants to know, as plain JSON."""
        first = self.first
        categories = {}
        for name, one in self.predictors.items():
            score, pixel = one.card.thresholds(name)
            categories[name] = {
                "threshold": score,
                "pixel_threshold": pixel,
                "said": one.card.said(name),
                "warnings": one.card.warnings(name),
            }
        return {
            "name": self.name,
            "size": first.cfg.size,
            "tiles": first.tiles,
            "max_pixels": first.preprocessing.reading.max_pixels,
            "batch_sizes": list(self.sizes),
            "scale": list(first.card.scale),
            "categories": categories,
        }


def named(words: Sequence[str]) -> dict[str, pathlib.Path]:
    """The folders that words such as "FOLDER" and "NAME=FOLDER" name, by their names.

    Raises:
      ValueError: two have one name, or a name is no plain word.
    """
    found: dict[str, pathlib.Path] = {}
    for word in words:
        name, equals, place = word.partition("=")
        if not equals or "/" in name or pathlib.Path(word).exists():
            name, place = "", word
        path = pathlib.Path(place).expanduser().absolute()
        name = name or path.resolve().name
        if not name.isprintable() or not 0 < len(name) <= NAME_LETTERS:
            raise ValueError(
                f"{word!r}: a model's name has 1 to {NAME_LETTERS} printable letters: give one as "
                "NAME=BUNDLE"
            )
        if name in found:
            raise ValueError(
                f"{found[name]} and {path} would both be called {name!r}: give names, as in "
                "NAME=BUNDLE"
            )
        found[name] = path
    return found


def load(
    name: str,
    folder: pathlib.Path,
    sizes: Sequence[int],
    *,
    card: pathlib.Path | None = None,
    decided: Callable[[Card], Card] = lambda card: card,
    tiles: int | None = None,
    max_pixels: int | None = None,
) -> Model:
    """A model, compiled for each size of a batch.

    Args:
      name: by which it is asked for.
      folder: of a run or a bundle.
      sizes: of batches; on a mesh raised until they divide by the devices. Those that do not pay
        are not used.
      card: file of another one than the folder's.
      decided: makes of a card the one that decides.
      tiles: as for `Predictor.load`.
      max_pixels: of a picture; None for that of the folder, `MOST_PIXELS` at most.

    Raises:
      FileNotFoundError: there is no such folder, or what belongs into it is missing.
      ValueError: something in it is damaged; see `Predictor.load`.
    """
    place = cards.place(folder, tiles) if card is None else card
    names = list(cards.read(place).normals) if place.exists() else []
    several = names if len(names) > 1 else [None]
    predictors: dict[str, Predictor] = {}
    for category in several:
        one = Predictor.load(
            folder, card=card, category=category, batch_size=min(sizes), tiles=tiles
        )
        if first := next(iter(predictors.values()), None):
            shared = copy.copy(first)  # one program and one set of weights for all
            shared.category, shared.preprocessing = one.category, one.preprocessing
            one = shared
        one.card = decided(one.card)
        one.preprocessing = one.preprocessing._replace(
            reading=_bounded(one.preprocessing.reading, max_pixels)
        )
        predictors[category or next(iter(one.card.normals))] = one
    first = next(iter(predictors.values()))
    seconds = _seconds(first, sorted({mesh.divisible(size) for size in sizes}))
    kept = paying(seconds)
    if left := sorted(set(seconds) - set(kept)):
        log.info(
            "%s: batches of %s are no faster a picture here, and not used",
            name, ", ".join(map(str, left)),
        )  # fmt: skip
    return Model(name, predictors, kept)


def paying(seconds: Mapping[int, float]) -> tuple[int, ...]:
    """The sizes of batches that are worth filling, in ascending order.

    A processor with few cores computes eight pictures together no faster, often slower, than one
    after the other; an accelerator does.

    Args:
      seconds: of one call, by size.
    """
    kept, best = [], np.inf
    for size, whole in sorted(seconds.items()):
        if whole / size < PAYS * best:
            kept.append(size)
            best = whole / size
    return tuple(kept)


def _seconds(predictor: Predictor, sizes: Sequence[int]) -> dict[int, float]:
    """Of a call of each size, the fastest of a few, which take turns."""
    side = predictor.cfg.size
    blanks = [np.zeros((size, side, side, 3), np.uint8) for size in sizes]
    for blank in blanks:
        np.asarray(predictor.compute(blank).score)  # compiles
    found = dict.fromkeys(sizes, np.inf)
    for _ in range(CALLS):
        for blank in blanks:
            began = time.perf_counter()
            np.asarray(predictor.compute(blank).score)
            found[len(blank)] = min(found[len(blank)], time.perf_counter() - began)
    return found


def _bounded(reading: Any, max_pixels: int | None) -> Any:
    most = min(reading.max_pixels, MOST_PIXELS) if max_pixels is None else max_pixels
    return replace(reading, max_pixels=most)
