"""Sets of small pictures with a class each, such as CIFAR-10, and parts of them as sources."""

import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int, Integer, UInt8

from jaxad.data.source import Item, LeftOut, Record, Region, Stamp


@runtime_checkable
class Pictures(Protocol):
    """8-bit pictures by index: RGB, or grey with or without an axis of one channel."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> UInt8[np.ndarray, "..."]: ...


class Part(NamedTuple):
    """The training or the test pictures of a labelled set.

    Attributes:
      pictures: of all classes.
      labels: the class of each, as a place in `Labelled.classes`.
      stamps: of the files that hold them, by name.
    """

    pictures: Pictures
    labels: Int[np.ndarray, "N"]
    stamps: Mapping[str, Stamp] = {}


class Labelled(NamedTuple):
    """A labelled set.

    Attributes:
      name: "cifar10".
      classes: their names.
      train: pictures to learn from.
      test: others.
    """

    name: str
    classes: tuple[str, ...]
    train: Part
    test: Part


def labelled(
    name: str,
    classes: Sequence[str],
    train: tuple[Pictures, Integer[np.ndarray, "..."]],
    test: tuple[Pictures, Integer[np.ndarray, "..."]],
    stamps: Mapping[str, Stamp] = {},
) -> Labelled:
    """A labelled set of pictures and labels, checked; `stamps` of the files that hold them.

    Raises:
      ValueError: a class has no name of its own or is called "good", as normal pictures are; there
        are no pictures; or labels are not one for each picture and a place in `classes`.
    """
    classes = tuple(classes)
    if len(classes) < 2 or len(set(classes)) < len(classes) or {"", "good"} & set(classes):
        raise ValueError(
            f"classes {', '.join(map(repr, classes))}: expected two or more names that differ, "
            "none of them empty or 'good'"
        )
    parts = []
    for part, (pictures, labels) in (("train", train), ("test", test)):
        if labels.shape != (len(pictures),) or len(pictures) == 0:
            raise ValueError(
                f"{part}: {len(pictures)} pictures and labels of shape {labels.shape}: expected "
                "pictures, and one label for each"
            )
        if labels.min() < 0 or labels.max() >= len(classes):
            raise ValueError(
                f"{part}: labels from {labels.min()} to {labels.max()} for {len(classes)} "
                f"classes: expected 0 to {len(classes) - 1}"
            )
        parts.append(Part(pictures, labels.astype(np.int64), stamps))
    return Labelled(name, classes, *parts)


class ClassPictures:
    """Some pictures of a labelled set, as a source.

    Attributes:
      indices: their places in the part.
    """

    has_masks = False
    has_regions = False
    skipped: tuple[LeftOut, ...] = ()

    def __init__(
        self,
        part: Part,
        indices: Int[np.ndarray, "n"],
        classes: Sequence[str],
        normal: Collection[int],
        category: str,
    ) -> None:
        """Pictures of which the classes `normal` are normal; the others are defects by name."""
        self.indices = indices
        self._pictures = part.pictures
        self._stamps = dict(part.stamps)
        names = [(int(i), int(part.labels[i])) for i in indices]
        self.records = tuple(
            Record(f"{classes[c]}/{i:05d}", category, "good" if c in normal else classes[c])
            for i, c in names
        )

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        # Tells splits apart, and is the same in every process and wherever the file lies.
        lines = "\n".join(f"{record.category}/{record.name}" for record in self.records)
        return f"ClassPictures({len(self)} pictures, {zlib.crc32(lines.encode()):08x})"

    def __getitem__(self, index: int) -> Item:
        """One picture, as RGB.

        Raises:
          ValueError: it is damaged.
        """
        index = range(len(self))[index]
        image = rgb(self._pictures[int(self.indices[index])])
        mask = np.zeros(image.shape[:2], np.uint8)
        return {"image": image, "mask": mask, "label": self.records[index].label, "index": index}

    def stamps(self) -> dict[str, Stamp]:
        """Of the files that hold the whole set."""
        return self._stamps

    def regions(self, index: int) -> list[Region]:
        """Raises ValueError: a label tells no defects apart."""
        raise ValueError(f"{self!r} does not tell single defects apart (has_regions is False)")


def rgb(picture: UInt8[np.ndarray, "..."]) -> UInt8[np.ndarray, "H W 3"]:
    """A copy of a picture, grey repeated."""
    picture = picture[..., None] if picture.ndim == 2 else picture
    return np.array(np.broadcast_to(picture, (*picture.shape[:2], 3)))
