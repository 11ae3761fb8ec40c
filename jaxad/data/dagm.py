"""DAGM 2007: ten classes of rendered textures, with an ellipse around each defect.

    Class1/Train/0001.PNG, Class1/Test/0001.PNG    normal and defective pictures together
    Class1/Test/Label/0002_label.PNG               the ellipse; only defective pictures have one
    Class1/Test/Label/Labels.txt                   number, 1 if defective, picture, ..., ellipse

Ellipses are weak labels, larger than the defects. Learning from normal pictures only, the defective
ones of `Train` are left out.

Source: Wieler & Hahn, 2007, "Weakly Supervised Learning for Industrial Optical Inspection".
"""

import logging
from pathlib import Path

from jaxad.data import files as listing
from jaxad.data import images, names, walk
from jaxad.data.files import File
from jaxad.data.image_folder import Listed, open_data
from jaxad.data.reading import OnBadImage, Reading
from jaxad.data.source import Data, Record

log = logging.getLogger(__name__)

TABLE = "Labels.txt"
DEFECT = "defect"


def categories(root: str | Path) -> list[str]:
    """The classes in a folder that holds them, in the order of their numbers."""
    names = [sub.name for sub in walk.subfolders(Path(root)) if is_category(sub)]
    return sorted(names, key=lambda name: (len(name), name))


def is_category(folder: Path) -> bool:
    """Whether a folder is laid out as a class is."""
    return (folder / "Test" / "Label").is_dir() and (folder / "Train").is_dir()


def load(
    folder: str | Path,
    *,
    seed: int = 0,
    heldout: float = 0.1,
    on_bad_image: OnBadImage = "error",
    reading: Reading = images.PLAIN,
) -> Data:
    """One class.

    Args:
      folder: of the class, such as `Class1`.
      seed: decides which normal training pictures are held out.
      heldout: fraction of them; one picture at least.
      on_bad_image: "error" names bad files; "skip" decodes every file now and leaves them out.
      reading: how files become pictures.

    Raises:
      FileNotFoundError: there is no such folder, or no `Train` and `Test` with `Label` in it.
      ValueError: ellipses and pictures or the table do not match, too few pictures are normal, or
        files are bad.
    """
    return open_data(
        listed(folder), seed=seed, heldout=heldout, on_bad_image=on_bad_image, reading=reading
    )


def listed(folder: str | Path) -> Listed:
    """The files of a class; errors as of `load`."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    if not is_category(folder):
        inside = ", ".join(categories(folder))
        hint = f"; it holds the classes {inside}: give the folder of one" if inside else ""
        raise FileNotFoundError(
            f"{folder}: no {Path('Train')} and {Path('Test/Label')} in it{hint}"
        )
    category = listing.category_of(folder)
    train, test = (_pictures(folder / part, category) for part in ("Train", "Test"))
    normal = [file for file in train if not file.record.label]
    log.info("%s: %d defective pictures of Train are left out", folder, len(train) - len(normal))
    if not normal:
        raise ValueError(f"{folder / 'Train'}: no normal pictures")
    defective = [path for file in train if file.record.label for path in (file.path, *file.masks)]
    known = [*defective, *(folder / part / "Label" / TABLE for part in ("Train", "Test"))]
    return Listed(category, normal, test, folders=[folder], known=known)


def _pictures(folder: Path, category: str) -> list[File]:
    """The pictures of `Train` or `Test`; those with an ellipse are defective.

    Raises:
      ValueError: there are none, an ellipse has no picture, or the table calls a picture defective
        that has no ellipse, or normal that has one.
    """
    labels = folder / "Label"
    ellipses: dict[str, list[Path]] = {}
    for path in walk.list_images(labels) if labels.is_dir() else []:
        ellipses.setdefault(path.stem.removesuffix("_label"), []).append(path)
    paths = walk.list_images(folder)
    if not paths:
        raise ValueError(f"{folder}: no pictures in it")
    stems = {path.stem for path in paths}
    if masks := [path for path in paths if set(names.pictures_of(path.stem)) & stems]:
        raise ValueError(
            f"ellipses beside pictures, by their names: they belong into {labels}:"
            f"{listing.shown(masks)}"
        )
    lonely = [path for stem, several in ellipses.items() if stem not in stems for path in several]
    if lonely:
        raise ValueError(f"ellipses without a picture of their name:{listing.shown(lonely)}")
    listed = _listed(labels / TABLE)
    of = {path: (listed.get(path.stem), path.stem in ellipses) for path in paths}
    if missing := [path for path, said in of.items() if said == (True, False)]:
        raise ValueError(
            f"defective pictures by {labels / TABLE} without an ellipse:{listing.shown(missing)}"
        )
    if normal := [path for path, said in of.items() if said == (False, True)]:
        raise ValueError(
            f"normal pictures by {labels / TABLE} with an ellipse:{listing.shown(normal)}"
        )
    found = []
    for path in paths:
        defect = DEFECT if path.stem in ellipses else "good"
        record = Record(f"{defect}/{path.stem}", category, defect)
        found.append(File(record, path, tuple(ellipses.get(path.stem, ()))))
    return found


def _listed(table: Path) -> dict[str, bool]:
    """{stem: whether a table calls the picture defective}; empty if there is no table."""
    if not table.is_file():
        return {}
    lines = table.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    rows = [line.split("\t") for line in lines]
    return {Path(row[2].strip()).stem: row[1].strip() == "1" for row in rows if len(row) > 2}
