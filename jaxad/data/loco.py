"""MVTec LOCO AD: structural and logical anomalies, with saturation areas.

    pushpins/train/good/000.png
    pushpins/validation/good/000.png
    pushpins/test/good/000.png, .../structural_anomalies/000.png, .../logical_anomalies/000.png
    pushpins/ground_truth/logical_anomalies/000/000.png    one file for each defect of a picture
    pushpins/defects_config.json    what the pixel values stand for

Source: Bergmann et al., IJCV 2022, "Beyond Dents and Scratches".
"""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxad.data import files as listing
from jaxad.data import images, mvtec, names, walk
from jaxad.data.files import File
from jaxad.data.image_folder import ImageFolder, Listed, open_data
from jaxad.data.reading import OnBadImage, Reading
from jaxad.data.source import Data, LeftOut, Region, Saturation
from jaxad.data.view import WHOLE, View

CONFIG = "defects_config.json"
KINDS = {"structural_anomalies": "structural", "logical_anomalies": "logical"}


class LocoFolder(ImageFolder):
    """Pictures whose masks are one file for each defect.

    Attributes:
      saturations: by pixel value of the masks.
    """

    def __init__(
        self,
        files: Sequence[File],
        skipped: Sequence[LeftOut] = (),
        reading: Reading = images.PLAIN,
        view: View = WHOLE,
        *,
        saturations: Mapping[int, Saturation],
    ) -> None:
        super().__init__(files, skipped, reading, view)
        self.saturations = saturations
        self.has_regions = self.has_masks

    def regions(self, index: int) -> list[Region]:
        """The defects of one picture.

        Raises:
          ValueError: a mask has not one value besides 0, or one that the configuration lacks.
        """
        found = []
        for path in self.files[index].masks:
            labels, white = images.grey_levels(path, self.reading)
            labels = np.where(images.marked(labels, white, self.reading), labels, 0)
            values = np.unique(labels[labels != 0]).tolist()
            if len(values) != 1 or values[0] not in self.saturations:
                raise ValueError(
                    f"{path}: has the values {values} besides 0; expected one of "
                    f"{sorted(self.saturations)}, which are in {CONFIG}"
                )
            mask = labels != 0
            found.append(Region(mask, self.saturations[values[0]].pixels(int(mask.sum()))))
        return found


def load(
    folder: str | Path,
    *,
    seed: int = 0,
    heldout: float = 0.1,
    on_bad_image: OnBadImage = "error",
    reading: Reading = images.PLAIN,
) -> Data:
    """One category; arguments and errors as in `mvtec.load`.

    The data set's own validation pictures are held out, so that `seed` and `heldout` matter only
    where they are missing.

    Raises:
      FileNotFoundError: there is no such folder, no normal pictures, or no `defects_config.json`.
      ValueError: masks and pictures do not match, the configuration is not as expected, or files
        are bad.
    """
    return opened(
        listed(folder), seed=seed, heldout=heldout, on_bad_image=on_bad_image, reading=reading
    )


def listed(folder: str | Path) -> Listed:
    """The files of a category; errors as of `load`."""
    folder = Path(folder)
    category = listing.category_of(folder)
    train = mvtec.train_files(folder)
    masks = folder / "ground_truth"
    names.check_no_loose(folder / "test", f"good, {' or '.join(KINDS)} in it")
    test = listing.normal_files(folder / "test", category)
    others = [
        sub for place in (folder / "test", masks) for sub in walk.subfolders(place)
        if sub.name not in KINDS and not names.is_normal(sub.name)
        and walk.list_images(sub, recursive=True)
    ]  # fmt: skip
    if others:
        raise ValueError(f"expected good and {', '.join(KINDS)}, not{listing.shown(others)}")
    for name, kind in KINDS.items():
        files = listing.files_in(folder / "test" / name, category, name, kind)
        test += _with_mask_folders(files, masks / name)
    return Listed(
        category,
        train,
        test,
        listing.normal_files(folder / "validation", category),
        folders=[folder],
        known=[folder / CONFIG],
        saturations=read_saturations(folder / CONFIG) if masks.is_dir() else {},
    )


def opened(found: Listed, **how: Any) -> Data:
    """A data set from lists of pictures whose masks are one file for each defect, checked.

    Args:
      found: the lists.
      how: as for `image_folder.open_data`.

    Raises:
      ValueError: as there, or a mask has not one value that has a saturation.
    """
    source = partial(LocoFolder, saturations=found.saturations or {})
    data = open_data(found, test_source=source, **how)
    if data.test is not None and data.test.has_regions:
        marked = [i for i, record in enumerate(data.test.records) if record.label]
        with ThreadPoolExecutor() as pool:  # what a mask holds is not to be found after training
            list(pool.map(data.test.regions, marked))
    return data


def read_saturations(path: Path) -> dict[int, Saturation]:
    """Saturation areas by pixel value, from `defects_config.json`.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is not as in the data set.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing; it comes with the data set")
    try:
        return {
            int(entry["pixel_value"]): Saturation(
                float(entry["saturation_threshold"]), bool(entry["relative_saturation"])
            )
            for entry in json.loads(path.read_text(encoding="utf-8"))
        }
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: expected a list of entries with pixel_value, saturation_threshold and "
            f"relative_saturation ({error!r})"
        ) from error


def _with_mask_folders(files: Sequence[File], folder: Path) -> list[File]:
    paths = walk.list_images(folder, recursive=True) if folder.is_dir() else []
    lonely: dict[str, list[Path]] = {}
    for path in paths:
        place = walk.plain(path.parent.relative_to(folder).as_posix())
        lonely.setdefault(place, []).append(path)
    for sub in walk.subfolders(folder):  # an empty one was meant for some picture
        if not any(sub.iterdir()):
            lonely.setdefault(walk.plain(sub.name), [sub / "no mask"])
    paired = [file._replace(masks=tuple(lonely.pop(file.key, ()))) for file in files]
    if lonely:
        parents = [several[0].parent for several in lonely.values()]
        raise ValueError(f"masks without a picture:{listing.shown(parents)}")
    return paired
