"""VisA: twelve categories, split by a table.

    VisA/split_csv/1cls.csv    columns object, split, label, image, mask; paths from VisA/
    VisA/candle/Data/Images/Normal/0000.JPG
    VisA/candle/Data/Masks/Anomaly/000.png    classes of defect as pixel values

Source: Zou et al., ECCV 2022, "SPot-the-Difference".
"""

import csv
from collections import Counter
from pathlib import Path

from jaxad.data import files as listing
from jaxad.data import images, walk
from jaxad.data.files import File
from jaxad.data.image_folder import Listed, open_data
from jaxad.data.reading import OnBadImage, Reading
from jaxad.data.source import Data, Record

COLUMNS = ("object", "split", "label", "image", "mask")
DEFECTS = {"normal": "good", "anomaly": "anomaly"}


def categories(root: str | Path) -> list[str]:
    """The categories of the table in a folder that holds them all."""
    return sorted({row["object"] for row in _rows(Path(root) / "split_csv" / "1cls.csv")})


def load(
    folder: str | Path,
    *,
    split: str | Path | None = None,
    seed: int = 0,
    heldout: float = 0.1,
    on_bad_image: OnBadImage = "error",
    reading: Reading = images.PLAIN,
) -> Data:
    """One category.

    Args:
      folder: of the category, inside the folder of the data set.
      split: the table; the data set's `split_csv/1cls.csv` if not given.
      seed: decides which training pictures are held out.
      heldout: fraction of them; one picture at least.
      on_bad_image: "error" names bad files; "skip" decodes every file now and leaves them out.
      reading: how files become pictures.

    Raises:
      FileNotFoundError: there is no table, or pictures of it are missing.
      ValueError: the table is of another kind, has not this category or trains on anomalies, some
        masks are missing, or files are bad.
    """
    return open_data(
        listed(folder, split),
        seed=seed,
        heldout=heldout,
        on_bad_image=on_bad_image,
        reading=reading,
    )


def listed(folder: str | Path, split: str | Path | None = None) -> Listed:
    """The files of a category; arguments and errors as of `load`."""
    folder = Path(folder).absolute()  # its name and its parent matter
    if (folder / "split_csv").is_dir():
        inside = ", ".join(categories(folder))
        raise ValueError(f"{folder}: holds the categories {inside}: give the folder of one")
    table = Path(split) if split else folder.parent / "split_csv" / "1cls.csv"
    rows = _rows(table)
    names = sorted({row["object"] for row in rows})
    if folder.name not in names:
        raise ValueError(f"{table}: has no category {folder.name!r} but {', '.join(names)}")
    rows = [row for row in rows if row["object"] == folder.name]
    train = [_file(folder.parent, row) for row in rows if row["split"] == "train"]
    test = [_file(folder.parent, row) for row in rows if row["split"] == "test"]
    paths = [file.path for file in train + test]
    if twice := sorted(path for path, count in Counter(paths).items() if count > 1):
        raise ValueError(f"{table} has pictures twice:{listing.shown(twice)}")
    missing = [path for path in paths if not path.is_file()]
    missing += [mask for file in train + test for mask in file.masks if not mask.is_file()]
    if missing:
        raise FileNotFoundError(f"files in {table} are missing:{listing.shown(missing)}")
    if any(file.record.label for file in train):
        raise ValueError(f"{table}: trains on anomalous pictures; use 1cls.csv")
    return Listed(folder.name, train, test, folders=[folder])


def _rows(table: Path) -> list[dict[str, str]]:
    if not table.is_file():
        raise FileNotFoundError(
            f"{table}: no such table; a category's folder lies beside split_csv/1cls.csv"
        )
    with open(table, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if not set(COLUMNS) <= set(row) or row["label"] not in DEFECTS:
            raise ValueError(
                f"{table}: expected the columns {', '.join(COLUMNS)} and the labels "
                f"{', '.join(DEFECTS)}; found {row}"
            )
    return rows


def _file(root: Path, row: dict[str, str]) -> File:
    path, defect = root / row["image"], DEFECTS[row["label"]]
    masks = (root / row["mask"],) if row["mask"] else ()
    record = Record(f"{defect}/{walk.plain(path.stem)}", row["object"], defect)
    # Who has not their folder wants no masks.
    return File(record, path, tuple(mask for mask in masks if mask.parent.is_dir()))
