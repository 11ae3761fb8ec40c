"""The layout of MVTec AD, and of data sets that are laid out much like it.

    bottle/train/good/000.png                    normal pictures ("ok" in BTAD)
    bottle/validation/good/000.png               normal, to hold out, where there are any (AD 2)
    bottle/test/crack/000.png                    "good" and types of defect ("test_public" in AD 2)
    bottle/ground_truth/crack/000_mask.png       masks, with or without "_mask" in their names

Sources: Bergmann et al., IJCV 2021 (MVTec AD); Heckler-Kram et al., 2025 (MVTec AD 2);
Jezek et al., ICUMT 2021 (MPDD); Mishra et al., ISIE 2021 (BTAD).
"""

from pathlib import Path

from jaxad.data import files as listing
from jaxad.data import images, names, walk
from jaxad.data.files import File
from jaxad.data.image_folder import Listed, open_data
from jaxad.data.reading import OnBadImage, Reading
from jaxad.data.source import Data

# Folders of a category; MVTec AD 2 has test pictures whose labels are not published.
PLACES = (
    "train", "validation", "test", "test_public", "ground_truth", "test_private",
    "test_private_mixed",
)  # fmt: skip


def categories(root: str | Path) -> list[str]:
    """The folders in a folder that `load` takes; none if there are none.

    Raises:
      ValueError: beside them there is one with a folder `train` that has no normal pictures.
    """
    subs = [sub for sub in walk.subfolders(Path(root)) if (sub / "train").is_dir()]
    taken = [sub.name for sub in subs if is_category(sub)]
    empty = [sub / "train" for sub in subs if sub.name not in taken]
    if taken and empty:
        raise ValueError(f"no normal pictures in good, ok or normal:{listing.shown(empty)}")
    return taken


def is_category(folder: Path) -> bool:
    """Whether a folder has normal pictures where `load` looks for them."""
    return listing.has_normal(folder / "train")


def load(
    folder: str | Path,
    *,
    seed: int = 0,
    heldout: float = 0.1,
    on_bad_image: OnBadImage = "error",
    reading: Reading = images.PLAIN,
) -> Data:
    """One category.

    Args:
      folder: of the category, whose name is its last part.
      seed: decides which training pictures are held out where there are no validation pictures.
      heldout: fraction of them; one picture at least.
      on_bad_image: "error" names bad files; "skip" decodes every file now and leaves them out.
      reading: how files become pictures.

    Raises:
      FileNotFoundError: there is no such folder, or no normal pictures where they belong.
      ValueError: masks and pictures do not match, files are bad, pictures lie where none are
        expected, or a folder's name is nearly one of those that are read.
    """
    return open_data(
        listed(folder), seed=seed, heldout=heldout, on_bad_image=on_bad_image, reading=reading
    )


def listed(folder: str | Path) -> Listed:
    """The files of a category; errors as of `load`."""
    folder = Path(folder)
    category = listing.category_of(folder)
    train = train_files(folder)
    validation, test = folder / "validation", _test_folder(folder)
    names.check_no_loose(validation, str(validation / "good"))
    names.check_no_loose(test, f"{test / 'good'}, or a folder for each type of defect")
    masks = _mask_folder(folder, test)
    pictures = [
        *listing.normal_files(test, category, masks),
        *listing.anomalous_files(test, masks, category),
    ]
    if test.is_dir() and not pictures:
        raise ValueError(f"{test}: no pictures in folders such as {test / 'good'}")
    held = listing.normal_files(validation, category)
    return Listed(category, train, pictures, held, [folder])


def train_files(folder: Path) -> list[File]:
    """The normal training pictures of a category.

    Raises:
      FileNotFoundError: there are none; the message says where they belong.
    """
    if not folder.is_dir():
        what = "a file, not a folder" if folder.is_file() else "no such folder"
        raise FileNotFoundError(f"{folder}: {what}")
    names.check_places(folder, PLACES)
    names.check_no_loose(folder / "train", str(folder / "train" / "good"))
    files = listing.normal_files(folder / "train", listing.category_of(folder))
    if not files:
        inside = ", ".join(categories(folder))
        hint = f"; it holds the categories {inside}: give the folder of one" if inside else ""
        if walk.list_images(folder):
            hint = "; a plain folder of normal pictures is what `data.folder` reads, and --normal"
        raise FileNotFoundError(
            f"{folder}: no normal pictures in {folder / 'train' / 'good'}{hint}"
        )
    return files


def _mask_folder(folder: Path, test: Path) -> Path | None:
    """Where the masks of a category are, if there are any.

    Raises:
      ValueError: in two places, or loose in one of them.
    """
    places = [place for place in (folder / "ground_truth", test / "ground_truth") if place.is_dir()]
    for place in places:
        names.check_no_loose(place, f"the folders of their pictures, such as {place / 'crack'}")
    filled = [place for place in places if walk.list_images(place, recursive=True)]
    if len(filled) > 1:
        raise ValueError(f"masks in two places, keep those of one:{listing.shown(filled)}")
    return next(iter([*filled, *places]), None)


def _test_folder(folder: Path) -> Path:
    """Where the test pictures of a category are; it may not exist."""
    public = folder / "test_public"
    return public if public.is_dir() else folder / "test"
