"""A trained model as one callable: pictures in, decisions, maps and regions out."""

import os
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar, overload

import numpy as np
from jaxtyping import Float32, Int, PyTree, UInt8
from numpy import ndarray as NpArray

from jaxad import compile, mesh
from jaxad.data import images, preprocessing
from jaxad.data.ahead import ahead
from jaxad.data.pictures import THREADS
from jaxad.data.view import Preprocessing
from jaxad.decision import batches
from jaxad.decision import card as cards
from jaxad.decision.batches import Image, Raw, Seen
from jaxad.decision.card import Card, Judgement
from jaxad.decision.regions import Region, regions
from jaxad.decision.squares import blended, boxes, whole
from jaxad.detector import Detector, State
from jaxad.training.restore import finished

Path = str | os.PathLike[str]
T = TypeVar("T")
SQUARES = 4096  # of one picture, at most


class Finding(NamedTuple):
    """What a model says of one picture.

    Attributes:
      judgement: score, percentile, p-value and label.
      regions: where the map is above the card's limit for pixels, the highest peak first; in
        pixels of the picture as a viewer shows it.
      map: unscaled, at the picture's size; higher is more anomalous.
      labels: for each pixel the number of its region, from 1; 0 for none.
    """

    judgement: Judgement
    regions: list[Region]
    map: Float32[NpArray, "H W"]
    labels: Int[NpArray, "H W"]


