"""Some pictures of a source, as a source."""

from collections.abc import Sequence

from jaxad.data.source import Item, LeftOut, Region, Source, Stamp, stamps


class Part:
    """The pictures at some places of a source.

    Attributes:
      source: what it is a part of.
      places: of its pictures there, in their order.
    """

    skipped: tuple[LeftOut, ...] = ()  # the source tells them

    def __init__(self, source: Source, places: Sequence[int]) -> None:
        self.source, self.places = source, tuple(places)
        self.records = tuple(source.records[place] for place in self.places)
        self.has_masks, self.has_regions = source.has_masks, source.has_regions

    def __len__(self) -> int:
        return len(self.places)

    def __repr__(self) -> str:
        return f"Part({self.source!r}, {self.places})"

    def __getitem__(self, index: int) -> Item:
        index = range(len(self))[index]
        return {**self.source[self.places[index]], "index": index}

    def stamps(self) -> dict[str, Stamp]:
        """As the source's, with those of pictures that are not in this part."""
        return stamps(self.source)

    def regions(self, index: int) -> list[Region]:
        """As the source's."""
        return self.source.regions(self.places[index])
