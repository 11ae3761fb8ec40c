"""Pictures in files, as sources."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxad.data import checks, images, looks, preprocessing, shards, walk
from jaxad.data import files as listing
from jaxad.data.files import File
from jaxad.data.reading import OnBadImage, Reading
from jaxad.data.source import Data, Item, LeftOut, Region, Saturation, Stamp
from jaxad.data.view import WHOLE, Preprocessing, View


class Listed(NamedTuple):
    """The files of a category as its layout has them: found and paired, not yet opened.

    Attributes:
      category: what they show.
      train: normal pictures, from which some are held out if there is no `validation`.
      test: normal and anomalous pictures.
      validation: normal pictures that the data set holds out itself.
      folders: where they lie: what is not used of these is `Data.passed_over`.
      known: files that tell something of the pictures.
      saturations: by pixel value of the masks, where each mask is of one defect.
    """

    category: str
    train: Sequence[File]
    test: Sequence[File] = ()
    validation: Sequence[File] = ()
    folders: Sequence[Path] = ()
    known: Sequence[Path] = ()
    saturations: Mapping[int, Saturation] | None = None


class ImageFolder:
    """Pictures in files, as a source; a file is read when it is asked for.

    Attributes:
      files: the pictures and their masks.
      skipped: pictures that were left out because they cannot be read.
      reading: how the files become pictures.
    """

    has_regions = False

    def __init__(
        self,
        files: Sequence[File],
        skipped: Sequence[LeftOut] = (),
        reading: Reading = images.PLAIN,
        view: View = WHOLE,
    ) -> None:
        self.files = tuple(files)
        self.skipped = tuple(skipped)
        self.records = tuple(file.record for file in self.files)
        self.has_masks = all(file.masks for file in self.files if file.record.label)
        self.reading, self._view = reading, view
        self._stamps = [shards.stamp(file.path) for file in self.files]

    def __len__(self) -> int:
        return len(self.files)

    def __repr__(self) -> str:
        # Tells splits apart, and is the same in every process and wherever the files lie.
        names = "\n".join(record.name for record in self.records)
        return f"{type(self).__name__}({len(self)} pictures, {zlib.crc32(names.encode()):08x})"

    def __getitem__(self, index: int) -> Item:
        """Reads one picture and its masks.

        Raises:
          ValueError: a file is damaged or was replaced, or a mask has another size; the message
            names it.
        """
        index = range(len(self))[index]
        file, content = self.files[index], self._content(index)
        try:
            image = images.read_image(file.path, self.reading, content)
            mask = np.zeros(image.shape[:2], np.uint8)
            for path in file.masks:
                part = images.read_mask(path, self.reading)
                checks.check_size(file.path, mask.shape, path, part.shape)
                mask |= part
        except ValueError as error:
            hint = 'replace the file, or leave out bad ones with on_bad_image="skip"'
            raise ValueError(f"{error}; {hint}") from error
        return Item(image=image, mask=mask, label=file.record.label, index=index, view=self._view)

    def regions(self, index: int) -> list[Region]:
        """Raises ValueError: plain masks do not tell single defects apart."""
        raise ValueError(f"{self!r} does not tell single defects apart (has_regions is False)")

    def stamps(self) -> dict[str, Stamp]:
        """Of each picture by its category and name, with the checksums of those read so far."""
        names = [f"{record.category}/{record.name}" for record in self.records]
        return dict(zip(names, self._stamps, strict=True))

    def _content(self, index: int) -> bytes:
        """What is in a picture's file, which has to be the same every time."""
        path, stamp = self.files[index].path, self._stamps[index]
        content = shards.content(path)
        content = path.read_bytes() if content is None else content
        checksum = zlib.crc32(content)
        if stamp.checksum not in (None, checksum):
            raise ValueError(
                f"{path} is not the picture that it was: it was replaced meanwhile; begin again"
            )
        self._stamps[index] = stamp._replace(checksum=checksum)
        return content


def open_data(
    found: Listed,
    *,
    seed: int,
    heldout: float,
    on_bad_image: OnBadImage,
    reading: Reading = images.PLAIN,
    test_source: Callable[..., ImageFolder] = ImageFolder,
) -> Data:
    """A data set from lists of pictures, checked.

    Args:
      found: the lists; `Data.test` is None if there are no test pictures.
      seed: decides which pictures of `train` are held out.
      heldout: fraction of `train` to hold out; one picture at least, none of a single one.
      on_bad_image: see `checks.checked`.
      reading: how files become pictures.
      test_source: makes `Data.test`: an `ImageFolder` or what is built as one.

    Raises:
      ValueError: masks or files are bad, two pictures of a set have one name, or none is left.
    """
    category, train, test, validation, folders, known, _ = found
    for files in (train, validation, test):
        listing.check_names(files)
    listing.check_apart([*train, *validation], test)
    listing.check_masks(test)
    everything = [*train, *validation, *test]
    headers, bad = checks.checked(everything, on_bad_image, reading)
    asked = reading.bits
    reading = looks.settled(reading, [*train, *validation], headers, category)
    if asked == "auto" and reading.bits is not None:  # which some of the others may not keep to
        deeper = [f for f in everything if f.path in headers and headers[f.path].depth > 8]
        bad |= checks.checked(deeper, on_bad_image, reading).bad
    view = preprocessing.view_of(reading, category, headers)

    def usable(files: Sequence[File]) -> list[File]:
        left = [file for file in files if file.path not in bad] if bad else list(files)
        if files and not left:
            raise ValueError(f"no picture can be read of those beside {files[0].path}")
        return left

    def source(kind: Callable[..., ImageFolder], files: Sequence[File], of: Sequence[File]):
        skipped = [bad[file.path] for file in of if file.path in bad]
        return kind([_without_empty_masks(file) for file in files], skipped, reading, view)

    good, test_pictures = usable(train), usable(test)
    looks.look_at_training(good, headers, reading)
    looks.look_at_masks([*good, *usable(validation), *test_pictures], reading, view)
    learn, hold = good, usable(validation)
    if not validation:
        learn, hold = listing.held_out(good, heldout, seed)
    used = [path for file in everything for path in (file.path, *file.masks)]
    region = preprocessing.region_of(reading, category)
    used += [region] if region is not None else []
    return Data(
        train=source(ImageFolder, learn, train),
        heldout=source(ImageFolder, hold, validation),
        test=source(test_source, test_pictures, test) if test else None,
        preprocessing={category: Preprocessing(reading, view)},
        passed_over=tuple(walk.unused(folders, [*used, *known])),
    )


def _without_empty_masks(file: File) -> File:
    """Masks of normal pictures, which mark nothing, need not be read again."""
    return file._replace(masks=()) if file.masks and not file.record.label else file
