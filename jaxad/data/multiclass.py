"""Several categories as one data set: the unified protocol.

One model learns all categories together and is never told which is which; `Record.category` stays
for the metrics, which are per category. You et al., NeurIPS 2022 (arXiv:2206.03687), section 4.
"""

import bisect
import itertools
from collections.abc import Mapping, Sequence

from jaxad.data.source import Data, Item, LeftOut, Record, Region, Source, Stamp, skipped, stamps


class Pool:
    """Sources one after the other, as one.

    Attributes:
      sources: what is pooled.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = tuple(sources)
        self.records: tuple[Record, ...] = tuple(
            itertools.chain.from_iterable(source.records for source in self.sources)
        )
        # Pixel metrics of a category need its masks only.
        self.has_masks = any(source.has_masks for source in self.sources)
        self.has_regions = any(source.has_regions for source in self.sources)
        self._ends = list(itertools.accumulate(len(source) for source in self.sources))
        self.skipped: tuple[LeftOut, ...] = tuple(
            itertools.chain.from_iterable(skipped(source) for source in self.sources)
        )

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __repr__(self) -> str:
        return f"Pool({', '.join(map(repr, self.sources))})"

    def __getitem__(self, index: int) -> Item:
        """A picture of one of the sources."""
        index = range(len(self))[index]
        source, place = self._place(index)
        return {**source[place], "index": index}

    def stamps(self) -> dict[str, Stamp]:
        """Of the files of all sources, by the number of the source and the name there."""
        return {
            f"{number}: {name}": stamp
            for number, source in enumerate(self.sources)
            for name, stamp in stamps(source).items()
        }

    def regions(self, index: int) -> list[Region]:
        """The defects of one picture; none of a source that does not tell them apart."""
        source, place = self._place(range(len(self))[index])
        return source.regions(place) if source.has_regions else []

    def _place(self, index: int) -> tuple[Source, int]:
        which = bisect.bisect_right(self._ends, index)
        return self.sources[which], index - (self._ends[which] - len(self.sources[which]))


def pooled(data: Mapping[str, Data]) -> Data:
    """Data sets of several categories as one.

    Args:
      data: of each category, by name. Its pictures carry that name from here on.

    Raises:
      ValueError: there are no categories, or one has no pictures to learn from.
    """
    if not data:
        raise ValueError("no categories to pool")
    for name, one in data.items():
        if len(one.train) == 0:
            raise ValueError(f"category {name!r} has no pictures to learn from")
    tests = {name: one.test for name, one in data.items() if one.test is not None}
    # One that only some have is pooled of those; where its pictures belong to training pictures one
    # by one, `pipeline.train_batches` refuses it, since they are too few.
    names = dict.fromkeys(name for one in data.values() for name in one.streams)
    streams = {
        name: Pool([one.streams[name] for one in data.values() if name in one.streams])
        for name in names
    }
    return Data(
        train=Pool([Named(one.train, name) for name, one in data.items()]),
        heldout=Pool([Named(one.heldout, name) for name, one in data.items()]),
        test=Pool([Named(source, name) for name, source in tests.items()]) if tests else None,
        streams=streams,
        preprocessing={
            name: next(iter(one.preprocessing.values()))
            for name, one in data.items()
            if one.preprocessing
        },
        passed_over=tuple(itertools.chain.from_iterable(one.passed_over for one in data.values())),
    )


class Named:
    """A source whose pictures are of one category."""

    def __init__(self, source: Source, category: str) -> None:
        self.source, self.category = source, category
        self.records = tuple(record._replace(category=category) for record in source.records)
        self.has_masks, self.has_regions = source.has_masks, source.has_regions
        self.skipped = skipped(source)

    def __len__(self) -> int:
        return len(self.source)

    def __repr__(self) -> str:
        return f"{self.category}: {self.source!r}"

    def __getitem__(self, index: int) -> Item:
        return self.source[index]

    def stamps(self) -> dict[str, Stamp]:
        """As the source's."""
        return stamps(self.source)

    def regions(self, index: int) -> list[Region]:
        """As the source's."""
        return self.source.regions(index)
