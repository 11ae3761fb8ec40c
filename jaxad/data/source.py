"""What every data set looks like to the rest of the library."""

from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol, TypedDict, runtime_checkable

from jaxtyping import Bool, UInt8
from numpy import ndarray as NpArray

OnBadImage = Literal["error", "skip"]  # what is done about files that cannot be read


class Item(TypedDict):
    """One picture, at its own size.

    Attributes:
      image: RGB.
      mask: 1 where defective; all zeros for a normal picture and where no mask is known.
      label: 0 normal, 1 anomalous.
      index: place in the source.
    """

    image: UInt8[NpArray, "H W 3"]
    mask: UInt8[NpArray, "H W"]
    label: int
    index: int


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


class Data(NamedTuple):
    """What a data module's `load` gives.

    Attributes:
      train: normal images to learn from.
      heldout: normal images for `calibrate`, and to select a state by; never from `test`.
      test: normal and anomalous images with labels and, perhaps, masks.
      streams: {name: source} of what a detector's `streams` want: "aux", pictures of anything else;
        "foreground", masks of the objects in `train`, in its order.
    """

    train: Source
    heldout: Source
    test: Source | None = None
    streams: Mapping[str, Source] = {}

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
