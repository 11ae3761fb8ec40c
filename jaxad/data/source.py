"""What every data set looks like to the rest of the library."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, NotRequired, Protocol, TypedDict, runtime_checkable

import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray as NpArray

from jaxad.data.view import Preprocessing, View


class Item(TypedDict):
    """One picture, at its own size.

    Attributes:
      image: RGB.
      mask: 1 where defective; all zeros for a normal picture and where no mask is known.
      label: 0 normal, 1 anomalous.
      index: place in the source.
      view: what a detector is to see of the picture; not there: all of it, squeezed to a square.
    """

    image: UInt8[NpArray, "H W 3"]
    mask: UInt8[NpArray, "H W"]
    label: int
    index: int
    view: NotRequired[View]


class Record(NamedTuple):
    """What is known of a picture without opening it.

    Attributes:
      name: unique within the source, without suffix; separated by "/": "crack/000".
      category: the kind of object or surface: "bottle".
      defect: "good" for a normal picture, otherwise the type of defect: "crack".
      kind: "structural" or "logical" where the data set tells them apart, otherwise "".
    """

    name: str
    category: str
    defect: str
    kind: str = ""

    @property
    def label(self) -> int:
        """0 normal, 1 anomalous."""
        return int(self.defect != "good")


class Region(NamedTuple):
    """One annotated defect, for the saturated per-region overlap (Bergmann et al., IJCV 2022).

    Attributes:
      mask: where it is.
      saturation: pixels of it that have to be found for full credit.
    """

    mask: Bool[NpArray, "H W"]
    saturation: int


class Saturation(NamedTuple):
    """How much of a defect has to be found for full credit.

    Attributes:
      threshold: pixels, or a fraction of the defect's area.
      relative: whether it is a fraction.
    """

    threshold: float
    relative: bool

    def pixels(self, area: int) -> int:
        """The same in pixels for a defect of this area; one at least."""
        return max(1, int(self.threshold * area if self.relative else min(self.threshold, area)))


def spread(whole: int, count: int) -> list[int]:
    """So many places of a set at most, spread evenly over its length `whole`."""
    return np.linspace(0, whole - 1, min(count, whole)).round().astype(int).tolist()


class LeftOut(NamedTuple):
    """A file that is not used, and why."""

    path: Path
    reason: str


class Stamp(NamedTuple):
    """What tells a file from another one of its name.

    Attributes:
      path: where it is.
      size: in bytes.
      modified: when it was, in nanoseconds.
      checksum: of its content; None until it is read.
    """

    path: Path
    size: int
    modified: int
    checksum: int | None = None

    @classmethod
    def of(cls, path: str | os.PathLike, checksum: int | None = None) -> "Stamp":
        """The stamp of a file as it is now."""
        found = os.stat(path)
        return cls(
            path if isinstance(path, Path) else Path(path),
            found.st_size,
            found.st_mtime_ns,
            checksum,
        )


@runtime_checkable
class Source(Protocol):
    """Random access to pictures, as Grain wants it: picklable, with a stable `repr`.

    Attributes:
      records: one for each picture.
      has_masks: whether every anomalous picture has its mask.
      has_regions: whether `regions` tells single defects and their saturation areas.
    """

    records: tuple[Record, ...]
    has_masks: bool
    has_regions: bool

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Item: ...

    def regions(self, index: int) -> list[Region]:
        """The defects of one picture; only where `has_regions`."""
        ...


@runtime_checkable
class FromFiles(Protocol):
    """What a source can tell besides, if its pictures lie in files that others may change.

    Attributes:
      skipped: pictures that were left out because they cannot be read.
    """

    skipped: tuple[LeftOut, ...]

    def stamps(self) -> dict[str, Stamp]:
        """Of each file by the name of its picture, with the checksums known so far."""
        ...


def skipped(source: Source) -> tuple[LeftOut, ...]:
    """The pictures that were left out of a source; none where there are no files."""
    return source.skipped if isinstance(source, FromFiles) else ()


def stamps(source: Source) -> dict[str, Stamp]:
    """The stamps of a source's files, see `FromFiles`; none where there are no files."""
    return source.stamps() if isinstance(source, FromFiles) else {}


class Data(NamedTuple):
    """What a data module's `load` gives.

    Attributes:
      train: normal images to learn from.
      heldout: normal images for `calibrate`, and to select a state by; never from `test`.
      test: normal and anomalous images with labels and, perhaps, masks.
      streams: {name: source} of what a detector's `streams` want: "aux", pictures of anything else;
        "foreground", masks of the objects in `train`, in its order.
      preprocessing: by category, how its files became pictures; what is not there had no choice.
      passed_over: files beside the pictures that are not used.
    """

    train: Source
    heldout: Source
    test: Source | None = None
    streams: Mapping[str, Source] = {}
    preprocessing: Mapping[str, Preprocessing] = {}
    passed_over: tuple[LeftOut, ...] = ()

    def test_set(self) -> Source:
        """`test`, where there has to be one.

        Raises:
          ValueError: there is none.
        """
        if self.test is None:
            raise ValueError("there is no test set to evaluate on: data.test is None")
        return self.test

    def with_streams(self, **streams: Source) -> "Data":
        """The same with these streams too, in place of those of the same names."""
        return self._replace(streams={**self.streams, **streams})