class Predictor:
    """A trained model, compiled and ready.

    Called with a picture it gives a `Finding`, with several a list of them. A picture is the path
    of a file, the bytes of one, or an array: 8-bit RGB, `H W 3`, or grey, `H W`. It may be called
    from several threads at once. Nothing of a picture is kept. Made within `mesh.use(...)`, it
    computes on all devices of that mesh, also after it.

    Args:
      detector: the method.
      cfg: its settings.
      pretrained: {name: tree} for `cfg.weights`.
      state: trained and calibrated.
      card: what its scores mean.
      category: of the pictures; None: the card's only one.
      preprocessing: how files are read, and what the detector sees of them.
      batch_size: pictures in one call of the detector; `cfg.batch_size` by default; on a mesh
        raised until it divides by the devices.
      tiles: side in pixels of the parts that larger pictures are cut into; None for no cutting.

    Raises:
      ValueError: the card has no such category, or was made of pictures that were cut in another
        way.
    """

    def __init__(
        self,
        detector: Detector,
        cfg: Any,
        pretrained: PyTree,
        state: State,
        card: Card,
        *,
        category: str | None = None,
        preprocessing: Preprocessing,
        batch_size: int | None = None,
        tiles: int | None = None,
    ) -> None:
        self.detector, self.cfg, self.category = detector, cfg, category
        self.preprocessing, self.tiles = preprocessing, tiles or None
        self.batch_size = mesh.divisible(cfg.batch_size if batch_size is None else batch_size)
        self.card = card
        self._arguments = mesh.put((pretrained, state._replace(opt=())))
        self._predict, self._mesh = compile.predict(detector), mesh.current()
        self.compute(np.zeros((self.batch_size, cfg.size, cfg.size, 3), np.uint8))  # compiles

    @classmethod
    def load(
        cls,
        run: Path,
        *,
        card: Card | Path | None = None,
        category: str | None = None,
        batch_size: int | None = None,
        tiles: int | None = None,
        max_pixels: int | None = None,
    ) -> "Predictor":
        """The predictor of a finished run, or of a bundle that was exported from one.

        Args:
          run: its folder.
          card: another card than the run's, or its file.
          category: of the pictures, where the run learned several.
          batch_size: pictures in one call of the detector; the run's by default.
          tiles: see `Predictor`; as the card's pictures were by default.
          max_pixels: pictures of more are refused; None for the limit of the run.

        Raises:
          FileNotFoundError: there is no such run, it is not finished, or it has no card.
          ValueError: the run or the card is damaged, or the card is of another model.
        """
        folder = pathlib.Path(run).expanduser().absolute()
        found = finished(folder)
        if card is None:
            card = cards.of_run(folder, found.model, tiles)
        elif isinstance(card, Card):
            cards.check_model(card, found.model, f"what is given as the card of {folder}")
        else:
            where = str(card)
            card = cards.read(pathlib.Path(card))
            cards.check_model(card, found.model, where)
        tiles = card.tiles or None if tiles is None else tiles
        card.of(category)
        names = list(card.normals)
        seen_as = category or (names[0] if len(names) == 1 else "")
        before = preprocessing.of_later(folder, seen_as, max_pixels)
        return cls(
            *found[:4], card, category=category, preprocessing=before, batch_size=batch_size,
            tiles=tiles,
        )  # fmt: skip

    @property
    def card(self) -> Card:
        """What scores mean; another one may be set at any time."""
        return self._card

    @card.setter
    def card(self, card: Card) -> None:
        card.of(self.category)
        if self.category is not None and self.category not in card.normals:
            raise ValueError(
                f"category {self.category!r} (--category): the card has {', '.join(card.normals)}"
            )
        if card.tiles != (self.tiles or 0):
            made, now = (f"tiles of {x} pixels" if x else "whole" for x in (card.tiles, self.tiles))
            raise ValueError(
                f"the card was made of pictures that were seen as {made}, these are seen as "
                f"{now}, whose scores are others: give the same --tiles, or make a card with "
                "`jaxad calibrate RUN NORMAL_PICTURES` and these"
            )
        self._card = card

    @overload
    def __call__(self, pictures: Path | bytes | NpArray) -> Finding: ...
    @overload
    def __call__(self, pictures: Iterable[Path | bytes | NpArray]) -> list[Finding]: ...
    def __call__(self, pictures: Any) -> Any:
        """What the model says of one picture, or of several.

        Raises:
          FileNotFoundError: there is no such file.
          ValueError: a file or an array is no picture that can be used.
          TypeError: it is neither.
          FloatingPointError: a map or a score is not finite.
        """
        single = isinstance(pictures, str | os.PathLike | bytes) or (
            isinstance(pictures, np.ndarray) and not _is_several(pictures)
        )
        several: Any = [pictures] if single else pictures
        with ThreadPoolExecutor(THREADS) as pool:
            found = list(self.stream(several, pool, self.see, self.finding))
        return found[0] if single else found

    def stream(
        self,
        things: Iterable[Any],
        pool: ThreadPoolExecutor,
        see: Callable[[Any], "Seen | T"],
        finish: Callable[[Seen, Raw], Any],
    ) -> Iterator[Any]:
        """What `finish` gives of each thing, in order; reading, computing and finishing overlap.

        Args:
          things: pictures, or what `see` makes pictures of.
          pool: of the threads that read and finish.
          see: `self.see`, or a function that calls it; what it gives instead of a picture passes
            through.
          finish: `self.finding`, or a function that calls it.
        """
        window = THREADS + self.batch_size
        done = lambda pair: pair[0] if pair[1] is None else finish(*pair)
        yield from ahead(done, self.computed(ahead(see, things, pool, window)), pool, 2 * THREADS)

    def see(self, picture: Path | bytes | NpArray, keep: bool = False) -> Seen:
        """Reads a picture; errors as for a call.

        Args:
          picture: to read.
          keep: whether `Seen.image` is wanted; several pictures are held at a time.
        """
        began = time.perf_counter()
        reading, view = self.preprocessing
        if isinstance(picture, np.ndarray):
            path, image = None, _rgb(picture)
        elif isinstance(picture, bytes):
            path, image = None, images.read_image(_named(picture), reading, picture)
        elif not isinstance(picture, str | os.PathLike):
            raise TypeError(
                f"a {type(picture).__name__}: expected a path, bytes or a numpy array of uint8"
            )
        else:
            path = pathlib.Path(picture)
            image = images.read_image(path, reading)
        if view.region is not None and view.region.shape != image.shape[:2]:
            height, width = view.region.shape
            raise ValueError(
                f"{_named(picture)} has {image.shape[1]} x {image.shape[0]} pixels, but the region "
                f"to look at {width} x {height}: pictures must be taken as the run's were"
            )
        shape = image.shape[:2]
        cuts = [whole(shape)] if self.tiles is None else boxes(shape, self.tiles)
        if view.region is not None:  # what lies wholly outside is black, and says nothing
            cuts = [cut for cut in cuts if view.region[cut.inside].any()]
        if len(cuts) > SQUARES:
            raise ValueError(
                f"{_named(picture)}: tiles of {self.tiles} pixels (--tiles) cut its {shape[1]} x "
                f"{shape[0]} into {len(cuts)}, more than {SQUARES}: give larger ones"
            )
        squares = np.stack([cut.square(image, view, self.cfg.size) for cut in cuts])
        seconds = time.perf_counter() - began
        return Seen(shape, image if keep else None, cuts, squares, path, seconds)

    def check(self, seen: Seen, raw: Raw) -> None:
        """Raises FloatingPointError if a map or a score is not finite."""
        if not (np.isfinite(raw.maps).all() and np.isfinite(raw.scores).all()):
            name = seen.source or "the picture"
            raise FloatingPointError(
                f"the map or the score of {name} is not finite: the weights hold NaN"
            )

    def finding(self, seen: Seen, raw: Raw) -> Finding:
        """From what the detector gave to what is decided.

        Raises:
          FloatingPointError: a map or a score is not finite.
        """
        self.check(seen, raw)
        card = self.card  # one, even if another is set meanwhile
        map, score = self._placed(seen, raw, card.level)
        _, limit = card.thresholds(self.category)
        found, labels = regions(map, np.inf if limit is None else limit)
        return Finding(card.judge(score, self.category), found, map, labels)

    def _placed(self, seen: Seen, raw: Raw, level: float) -> tuple[Float32[NpArray, "H W"], float]:
        """The map at the picture's size, and the picture's score."""
        view = self.preprocessing.view
        if self.tiles is None:
            map = view.placed(raw.maps[0], seen.shape, level)
        else:
            map = blended(seen.shape, seen.cuts, raw.maps, view, level)
        return map, float(raw.scores.max())

    def computed(self, items: Iterable[Any]) -> Iterator[tuple[Any, Raw | None]]:
        """Each thing with what the detector gave of its squares, as `batches.computed`."""
        return batches.computed(items, self.compute, self.batch_size)

    def compute(self, squares: UInt8[NpArray, "B size size 3"]) -> Any:
        """The detector's `Prediction` of squares, perhaps still being computed.

        Args:
          squares: as `Seen` has them; each number of them compiles once. On a mesh it has to divide
            by the devices, see `mesh.divisible`.
        """
        return self._predict(self.cfg, *self._arguments, mesh.spread(squares, self._mesh))


def _is_several(array: NpArray) -> bool:
    return array.ndim == 4


def _named(picture: Path | bytes | NpArray) -> str:
    if isinstance(picture, bytes):
        return "the picture"
    return "the array" if isinstance(picture, np.ndarray) else str(picture)


def _rgb(array: NpArray) -> Image:
    """An array as an RGB picture."""
    if array.dtype != np.uint8:
        raise ValueError(
            f"an array of {array.dtype}: expected uint8, 0 to 255; files of more bits are read by "
            "their path"
        )
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=-1)
    if array.ndim != 3 or array.shape[2] != 3 or min(array.shape[:2]) < 2:
        raise ValueError(f"an array of shape {array.shape}: expected H W 3, or H W for grey")
    return array
