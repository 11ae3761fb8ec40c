"""Pictures in files, as sources."""

import zlib
from collections.abc import Callable, Sequence

import numpy as np

from jaxad.data import files as listing
from jaxad.data import images
from jaxad.data.files import BadFile, File, OnBadImage
from jaxad.data.source import Data, Item, Region


class ImageFolder:
    """Pictures in files, as a source; a file is read when it is asked for.

    Attributes:
      files: the pictures and their masks.
      skipped: pictures that were left out because they cannot be read.
    """

    has_regions = False

    def __init__(self, files: Sequence[File], skipped: Sequence[BadFile] = ()) -> None:
        self.files = tuple(files)
        self.skipped = tuple(skipped)
        self.records = tuple(file.record for file in self.files)
        self.has_masks = all(file.masks for file in self.files if file.record.label)

    def __len__(self) -> int:
        return len(self.files)

    def __repr__(self) -> str:
        # Tells splits apart, and is the same in every process and wherever the files lie.
        names = "\n".join(f"{record.category}/{record.name}" for record in self.records)
        return f"{type(self).__name__}({len(self)} pictures, {zlib.crc32(names.encode()):08x})"

    def __getitem__(self, index: int) -> Item:
        """Reads one picture and its masks.

        Raises:
          ValueError: a file is damaged, or a mask has another size; the message names it.
        """
        index = range(len(self))[index]
        file = self.files[index]
        try:
            image = images.read_image(file.path)
            mask = np.zeros(image.shape[:2], np.uint8)
            for path in file.masks:
                part = images.read_mask(path)
                listing.check_size(file.path, mask.shape, path, part.shape)
                mask |= part
        except ValueError as error:
            hint = 'replace the file, or leave out bad ones with on_bad_image="skip"'
            raise ValueError(f"{error}; {hint}") from error
        return {"image": image, "mask": mask, "label": file.record.label, "index": index}

    def regions(self, index: int) -> list[Region]:
        """Raises ValueError: plain masks do not tell single defects apart."""
        raise ValueError(f"{self!r} does not tell single defects apart (has_regions is False)")


def open_data(
    train: Sequence[File],
    test: Sequence[File],
    validation: Sequence[File] = (),
    *,
    seed: int,
    heldout: float,
    on_bad_image: OnBadImage,
    test_source: Callable[..., ImageFolder] = ImageFolder,
) -> Data:
    """A data set from lists of pictures, checked.

    Args:
      train: normal pictures, from which some are held out if there is no `validation`.
      test: normal and anomalous pictures; `Data.test` is None if there are none.
      validation: normal pictures that the data set holds out itself.
      seed: decides which pictures of `train` are held out.
      heldout: fraction of `train` to hold out; one picture at least.
      on_bad_image: see `files.bad_files`.
      test_source: makes `Data.test` of its files and those that were left out.

    Raises:
      ValueError: masks or files are bad, two pictures of a set have one name, or too few are left.
    """
    for files in (train, validation, test):
        listing.check_names(files)
    listing.check_masks(test)
    bad = {
        file.path: file for file in listing.bad_files([*train, *validation, *test], on_bad_image)
    }

    def usable(files: Sequence[File]) -> list[File]:
        left = [file for file in files if file.path not in bad]
        if files and not left:
            raise ValueError(f"no picture can be read of those beside {files[0].path}")
        return left

    def skipped(files: Sequence[File]) -> list[BadFile]:
        return [bad[file.path] for file in files if file.path in bad]

    if validation:
        learn, hold = usable(train), usable(validation)
    else:
        learn, hold = listing.held_out(usable(train), heldout, seed)
    return Data(
        train=ImageFolder(learn, skipped(train)),
        heldout=ImageFolder(hold, skipped(validation)),
        test=test_source(usable(test), skipped(test)) if test else None,
    )
